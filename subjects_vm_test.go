//go:build vm

package ebpfguard_test

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
)

// TestSubjects are the tests of the processes that policies select, by what these may open.
func TestSubjects(t *testing.T) {
	g := newFileGuard(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *fileGuard)
	}{
		{"binaries", testBinaries}, {"scripts", testScripts}, {"descendants", testDescendants}, {"users", testUsers},
		{"cgroups", testCgroups}, {"combined", testCombinedSubjects}, {"name at exec", testNameAtExec}, {"older than the guard", testOlderThanGuard},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, g) })
	}
	t.Logf("%d policy sets applied in %v", g.applied, g.applying)
}

// testBinaries names programs in the ways there are.
func testBinaries(t *testing.T, g *fileGuard) {
	dir := t.TempDir()
	secret := write(t, dir+"/secret", "")
	programs := map[string]*doer{}
	for _, name := range []string{"one", "two", "app/x", "app/sub/y", "py3.11"} {
		programs[name] = startDoer(t, copyProgram(t, filepath.Join(dir, name)))
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
			g.apply(t, denyFiles("test", ebpfguard.Binaries(binaries...), secret))
			for name, d := range programs {
				selected := false
				for _, s := range strings.Fields(test.selected) {
					selected = selected || s == name
				}
				if !selected {
					d.passed(t, "open", secret, "r")
				} else if alert := g.refused(t, d, "open", secret, "r"); alert.Binary != dir+"/"+name {
					t.Errorf("alert %v", alert)
				}
			}
		})
	}
	t.Run("other names of a program", func(t *testing.T) {
		one := dir + "/one"
		g.apply(t, denyFiles("test", ebpfguard.Binaries(one), secret))
		check(t, os.Link(one, dir+"/hard"))
		check(t, os.Symlink(one, dir+"/soft"))
		g.refused(t, startDoer(t, dir+"/hard"), "open", secret, "r")
		g.refused(t, startDoer(t, dir+"/soft"), "open", secret, "r")
		g.refused(t, startDoer(t, "/proc/self/root"+one), "open", secret, "r")
		mover := startDoer(t, "/proc/self/exe")
		mover.passed(t, "unshare")
		mover.passed(t, "bind", dir, dir+"/app")
		mover.passed(t, "spawn", dir+"/app/one")
		g.refused(t, mover, "open", secret, "r")
	})
	t.Run("inherited at fork, lost at exec", func(t *testing.T) {
		g.apply(t, denyFiles("test", ebpfguard.Binaries(dir+"/one"), secret))
		d := startDoer(t, dir+"/one")
		if o := d.do("fork", secret); o.Errno != syscall.EPERM {
			t.Errorf("the child: %v", o)
		}
		if alert := g.next(t).Context(); alert.PPID != uint32(d.pid) || alert.Binary != dir+"/one" {
			t.Errorf("alert %v", alert)
		}
		d.passed(t, "exec", dir+"/two")
		d.passed(t, "open", secret, "r")
		d.passed(t, "exec", dir+"/one")
		g.refused(t, d, "open", secret, "r")
	})
	t.Run("in a user's mount namespace", func(t *testing.T) {
		check(t, os.Chmod(filepath.Dir(dir), 0o755))
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
		start := func(program string) *doer {
			return startDoerWith(t, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: ids, GidMappings: ids}, program)
		}
		g.apply(t, denyFiles("test", ebpfguard.Binaries(dir+"/one"), secret))
		g.refused(t, start(dir+"/one"), "open", secret, "r")
		start(dir+"/two").passed(t, "open", secret, "r")
		// There a path proves nothing, so only a program that is named itself is known.
		g.apply(t, denyFiles("test", ebpfguard.Binaries(dir+"/on*"), secret))
		start(dir+"/one").passed(t, "open", secret, "r")
		g.refused(t, startDoer(t, dir+"/one"), "open", secret, "r")
	})
	t.Run("too deep", func(t *testing.T) {
		deep := copyProgram(t, dir+strings.Repeat("/d", 80)+"/one")
		at64 := copyProgram(t, dir+strings.Repeat("/d", 63-strings.Count(dir, "/"))+"/one")
		// An unknown program is not let run its own file, which nobody knows either.
		g.apply(t, filePolicy("test", ebpfguard.Binaries(dir+"/**/one"), policy.Rule{
			Deny: []policy.Pattern{policy.FilePattern{Paths: []string{secret}, Access: policy.Read}},
		}))
		g.refused(t, startDoer(t, at64), "open", secret, "r")
		d := startDoer(t, deep)
		g.undecided(t, d, "open", secret, "r")
		d.passed(t, "open", secret, "w")
		d.passed(t, "exec", dir+"/two")
		d.passed(t, "open", secret, "r")
		g.apply(t, denyFiles("test", ebpfguard.Binaries(dir+"/**/one"), secret))
		if err := exec.Command(deep).Run(); err == nil || !strings.Contains(err.Error(), "signal: ") {
			t.Errorf("it was started: %v", err)
		}
		if alert := g.next(t).Context(); !alert.Undecided {
			t.Errorf("alert %v", alert)
		}
	})
}

