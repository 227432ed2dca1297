//go:build vm

package takeover

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// mapNamed returns the newest map of the kernel with the name, as anybody with CAP_SYS_ADMIN
// can open it. Those of guards of other tests may be there still.
func mapNamed(t *testing.T, name string) *ebpf.Map {
	t.Helper()
	var newest *ebpf.Map
	for id := ebpf.MapID(0); ; {
		next, err := ebpf.MapGetNextID(id)
		if err != nil {
			break
		}
		id = next
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			continue // gone meanwhile
		}
		if info, err := m.Info(); err != nil || info.Name != name {
			guardtest.Check(t, m.Close())
			continue
		}
		if newest != nil {
			guardtest.Check(t, newest.Close())
		}
		newest = m
	}
	if newest == nil {
		t.Fatalf("there is no map %s", name)
	}
	t.Cleanup(func() { newest.Close() })
	return newest
}

// TestTampered writes the map that says what is in force, as an attacker can who has CAP_SYS_ADMIN.
func TestTampered(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	cleanPins(t)
	a := guardtest.StartActor(t, "/proc/self/exe")
	m, err := ebpfguard.NewManager(pinnedOptions())
	guardtest.Check(t, err)
	verify := func(want int) {
		t.Helper()
		wrong, err := m.Verify()
		if err != nil || len(wrong) != want {
			t.Errorf("%v, wrong is %q, want %d", err, wrong, want)
		}
		if len(wrong) > 0 {
			t.Logf("told: %q", wrong)
		}
	}
	verify(0)
	_, err = m.Apply([]policy.Policy{nobodyBinds("everyone", 2022)})
	guardtest.Check(t, err)
	a.WantRefused(t, 2022, "before")
	verify(0)
	// A word that says that this revision concerns nothing.
	active := mapNamed(t, "active")
	word := make([]byte, active.ValueSize())
	guardtest.Check(t, active.Lookup(uint32(0), word))
	clear(word[:4])
	guardtest.Check(t, active.Put(uint32(0), word))
	a.WantBound(t, 2022, "by an attacker's word") // or the test tries nothing
	verify(1)
	a.WantRefused(t, 2022, "put right")
	verify(0)
	// A filter that knows no file by its identity.
	known := t.TempDir() + "/known"
	guardtest.WriteFile(t, known, "")
	_, err = m.Apply([]policy.Policy{nobodyBinds("everyone", 2022), {
		Name: "file", Subject: policy.Subject{Everyone: true},
		Rules: []policy.Rule{{Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: []string{known}}}}},
	}})
	guardtest.Check(t, err)
	verify(0)
	words := mapNamed(t, "words")
	memory := make([]byte, words.ValueSize())
	guardtest.Check(t, words.Lookup(uint32(0), memory))
	filter := slices.Clone(memory[:abi.NamedBits/8])
	clear(memory[:abi.NamedBits/8])
	guardtest.Check(t, words.Put(uint32(0), memory))
	verify(1)
	guardtest.Check(t, words.Lookup(uint32(0), memory))
	if !bytes.Equal(filter, memory[:abi.NamedBits/8]) || !slices.ContainsFunc(filter, func(b byte) bool { return b != 0 }) {
		t.Error("the filter was not put right, or was empty")
	}
	verify(0)
	// Also for the one who takes over.
	guardtest.Check(t, m.Close())
	m, err = ebpfguard.NewManager(pinnedOptions())
	guardtest.Check(t, err)
	verify(0)
	guardtest.Check(t, active.Put(uint32(0), word))
	verify(1)
	a.WantRefused(t, 2022, "put right")
	guardtest.Check(t, m.Remove())
}
