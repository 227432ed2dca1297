//go:build vm

package files

import (
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testCacheOfOverlays changes what files below an overlayfs are known by. The file above stays the same meanwhile:
// overlayfs holds on to what it found below when it was first used.
func testCacheOfOverlays(t *testing.T, g *guardtest.FileGuard) {
	// above mounts an overlay over open/, and returns a process in its mount namespace.
	above := func(t *testing.T, files ...string) (f *guardtest.Pair, d *guardtest.Doer, p func(string) string) {
		t.Helper()
		f = guardtest.NewPair(t)
		p = func(name string) string { return f.Dir + "/" + name }
		for _, name := range append(files, "shut/file", "empty/x", "merged/x") {
			guardtest.WriteFile(t, p(name), "")
		}
		d = guardtest.StartDoer(t, f.Program)
		d.Passed(t, "unshare")
		d.Passed(t, "overlay", p("open")+":"+p("empty"), p("merged"))
		return f, d, p
	}
	// What is denied for execution alone is looked at by the way, since overlayfs may map it.
	reading := func(deny policy.Policy) policy.Policy {
		pattern := deny.Rules[0].Deny[0].(policy.FilePattern)
		pattern.Access = policy.Read
		deny.Rules[0].Deny[0] = pattern
		return deny
	}
	t.Run("a file is moved to where it is denied", func(t *testing.T) {
		f, d, p := above(t, "open/file", "open/other")
		for _, deny := range []policy.Policy{f.Deny("shut/"), reading(f.Deny("shut/"))} {
			g.Enforce(t, deny)
			for range 3 {
				warm(t, d, "open", p("merged/file"), "r")
				warm(t, d, "open", p("merged/other"), "r")
				guardtest.Check(t, os.Rename(p("open/file"), p("shut/file")))
				warmRefused(t, g, d, "open", p("merged/file"), "r")
				d.Passed(t, "open", p("merged/other"), "r")
				guardtest.Check(t, os.Rename(p("shut/file"), p("open/file")))
			}
			warm(t, d, "open", p("merged/file"), "r")
		}
	})
	t.Run("a file gets a name that is denied", func(t *testing.T) {
		f, d, p := above(t, "open/file", "open/other")
		for _, deny := range []policy.Policy{f.Deny("open/key"), reading(f.Deny("open/key"))} {
			g.Enforce(t, deny)
			warm(t, d, "open", p("merged/file"), "r")
			guardtest.Check(t, os.Rename(p("open/file"), p("open/key")))
			warmRefused(t, g, d, "open", p("merged/file"), "r")
			d.Passed(t, "open", p("merged/other"), "r")
			guardtest.Check(t, os.Rename(p("open/key"), p("open/file")))
		}
	})
	t.Run("a file that rules allow is moved", func(t *testing.T) {
		// Of what a rule allows no word is made, but a record.
		f, d, p := above(t, "open/file", "open/other")
		g.Enforce(t, reading(f.Deny("shut/")), guardtest.AllowFiles("all", f.Subject, p("merged/"), p("open/")))
		for range 3 {
			warm(t, d, "open", p("merged/file"), "r")
			guardtest.Check(t, os.Rename(p("open/file"), p("shut/file")))
			warmRefused(t, g, d, "open", p("merged/file"), "r")
			guardtest.Check(t, os.Rename(p("shut/file"), p("open/file")))
		}
	})
	t.Run("a file gets another name first", func(t *testing.T) {
		// The kernel's list of a file's names begins with the last one.
		f, d, p := above(t, "open/file", "open/other")
		g.Enforce(t, reading(f.Deny("shut/")))
		warm(t, d, "open", p("merged/file"), "r")
		guardtest.Check(t, os.Link(p("open/file"), p("shut/link")))
		d.Do("open", p("merged/file"), "r")
		g.Drain(t)
		guardtest.Check(t, os.Remove(p("open/file")))
		g.Refused(t, f.Actor, "open", p("shut/link"), "r")
		// Later kernels open it under the name by which overlayfs found it, which is gone: no rule has a name for it.
		if k, _ := vmtest.Guest(); slices.Contains([]string{"5.10", "6.1", "6.1-arm64"}, k.Name) {
			g.Refused(t, d, "open", p("merged/file"), "r")
		} else {
			d.Passed(t, "open", p("merged/file"), "r")
		}
	})
	t.Run("a directory is moved to where it is denied", func(t *testing.T) {
		f, d, p := above(t, "open/above/dir/file")
		g.Enforce(t, f.Deny("shut/"))
		for _, name := range []string{"above/dir", "above"} {
			warm(t, d, "open", p("merged/above/dir/file"), "r")
			guardtest.Check(t, os.Rename(p("open/"+name), p("shut/moved")))
			warmRefused(t, g, d, "open", p("merged/above/dir/file"), "r")
			guardtest.Check(t, os.Rename(p("shut/moved"), p("open/"+name)))
			warm(t, d, "open", p("merged/above/dir/file"), "r")
		}
	})
	t.Run("policies name it", func(t *testing.T) {
		f, d, p := above(t, "open/file", "open/dir/file", "open/dir/other")
		none := f.Deny("shut/file")
		for _, deny := range []policy.Policy{f.Deny("open/dir/file"), f.Deny("open/dir/")} {
			g.Enforce(t, none)
			warm(t, d, "open", p("merged/dir/file"), "r")
			g.Enforce(t, deny)
			warmRefused(t, g, d, "open", p("merged/dir/file"), "r")
			warm(t, d, "open", p("merged/file"), "r")
		}
		g.Enforce(t, none)
		warm(t, d, "open", p("merged/dir/file"), "r")
	})
	t.Run("the file above is what is denied", func(t *testing.T) {
		// By its path alone, to one program and not to another; the file below has no name.
		f, d, p := above(t, "open/file", "open/other")
		g.Enforce(t, f.Deny("merged/file"))
		other := guardtest.StartDoer(t, "/proc/self/exe")
		other.Passed(t, "setns", strconv.Itoa(d.PID))
		for range 3 {
			other.Passed(t, "open", p("merged/file"), "r")
			g.Refused(t, d, "open", p("merged/file"), "r")
			d.Passed(t, "open", p("merged/other"), "r")
		}
	})
	t.Run("what holds for opening it is not what holds for starting it", func(t *testing.T) {
		f, d, p := above(t, "open/dir/other")
		guardtest.CopyProgram(t, p("open/dir/program"))
		g.Enforce(t, f.Deny("shut/"), policy.Policy{Name: "programs", Subject: policy.Subject(f.Subject), Rules: []policy.Rule{{
			Operation: policy.BprmCheckSecurity, Deny: []policy.Pattern{policy.ProgramPattern{Paths: []string{p("open/dir/program")}}},
		}}})
		for range 3 {
			// Where no hook sees what overlayfs maps, this is refused as well: the file could be started by it.
			d.Do("open", p("merged/dir/program"), "r")
			g.Drain(t)
			if o := d.Do("run", p("merged/dir/program")); o.Errno != syscall.EPERM {
				t.Fatalf("the program below starts: %v, want EPERM", o)
			}
			if alert, ok := g.Next(t).(ebpfguard.BprmCheckSecurityAlert); !ok || alert.Verdict != policy.Deny || alert.PID == 0 {
				t.Fatalf("alert %v", alert)
			}
			warm(t, d, "open", p("merged/dir/other"), "r")
		}
	})
	t.Run("files and directories come and go", func(t *testing.T) {
		// The memory of what is gone is used again, and so are numbers of files.
		f, d, p := above(t, "open/x")
		g.Enforce(t, f.Deny("shut/"))
		for i := range 40 {
			name := "dir" + strconv.Itoa(i) + "/file"
			guardtest.WriteFile(t, p("open/"+name), "")
			d.Passed(t, "open", p("merged/"+name), "r")
			guardtest.Check(t, os.RemoveAll(p("open/dir"+strconv.Itoa(i))))
			guardtest.WriteFile(t, p("shut/"+name), "")
			g.Refused(t, d, "open", p("shut/"+name), "r")
		}
	})
}