// testScripts names scripts. A script is a program where the kernel starts its
// interpreter, not where somebody else reads it.
func testScripts(t *testing.T, g *fileGuard) {
	dir := t.TempDir()
	secret := write(t, dir+"/secret", "")
	interpreter := copyProgram(t, dir+"/interpreter")
	script := write(t, dir+"/bin/script", "#!"+interpreter+"\n")
	other := write(t, dir+"/bin/other", "#!"+interpreter+"\n")
	running := startDoer(t, script)

	for _, binary := range []string{script, dir + "/bin/s*", dir + "/**/script"} {
		t.Run(binary[len(dir):], func(t *testing.T) {
			g.apply(t, denyFiles("test", ebpfguard.Binaries(binary), secret))
			for _, d := range []*doer{running, startDoer(t, script)} {
				if alert := g.refused(t, d, "open", secret, "r"); alert.Binary != interpreter {
					t.Errorf("alert %v", alert)
				}
			}
			startDoer(t, interpreter, script).passed(t, "open", secret, "r")
			startDoer(t, other).passed(t, "open", secret, "r")
			startDoer(t, interpreter).passed(t, "open", secret, "r")
		})
	}
	t.Run("under another name", func(t *testing.T) {
		g.apply(t, denyFiles("test", ebpfguard.Binaries(script), secret))
		check(t, os.Link(script, dir+"/linked"))
		g.refused(t, startDoer(t, dir+"/linked"), "open", secret, "r")
	})
	t.Run("the interpreter of any script", func(t *testing.T) {
		g.apply(t, denyFiles("test", ebpfguard.Binaries(interpreter), secret))
		for _, d := range []*doer{running, startDoer(t, other), startDoer(t, interpreter, script)} {
			g.refused(t, d, "open", secret, "r")
		}
	})
	t.Run("an exception for a script", func(t *testing.T) {
		g.apply(t, denyFiles("nobody", ebpfguard.Everyone(), secret), allowFiles("but", ebpfguard.Binaries(script), secret))
		running.passed(t, "open", secret, "r")
		startDoer(t, script).passed(t, "open", secret, "r")
		g.refused(t, startDoer(t, interpreter, script), "open", secret, "r")
	})
	t.Run("script and interpreter", func(t *testing.T) {
		g.apply(t, denyFiles("interpreter", ebpfguard.Binaries(interpreter), secret), allowFiles("script", ebpfguard.Binaries(script), secret))
		// Both name it exactly: the denial wins.
		if alert := g.refused(t, running, "open", secret, "r"); alert.Policy != "interpreter" {
			t.Errorf("alert %v", alert)
		}
	})
}

