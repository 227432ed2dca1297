//go:build vm

package subjects

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

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
		if alert := g.RefusedChild(t, d, secret); alert.Binary != dir+"/one" {
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
		// The file is its own program as well, which those judge that start it.
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(dir+"/**/one"), secret))
		g.Refused(t, guardtest.StartDoer(t, at64), "open", secret, "r")
		d := guardtest.StartDoer(t, deep)
		g.Undecided(t, d, "open", secret, "r")
		d.Passed(t, "exec", dir+"/two")
		d.Passed(t, "open", secret, "r")
	})
}
