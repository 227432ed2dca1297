//go:build vm

package files

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testCacheOfMounts moves mounts.
func testCacheOfMounts(t *testing.T, g *guardtest.FileGuard) {
	f := guardtest.NewPair(t)
	p := func(name string) string { return f.Dir + "/" + name }
	for _, name := range []string{"open/file", "open/m/file", "open/n/x", "shut/m/file"} {
		guardtest.WriteFile(t, p(name), "")
	}
	g.Enforce(t, f.Deny("shut/"))
	// in starts the actor in a mount namespace of its own, and a bystander in there too.
	in := func(t *testing.T) (d, mover *guardtest.Doer) {
		t.Helper()
		d, mover = guardtest.StartDoer(t, f.Program), guardtest.StartDoer(t, "/proc/self/exe")
		d.Passed(t, "unshare")
		mover.Passed(t, "setns", strconv.Itoa(d.PID))
		return d, mover
	}
	t.Run("a mount is moved", func(t *testing.T) {
		d, mover := in(t)
		mover.Passed(t, "tmpfs", p("open/m"))
		mover.Passed(t, "open", p("open/m/file"), "create")
		d.Passed(t, "hold", "m", p("open/m"), "path")
		for range 3 {
			warm(t, d, "openat", "m", "file", "r")
			mover.Passed(t, "move", p("open/m"), p("shut/m"))
			warmRefused(t, g, d, "openat", "m", "file", "r")
			warmRefused(t, g, d, "open", p("shut/m/file"), "r")
			mover.Passed(t, "move", p("shut/m"), p("open/m"))
		}
		warm(t, d, "openat", "m", "file", "r")
	})
	t.Run("a directory above what is bound is renamed", func(t *testing.T) {
		// No path leads through it, but the file lies below it in its filesystem.
		d, mover := in(t)
		guardtest.WriteFile(t, p("open/above/part/dir/known"), "")
		mover.Passed(t, "bind", p("open/above/part"), p("open/m"))
		for i := range 3 {
			fresh := guardtest.WriteFile(t, p("open/above/part/dir/a"+strconv.Itoa(i)), "")
			d.Passed(t, "open", p("open/m/dir/known"), "r")
			d.Passed(t, "open", p("open/m/dir/"+filepath.Base(fresh)), "r")
			guardtest.Check(t, os.Rename(p("open/above"), p("shut/above")))
			guardtest.WriteFile(t, p("shut/above/part/dir/b"+strconv.Itoa(i)), "")
			g.Refused(t, d, "open", p("open/m/dir/known"), "r")
			g.Refused(t, d, "open", p("open/m/dir/b"+strconv.Itoa(i)), "r")
			guardtest.Check(t, os.Rename(p("shut/above"), p("open/above")))
		}
		d.Passed(t, "open", p("open/m/dir/known"), "r")
	})
	t.Run("a mount above is moved", func(t *testing.T) {
		d, mover := in(t)
		mover.Passed(t, "tmpfs", p("open/m"))
		mover.Passed(t, "mkdir", p("open/m/n"))
		mover.Passed(t, "tmpfs", p("open/m/n"))
		mover.Passed(t, "open", p("open/m/n/file"), "create")
		d.Passed(t, "hold", "n", p("open/m/n"), "path")
		warm(t, d, "openat", "n", "file", "r")
		mover.Passed(t, "move", p("open/m"), p("shut/m"))
		warmRefused(t, g, d, "openat", "n", "file", "r")
	})
	t.Run("something is mounted over it", func(t *testing.T) {
		d, mover := in(t)
		d.Passed(t, "hold", "open", p("open"), "path")
		warm(t, d, "open", p("open/m/file"), "r")
		warm(t, d, "openat", "open", "m/file", "r")
		mover.Passed(t, "bind", p("shut/m"), p("open/m"))
		warmRefused(t, g, d, "open", p("open/m/file"), "r")
		warmRefused(t, g, d, "openat", "open", "m/file", "r")
		mover.Passed(t, "umount", p("open/m"))
		warm(t, d, "open", p("open/m/file"), "r")
		// The other way round: another file has the protected name.
		warmRefused(t, g, d, "open", p("shut/m/file"), "r")
		mover.Passed(t, "bind", p("open/m"), p("shut/m"))
		warmRefused(t, g, d, "open", p("shut/m/file"), "r")
		warm(t, d, "open", p("open/m/file"), "r")
		mover.Passed(t, "umount", p("shut/m"))
		warmRefused(t, g, d, "open", p("shut/m/file"), "r")
	})
	t.Run("a file is mounted over a file", func(t *testing.T) {
		d, mover := in(t)
		warm(t, d, "open", p("open/file"), "r")
		mover.Passed(t, "bind", p("shut/m/file"), p("open/file"))
		warmRefused(t, g, d, "open", p("open/file"), "r")
		mover.Passed(t, "umount", p("open/file"))
		warm(t, d, "open", p("open/file"), "r")
	})
	t.Run("a mount is removed", func(t *testing.T) {
		d, mover := in(t)
		mover.Passed(t, "tmpfs", p("shut/m"))
		mover.Passed(t, "open", p("shut/m/file"), "create")
		d.Passed(t, "hold", "m", p("shut/m"), "path")
		warmRefused(t, g, d, "openat", "m", "file", "r")
		mover.Passed(t, "detach", p("shut/m"))
		// It came after the policy and is nowhere: nothing says that it was protected.
		warm(t, d, "openat", "m", "file", "r")
	})
	t.Run("a mount from before the policy is removed", func(t *testing.T) {
		f.Other.Passed(t, "tmpfs", p("shut/m"))
		f.Other.Passed(t, "open", p("shut/m/file"), "create")
		g.Enforce(t, f.Deny("shut/"))
		d, mover := in(t)
		d.Passed(t, "hold", "m", p("shut/m"), "path")
		warmRefused(t, g, d, "openat", "m", "file", "r")
		mover.Passed(t, "move", p("shut/m"), p("open/m"))
		warmRefused(t, g, d, "openat", "m", "file", "r") // it is what was there
		mover.Passed(t, "detach", p("open/m"))
		warmRefused(t, g, d, "openat", "m", "file", "r")
		f.Other.Passed(t, "umount", p("shut/m"))
	})
	t.Run("the same mount moves elsewhere", func(t *testing.T) {
		f.Other.Passed(t, "tmpfs", p("open/n"))
		f.Other.Passed(t, "open", p("open/n/file"), "create")
		d, mover := in(t)
		warm(t, d, "open", p("open/n/file"), "r")
		warm(t, f.Actor, "open", p("open/n/file"), "r")
		mover.Passed(t, "move", p("open/n"), p("shut/m"))
		warmRefused(t, g, d, "open", p("shut/m/file"), "r")
		warm(t, f.Actor, "open", p("open/n/file"), "r") // another namespace
		g.Refused(t, d, "open", p("shut/m/file"), "r")
		f.Actor.Passed(t, "open", p("open/n/file"), "r")
		d.Stop()
		mover.Stop()
		f.Other.Passed(t, "umount", p("open/n"))
	})
}
