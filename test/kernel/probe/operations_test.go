//go:build vm

package probe

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestEveryOperation refuses each operation once, lets the same pass where no rule says otherwise, and reads the alert:
// what is worth seeing of an architecture before all other tests.
func TestEveryOperation(t *testing.T) {
	g := guardtest.Shared(t)
	things, forbidden := guardtest.ThingsToDo(t)
	things = append(things, mounted(t, &forbidden)...)
	doer := guardtest.Lone(t)
	alerts := g.Divert(t)
	g.Use(t, forbidden)
	for _, thing := range things {
		if errno := doer.Attempt(t, thing.Forbidden); errno != unix.EPERM {
			t.Errorf("%s: %v, want EPERM", thing.Name, errno)
		}
		if errno := doer.Attempt(t, thing.Free); errno != thing.Fails {
			t.Errorf("%s: %v where it is not forbidden, want %v", thing.Name, errno, thing.Fails)
		}
	}
	g.Settle(t)
	seen := make(map[policy.Operation]bool)
	for range len(alerts) {
		alert := (<-alerts).Context()
		seen[alert.Operation] = true
		if alert.Verdict != policy.Deny || alert.Policy != forbidden.Name {
			t.Errorf("an alert that should not be: %+v", alert)
		}
	}
	for _, o := range policy.Operations() {
		if !seen[o] {
			t.Errorf("%s was never refused", o)
		}
	}
}

// mounted returns what there is to do with mounts, and forbids half of it.
func mounted(t *testing.T, forbidden *policy.Policy) []guardtest.Hammered {
	t.Helper()
	dir := t.TempDir()
	point := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"kept", "free"} {
		guardtest.Check(t, os.Mkdir(point(name), 0o755))
		guardtest.Check(t, unix.Mount("none", point(name), "tmpfs", 0, ""))
		t.Cleanup(func() { _ = unix.Unmount(point(name), unix.MNT_DETACH) })
	}
	for _, o := range []policy.Operation{policy.SbRemount, policy.SbUmount} {
		pattern := policy.MountPattern{Targets: []string{point("kept")}}
		forbidden.Rules = append(forbidden.Rules, policy.Rule{Operation: o, Deny: []policy.Pattern{pattern}})
	}
	remount := func(name string) func(*guardtest.Batch) int {
		return func(b *guardtest.Batch) int {
			return b.Call(unix.SYS_MOUNT, b.Text("none"), b.Text(point(name)), b.Text("tmpfs"), unix.MS_REMOUNT, 0)
		}
	}
	unmount := func(name string) func(*guardtest.Batch) int {
		return func(b *guardtest.Batch) int { return b.Call(unix.SYS_UMOUNT2, b.Text(point(name)), 0) }
	}
	return []guardtest.Hammered{
		{Name: "remount", Forbidden: remount("kept"), Free: remount("free")},
		{Name: "umount", Forbidden: unmount("kept"), Free: unmount("free")},
	}
}