// testDescendants follows what a program has started.
func testDescendants(t *testing.T, g *fileGuard) {
	dir := t.TempDir()
	secret, second := write(t, dir+"/secret", ""), write(t, dir+"/second", "")
	one, two, three := copyProgram(t, dir+"/one"), copyProgram(t, dir+"/two"), copyProgram(t, dir+"/three")
	ofOne := denyFiles("of-one", ebpfguard.Descendants(one), secret)
	ofTwo := denyFiles("of-two", ebpfguard.Descendants(two), second)
	// start starts a program, and others from it.
	start := func(t *testing.T, programs ...string) *doer {
		t.Helper()
		d := startDoer(t, programs[0])
		for _, p := range programs[1:] {
			d.passed(t, "spawn", p)
		}
		return d
	}

	t.Run("whoever it starts", func(t *testing.T) {
		g.apply(t, ofOne)
		g.refused(t, start(t, one), "open", secret, "r")
		g.refused(t, start(t, one, two), "open", secret, "r")
		g.refused(t, start(t, one, two, three), "open", secret, "r")
		start(t, two, three).passed(t, "open", secret, "r")
		start(t, two, one, three).passed(t, "open", second, "r")
		d := start(t, two, one, three)
		if alert := g.refused(t, d, "open", secret, "r"); alert.Binary != three {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("in place of it", func(t *testing.T) {
		g.apply(t, ofOne)
		d := start(t, one)
		d.passed(t, "exec", two)
		g.refused(t, d, "open", secret, "r")
		d.passed(t, "exec", three)
		g.refused(t, d, "open", secret, "r")
		if o := d.do("fork", secret); o.Errno != syscall.EPERM {
			t.Errorf("the child: %v", o)
		}
		g.next(t)
	})
	t.Run("orphans", func(t *testing.T) {
		g.apply(t, ofOne)
		d := start(t, one, two)
		d.passed(t, "orphan", three)
		g.refused(t, d, "open", secret, "r")
		d.passed(t, "orphan", two)
		g.refused(t, d, "open", secret, "r")
	})
	t.Run("running before the policy", func(t *testing.T) {
		program, child, grandchild, stranger := start(t, one), start(t, one, two), start(t, one, two, three), start(t, two, three)
		g.apply(t, ofOne)
		for _, d := range []*doer{program, child, grandchild} {
			g.refused(t, d, "open", secret, "r")
		}
		stranger.passed(t, "open", secret, "r")
		child.passed(t, "orphan", three)
		g.refused(t, child, "open", secret, "r")
	})
	t.Run("not without it", func(t *testing.T) {
		g.apply(t, denyFiles("test", ebpfguard.Binaries(one), secret))
		start(t, one, two).passed(t, "open", secret, "r")
	})
	t.Run("over policy sets", func(t *testing.T) {
		g.apply(t, ofOne)
		orphan := start(t, one, two)
		orphan.passed(t, "orphan", three)
		g.apply(t, ofTwo, ofOne)
		g.refused(t, orphan, "open", secret, "r")
		// It was two's child; two has run and gone under the first set, which did not ask for that.
		child := start(t, two, three)
		g.refused(t, child, "open", second, "r")
		child.passed(t, "open", secret, "r")
		g.apply(t)
		orphan.passed(t, "open", secret, "r")
		child.passed(t, "open", second, "r")
		orphan.passed(t, "spawn", one)
		orphan.passed(t, "spawn", two)
		g.apply(t, ofOne)
		g.refused(t, orphan, "open", secret, "r")
		child.passed(t, "open", secret, "r")
		child.passed(t, "open", second, "r")
		g.apply(t, ofTwo)
		orphan.passed(t, "open", secret, "r")
		g.refused(t, orphan, "open", second, "r") // two, which is still running
		g.refused(t, child, "open", second, "r")
	})
	t.Run("two marks at once", func(t *testing.T) {
		g.apply(t, ofOne, ofTwo)
		both := start(t, one, two, three)
		g.refused(t, both, "open", secret, "r")
		if alert := g.refused(t, both, "open", second, "r"); alert.Policy != "of-two" {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("less specific than the program", func(t *testing.T) {
		g.apply(t, ofOne, allowFiles("but", ebpfguard.Binaries(three), secret), allowFiles("cgroup", ebpfguard.Subject{Cgroups: []string{"/"}}, secret))
		g.refused(t, start(t, one, two), "open", secret, "r")
		start(t, one, three).passed(t, "open", secret, "r")
	})
	t.Run("more lists than there are marks, one after the other", func(t *testing.T) {
		g.apply(t, ofOne)
		orphan := start(t, one, two)
		orphan.passed(t, "orphan", three)
		for i := range 9 {
			var set []policy.Policy
			for j := range 8 {
				name := fmt.Sprintf("list-%d-%d", i, j)
				set = append(set, denyFiles(name, ebpfguard.Descendants(dir+"/"+name), secret))
			}
			g.apply(t, set...)
			orphan.passed(t, "open", secret, "r")
		}
		g.apply(t, ofTwo)
		orphan.passed(t, "open", second, "r")
		g.refused(t, start(t, two, three), "open", second, "r")
		start(t, one, three).passed(t, "open", second, "r")
	})
	t.Run("of a script and of a directory", func(t *testing.T) {
		script := write(t, dir+"/scripts/script", "#!"+three+"\n")
		g.apply(t, denyFiles("test", ebpfguard.Descendants(dir+"/scripts/"), secret))
		g.refused(t, start(t, script, two), "open", secret, "r")
		start(t, three, two).passed(t, "open", secret, "r")
	})
}

// testUsers selects by the real user id.
func testUsers(t *testing.T, g *fileGuard) {
	dir := t.TempDir()
	check(t, os.Chmod(filepath.Dir(dir), 0o755))
	secret := write(t, dir+"/secret", "")
	subject := ebpfguard.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: 1000, Last: 1000}, {First: 2000, Last: 2999}}}}
	g.apply(t, denyFiles("test", subject, secret))
	for uid, refused := range map[int]bool{0: false, 999: false, 1000: true, 1001: false, 1999: false, 2000: true, 2500: true, 2999: true, 3000: false, 65534: false} {
		d := startDoerWith(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid)}}, "/proc/self/exe")
		if !refused {
			d.passed(t, "open", secret, "r")
		} else if alert := g.refused(t, d, "open", secret, "r"); alert.UID != uint32(uid) {
			t.Errorf("alert %v", alert)
		}
	}
	d := startDoer(t, "/proc/self/exe")
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
		d.passed(t, "setuid", step.real, step.effective, step.saved)
		if step.refused {
			g.refused(t, d, "open", secret, "r")
		} else {
			d.passed(t, "open", secret, "r")
		}
	}
	t.Run("by name", func(t *testing.T) {
		g.apply(t, denyFiles("test", ebpfguard.Subject{Users: policy.IDs{Names: []string{"tester"}}}, secret))
		d := startDoer(t, "/proc/self/exe")
		d.passed(t, "open", secret, "r")
		d.passed(t, "setuid", "1000", "0", "0")
		g.refused(t, d, "open", secret, "r")
	})
	t.Run("in a user namespace", func(t *testing.T) {
		g.apply(t, denyFiles("test", subject, secret))
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 2000, Size: 100}}
		d := startDoerWith(t, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Credential: &syscall.Credential{Uid: 0}}, "/proc/self/exe")
		if alert := g.refused(t, d, "open", secret, "r"); alert.UID != 2000 {
			t.Errorf("alert %v", alert)
		}
	})
}

