//go:build vm

package takeover

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestPinsRefused has pins that are not ours, damaged, or of a newer version. What they
// enforce goes on until they are replaced.
func TestPinsRefused(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	cleanPins(t)
	a := guardtest.StartActor(t, "/proc/self/exe")
	set := []policy.Policy{nobodyBinds("everyone", 2022)}
	killed, _ := startPinned(t, order{Set: set})
	killed.kill(t)
	layout := filepath.Join(pinPath, fmt.Sprintf("layout_%d", bpf.Layout()))
	mapAt := func(name string) string { return filepath.Join(layout, "maps", name) }
	links, err := filepath.Glob(filepath.Join(layout, "links", "*"))
	if err != nil || len(links) != 1 {
		t.Fatal(links, err)
	}
	linkAt := func(name string) string { return filepath.Join(links[0], name) }
	const aside = "/sys/fs/bpf/aside"
	rename := func(names ...string) error {
		var err error
		for i := 0; i < len(names); i += 2 {
			err = errors.Join(err, os.Rename(names[i], names[i+1]))
		}
		return err
	}
	made := func(name string) (damage, undo func() error) {
		path := filepath.Join(pinPath, name)
		return func() error { return os.Mkdir(path, 0o700) }, func() error { return os.Remove(path) }
	}
	foreign, native := made("other")
	newer, older := made("layout_99")
	for _, c := range []struct {
		name         string
		damage, undo func() error
		want         error
	}{
		{"something else is there", foreign, native, ebpfguard.ErrPinsForeign},
		{"open to others", func() error { return os.Chmod(pinPath, 0o755) }, func() error { return os.Chmod(pinPath, 0o700) }, ebpfguard.ErrPinsForeign},
		{"of a newer version", newer, older, ebpfguard.ErrPinsNewer},
		{"a program is missing", func() error { return rename(linkAt("socket_bind"), aside) }, func() error { return rename(aside, linkAt("socket_bind")) }, ebpfguard.ErrPinsDamaged},
		{"a map is missing", func() error { return rename(mapAt("tasks"), aside) }, func() error { return rename(aside, mapAt("tasks")) }, ebpfguard.ErrPinsDamaged},
		{
			"a map is another", func() error { return rename(mapAt("counters"), aside, mapAt("notes"), mapAt("counters")) },
			func() error { return rename(mapAt("counters"), mapAt("notes"), aside, mapAt("counters")) }, ebpfguard.ErrPinsDamaged,
		},
		{
			"a program is another", func() error { return rename(linkAt("socket_bind"), aside, linkAt("task_alloc"), linkAt("socket_bind")) },
			func() error { return rename(linkAt("socket_bind"), linkAt("task_alloc"), aside, linkAt("socket_bind")) }, ebpfguard.ErrPinsDamaged,
		},
	} {
		guardtest.Check(t, c.damage())
		m, err := ebpfguard.NewManager(pinnedOptions())
		if err == nil {
			m.Close()
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: taken over: %v", c.name, err)
		}
		fmt.Printf("%s: %v\n", c.name, err)
		a.WantRefused(t, 2022, c.name+": after it was refused")
		guardtest.Check(t, c.undo())
	}

	m, err := ebpfguard.NewManager(pinnedOptions())
	if err != nil {
		t.Fatalf("with everything in its place again: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	guardtest.Check(t, rename(linkAt("task_alloc"), aside))
	options := pinnedOptions()
	options.ReplacePins = true
	if m, err = ebpfguard.NewManager(options); err != nil {
		t.Fatal(err)
	}
	if _, ok := m.Takeover(); ok {
		t.Error("took over what is damaged")
	}
	a.WantRefused(t, 2022, "before something else is in force")
	if _, err := m.Apply([]policy.Policy{nobodyBinds("everyone", 2025)}); err != nil {
		t.Error(err)
	}
	a.WantBound(t, 2022, "what only the former forbade")
	a.WantRefused(t, 2025, "what the new one forbids")
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if removed, err := ebpfguard.RemovePins(pinPath, false); err != nil || !removed {
		t.Errorf("removed %v, %v", removed, err)
	}
	a.WantBound(t, 2025, "after it was removed")
	if err := os.Remove(aside); err != nil {
		t.Error(err)
	}
	if pins, err := filepath.Glob("/sys/fs/bpf/*"); err != nil || len(pins) != 0 {
		t.Errorf("pins %v, %v", pins, err)
	}
}
