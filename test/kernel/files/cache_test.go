//go:build vm

package files

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// warm opens a file until what is known of it is kept.
func warm(t *testing.T, d *guardtest.Doer, e ...string) {
	t.Helper()
	for range 3 {
		d.Passed(t, e[0], e[1:]...)
	}
}

// warmRefused does the same with a file that is refused.
func warmRefused(t *testing.T, g *guardtest.FileGuard, d *guardtest.Doer, e ...string) {
	t.Helper()
	for range 3 {
		g.Refused(t, d, e[0], e[1:]...)
	}
}

// testCache changes what an answer depends on, each time after the former answer
// was given several times.
func testCache(t *testing.T, g *guardtest.FileGuard) {
	f := guardtest.NewPair(t)
	p := func(name string) string { return f.Dir + "/" + name }
	for _, name := range []string{"open/file", "open/dir/file", "open/dir/sub/file", "shut/file"} {
		guardtest.WriteFile(t, p(name), "")
	}
	t.Run("policies", func(t *testing.T) {
		file := []string{"open", p("open/file"), "r"}
		for range 3 {
			g.Enforce(t)
			warm(t, f.Actor, file...)
			g.Enforce(t, f.Deny("other"))
			warm(t, f.Actor, file...)
			g.Enforce(t, f.Deny("open/file"))
			warmRefused(t, g, f.Actor, file...)
			g.Enforce(t, f.Deny("open/"), guardtest.AllowFiles("but", f.Subject, p("open/file")))
			warm(t, f.Actor, file...)
			audit := f.Deny("open/file")
			audit.Mode = policy.ModeAudit
			g.Enforce(t, audit)
			warm(t, f.Actor, file...)
			for range 3 {
				if alert := g.Next(t).Context(); alert.Verdict != policy.Audit || alert.Policy != "test" {
					t.Errorf("alert %v", alert)
				}
			}
			g.Enforce(t, f.Deny("**/file"))
			warmRefused(t, g, f.Actor, file...)
			warm(t, f.Other, file...)
		}
	})
	t.Run("a process that no rule is about", func(t *testing.T) {
		// What it is told after the guard has looked up anew what it is, is nobody else's answer.
		user := ebpfguard.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: 1000, Last: 1000}}}}
		g.Enforce(t, guardtest.DenyFiles("test", user, p("shut/")))
		d := guardtest.StartDoer(t, "/proc/self/exe")
		for range 3 {
			d.Passed(t, "setuid", "1000", "0", "0")
			d.Passed(t, "open", p("open/file"), "r")
			d.Passed(t, "setuid", "0", "0", "0")
			d.Passed(t, "open", p("shut/file"), "r")
			d.Passed(t, "setuid", "1000", "0", "0")
			d.Passed(t, "open", p("open/file"), "r")
			g.Refused(t, d, "open", p("shut/file"), "r")
			d.Passed(t, "setuid", "0", "0", "0")
			d.Passed(t, "open", p("open/file"), "r")
			d.Passed(t, "setuid", "1000", "0", "0")
			d.Passed(t, "open", p("open/file"), "r")
		}
	})
	g.Enforce(t, f.Deny("shut/", "**/named"))
	rename := func(t *testing.T, from, to string) {
		t.Helper()
		guardtest.Check(t, os.Rename(p(from), p(to)))
	}
	t.Run("a file is renamed", func(t *testing.T) {
		d := guardtest.StartDoer(t, f.Program)
		d.Passed(t, "hold", "file", p("open/file"), "path")
		for _, e := range [][]string{{"open", p("open/file"), "r"}, {"open-fd", "file", "r"}} {
			warm(t, d, e...)
		}
		for _, to := range []string{"shut/moved", "open/named", "shut/named"} {
			rename(t, "open/file", to)
			warmRefused(t, g, d, "open-fd", "file", "r")
			warmRefused(t, g, d, "open", p(to), "r")
			rename(t, to, "open/file")
			warm(t, d, "open-fd", "file", "r")
			warm(t, d, "open", p("open/file"), "r")
			warm(t, f.Other, "open", p("open/file"), "r")
		}
	})
	t.Run("a directory is renamed", func(t *testing.T) {
		d := guardtest.StartDoer(t, f.Program)
		d.Passed(t, "hold", "sub", p("open/dir/sub"), "path")
		d.Passed(t, "chdir", p("open/dir"))
		for _, move := range [][2]string{{"open/dir", "shut/dir"}, {"open/dir", "open/named"}, {"open", "shut/open"}} {
			warm(t, d, "openat", "sub", "file", "r")
			warm(t, d, "open", "file", "r")
			rename(t, move[0], move[1])
			if move[1] == "open/named" { // a directory of that name is no tree
				warm(t, d, "openat", "sub", "file", "r")
			} else {
				warmRefused(t, g, d, "openat", "sub", "file", "r")
				warmRefused(t, g, d, "open", "file", "w")
			}
			rename(t, move[1], move[0])
		}
		warm(t, d, "openat", "sub", "file", "r")
	})
	t.Run("a file is the first to be used of a directory that was renamed", func(t *testing.T) {
		// What is kept of the directory is all that is known of the file.
		d := guardtest.StartDoer(t, f.Program)
		fresh := 0
		file := func(dir string) string {
			fresh++
			return guardtest.WriteFile(t, p(dir+"/fresh"+strconv.Itoa(fresh)), "")
		}
		d.Passed(t, "open", file("open/dir/sub"), "r")
		for _, move := range [][2]string{{"open/dir", "shut/dir"}, {"open/dir/sub", "shut/sub"}, {"open", "shut/open"}} {
			below := strings.Replace("open/dir/sub", move[0], move[1], 1)
			for range 3 {
				d.Passed(t, "open", file("open/dir/sub"), "r")
				rename(t, move[0], move[1])
				g.Refused(t, d, "open", file(below), "r")
				rename(t, move[1], move[0])
			}
		}
		for range 20 { // another directory of that name, in the memory of the former
			guardtest.Check(t, os.MkdirAll(p("open/brief/same"), 0o755))
			one := file("open/brief/same")
			d.Passed(t, "open", one, "r")
			guardtest.Check(t, os.RemoveAll(p("open/brief")))
			guardtest.Check(t, os.MkdirAll(p("shut/brief/same"), 0o755))
			other := file("shut/brief/same")
			g.Refused(t, d, "open", other, "r")
			guardtest.Check(t, os.RemoveAll(p("shut/brief")))
		}
	})
	t.Run("a directory is renamed while files are", func(t *testing.T) {
		// Moves of files are not counted as those of directories, however they fall together.
		var ending atomic.Bool
		var group sync.WaitGroup
		for i := range 3 {
			from := guardtest.WriteFile(t, p("elsewhere/"+strconv.Itoa(i)), "")
			group.Go(func() {
				for !ending.Load() && !t.Failed() {
					if err := errors.Join(os.Rename(from, from+"moved"), os.Rename(from+"moved", from)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		defer group.Wait()
		defer ending.Store(true)
		d := guardtest.StartDoer(t, f.Program)
		d.Passed(t, "hold", "sub", p("open/dir/sub"), "path")
		for range 50 {
			d.Passed(t, "openat", "sub", "file", "r")
			d.Passed(t, "openat", "sub", "file", "r")
			rename(t, "open/dir", "shut/dir")
			g.Refused(t, d, "openat", "sub", "file", "r")
			rename(t, "shut/dir", "open/dir")
		}
	})
	t.Run("a directory is exchanged", func(t *testing.T) {
		d := guardtest.StartDoer(t, f.Program)
		d.Passed(t, "hold", "open", p("open"), "path")
		d.Passed(t, "hold", "shut", p("shut"), "path")
		guardtest.Check(t, os.WriteFile(p("shut/file"), nil, 0o644))
		warm(t, d, "openat", "open", "file", "r")
		warmRefused(t, g, d, "openat", "shut", "file", "r")
		f.Other.Passed(t, "exchange", p("open"), p("shut"))
		warmRefused(t, g, d, "openat", "open", "file", "r") // by its name
		warmRefused(t, g, d, "openat", "shut", "file", "r") // by what it is
		f.Other.Passed(t, "exchange", p("open"), p("shut"))
		warm(t, d, "openat", "open", "file", "r")
		warmRefused(t, g, d, "openat", "shut", "file", "r")
	})
	t.Run("a file is replaced", func(t *testing.T) {
		g.Enforce(t, f.Deny("shut/", "open/exact"))
		guardtest.WriteFile(t, p("open/exact"), "")
		warmRefused(t, g, f.Actor, "open", p("open/exact"), "r")
		guardtest.WriteFile(t, p("open/next"), "")
		warm(t, f.Actor, "open", p("open/next"), "r")
		rename(t, "open/next", "open/exact")
		warmRefused(t, g, f.Actor, "open", p("open/exact"), "r")
		guardtest.Check(t, os.Remove(p("open/exact")))
		guardtest.WriteFile(t, p("open/exact"), "")
		warmRefused(t, g, f.Actor, "open", p("open/exact"), "r")
		guardtest.Check(t, os.Remove(p("open/exact")))
	})
}