// makeCgroup makes a control group for the length of the test.
func makeCgroup(t *testing.T, path string) string {
	t.Helper()
	dir := "/sys/fs/cgroup" + path
	check(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// startInCgroup starts a doer that has been in a control group from the beginning.
func startInCgroup(t *testing.T, path, program string) *doer {
	t.Helper()
	dir, err := os.Open("/sys/fs/cgroup" + path)
	check(t, err)
	defer dir.Close()
	return startDoerWith(t, &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}, program)
}

func moveToCgroup(t *testing.T, d *doer, path string) {
	t.Helper()
	check(t, os.WriteFile("/sys/fs/cgroup"+path+"/cgroup.procs", []byte(strconv.Itoa(d.pid)), 0o644))
}

// testCgroups selects by the control group.
func testCgroups(t *testing.T, g *fileGuard) {
	dir := t.TempDir()
	secret := write(t, dir+"/secret", "")
	in := func(cgroups ...string) policy.Policy {
		return denyFiles("test", ebpfguard.Subject{Cgroups: cgroups}, secret)
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
			before := map[string]*doer{}
			all := []string{"/", "/web", "/web/sub", "/web/sub/deep", "/website", "/db"}
			for _, c := range all {
				before[c] = startInCgroup(t, c, self)
			}
			g.apply(t, in(test.cgroups...))
			for _, c := range all {
				selected := strings.Contains(" "+test.selected+" ", " "+c+" ")
				for _, d := range []*doer{before[c], startInCgroup(t, c, self)} {
					if !selected {
						d.passed(t, "open", secret, "r")
					} else if alert := g.refused(t, d, "open", secret, "r"); alert.Cgroup != c {
						t.Errorf("in %s: alert %v, cgroup %s", c, alert, alert.Cgroup)
					}
				}
			}
		})
	}
	t.Run("kept until exec", func(t *testing.T) {
		g.apply(t, in("/web"))
		d := startInCgroup(t, "/web", self)
		moveToCgroup(t, d, "/db")
		if alert := g.refused(t, d, "open", secret, "r"); alert.Cgroup != "/db" {
			t.Errorf("alert %v, cgroup %s", alert, alert.Cgroup)
		}
		if o := d.do("fork", secret); o.Errno != syscall.EPERM {
			t.Errorf("the child: %v", o)
		}
		g.next(t)
		d.passed(t, "exec", self)
		d.passed(t, "open", secret, "r")
		moveToCgroup(t, d, "/web/sub")
		d.passed(t, "open", secret, "r")
		d.passed(t, "spawn", self)
		g.refused(t, d, "open", secret, "r")
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
		g.apply(t, in("/web"))
		for _, path := range []string{deep, long} {
			d := startInCgroup(t, path, self)
			for range 3 {
				g.undecided(t, d, "open", secret, "r")
				d.passed(t, "exec", self)
			}
			g.undecided(t, d, "open", secret, "r")
			d.stop()
		}
	})
	t.Run("made after the policy", func(t *testing.T) {
		g.apply(t, in("/later"))
		makeCgroup(t, "/later")
		makeCgroup(t, "/later/still")
		for _, c := range []string{"/later", "/later/still"} {
			d := startInCgroup(t, c, self)
			g.refused(t, d, "open", secret, "r")
			d.stop()
		}
	})
	t.Run("in a cgroup namespace", func(t *testing.T) {
		g.apply(t, in("/web"))
		group, err := os.Open("/sys/fs/cgroup/web/sub")
		check(t, err)
		defer group.Close()
		d := startDoerWith(t, &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd()), Cloneflags: unix.CLONE_NEWCGROUP}, self)
		g.refused(t, d, "open", secret, "r")
	})
}

