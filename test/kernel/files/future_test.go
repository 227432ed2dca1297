//go:build vm

package files

import (
	"os"
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
	f := guardtest.NewPair(t)
	spare := guardtest.WriteFile(t, f.Dir+"/spare", "")
	guardtest.Check(t, os.Mkdir(f.Dir+"/in", 0o755))
	g.Enforce(t, f.Deny("future", "tree/", "in/*.key", "later/sub/file"))
	for _, name := range []string{"future", "in/a.key", "tree"} {
		path := f.Dir + "/" + name
		for way, args := range makeWays {
			made := args(path, spare)
			t.Run(way+" "+name, func(t *testing.T) {
				if alert := g.Refused(t, f.Actor, made[0], made[1:]...); alert.Path != path || alert.Access != policy.Write {
					t.Errorf("alert %v", alert)
				}
				if _, err := os.Lstat(path); !os.IsNotExist(err) {
					t.Errorf("it is there: %v", err)
				}
				f.Other.Passed(t, made[0], made[1:]...)
				defer guardtest.WriteFile(t, spare, "")
				defer os.Remove(path)
				if way != "mkdir" && way != "mkfifo" && way != "bind" && way != "symlink" {
					g.Refused(t, f.Actor, "open", path, "r")
				}
				guardtest.WriteFile(t, f.Dir+"/third", "")
				g.Refused(t, f.Actor, "rename", f.Dir+"/third", path)
				g.Refused(t, f.Actor, "rename", path, f.Dir+"/away")
				g.Refused(t, f.Actor, "exchange", path, f.Dir+"/third")
				g.Refused(t, f.Actor, "exchange", f.Dir+"/third", path)
				g.Refused(t, f.Actor, map[bool]string{true: "rmdir", false: "unlink"}[way == "mkdir"], path)
				f.Actor.Passed(t, "rename", f.Dir+"/third", f.Dir+"/fourth")
			})
		}
	}
	t.Run("below a directory to come", func(t *testing.T) {
		guardtest.Check(t, os.Mkdir(f.Dir+"/tree", 0o755))
		for way, args := range makeWays {
			made := args(f.Dir+"/tree/x", spare)
			if alert := g.Refused(t, f.Actor, made[0], made[1:]...); alert.Path != f.Dir+"/tree/x" || alert.Access != policy.Write {
				t.Errorf("%s: alert %v", way, alert)
			}
			if _, err := os.Lstat(f.Dir + "/tree/x"); !os.IsNotExist(err) {
				t.Errorf("%s: it is there: %v", way, err)
			}
		}
		g.Refused(t, f.Actor, "open", f.Dir+"/tree", "r")
	})
	t.Run("by renaming a directory above", func(t *testing.T) {
		guardtest.WriteFile(t, f.Dir+"/staged/sub/file", "")
		f.Actor.Passed(t, "open", f.Dir+"/staged/sub/file", "w")
		f.Other.Passed(t, "rename", f.Dir+"/staged", f.Dir+"/later") // its name is free
		g.Refused(t, f.Actor, "open", f.Dir+"/later/sub/file", "r")
		g.Refused(t, f.Actor, "rename", f.Dir+"/later/sub/file", f.Dir+"/mine")
		// Elsewhere the file would have a name that may be used.
		g.Refused(t, f.Actor, "rename", f.Dir+"/later", f.Dir+"/staged")
		f.Other.Passed(t, "rename", f.Dir+"/later", f.Dir+"/staged")
		f.Actor.Passed(t, "open", f.Dir+"/staged/sub/file", "r")
	})
	t.Run("by a symbolic link above", func(t *testing.T) {
		f.Actor.Passed(t, "symlink", f.Dir+"/staged", f.Dir+"/later")
		f.Actor.Passed(t, "open", f.Dir+"/later/sub/file", "r")               // not its name
		g.Enforce(t, f.Deny("future", "tree/", "in/*.key", "later/sub/file")) // now it is
		if alert := g.Refused(t, f.Actor, "open", f.Dir+"/later/sub/file", "r"); alert.Path != f.Dir+"/staged/sub/file" {
			t.Errorf("alert %v", alert)
		}
		g.Refused(t, f.Actor, "open", f.Dir+"/staged/sub/file", "r")
	})
}
