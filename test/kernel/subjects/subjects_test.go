//go:build vm

package subjects

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestSubjects are the tests of the processes that policies select, by what these may open.
func TestSubjects(t *testing.T) {
	g := guardtest.NewFileGuard(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *guardtest.FileGuard)
	}{
		{"binaries", testBinaries}, {"scripts", testScripts}, {"descendants", testDescendants}, {"users", testUsers},
		{"cgroups", testCgroups}, {"combined", testCombinedSubjects}, {"name at exec", testNameAtExec}, {"older than the guard", testOlderThanGuard},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, g) })
	}
	t.Logf("%d policy sets applied in %v", g.Applied, g.Applying)
}

// testBinaries names programs in the ways there are.
func testBinaries(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	secret := guardtest.WriteFile(t, dir+"/secret", "")
	programs := map[string]*guardtest.Doer{}
	for _, name := range []string{"one", "two", "app/x", "app/sub/y", "py3.11"} {
		programs[name] = guardtest.StartDoer(t, guardtest.CopyProgram(t, filepath.Join(dir, name)))
	}
	for _, test := range []struct {
		binaries []string
		selected string
	}{
		{[]string{"one"}, "one"},
		{[]string{"one", "app/x"}, "one app/x"},
		{[]string{"app"}, ""}, // a directory is no program
		{[]string{"app/"}, "app/x app/sub/y"},
		{[]string{"app/sub/"}, "app/sub/y"},
		{[]string{"py3*"}, "py3.11"},
		{[]string{"?wo", "o*e"}, "one two"},
		{[]string{"*"}, "one two py3.11"},
		{[]string{"*/x"}, "app/x"},
		{[]string{"**"}, "one two app/x app/sub/y py3.11"},
		{[]string{"**/y"}, "app/sub/y"},
		{[]string{"a?p/"}, "app/x app/sub/y"},
		{[]string{"*/sub/*"}, "app/sub/y"},
	} {
		t.Run(strings.Join(test.binaries, " "), func(t *testing.T) {
			var binaries []string
			for _, b := range test.binaries {
				binaries = append(binaries, dir+"/"+b)
			}
			g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(binaries...), secret))
			for name, d := range programs {
				selected := false
				for _, s := range strings.Fields(test.selected) {
					selected = selected || s == name
				}
				if !selected {
					d.Passed(t, "open", secret, "r")
				} else if alert := g.Refused(t, d, "open", secret, "r"); alert.Binary != dir+"/"+name {
					t.Errorf("alert %v", alert)
				}
			}
		})
	}
	t.Run("other names of a program", func(t *testing.T) {
		one := dir + "/one"
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(one), secret))
		guardtest.Check(t, os.Link(one, dir+"/hard"))
		guardtest.Check(t, os.Symlink(one, dir+"/soft"))
		g.Refused(t, guardtest.StartDoer(t, dir+"/hard"), "open", secret, "r")
		g.Refused(t, guardtest.StartDoer(t, dir+"/soft"), "open", secret, "r")
		g.Refused(t, guardtest.StartDoer(t, "/proc/self/root"+one), "open", secret, "r")
		mover := guardtest.StartDoer(t, "/proc/self/exe")
		mover.Passed(t, "unshare")
		mover.Passed(t, "bind", dir, dir+"/app")
		mover.Passed(t, "spawn", dir+"/app/one")
		g.Refused(t, mover, "open", secret, "r")
	})
	t.Run("inherited at fork, lost at exec", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(dir+"/one"), secret))
		d := guardtest.StartDoer(t, dir+"/one")
		if o := d.Do("fork", secret); o.Errno != syscall.EPERM {
			t.Errorf("the child: %v", o)
		}
		if alert := g.Next(t).Context(); alert.PPID != uint32(d.PID) || alert.Binary != dir+"/one" {
			t.Errorf("alert %v", alert)
		}
		d.Passed(t, "exec", dir+"/two")
		d.Passed(t, "open", secret, "r")
		d.Passed(t, "exec", dir+"/one")
		g.Refused(t, d, "open", secret, "r")
	})
	t.Run("in a user's mount namespace", func(t *testing.T) {
		guardtest.Check(t, os.Chmod(filepath.Dir(dir), 0o755))
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
		start := func(program string) *guardtest.Doer {
			return guardtest.StartDoerWith(t, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: ids, GidMappings: ids}, program)
		}
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(dir+"/one"), secret))
		g.Refused(t, start(dir+"/one"), "open", secret, "r")
		start(dir+"/two").Passed(t, "open", secret, "r")
		// There a path proves nothing, so only a program that is named itself is known.
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(dir+"/on*"), secret))
		start(dir+"/one").Passed(t, "open", secret, "r")
		g.Refused(t, guardtest.StartDoer(t, dir+"/one"), "open", secret, "r")
	})
	t.Run("too deep", func(t *testing.T) {
		deep := guardtest.CopyProgram(t, dir+strings.Repeat("/d", 80)+"/one")
		at64 := guardtest.CopyProgram(t, dir+strings.Repeat("/d", 63-strings.Count(dir, "/"))+"/one")
		// An unknown program is not let run its own file, which nobody knows either.
		g.Enforce(t, guardtest.FilePolicy("test", ebpfguard.Binaries(dir+"/**/one"), policy.Rule{
			Deny: []policy.Pattern{policy.FilePattern{Paths: []string{secret}, Access: policy.Read}},
		}))
		g.Refused(t, guardtest.StartDoer(t, at64), "open", secret, "r")
		d := guardtest.StartDoer(t, deep)
		g.Undecided(t, d, "open", secret, "r")
		d.Passed(t, "open", secret, "w")
		d.Passed(t, "exec", dir+"/two")
		d.Passed(t, "open", secret, "r")
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(dir+"/**/one"), secret))
		if err := exec.Command(deep).Run(); err == nil || !strings.Contains(err.Error(), "signal: ") {
			t.Errorf("it was started: %v", err)
		}
		if alert := g.Next(t).Context(); !alert.Undecided {
			t.Errorf("alert %v", alert)
		}
	})
}