// testCombinedSubjects wants selectors of different kinds to be met all.
func testCombinedSubjects(t *testing.T, g *fileGuard) {
	dir := t.TempDir()
	check(t, os.Chmod(filepath.Dir(dir), 0o755))
	secret := write(t, dir+"/secret", "")
	makeCgroup(t, "/combined")
	one, two := copyProgram(t, dir+"/one"), copyProgram(t, dir+"/two")
	user := policy.IDs{Ranges: []policy.IDRange{{First: 1000, Last: 1000}}}
	subject := ebpfguard.Subject{Binaries: []string{one}, Users: user, Cgroups: []string{"/combined"}}
	descendants := subject
	descendants.Descendants = true
	start := func(t *testing.T, program, cgroup string, uid int) *doer {
		t.Helper()
		d := startInCgroup(t, cgroup, program)
		d.passed(t, "setuid", strconv.Itoa(uid), "0", "0")
		return d
	}
	g.apply(t, denyFiles("test", subject, secret))
	for _, program := range []string{one, two} {
		for _, cgroup := range []string{"/combined", "/"} {
			for _, uid := range []int{1000, 1001} {
				d := start(t, program, cgroup, uid)
				if program == one && cgroup == "/combined" && uid == 1000 {
					g.refused(t, d, "open", secret, "r")
				} else {
					d.passed(t, "open", secret, "r")
				}
				d.stop()
			}
		}
	}
	t.Run("descendants", func(t *testing.T) {
		g.apply(t, denyFiles("test", descendants, secret))
		d := start(t, one, "/combined", 1000)
		d.passed(t, "spawn", two)
		g.refused(t, d, "open", secret, "r")
		d.passed(t, "setuid", "0", "0", "0")
		d.passed(t, "open", secret, "r")
		d.stop()
	})
	t.Run("the most specific one", func(t *testing.T) {
		subjects := []ebpfguard.Subject{
			ebpfguard.Everyone(), {Users: user}, {Cgroups: []string{"/combined"}}, {Cgroups: []string{"/combined"}, Users: user},
			{Binaries: []string{one}, Descendants: true}, {Binaries: []string{dir + "/t*"}}, {Binaries: []string{two}}, {Binaries: []string{two}, Users: user},
		}
		for i, denied := range subjects {
			set := []policy.Policy{denyFiles("deny", denied, secret)}
			if i > 0 {
				set = append(set, allowFiles("less", subjects[i-1], secret))
			}
			d := start(t, one, "/combined", 1000)
			d.passed(t, "spawn", two)
			g.apply(t, set...)
			g.refused(t, d, "open", secret, "r")
			if i+1 < len(subjects) {
				g.apply(t, append(set, allowFiles("more", subjects[i+1], secret))...)
				d.passed(t, "open", secret, "r")
			}
			d.stop()
		}
	})
}

