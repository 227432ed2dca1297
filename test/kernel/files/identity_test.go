//go:build vm

package files

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testIdentity reaches protected files by other names than theirs.
func testIdentity(t *testing.T, g *guardtest.FileGuard) {
	f := guardtest.NewPair(t)
	for _, name := range []string{"a/file", "a/free", "a/tree/sub/file", "b/file", "b/free", "b/tree/sub/file", "mnt/x", "new/x"} {
		guardtest.WriteFile(t, f.Dir+"/"+name, "")
	}
	guardtest.Check(t, os.Link(f.Dir+"/a/file", f.Dir+"/before"))
	g.Enforce(t, f.Deny("a/file", "a/tree/"))
	p := func(name string) string { return f.Dir + "/" + name }
	// A way ends with an errand for the file, by which it is reached, below a or b.
	for name, way := range map[string]func(t *testing.T, d *guardtest.Doer, root string) []string{
		"its name": func(t *testing.T, d *guardtest.Doer, root string) []string {
			return []string{"open", p(root + "/file"), "r"}
		},
		"a relative name": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "chdir", p(root))
			return []string{"open", "../" + root + "/./file", "r"}
		},
		"a symbolic link": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "symlink", p(root+"/file"), p("mnt/symlink-"+root))
			return []string{"open", p("mnt/symlink-" + root), "r"}
		},
		"a hard link": func(t *testing.T, d *guardtest.Doer, root string) []string {
			guardtest.Check(t, os.Link(p(root+"/file"), p("mnt/link-"+root)))
			return []string{"open", p("mnt/link-" + root), "r"}
		},
		"a bind mount of the file": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "unshare")
			d.Passed(t, "bind", p(root+"/file"), p("mnt/x"))
			return []string{"open", p("mnt/x"), "r"}
		},
		"a bind mount of the directory": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "unshare")
			d.Passed(t, "bind", p(root), p("mnt"))
			return []string{"open", p("mnt/file"), "r"}
		},
		"a bind mount of everything": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "unshare")
			d.Passed(t, "bind", "/", p("mnt"))
			return []string{"open", p("mnt") + p(root+"/file"), "r"}
		},
		"a bind mount of a bind mount": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "unshare")
			d.Passed(t, "bind", p(root), p("mnt"))
			d.Passed(t, "bind", p("mnt"), p("new"))
			d.Passed(t, "detach", p("mnt"))
			return []string{"open", p("new/tree/sub/file"), "r"}
		},
		"a bind mount below the directory": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "unshare")
			d.Passed(t, "bind", p(root+"/tree/sub"), p("mnt"))
			return []string{"open", p("mnt/file"), "w"}
		},
		"a renamed directory": func(t *testing.T, d *guardtest.Doer, root string) []string {
			guardtest.Check(t, os.Rename(p(root), p("renamed")))
			t.Cleanup(func() { guardtest.Check(t, os.Rename(p("renamed"), p(root))) })
			return []string{"open", p("renamed/tree/sub/file"), "r"}
		},
		"a renamed directory below": func(t *testing.T, d *guardtest.Doer, root string) []string {
			guardtest.Check(t, os.Rename(p(root+"/tree"), p("renamed")))
			t.Cleanup(func() { guardtest.Check(t, os.Rename(p("renamed"), p(root+"/tree"))) })
			return []string{"open", p("renamed/sub/file"), "r"}
		},
		"a name to come, in a renamed directory": func(t *testing.T, d *guardtest.Doer, root string) []string {
			guardtest.Check(t, os.Rename(p(root+"/tree"), p("renamed")))
			t.Cleanup(func() { guardtest.Check(t, os.Rename(p("renamed"), p(root+"/tree"))) })
			return []string{"open", p("renamed/sub/new"), "create"}
		},
		"another namespace": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "unshare")
			return []string{"open", p(root + "/file"), "r"}
		},
		"another root": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "unshare")
			d.Passed(t, "chroot", p(root))
			return []string{"open", "/file", "r"}
		},
		"the root of a process": func(t *testing.T, d *guardtest.Doer, root string) []string {
			return []string{"open", fmt.Sprintf("/proc/%d/root%s", os.Getpid(), p(root+"/file")), "r"}
		},
		"a descriptor": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "hold", "fd", p(root+"/file"), "path")
			return []string{"open-fd", "fd", "r"}
		},
		"a directory's descriptor": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "hold", "dir", p(root), "path")
			return []string{"openat", "dir", "tree/sub/file", "r"}
		},
		"a handle": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "hold", "dir", p(root), "r")
			d.Passed(t, "handle", "dir", "file")
			return []string{"open-handle", "dir", "r"}
		},
		"a handle below the directory": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "hold", "root", p(root), "r")
			d.Passed(t, "handle", "root", "tree/sub/file")
			return []string{"open-handle", "root", "rw"}
		},
		"a detached mount": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "unshare")
			d.Passed(t, "bind", p(root), p("mnt"))
			d.Passed(t, "hold", "dir", p("mnt"), "path")
			d.Passed(t, "detach", p("mnt"))
			return []string{"openat", "dir", "tree/sub/file", "r"}
		},
		"a covered directory": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "unshare")
			d.Passed(t, "hold", "dir", p(root), "path")
			d.Passed(t, "tmpfs", p(root))
			return []string{"openat", "dir", "file", "r"}
		},
		"overlayfs": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "unshare")
			d.Passed(t, "overlay", p(root)+":"+p("new"), p("mnt"))
			return []string{"open", p("mnt/file"), "r"}
		},
		"overlayfs of a directory": func(t *testing.T, d *guardtest.Doer, root string) []string {
			d.Passed(t, "unshare")
			d.Passed(t, "overlay", p(root)+"/tree:"+p("new"), p("mnt"))
			return []string{"open", p("mnt/sub/file"), "r"}
		},
	} {
		for _, who := range []struct{ what, program, root string }{
			{"protected", f.Program, "a"}, {"not protected", f.Program, "b"}, {"bystander", "/proc/self/exe", "a"},
		} {
			t.Run(name+"/"+who.what, func(t *testing.T) {
				t.Cleanup(func() {
					for _, name := range []string{"a/tree/sub/new", "b/tree/sub/new", "mnt/link-a", "mnt/link-b", "mnt/symlink-a", "mnt/symlink-b"} {
						os.Remove(p(name))
					}
				})
				d := guardtest.StartDoer(t, who.program)
				if e := way(t, d, who.root); who.what == "protected" {
					g.Refused(t, d, e[0], e[1:]...)
				} else {
					d.Passed(t, e[0], e[1:]...)
				}
			})
		}
	}
	t.Run("what a glob names", func(t *testing.T) {
		guardtest.WriteFile(t, p("a/g1/key"), "")
		guardtest.WriteFile(t, p("a/g2/key"), "")
		g.Enforce(t, f.Deny("a/g*/key"))
		d := guardtest.StartDoer(t, f.Program)
		d.Passed(t, "unshare")
		d.Passed(t, "bind", p("a/g1"), p("mnt"))
		g.Refused(t, d, "open", p("mnt/key"), "r")
		d.Passed(t, "bind", p("a"), p("new"))
		g.Refused(t, d, "open", p("new/g2/key"), "r")
		d.Passed(t, "hold", "g1", p("a/g1"), "path")
		g.Refused(t, d, "openat", "g1", "key", "r")
		guardtest.Check(t, os.Rename(p("a"), p("renamed")))
		g.Refused(t, f.Actor, "open", p("renamed/g1/key"), "r")
		guardtest.Check(t, os.Rename(p("renamed"), p("a")))
		// Only what is before the wildcard has an identity: what stands for it is not let
		// go, but a program that no rule concerns may take it away (docs/threat-model.md).
		g.Refused(t, f.Actor, "rename", p("a/g1"), p("away"))
		f.Other.Passed(t, "rename", p("a/g1"), p("away"))
		f.Actor.Passed(t, "open", p("away/key"), "r")
	})
	t.Run("a link from before", func(t *testing.T) {
		g.Refused(t, f.Actor, "open", p("before"), "r")
		g.Refused(t, f.Actor, "unlink", p("before"))
	})
	t.Run("another filesystem at the name", func(t *testing.T) {
		d := guardtest.StartDoer(t, f.Program)
		d.Passed(t, "unshare")
		d.Passed(t, "tmpfs", p("a"))
		g.Refused(t, d, "open", p("a/file"), "create")
		d.Passed(t, "open", p("a/free"), "create")
		g.Refused(t, d, "mkdir", p("a/tree"))
	})
	t.Run("another file at the name", func(t *testing.T) {
		d := guardtest.StartDoer(t, f.Program)
		d.Passed(t, "unshare")
		d.Passed(t, "bind", p("b/free"), p("a/file"))
		g.Refused(t, d, "open", p("a/file"), "r")
		d.Passed(t, "open", p("b/free"), "r")
	})
	t.Run("a user's mount namespace", func(t *testing.T) {
		guardtest.Check(t, os.Chmod(filepath.Dir(f.Dir), 0o755))
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
		d := guardtest.StartDoerWith(t, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: ids, GidMappings: ids}, f.Program)
		g.Refused(t, d, "open", p("a/file"), "r")
		g.Refused(t, d, "open", p("a/tree/sub/file"), "r")
		g.Refused(t, d, "open", p("a/tree/new"), "create")
		d.Passed(t, "open", p("b/file"), "r")
		d.Passed(t, "bind", p("a"), p("mnt"))
		g.Refused(t, d, "open", p("mnt/file"), "r")
		// There a path proves nothing.
		d.Passed(t, "bind", p("b/file"), p("b/free"))
		d.Passed(t, "open", p("b/free"), "r")
	})
}

