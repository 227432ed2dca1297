//go:build vm

package files

import (
	"os"
	"syscall"
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// makeWays make a file at a path.
var makeWays = map[string]func(path, spare string) []string{
	"creat":   func(path, _ string) []string { return []string{"open", path, "create"} },
	"mknod":   func(path, _ string) []string { return []string{"mknod", path} },
	"mkdir":   func(path, _ string) []string { return []string{"mkdir", path} },
	"mkfifo":  func(path, _ string) []string { return []string{"fifo", path} },
	"bind":    func(path, _ string) []string { return []string{"socket", path} },
	"symlink": func(path, spare string) []string { return []string{"symlink", spare, path} },
	"link":    func(path, spare string) []string { return []string{"link", spare, path} },
	"rename":  func(path, spare string) []string { return []string{"rename", spare, path} },
}

// testFuture protects names before there is anything.
func testFuture(t *testing.T, g *guardtest.FileGuard) {
	f := newFileTest(t)
	spare := guardtest.WriteFile(t, f.dir+"/spare", "")
	guardtest.Check(t, os.Mkdir(f.dir+"/in", 0o755))
	g.Enforce(t, f.deny("future", "tree/", "in/*.key", "later/sub/file"))
	for _, name := range []string{"future", "in/a.key", "tree"} {
		path := f.dir + "/" + name
		for way, args := range makeWays {
			made := args(path, spare)
			t.Run(way+" "+name, func(t *testing.T) {
				if alert := g.Refused(t, f.actor, made[0], made[1:]...); alert.Path != path || alert.Access != policy.Write {
					t.Errorf("alert %v", alert)
				}
				if _, err := os.Lstat(path); !os.IsNotExist(err) {
					t.Errorf("it is there: %v", err)
				}
				f.other.Passed(t, made[0], made[1:]...)
				defer guardtest.WriteFile(t, spare, "")
				defer os.Remove(path)
				if way != "mkdir" && way != "mkfifo" && way != "bind" && way != "symlink" {
					g.Refused(t, f.actor, "open", path, "r")
				}
				guardtest.WriteFile(t, f.dir+"/third", "")
				g.Refused(t, f.actor, "rename", f.dir+"/third", path)
				g.Refused(t, f.actor, "rename", path, f.dir+"/away")
				g.Refused(t, f.actor, "exchange", path, f.dir+"/third")
				g.Refused(t, f.actor, "exchange", f.dir+"/third", path)
				g.Refused(t, f.actor, map[bool]string{true: "rmdir", false: "unlink"}[way == "mkdir"], path)
				f.actor.Passed(t, "rename", f.dir+"/third", f.dir+"/fourth")
			})
		}
	}
	t.Run("below a directory to come", func(t *testing.T) {
		guardtest.Check(t, os.Mkdir(f.dir+"/tree", 0o755))
		for way, args := range makeWays {
			made := args(f.dir+"/tree/x", spare)
			if o := f.actor.Do(made[0], made[1:]...); o.Errno != syscall.EPERM {
				t.Errorf("%s: %v", way, o)
			}
			g.Next(t)
		}
		g.Refused(t, f.actor, "open", f.dir+"/tree", "r")
	})
	t.Run("by renaming a directory above", func(t *testing.T) {
		guardtest.WriteFile(t, f.dir+"/staged/sub/file", "")
		f.actor.Passed(t, "open", f.dir+"/staged/sub/file", "w")
		f.actor.Passed(t, "rename", f.dir+"/staged", f.dir+"/later") // its name is free
		g.Refused(t, f.actor, "open", f.dir+"/later/sub/file", "r")
		g.Refused(t, f.actor, "rename", f.dir+"/later/sub/file", f.dir+"/mine")
		f.actor.Passed(t, "rename", f.dir+"/later", f.dir+"/staged")
		f.actor.Passed(t, "open", f.dir+"/staged/sub/file", "r")
	})
	t.Run("by a symbolic link above", func(t *testing.T) {
		f.actor.Passed(t, "symlink", f.dir+"/staged", f.dir+"/later")
		f.actor.Passed(t, "open", f.dir+"/later/sub/file", "r")               // not its name
		g.Enforce(t, f.deny("future", "tree/", "in/*.key", "later/sub/file")) // now it is
		if alert := g.Refused(t, f.actor, "open", f.dir+"/later/sub/file", "r"); alert.Path != f.dir+"/staged/sub/file" {
			t.Errorf("alert %v", alert)
		}
		g.Refused(t, f.actor, "open", f.dir+"/staged/sub/file", "r")
	})
}