// testScripts names scripts. A script is a program where the kernel starts its
// interpreter, not where somebody else reads it.
func testScripts(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	secret := guardtest.WriteFile(t, dir+"/secret", "")
	interpreter := guardtest.CopyProgram(t, dir+"/interpreter")
	script := guardtest.WriteFile(t, dir+"/bin/script", "#!"+interpreter+"\n")
	other := guardtest.WriteFile(t, dir+"/bin/other", "#!"+interpreter+"\n")
	running := guardtest.StartDoer(t, script)

	for _, binary := range []string{script, dir + "/bin/s*", dir + "/**/script"} {
		t.Run(binary[len(dir):], func(t *testing.T) {
			g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(binary), secret))
			for _, d := range []*guardtest.Doer{running, guardtest.StartDoer(t, script)} {
				if alert := g.Refused(t, d, "open", secret, "r"); alert.Binary != interpreter {
					t.Errorf("alert %v", alert)
				}
			}
			guardtest.StartDoer(t, interpreter, script).Passed(t, "open", secret, "r")
			guardtest.StartDoer(t, other).Passed(t, "open", secret, "r")
			guardtest.StartDoer(t, interpreter).Passed(t, "open", secret, "r")
		})
	}
	t.Run("under another name", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(script), secret))
		guardtest.Check(t, os.Link(script, dir+"/linked"))
		g.Refused(t, guardtest.StartDoer(t, dir+"/linked"), "open", secret, "r")
	})
	t.Run("the interpreter of any script", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(interpreter), secret))
		for _, d := range []*guardtest.Doer{running, guardtest.StartDoer(t, other), guardtest.StartDoer(t, interpreter, script)} {
			g.Refused(t, d, "open", secret, "r")
		}
	})
	t.Run("an exception for a script", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("nobody", ebpfguard.Everyone(), secret), guardtest.AllowFiles("but", ebpfguard.Binaries(script), secret))
		running.Passed(t, "open", secret, "r")
		guardtest.StartDoer(t, script).Passed(t, "open", secret, "r")
		g.Refused(t, guardtest.StartDoer(t, interpreter, script), "open", secret, "r")
	})
	t.Run("script and interpreter", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("interpreter", ebpfguard.Binaries(interpreter), secret), guardtest.AllowFiles("script", ebpfguard.Binaries(script), secret))
		// Both name it exactly: the denial wins.
		if alert := g.Refused(t, running, "open", secret, "r"); alert.Policy != "interpreter" {
			t.Errorf("alert %v", alert)
		}
	})
}