// testTwoNames has rules that disagree about one file: the strictest counts.
func testTwoNames(t *testing.T, g *guardtest.FileGuard) {
	f := guardtest.NewPair(t)
	p := func(name string) string { return f.Dir + "/" + name }
	guardtest.WriteFile(t, p("one/a"), "")
	guardtest.Check(t, os.MkdirAll(p("two"), 0o755))
	guardtest.Check(t, os.Link(p("one/a"), p("two/b")))
	both := func(t *testing.T, policy string) {
		t.Helper()
		for _, name := range []string{"one/a", "two/b"} {
			if alert := g.Refused(t, f.Actor, "open", p(name), "r"); alert.Policy != policy || alert.Path != p(name) {
				t.Errorf("%s: alert %v", name, alert)
			}
		}
		f.Other.Passed(t, "open", p("two/b"), "r")
	}
	t.Run("allowed and denied", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("b", f.Subject, p("two/b")), guardtest.AllowFiles("a", f.Subject, p("one/a")))
		both(t, "b")
	})
	t.Run("audited and denied", func(t *testing.T) {
		audit := guardtest.DenyFiles("a", f.Subject, p("one/a"))
		audit.Mode = policy.ModeAudit
		g.Enforce(t, audit, guardtest.DenyFiles("b", f.Subject, p("two/b")))
		both(t, "b")
	})
	t.Run("one has an exception", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("all", ebpfguard.Subject{Cgroups: []string{"/"}}, p("one/a"), p("two/b")), guardtest.AllowFiles("a", f.Subject, p("one/a")), guardtest.AllowFiles("other", ebpfguard.Binaries("/**"), p("two/b")))
		g.Enforce(t, guardtest.DenyFiles("all", f.Subject, p("one/a"), p("two/b")), guardtest.AllowFiles("less", ebpfguard.Everyone(), p("one/a")))
		both(t, "all")
	})
	t.Run("a name that no policy names", func(t *testing.T) {
		// Of all else, "deny all but" concerns only what is named by nothing.
		guardtest.Check(t, os.Link(p("one/a"), p("third")))
		g.Enforce(t, guardtest.DenyFiles("all", f.Subject), guardtest.AllowFiles("a", f.Subject, p("one/a")))
		f.Actor.Passed(t, "open", p("third"), "r")
		if alert := g.Refused(t, f.Actor, "open", p("program"), "r"); alert.Policy != "all" {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("through a bind mount", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("one", f.Subject, p("one/")), guardtest.AllowFiles("mnt", f.Subject, p("mnt/")))
		guardtest.Check(t, os.Mkdir(p("mnt"), 0o755))
		d := guardtest.StartDoer(t, f.Program)
		d.Passed(t, "unshare")
		d.Passed(t, "bind", p("one"), p("mnt"))
		if alert := g.Refused(t, d, "open", p("mnt/a"), "r"); alert.Policy != "one" {
			t.Errorf("alert %v", alert)
		}
		d.Passed(t, "umount", p("mnt"))
		d.Passed(t, "open", p("mnt/a"), "create")
		g.Refused(t, d, "open", p("one/a"), "r")
	})
}
