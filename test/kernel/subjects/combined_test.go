//go:build vm

package subjects

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testCombinedSubjects wants selectors of different kinds to be met all.
func testCombinedSubjects(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	guardtest.Check(t, os.Chmod(filepath.Dir(dir), 0o755))
	secret := guardtest.WriteFile(t, dir+"/secret", "")
	makeCgroup(t, "/combined")
	one, two := guardtest.CopyProgram(t, dir+"/one"), guardtest.CopyProgram(t, dir+"/two")
	user := policy.IDs{Ranges: []policy.IDRange{{First: 1000, Last: 1000}}}
	subject := ebpfguard.Subject{Binaries: []string{one}, Users: user, Cgroups: []string{"/combined"}}
	descendants := subject
	descendants.Descendants = true
	start := func(t *testing.T, program, cgroup string, uid int) *guardtest.Doer {
		t.Helper()
		d := startInCgroup(t, cgroup, program)
		d.Passed(t, "setuid", strconv.Itoa(uid), "0", "0")
		return d
	}
	g.Enforce(t, guardtest.DenyFiles("test", subject, secret))
	for _, program := range []string{one, two} {
		for _, cgroup := range []string{"/combined", "/"} {
			for _, uid := range []int{1000, 1001} {
				d := start(t, program, cgroup, uid)
				if program == one && cgroup == "/combined" && uid == 1000 {
					g.Refused(t, d, "open", secret, "r")
				} else {
					d.Passed(t, "open", secret, "r")
				}
				d.Stop()
			}
		}
	}
	t.Run("descendants", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("test", descendants, secret))
		d := start(t, one, "/combined", 1000)
		d.Passed(t, "spawn", two)
		g.Refused(t, d, "open", secret, "r")
		d.Passed(t, "setuid", "0", "0", "0")
		d.Passed(t, "open", secret, "r")
		d.Stop()
	})
	t.Run("the most specific one", func(t *testing.T) {
		subjects := []ebpfguard.Subject{
			ebpfguard.Everyone(), {Users: user}, {Cgroups: []string{"/combined"}}, {Cgroups: []string{"/combined"}, Users: user},
			{Binaries: []string{one}, Descendants: true}, {Binaries: []string{dir + "/t*"}}, {Binaries: []string{two}}, {Binaries: []string{two}, Users: user},
		}
		for i, denied := range subjects {
			set := []policy.Policy{guardtest.DenyFiles("deny", denied, secret)}
			if i > 0 {
				set = append(set, guardtest.AllowFiles("less", subjects[i-1], secret))
			}
			d := start(t, one, "/combined", 1000)
			d.Passed(t, "spawn", two)
			g.Enforce(t, set...)
			g.Refused(t, d, "open", secret, "r")
			if i+1 < len(subjects) {
				g.Enforce(t, append(set, guardtest.AllowFiles("more", subjects[i+1], secret))...)
				d.Passed(t, "open", secret, "r")
			}
			d.Stop()
		}
	})
}