// testDescendants follows what a program has started.
func testDescendants(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	secret, second := guardtest.WriteFile(t, dir+"/secret", ""), guardtest.WriteFile(t, dir+"/second", "")
	one, two, three := guardtest.CopyProgram(t, dir+"/one"), guardtest.CopyProgram(t, dir+"/two"), guardtest.CopyProgram(t, dir+"/three")
	ofOne := guardtest.DenyFiles("of-one", ebpfguard.Descendants(one), secret)
	ofTwo := guardtest.DenyFiles("of-two", ebpfguard.Descendants(two), second)
	// start starts a program, and others from it.
	start := func(t *testing.T, programs ...string) *guardtest.Doer {
		t.Helper()
		d := guardtest.StartDoer(t, programs[0])
		for _, p := range programs[1:] {
			d.Passed(t, "spawn", p)
		}
		return d
	}

	t.Run("whoever it starts", func(t *testing.T) {
		g.Enforce(t, ofOne)
		g.Refused(t, start(t, one), "open", secret, "r")
		g.Refused(t, start(t, one, two), "open", secret, "r")
		g.Refused(t, start(t, one, two, three), "open", secret, "r")
		start(t, two, three).Passed(t, "open", secret, "r")
		start(t, two, one, three).Passed(t, "open", second, "r")
		d := start(t, two, one, three)
		if alert := g.Refused(t, d, "open", secret, "r"); alert.Binary != three {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("in place of it", func(t *testing.T) {
		g.Enforce(t, ofOne)
		d := start(t, one)
		d.Passed(t, "exec", two)
		g.Refused(t, d, "open", secret, "r")
		d.Passed(t, "exec", three)
		g.Refused(t, d, "open", secret, "r")
		if o := d.Do("fork", secret); o.Errno != syscall.EPERM {
			t.Errorf("the child: %v", o)
		}
		g.Next(t)
	})
	t.Run("orphans", func(t *testing.T) {
		g.Enforce(t, ofOne)
		d := start(t, one, two)
		d.Passed(t, "orphan", three)
		g.Refused(t, d, "open", secret, "r")
		d.Passed(t, "orphan", two)
		g.Refused(t, d, "open", secret, "r")
	})
	t.Run("running before the policy", func(t *testing.T) {
		program, child, grandchild, stranger := start(t, one), start(t, one, two), start(t, one, two, three), start(t, two, three)
		g.Enforce(t, ofOne)
		for _, d := range []*guardtest.Doer{program, child, grandchild} {
			g.Refused(t, d, "open", secret, "r")
		}
		stranger.Passed(t, "open", secret, "r")
		child.Passed(t, "orphan", three)
		g.Refused(t, child, "open", secret, "r")
	})
	t.Run("not without it", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(one), secret))
		start(t, one, two).Passed(t, "open", secret, "r")
	})
	t.Run("over policy sets", func(t *testing.T) {
		g.Enforce(t, ofOne)
		orphan := start(t, one, two)
		orphan.Passed(t, "orphan", three)
		g.Enforce(t, ofTwo, ofOne)
		g.Refused(t, orphan, "open", secret, "r")
		// It was two's child; two has run and gone under the first set, which did not ask for that.
		child := start(t, two, three)
		g.Refused(t, child, "open", second, "r")
		child.Passed(t, "open", secret, "r")
		g.Enforce(t)
		orphan.Passed(t, "open", secret, "r")
		child.Passed(t, "open", second, "r")
		orphan.Passed(t, "spawn", one)
		orphan.Passed(t, "spawn", two)
		g.Enforce(t, ofOne)
		g.Refused(t, orphan, "open", secret, "r")
		child.Passed(t, "open", secret, "r")
		child.Passed(t, "open", second, "r")
		g.Enforce(t, ofTwo)
		orphan.Passed(t, "open", secret, "r")
		g.Refused(t, orphan, "open", second, "r") // two, which is still running
		g.Refused(t, child, "open", second, "r")
	})
	t.Run("two marks at once", func(t *testing.T) {
		g.Enforce(t, ofOne, ofTwo)
		both := start(t, one, two, three)
		g.Refused(t, both, "open", secret, "r")
		if alert := g.Refused(t, both, "open", second, "r"); alert.Policy != "of-two" {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("less specific than the program", func(t *testing.T) {
		g.Enforce(t, ofOne, guardtest.AllowFiles("but", ebpfguard.Binaries(three), secret), guardtest.AllowFiles("cgroup", ebpfguard.Subject{Cgroups: []string{"/"}}, secret))
		g.Refused(t, start(t, one, two), "open", secret, "r")
		start(t, one, three).Passed(t, "open", secret, "r")
	})
	t.Run("more lists than there are marks, one after the other", func(t *testing.T) {
		g.Enforce(t, ofOne)
		orphan := start(t, one, two)
		orphan.Passed(t, "orphan", three)
		for i := range 9 {
			var set []policy.Policy
			for j := range 8 {
				name := fmt.Sprintf("list-%d-%d", i, j)
				set = append(set, guardtest.DenyFiles(name, ebpfguard.Descendants(dir+"/"+name), secret))
			}
			g.Enforce(t, set...)
			orphan.Passed(t, "open", secret, "r")
		}
		g.Enforce(t, ofTwo)
		orphan.Passed(t, "open", second, "r")
		g.Refused(t, start(t, two, three), "open", second, "r")
		start(t, one, three).Passed(t, "open", second, "r")
	})
	t.Run("of a script and of a directory", func(t *testing.T) {
		script := guardtest.WriteFile(t, dir+"/scripts/script", "#!"+three+"\n")
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Descendants(dir+"/scripts/"), secret))
		g.Refused(t, start(t, script, two), "open", secret, "r")
		start(t, three, two).Passed(t, "open", secret, "r")
	})
}

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
		if o := d.Do("fork", secret); o.Errno != syscall.EPERM {
			t.Errorf("the child: %v", o)
		}
		g.Next(t)
		d.Passed(t, "exec", self)
		d.Passed(t, "open", secret, "r")
		moveToCgroup(t, d, "/web/sub")
		d.Passed(t, "open", secret, "r")
		d.Passed(t, "spawn", self)
		g.Refused(t, d, "open", secret, "r")
	})
	t.Run("too deep or too long to tell", func(t *testing.T) {
		// Whoever may make groups below its own cannot leave a policy by that, however
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

// testNameAtExec renames and replaces programs that run, before a policy names them.
func testNameAtExec(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	secret := guardtest.WriteFile(t, dir+"/secret", "")
	deny := func(t *testing.T, binary string) {
		t.Helper()
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(dir+"/"+binary), secret))
	}
	t.Run("renamed", func(t *testing.T) {
		d := guardtest.StartDoer(t, guardtest.CopyProgram(t, dir+"/a"))
		guardtest.Check(t, os.Rename(dir+"/a", dir+"/b"))
		deny(t, "a")
		g.Refused(t, d, "open", secret, "r")
		deny(t, "b") // it is this file
		g.Refused(t, d, "open", secret, "r")
		deny(t, "b*") // it was started by another name
		d.Passed(t, "open", secret, "r")
	})
	t.Run("unlinked", func(t *testing.T) {
		d := guardtest.StartDoer(t, guardtest.CopyProgram(t, dir+"/c"))
		guardtest.Check(t, os.Remove(dir+"/c"))
		deny(t, "c")
		g.Refused(t, d, "open", secret, "r")
		if alert := g.Refused(t, d, "open", secret, "r"); alert.Binary != dir+"/c" {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("replaced", func(t *testing.T) {
		d, e := guardtest.StartDoer(t, guardtest.CopyProgram(t, dir+"/d")), guardtest.StartDoer(t, guardtest.CopyProgram(t, dir+"/e"))
		guardtest.Check(t, os.Rename(dir+"/e", dir+"/d"))
		deny(t, "d")
		g.Refused(t, d, "open", secret, "r")
		g.Refused(t, e, "open", secret, "r")
		g.Refused(t, guardtest.StartDoer(t, dir+"/d"), "open", secret, "r")
		deny(t, "e")
		d.Passed(t, "open", secret, "r")
		g.Refused(t, e, "open", secret, "r")
		guardtest.StartDoer(t, dir+"/d").Passed(t, "open", secret, "r")
	})
	t.Run("in a renamed directory", func(t *testing.T) {
		d := guardtest.StartDoer(t, guardtest.CopyProgram(t, dir+"/app/f"))
		guardtest.Check(t, os.Rename(dir+"/app", dir+"/old"))
		deny(t, "app/")
		g.Refused(t, d, "open", secret, "r")
		guardtest.StartDoer(t, dir+"/old/f").Passed(t, "open", secret, "r")
		deny(t, "old/")
		d.Passed(t, "open", secret, "r")
		g.Refused(t, guardtest.StartDoer(t, dir+"/old/f"), "open", secret, "r")
	})
	t.Run("renamed under the policy", func(t *testing.T) {
		path := guardtest.CopyProgram(t, dir+"/g")
		deny(t, "g")
		d := guardtest.StartDoer(t, path)
		g.Refused(t, d, "open", secret, "r")
		guardtest.Check(t, os.Rename(path, dir+"/h"))
		g.Refused(t, d, "open", secret, "r")
		g.Refused(t, guardtest.StartDoer(t, dir+"/h"), "open", secret, "r")
		deny(t, "g")
		g.Refused(t, d, "open", secret, "r")
		// Nothing is there, so that the name counts alone.
		guardtest.StartDoer(t, dir+"/h").Passed(t, "open", secret, "r")
	})
}

// testOlderThanGuard has processes that were there before a guard.
func testOlderThanGuard(t *testing.T, _ *guardtest.FileGuard) {
	dir := t.TempDir()
	secret := guardtest.WriteFile(t, dir+"/secret", "")
	makeCgroup(t, "/older")
	one, two, three := guardtest.CopyProgram(t, dir+"/one"), guardtest.CopyProgram(t, dir+"/two"), guardtest.CopyProgram(t, dir+"/three")
	script := guardtest.WriteFile(t, dir+"/script", "#!"+three+"\n")
	program, renamed, scripted, grouped := guardtest.StartDoer(t, one), guardtest.StartDoer(t, guardtest.CopyProgram(t, dir+"/before")), guardtest.StartDoer(t, script), startInCgroup(t, "/older", two)
	guardtest.Check(t, os.Rename(dir+"/before", dir+"/after"))
	child, orphan := guardtest.StartDoer(t, one), guardtest.StartDoer(t, one)
	child.Passed(t, "spawn", two)
	orphan.Passed(t, "orphan", two)

	m, err := ebpfguard.NewManager(ebpfguard.Options{AlertBytes: 4096})
	guardtest.Check(t, err)
	defer m.Close()
	guardtest.Check(t, m.Attach(policy.FileOpen))
	moveToCgroup(t, grouped, "") // it began to count a moment ago
	for _, test := range []struct {
		name    string
		subject ebpfguard.Subject
		refused []*guardtest.Doer
	}{
		{"program", ebpfguard.Binaries(one), []*guardtest.Doer{program}},
		{"directory", ebpfguard.Binaries(dir + "/"), []*guardtest.Doer{program, renamed, scripted, grouped, child, orphan}},
		{"new name", ebpfguard.Binaries(dir + "/aft*"), []*guardtest.Doer{renamed}},
		{"former name", ebpfguard.Binaries(dir + "/before"), nil},
		{"interpreter", ebpfguard.Binaries(three), []*guardtest.Doer{scripted}},
		{"script", ebpfguard.Binaries(script), nil},
		{"living ancestors", ebpfguard.Descendants(one), []*guardtest.Doer{program, child}},
		{"control group", ebpfguard.Subject{Cgroups: []string{"/older"}}, []*guardtest.Doer{grouped}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := m.Apply([]policy.Policy{guardtest.DenyFiles("test", test.subject, secret)})
			guardtest.Check(t, err)
			for _, d := range []*guardtest.Doer{program, renamed, scripted, grouped, child, orphan} {
				o := d.Do("open", secret, "r")
				if want := slices.Contains(test.refused, d); want != (o.Errno == syscall.EPERM) || !want && o.Errno != 0 {
					t.Errorf("%s: %v, want it refused: %v", d.Command.Path, o, want)
				}
			}
		})
	}
}
