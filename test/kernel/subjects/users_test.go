//go:build vm

package subjects

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testUsers selects by the real user id.
func testUsers(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	guardtest.Check(t, os.Chmod(filepath.Dir(dir), 0o755))
	secret := guardtest.WriteFile(t, dir+"/secret", "")
	subject := ebpfguard.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: 1000, Last: 1000}, {First: 2000, Last: 2999}}}}
	g.Enforce(t, guardtest.DenyFiles("test", subject, secret))
	for uid, refused := range map[int]bool{0: false, 999: false, 1000: true, 1001: false, 1999: false, 2000: true, 2500: true, 2999: true, 3000: false, 65534: false} {
		d := guardtest.StartDoerWith(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid)}}, "/proc/self/exe")
		if !refused {
			d.Passed(t, "open", secret, "r")
		} else if alert := g.Refused(t, d, "open", secret, "r"); alert.UID != uint32(uid) {
			t.Errorf("alert %v", alert)
		}
	}
	d := guardtest.StartDoer(t, "/proc/self/exe")
	for _, step := range []struct {
		real, effective, saved string
		refused                bool
	}{
		{"-1", "1000", "-1", false}, // the effective one does not count
		{"1000", "0", "0", true},
		{"0", "1000", "0", false},
		{"0", "0", "0", false},
		{"2500", "0", "0", true},
		{"3000", "0", "0", false},
		{"2000", "2000", "2000", true},
	} {
		d.Passed(t, "setuid", step.real, step.effective, step.saved)
		if step.refused {
			g.Refused(t, d, "open", secret, "r")
		} else {
			d.Passed(t, "open", secret, "r")
		}
	}
	t.Run("by name", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Subject{Users: policy.IDs{Names: []string{"tester"}}}, secret))
		d := guardtest.StartDoer(t, "/proc/self/exe")
		d.Passed(t, "open", secret, "r")
		d.Passed(t, "setuid", "1000", "0", "0")
		g.Refused(t, d, "open", secret, "r")
	})
	t.Run("in a user namespace", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("test", subject, secret))
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 2000, Size: 100}}
		d := guardtest.StartDoerWith(t, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Credential: &syscall.Credential{Uid: 0}}, "/proc/self/exe")
		if alert := g.Refused(t, d, "open", secret, "r"); alert.UID != 2000 {
			t.Errorf("alert %v", alert)
		}
	})
}