// testNameAtExec renames and replaces programs that run, before a policy names them.
func testNameAtExec(t *testing.T, g *fileGuard) {
	dir := t.TempDir()
	secret := write(t, dir+"/secret", "")
	deny := func(t *testing.T, binary string) {
		t.Helper()
		g.apply(t, denyFiles("test", ebpfguard.Binaries(dir+"/"+binary), secret))
	}
	t.Run("renamed", func(t *testing.T) {
		d := startDoer(t, copyProgram(t, dir+"/a"))
		check(t, os.Rename(dir+"/a", dir+"/b"))
		deny(t, "a")
		g.refused(t, d, "open", secret, "r")
		deny(t, "b") // it is this file
		g.refused(t, d, "open", secret, "r")
		deny(t, "b*") // it was started by another name
		d.passed(t, "open", secret, "r")
	})
	t.Run("unlinked", func(t *testing.T) {
		d := startDoer(t, copyProgram(t, dir+"/c"))
		check(t, os.Remove(dir+"/c"))
		deny(t, "c")
		g.refused(t, d, "open", secret, "r")
		if alert := g.refused(t, d, "open", secret, "r"); alert.Binary != dir+"/c" {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("replaced", func(t *testing.T) {
		d, e := startDoer(t, copyProgram(t, dir+"/d")), startDoer(t, copyProgram(t, dir+"/e"))
		check(t, os.Rename(dir+"/e", dir+"/d"))
		deny(t, "d")
		g.refused(t, d, "open", secret, "r")
		g.refused(t, e, "open", secret, "r")
		g.refused(t, startDoer(t, dir+"/d"), "open", secret, "r")
		deny(t, "e")
		d.passed(t, "open", secret, "r")
		g.refused(t, e, "open", secret, "r")
		startDoer(t, dir+"/d").passed(t, "open", secret, "r")
	})
	t.Run("in a renamed directory", func(t *testing.T) {
		d := startDoer(t, copyProgram(t, dir+"/app/f"))
		check(t, os.Rename(dir+"/app", dir+"/old"))
		deny(t, "app/")
		g.refused(t, d, "open", secret, "r")
		startDoer(t, dir+"/old/f").passed(t, "open", secret, "r")
		deny(t, "old/")
		d.passed(t, "open", secret, "r")
		g.refused(t, startDoer(t, dir+"/old/f"), "open", secret, "r")
	})
	t.Run("renamed under the policy", func(t *testing.T) {
		path := copyProgram(t, dir+"/g")
		deny(t, "g")
		d := startDoer(t, path)
		g.refused(t, d, "open", secret, "r")
		check(t, os.Rename(path, dir+"/h"))
		g.refused(t, d, "open", secret, "r")
		g.refused(t, startDoer(t, dir+"/h"), "open", secret, "r")
		deny(t, "g")
		g.refused(t, d, "open", secret, "r")
		// Nothing is there, so that the name counts alone.
		startDoer(t, dir+"/h").passed(t, "open", secret, "r")
	})
}

// testOlderThanGuard has processes that were there before a guard.
func testOlderThanGuard(t *testing.T, _ *fileGuard) {
	dir := t.TempDir()
	secret := write(t, dir+"/secret", "")
	makeCgroup(t, "/older")
	one, two, three := copyProgram(t, dir+"/one"), copyProgram(t, dir+"/two"), copyProgram(t, dir+"/three")
	script := write(t, dir+"/script", "#!"+three+"\n")
	program, renamed, scripted, grouped := startDoer(t, one), startDoer(t, copyProgram(t, dir+"/before")), startDoer(t, script), startInCgroup(t, "/older", two)
	check(t, os.Rename(dir+"/before", dir+"/after"))
	child, orphan := startDoer(t, one), startDoer(t, one)
	child.passed(t, "spawn", two)
	orphan.passed(t, "orphan", two)

	m, err := ebpfguard.NewManager(ebpfguard.Options{AlertBytes: 4096})
	check(t, err)
	defer m.Close()
	check(t, m.Attach(policy.FileOpen))
	moveToCgroup(t, grouped, "") // it began to count a moment ago
	for _, test := range []struct {
		name    string
		subject ebpfguard.Subject
		refused []*doer
	}{
		{"program", ebpfguard.Binaries(one), []*doer{program}},
		{"directory", ebpfguard.Binaries(dir + "/"), []*doer{program, renamed, scripted, grouped, child, orphan}},
		{"new name", ebpfguard.Binaries(dir + "/aft*"), []*doer{renamed}},
		{"former name", ebpfguard.Binaries(dir + "/before"), nil},
		{"interpreter", ebpfguard.Binaries(three), []*doer{scripted}},
		{"script", ebpfguard.Binaries(script), nil},
		{"living ancestors", ebpfguard.Descendants(one), []*doer{program, child}},
		{"control group", ebpfguard.Subject{Cgroups: []string{"/older"}}, []*doer{grouped}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := m.Apply([]policy.Policy{denyFiles("test", test.subject, secret)})
			check(t, err)
			for _, d := range []*doer{program, renamed, scripted, grouped, child, orphan} {
				o := d.do("open", secret, "r")
				if want := slices.Contains(test.refused, d); want != (o.Errno == syscall.EPERM) || !want && o.Errno != 0 {
					t.Errorf("%s: %v, want it refused: %v", d.command.Path, o, want)
				}
			}
		})
	}
}
