//go:build vm

package takeover

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestPinnedUpgrade takes over with other versions, while processes do what is forbidden
// and what is not.
func TestPinnedUpgrade(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	if !isOn(t, "5.10", "7") {
		return
	}
	vmtest.Processors(t)
	cleanPins(t)
	a := guardtest.StartActor(t, "/proc/self/exe")
	things := []guardtest.Hammered{{Name: "bind", Forbidden: guardtest.BindTo(guardtest.Lo4, 2022), Free: guardtest.BindTo(guardtest.Lo4, 2023)}}
	killed, _ := startPinned(t, order{Set: []policy.Policy{nobodyBinds("everyone", 2022)}})
	stop := guardtest.StrikeOn(t, 1, 0, things)
	killed.kill(t)
	current := bpf.Layout()
	for _, c := range []struct {
		name   string
		build  string
		layout int
		says   string
	}{
		{"another build", "next", current, "1 true false"},
		{"the same build again", "next", current, "1 false false"},
		{"a newer layout", "next", current + 1, "1 true true"},
		{"the same layout again", "next", current + 1, "1 false false"},
	} {
		m, said := startPinned(t, order{Build: c.build, Layout: strconv.Itoa(c.layout)})
		if !strings.HasSuffix(said, " "+c.says) {
			t.Errorf("%s: %q, want %q", c.name, said, c.says)
		}
		m.kill(t)
		a.WantRefused(t, 2022, c.name)
	}
	older, said := tryPinned(t, order{})
	older.kill(t)
	want := fmt.Sprintf("the pins are of a newer version: what is pinned at %s has layout %d, this version knows up to %d", pinPath, current+1, current)
	if !strings.Contains(said, want) {
		t.Errorf("an older version: %q", said)
	}
	a.WantRefused(t, 2022, "after an older version was refused")
	if total, _ := stop(); total == 0 {
		t.Error("nothing was tried meanwhile")
	}
	if _, err := ebpfguard.RemovePins(pinPath, false); err != nil {
		t.Error(err)
	}
	a.WantBound(t, 2022, "after it was removed")
}

// isOn reports whether this is one of the kernels that a test which takes minutes has time
// for. The shorter tests of the same run on all.
func isOn(t *testing.T, kernels ...string) bool {
	t.Helper()
	if !vmtest.Thorough(kernels...) {
		t.Logf("for want of time on %v only", kernels)
		return false
	}
	return true
}
