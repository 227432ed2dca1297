//go:build vm

package subjects

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// makeCgroup makes a control group for the length of the test.
func makeCgroup(t *testing.T, path string) string {
	t.Helper()
	dir := "/sys/fs/cgroup" + path
	guardtest.Check(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// startInCgroup starts a doer that has been in a control group from the beginning.
func startInCgroup(t *testing.T, path, program string) *guardtest.Doer {
	t.Helper()
	dir, err := os.Open("/sys/fs/cgroup" + path)
	guardtest.Check(t, err)
	defer dir.Close()
	return guardtest.StartDoerWith(t, &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}, program)
}

func moveToCgroup(t *testing.T, d *guardtest.Doer, path string) {
	t.Helper()
	guardtest.Check(t, os.WriteFile("/sys/fs/cgroup"+path+"/cgroup.procs", []byte(strconv.Itoa(d.PID)), 0o644))
}

// testCgroups selects by the control group.
func testCgroups(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	secret := guardtest.WriteFile(t, dir+"/secret", "")
	in := func(cgroups ...string) policy.Policy {
		return guardtest.DenyFiles("test", ebpfguard.Subject{Cgroups: cgroups}, secret)
	}
	for _, path := range []string{"/web", "/web/sub", "/web/sub/deep", "/website", "/db"} {
		makeCgroup(t, path)
	}
	const self = "/proc/self/exe"
	for _, test := range []struct {
		cgroups  []string
		selected string
	}{
		{[]string{"/web"}, "/web /web/sub /web/sub/deep"},
		{[]string{"/web/sub"}, "/web/sub /web/sub/deep"},
		{[]string{"/web/sub/deep", "/db"}, "/web/sub/deep /db"},
		{[]string{"/web*"}, "/web /web/sub /web/sub/deep /website"},
		{[]string{"/*/s?b"}, "/web/sub /web/sub/deep"},
		{[]string{"/nothing"}, ""},
		{[]string{"/"}, "/ /web /web/sub /web/sub/deep /website /db"},
	} {
		t.Run(strings.Join(test.cgroups, " "), func(t *testing.T) {
			before := map[string]*guardtest.Doer{}
			all := []string{"/", "/web", "/web/sub", "/web/sub/deep", "/website", "/db"}
			for _, c := range all {
				before[c] = startInCgroup(t, c, self)
			}
			g.Enforce(t, in(test.cgroups...))
			for _, c := range all {
				selected := strings.Contains(" "+test.selected+" ", " "+c+" ")
				for _, d := range []*guardtest.Doer{before[c], startInCgroup(t, c, self)} {
					if !selected {
						d.Passed(t, "open", secret, "r")
					} else if alert := g.Refused(t, d, "open", secret, "r"); alert.Cgroup != c {
						t.Errorf("in %s: alert %v, cgroup %s", c, alert, alert.Cgroup)
					}
				}
			}
		})
	}
	t.Run("kept until exec", func(t *testing.T) {
		g.Enforce(t, in("/web"))
		d := startInCgroup(t, "/web", self)
		moveToCgroup(t, d, "/db")
		if alert := g.Refused(t, d, "open", secret, "r"); alert.Cgroup != "/db" {
			t.Errorf("alert %v, cgroup %s", alert, alert.Cgroup)
		}
		g.RefusedChild(t, d, secret)
		d.Passed(t, "exec", self)
		d.Passed(t, "open", secret, "r")
		moveToCgroup(t, d, "/web/sub")
		d.Passed(t, "open", secret, "r")
		d.Passed(t, "spawn", self)
		g.Refused(t, d, "open", secret, "r")
	})
	t.Run("too deep or too long to tell", func(t *testing.T) {
		// A process that may make groups below its own cannot leave a policy by that, however
		// often it starts a program.
		deep, long := "/web/deepest"+strings.Repeat("/d", 70), "/web/longest"+strings.Repeat("/"+strings.Repeat("l", 200), 6)
		for _, path := range []string{deep, long} {
			for i := range path {
				if i > len("/web") && path[i] == '/' {
					makeCgroup(t, path[:i])
				}
			}
			makeCgroup(t, path)
		}
		g.Enforce(t, in("/web"))
		for _, path := range []string{deep, long} {
			d := startInCgroup(t, path, self)
			for range 3 {
				g.Undecided(t, d, "open", secret, "r")
				d.Passed(t, "exec", self)
			}
			g.Undecided(t, d, "open", secret, "r")
			d.Stop()
		}
	})
	t.Run("made after the policy", func(t *testing.T) {
		g.Enforce(t, in("/later"))
		makeCgroup(t, "/later")
		makeCgroup(t, "/later/still")
		for _, c := range []string{"/later", "/later/still"} {
			d := startInCgroup(t, c, self)
			g.Refused(t, d, "open", secret, "r")
			d.Stop()
		}
	})
	t.Run("in a cgroup namespace", func(t *testing.T) {
		g.Enforce(t, in("/web"))
		group, err := os.Open("/sys/fs/cgroup/web/sub")
		guardtest.Check(t, err)
		defer group.Close()
		d := guardtest.StartDoerWith(t, &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd()), Cloneflags: unix.CLONE_NEWCGROUP}, self)
		g.Refused(t, d, "open", secret, "r")
	})
}
