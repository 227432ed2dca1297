//go:build vm && full

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

// fileTest is a program that policies are about, and one that they are not.
type fileTest struct {
	dir, program string
	subject      ebpfguard.Subject
	actor, other *doer
}

func newFileTest(t *testing.T) *fileTest {
	t.Helper()
	f := &fileTest{dir: t.TempDir()}
	check(t, os.Chmod(f.dir, 0o755))
	f.program = copyProgram(t, f.dir+"/program")
	f.subject = ebpfguard.Binaries(f.program)
	f.actor, f.other = startDoer(t, f.program), startDoer(t, "/proc/self/exe")
	return f
}

// deny is a policy that denies the actor what lies below the test's directory.
func (f *fileTest) deny(paths ...string) policy.Policy {
	all := slices.Clone(paths)
	for i := range all {
		all[i] = f.dir + "/" + all[i]
	}
	return denyFiles("test", f.subject, all...)
}

// testPaths matches patterns with paths.
func testPaths(t *testing.T, g *fileGuard) {
	f := newFileTest(t)
	long := strings.Repeat("n", 255)
	files := []string{
		"etc", "etc/shadow", "etc/shadow-", "etc/ssl", "etc/ssl/a.pem", "etc/ssl/deep/er/b.pem", "etc/sslfake/a.pem",
		"home/ann/.ssh/id_rsa", "home/bob/.ssh/id_ed", "home/bob/.ssh/config", "home/bob/id_x", "home/bob/sub/.ssh/id_y",
		"srv/x.key", "srv/a/b/x.key", "srv/a/b/x.pub", "srv/a/b", "odd/[x]", "odd/a b\n", "odd/ü", "odd/" + long, "odd/" + long[1:],
	}
	for _, name := range files {
		if name := f.dir + "/" + name; filepath.Ext(name) != "" || strings.Contains(name, "id_") || strings.Contains(name, "/odd/") || strings.Contains(name, "shadow") || strings.HasSuffix(name, "config") {
			write(t, name, "")
		}
	}
	for _, test := range []struct {
		pattern string
		refused int
	}{
		{"etc/shadow", 1}, {"etc/ssl", 1}, {"etc/ssl/", 3}, {"etc/", 7}, {"", len(files)}, {"etc/ssl/deep/er/", 1}, {"nothing", 0}, {"etc/shadow/", 1},
		{"home/*/.ssh/id_*", 2}, {"home/*/.ssh/", 3}, {"home/**/id_*", 4}, {"home/**/.ssh/", 4}, {"srv/**/*.key", 2}, {"srv/*/*/*", 2}, {"srv/?.key", 1},
		{"**", len(files)}, {"**/a.pem", 2}, {"etc/**", 6}, {"*/ssl", 1}, {"etc/ssl*", 1}, {"etc/ssl*/", 4}, {"etc/shado?", 1}, {"etc/shadow?", 1},
		{"odd/[x]", 1}, {"odd/a b\n", 1}, {"odd/ü", 1}, {"odd/??", 1}, {"odd/" + long, 1}, {"odd/n*", 2}, {"odd/" + strings.Repeat("?", 255), 1}, {"odd/*" + long[1:], 2},
		{"srv/a/**/b/**/x.*", 2}, {"**/b/*", 2}, {"**/**x", 0},
	} {
		pattern := f.dir + "/" + test.pattern
		parsed, err := policy.ParsePathPattern(pattern)
		if err != nil {
			continue // not a pattern: the tests of package policy say why
		}
		g.apply(t, denyFiles("test", f.subject, pattern))
		refused := 0
		for _, name := range files {
			path := f.dir + "/" + name
			passed(t, f.other, "open", path, "r")
			if !parsed.Match(path) {
				passed(t, f.actor, "open", path, "r")
				continue
			}
			refused++
			if alert := g.refused(t, f.actor, "open", path, "r"); alert.Path != path {
				t.Errorf("alert %v, want path %q", alert, path)
			}
		}
		if refused != test.refused {
			t.Errorf("%s: %d refused, want %d", test.pattern, refused, test.refused)
		}
	}
}

// testDepth goes to the limit of components and beyond.
func testDepth(t *testing.T, g *fileGuard) {
	f := newFileTest(t)
	above := strings.Count(f.dir, "/")
	// at returns a file of so many components.
	at := func(components int) string {
		return write(t, f.dir+strings.Repeat("/d", components-above-1)+"/file", "")
	}
	deep := map[int]string{}
	for _, n := range []int{63, 64, 65, 66, 70, 95, 96, 97, 128, 200} {
		deep[n] = at(n)
	}
	t.Run("denied", func(t *testing.T) {
		g.apply(t, f.deny("nothing"))
		for n, path := range deep {
			passed(t, f.other, "open", path, "r")
			if n <= 64 {
				passed(t, f.actor, "open", path, "r")
				continue
			}
			for _, mode := range []string{"r", "w"} {
				if alert := g.undecided(t, f.actor, "open", path, mode); alert.Policy != "test" || alert.Path != "" {
					t.Errorf("%d: alert %v", n, alert)
				}
			}
			g.undecided(t, f.actor, "unlink", path)
			g.undecided(t, f.actor, "rename", path, f.dir+"/here")
		}
	})
	t.Run("below a directory", func(t *testing.T) {
		g.apply(t, f.deny("d/"))
		g.refused(t, f.actor, "open", deep[64], "r")
		for n, path := range deep {
			if n > 64 {
				g.denied(t, f.actor, "open", path, "r")
			}
		}
	})
	t.Run("glob", func(t *testing.T) {
		g.apply(t, f.deny("**/file"))
		g.refused(t, f.actor, "open", deep[64], "r")
		for n, path := range deep {
			if n > 64 {
				g.undecided(t, f.actor, "open", path, "r")
			}
		}
	})
	t.Run("nothing that could deny", func(t *testing.T) {
		g.apply(t, denyFiles("others", ebpfguard.Binaries(f.dir+"/none"), f.dir+"/nothing"), allowFiles("mine", f.subject, f.dir+"/nothing"),
			filePolicy("write", f.subject, policy.Rule{Deny: []policy.Pattern{policy.FilePattern{Paths: []string{f.dir + "/nothing"}, Access: policy.Write}}}))
		for n, path := range deep {
			passed(t, f.actor, "open", path, "r")
			if n > 64 {
				g.undecided(t, f.actor, "open", path, "w")
			}
		}
	})
	t.Run("audit", func(t *testing.T) {
		p := f.deny("nothing")
		p.Mode = policy.ModeAudit
		g.apply(t, p)
		passed(t, f.actor, "open", deep[200], "r")
		if alert := g.next(t).Context(); alert.Verdict != policy.Audit || !alert.Undecided {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("mounts on the way", func(t *testing.T) {
		g.apply(t, f.deny("nothing", "mounts/**/secret"))
		mounts := f.dir + "/mounts"
		check(t, os.Mkdir(mounts, 0o755))
		// One below the other, a component each.
		d := startDoer(t, f.program)
		passed(t, d, "unshare")
		path := mounts
		for range 25 {
			passed(t, d, "tmpfs", path)
			path += "/m"
			passed(t, d, "mkdir", path)
		}
		passed(t, d, "open", path+"/public", "create")
		g.refused(t, d, "open", path+"/secret", "create")
		// More mounts than anybody has.
		for range 40 {
			passed(t, d, "tmpfs", path)
		}
		g.undecided(t, d, "open", path+"/public", "create")
	})
}

// testLength has long names and paths longer than a system call takes.
func testLength(t *testing.T, g *fileGuard) {
	f := newFileTest(t)
	component := "/" + strings.Repeat("c", 249)
	path := f.dir + strings.Repeat(component, 15) + "/file"
	write(t, path, "")
	public := write(t, filepath.Dir(path)+"/public", "")
	t.Run("exact", func(t *testing.T) {
		g.apply(t, denyFiles("test", f.subject, path))
		passed(t, f.actor, "open", public, "r")
		if alert := g.refused(t, f.actor, "open", path, "r"); alert.Path == "" || !strings.HasPrefix(path, alert.Path) {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("relative", func(t *testing.T) {
		g.apply(t, f.deny(component[1:]+component+"/"))
		d := startDoer(t, f.program)
		check(t, os.Chdir(filepath.Dir(path)))
		defer os.Chdir("/")
		for range 8 { // 6000 bytes
			check(t, os.Mkdir(component[1:], 0o755))
			check(t, os.Chdir(component[1:]))
		}
		check(t, os.WriteFile("file", nil, 0o644))
		passed(t, d, "chdir", filepath.Dir(path))
		for range 8 {
			passed(t, d, "chdir", component[1:])
		}
		g.refused(t, d, "open", "file", "r")
		g.refused(t, d, "open", "new", "create")
		g.refused(t, d, "unlink", "file")
	})
	t.Run("as program", func(t *testing.T) {
		secret := write(t, f.dir+"/secret", "")
		// Its name is too long to be kept, so nobody knows what it is later.
		long := f.dir + strings.Repeat(component, 5) + "/program"
		check(t, os.Link(f.program, long))
		g.apply(t, denyFiles("test", ebpfguard.Binaries(f.dir+"/other"), secret))
		g.undecided(t, startDoer(t, long), "open", secret, "r")
		passed(t, f.actor, "open", secret, "r")
	})
}

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
func testFuture(t *testing.T, g *fileGuard) {
	f := newFileTest(t)
	spare := write(t, f.dir+"/spare", "")
	check(t, os.Mkdir(f.dir+"/in", 0o755))
	g.apply(t, f.deny("future", "tree/", "in/*.key", "later/sub/file"))
	for _, name := range []string{"future", "in/a.key", "tree"} {
		path := f.dir + "/" + name
		for way, args := range makeWays {
			made := args(path, spare)
			t.Run(way+" "+name, func(t *testing.T) {
				if alert := g.refused(t, f.actor, made[0], made[1:]...); alert.Path != path || alert.Access != policy.Write {
					t.Errorf("alert %v", alert)
				}
				if _, err := os.Lstat(path); !os.IsNotExist(err) {
					t.Errorf("it is there: %v", err)
				}
				passed(t, f.other, made[0], made[1:]...)
				defer write(t, spare, "")
				defer os.Remove(path)
				if way != "mkdir" && way != "mkfifo" && way != "bind" && way != "symlink" {
					g.refused(t, f.actor, "open", path, "r")
				}
				write(t, f.dir+"/third", "")
				g.refused(t, f.actor, "rename", f.dir+"/third", path)
				g.refused(t, f.actor, "rename", path, f.dir+"/away")
				g.refused(t, f.actor, "exchange", path, f.dir+"/third")
				g.refused(t, f.actor, "exchange", f.dir+"/third", path)
				g.refused(t, f.actor, map[bool]string{true: "rmdir", false: "unlink"}[way == "mkdir"], path)
				passed(t, f.actor, "rename", f.dir+"/third", f.dir+"/fourth")
			})
		}
	}
	t.Run("below a directory to come", func(t *testing.T) {
		check(t, os.Mkdir(f.dir+"/tree", 0o755))
		for way, args := range makeWays {
			made := args(f.dir+"/tree/x", spare)
			if o := f.actor.do(made[0], made[1:]...); o.Errno != syscall.EPERM {
				t.Errorf("%s: %v", way, o)
			}
			g.next(t)
		}
		g.refused(t, f.actor, "open", f.dir+"/tree", "r")
	})
	t.Run("by renaming a directory above", func(t *testing.T) {
		write(t, f.dir+"/staged/sub/file", "")
		passed(t, f.actor, "open", f.dir+"/staged/sub/file", "w")
		passed(t, f.actor, "rename", f.dir+"/staged", f.dir+"/later") // its name is free
		g.refused(t, f.actor, "open", f.dir+"/later/sub/file", "r")
		g.refused(t, f.actor, "rename", f.dir+"/later/sub/file", f.dir+"/mine")
		passed(t, f.actor, "rename", f.dir+"/later", f.dir+"/staged")
		passed(t, f.actor, "open", f.dir+"/staged/sub/file", "r")
	})
	t.Run("by a symbolic link above", func(t *testing.T) {
		passed(t, f.actor, "symlink", f.dir+"/staged", f.dir+"/later")
		passed(t, f.actor, "open", f.dir+"/later/sub/file", "r")            // not its name
		g.apply(t, f.deny("future", "tree/", "in/*.key", "later/sub/file")) // now it is
		if alert := g.refused(t, f.actor, "open", f.dir+"/later/sub/file", "r"); alert.Path != f.dir+"/staged/sub/file" {
			t.Errorf("alert %v", alert)
		}
		g.refused(t, f.actor, "open", f.dir+"/staged/sub/file", "r")
	})
}

// testIdentity reaches protected files by other names than theirs.
func testIdentity(t *testing.T, g *fileGuard) {
	f := newFileTest(t)
	for _, name := range []string{"a/file", "a/free", "a/tree/sub/file", "b/file", "b/free", "b/tree/sub/file", "mnt/x", "new/x"} {
		write(t, f.dir+"/"+name, "")
	}
	check(t, os.Link(f.dir+"/a/file", f.dir+"/before"))
	g.apply(t, f.deny("a/file", "a/tree/"))
	p := func(name string) string { return f.dir + "/" + name }
	// A way ends with an errand for the file, by which it is reached, below a or b.
	for name, way := range map[string]func(t *testing.T, d *doer, root string) []string{
		"its name": func(t *testing.T, d *doer, root string) []string { return []string{"open", p(root + "/file"), "r"} },
		"a relative name": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "chdir", p(root))
			return []string{"open", "../" + root + "/./file", "r"}
		},
		"a symbolic link": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "symlink", p(root+"/file"), p("mnt/symlink-"+root))
			return []string{"open", p("mnt/symlink-" + root), "r"}
		},
		"a hard link": func(t *testing.T, d *doer, root string) []string {
			check(t, os.Link(p(root+"/file"), p("mnt/link-"+root)))
			return []string{"open", p("mnt/link-" + root), "r"}
		},
		"a bind mount of the file": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "unshare")
			passed(t, d, "bind", p(root+"/file"), p("mnt/x"))
			return []string{"open", p("mnt/x"), "r"}
		},
		"a bind mount of the directory": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "unshare")
			passed(t, d, "bind", p(root), p("mnt"))
			return []string{"open", p("mnt/file"), "r"}
		},
		"a bind mount of everything": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "unshare")
			passed(t, d, "bind", "/", p("mnt"))
			return []string{"open", p("mnt") + p(root+"/file"), "r"}
		},
		"a bind mount of a bind mount": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "unshare")
			passed(t, d, "bind", p(root), p("mnt"))
			passed(t, d, "bind", p("mnt"), p("new"))
			passed(t, d, "detach", p("mnt"))
			return []string{"open", p("new/tree/sub/file"), "r"}
		},
		"a bind mount below the directory": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "unshare")
			passed(t, d, "bind", p(root+"/tree/sub"), p("mnt"))
			return []string{"open", p("mnt/file"), "w"}
		},
		"a renamed directory": func(t *testing.T, d *doer, root string) []string {
			check(t, os.Rename(p(root), p("renamed")))
			t.Cleanup(func() { check(t, os.Rename(p("renamed"), p(root))) })
			return []string{"open", p("renamed/tree/sub/file"), "r"}
		},
		"a renamed directory below": func(t *testing.T, d *doer, root string) []string {
			check(t, os.Rename(p(root+"/tree"), p("renamed")))
			t.Cleanup(func() { check(t, os.Rename(p("renamed"), p(root+"/tree"))) })
			return []string{"open", p("renamed/sub/file"), "r"}
		},
		"a name to come, in a renamed directory": func(t *testing.T, d *doer, root string) []string {
			check(t, os.Rename(p(root+"/tree"), p("renamed")))
			t.Cleanup(func() { check(t, os.Rename(p("renamed"), p(root+"/tree"))) })
			return []string{"open", p("renamed/sub/new"), "create"}
		},
		"another namespace": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "unshare")
			return []string{"open", p(root + "/file"), "r"}
		},
		"another root": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "unshare")
			passed(t, d, "chroot", p(root))
			return []string{"open", "/file", "r"}
		},
		"the root of a process": func(t *testing.T, d *doer, root string) []string {
			return []string{"open", fmt.Sprintf("/proc/%d/root%s", os.Getpid(), p(root+"/file")), "r"}
		},
		"a descriptor": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "hold", "fd", p(root+"/file"), "path")
			return []string{"open-fd", "fd", "r"}
		},
		"a directory's descriptor": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "hold", "dir", p(root), "path")
			return []string{"openat", "dir", "tree/sub/file", "r"}
		},
		"a handle": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "hold", "dir", p(root), "r")
			return []string{"open-handle", "dir", "file", "r"}
		},
		"a handle below the directory": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "hold", "dir", p("mnt"), "r")
			passed(t, d, "hold", "root", p(root), "r")
			return []string{"open-handle", "root", "tree/sub/file", "rw"}
		},
		"a detached mount": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "unshare")
			passed(t, d, "bind", p(root), p("mnt"))
			passed(t, d, "hold", "dir", p("mnt"), "path")
			passed(t, d, "detach", p("mnt"))
			return []string{"openat", "dir", "tree/sub/file", "r"}
		},
		"a covered directory": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "unshare")
			passed(t, d, "hold", "dir", p(root), "path")
			passed(t, d, "tmpfs", p(root))
			return []string{"openat", "dir", "file", "r"}
		},
		"overlayfs": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "unshare")
			passed(t, d, "overlay", p(root)+":"+p("new"), p("mnt"))
			return []string{"open", p("mnt/file"), "r"}
		},
		"overlayfs of a directory": func(t *testing.T, d *doer, root string) []string {
			passed(t, d, "unshare")
			passed(t, d, "overlay", p(root)+"/tree:"+p("new"), p("mnt"))
			return []string{"open", p("mnt/sub/file"), "r"}
		},
	} {
		for _, who := range []struct{ what, program, root string }{
			{"protected", f.program, "a"}, {"not protected", f.program, "b"}, {"bystander", "/proc/self/exe", "a"},
		} {
			t.Run(name+"/"+who.what, func(t *testing.T) {
				t.Cleanup(func() {
					for _, name := range []string{"a/tree/sub/new", "b/tree/sub/new", "mnt/link-a", "mnt/link-b", "mnt/symlink-a", "mnt/symlink-b"} {
						os.Remove(p(name))
					}
				})
				d := startDoer(t, who.program)
				if e := way(t, d, who.root); who.what == "protected" {
					g.refused(t, d, e[0], e[1:]...)
				} else {
					passed(t, d, e[0], e[1:]...)
				}
			})
		}
	}
	t.Run("a link from before", func(t *testing.T) {
		g.refused(t, f.actor, "open", p("before"), "r")
		g.refused(t, f.actor, "unlink", p("before"))
	})
	t.Run("another filesystem at the name", func(t *testing.T) {
		d := startDoer(t, f.program)
		passed(t, d, "unshare")
		passed(t, d, "tmpfs", p("a"))
		g.refused(t, d, "open", p("a/file"), "create")
		passed(t, d, "open", p("a/free"), "create")
		g.refused(t, d, "mkdir", p("a/tree"))
	})
	t.Run("another file at the name", func(t *testing.T) {
		d := startDoer(t, f.program)
		passed(t, d, "unshare")
		passed(t, d, "bind", p("b/free"), p("a/file"))
		g.refused(t, d, "open", p("a/file"), "r")
		passed(t, d, "open", p("b/free"), "r")
	})
	t.Run("a user's mount namespace", func(t *testing.T) {
		check(t, os.Chmod(filepath.Dir(f.dir), 0o755))
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
		d := startDoerWith(t, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: ids, GidMappings: ids}, f.program)
		g.refused(t, d, "open", p("a/file"), "r")
		g.refused(t, d, "open", p("a/tree/sub/file"), "r")
		g.refused(t, d, "open", p("a/tree/new"), "create")
		passed(t, d, "open", p("b/file"), "r")
		passed(t, d, "bind", p("a"), p("mnt"))
		g.refused(t, d, "open", p("mnt/file"), "r")
		// There a path proves nothing.
		passed(t, d, "bind", p("b/file"), p("b/free"))
		passed(t, d, "open", p("b/free"), "r")
	})
}

// testTwoNames has rules that disagree about one file: the strictest counts.
func testTwoNames(t *testing.T, g *fileGuard) {
	f := newFileTest(t)
	p := func(name string) string { return f.dir + "/" + name }
	write(t, p("one/a"), "")
	check(t, os.MkdirAll(p("two"), 0o755))
	check(t, os.Link(p("one/a"), p("two/b")))
	both := func(t *testing.T, policy string) {
		t.Helper()
		for _, name := range []string{"one/a", "two/b"} {
			if alert := g.refused(t, f.actor, "open", p(name), "r"); alert.Policy != policy || alert.Path != p(name) {
				t.Errorf("%s: alert %v", name, alert)
			}
		}
		passed(t, f.other, "open", p("two/b"), "r")
	}
	t.Run("allowed and denied", func(t *testing.T) {
		g.apply(t, denyFiles("b", f.subject, p("two/b")), allowFiles("a", f.subject, p("one/a")))
		both(t, "b")
	})
	t.Run("audited and denied", func(t *testing.T) {
		audit := denyFiles("a", f.subject, p("one/a"))
		audit.Mode = policy.ModeAudit
		g.apply(t, audit, denyFiles("b", f.subject, p("two/b")))
		both(t, "b")
	})
	t.Run("one has an exception", func(t *testing.T) {
		g.apply(t, denyFiles("all", ebpfguard.Subject{Cgroups: []string{"/"}}, p("one/a"), p("two/b")), allowFiles("a", f.subject, p("one/a")), allowFiles("other", ebpfguard.Binaries("/**"), p("two/b")))
		g.apply(t, denyFiles("all", f.subject, p("one/a"), p("two/b")), allowFiles("less", ebpfguard.Everyone(), p("one/a")))
		both(t, "all")
	})
	t.Run("a name that no policy names", func(t *testing.T) {
		// Of all else, "deny all but" concerns only what is named by nothing.
		check(t, os.Link(p("one/a"), p("third")))
		g.apply(t, denyFiles("all", f.subject), allowFiles("a", f.subject, p("one/a")))
		passed(t, f.actor, "open", p("third"), "r")
		if alert := g.refused(t, f.actor, "open", p("program"), "r"); alert.Policy != "all" {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("through a bind mount", func(t *testing.T) {
		g.apply(t, denyFiles("one", f.subject, p("one/")), allowFiles("mnt", f.subject, p("mnt/")))
		check(t, os.Mkdir(p("mnt"), 0o755))
		d := startDoer(t, f.program)
		passed(t, d, "unshare")
		passed(t, d, "bind", p("one"), p("mnt"))
		if alert := g.refused(t, d, "open", p("mnt/a"), "r"); alert.Policy != "one" {
			t.Errorf("alert %v", alert)
		}
		passed(t, d, "umount", p("mnt"))
		passed(t, d, "open", p("mnt/a"), "create")
		g.refused(t, d, "open", p("one/a"), "r")
	})
}

// testExceptions writes denials with exceptions.
func testExceptions(t *testing.T, g *fileGuard) {
	f := newFileTest(t)
	p := func(name string) string { return f.dir + "/" + name }
	for _, name := range []string{"etc/shadow", "etc/ssl/key", "etc/ssl/private/key", "own/a", "own/sub/b", "else"} {
		write(t, p(name), "")
	}
	t.Run("a directory for all but one", func(t *testing.T) {
		set := []policy.Policy{denyFiles("etc", ebpfguard.Everyone(), p("etc/")), allowFiles("ssl", f.subject, p("etc/ssl/"))}
		g.apply(t, set...)
		passed(t, f.actor, "open", p("etc/ssl/key"), "rw")
		passed(t, f.actor, "open", p("etc/ssl/private/key"), "r")
		for _, name := range []string{"etc", "etc/shadow"} {
			g.refused(t, f.actor, "open", p(name), "r")
		}
		for _, name := range []string{"etc", "etc/shadow", "etc/ssl", "etc/ssl/key", "etc/ssl/private/key"} {
			g.refused(t, f.other, "open", p(name), "r")
		}
		passed(t, f.other, "open", p("else"), "r")
		g.apply(t, append(set, denyFiles("private", ebpfguard.Everyone(), p("etc/ssl/private/")))...)
		g.refused(t, f.actor, "open", p("etc/ssl/private/key"), "r")
		passed(t, f.actor, "open", p("etc/ssl/key"), "r")
		// A less specific exception lifts nothing.
		g.apply(t, set[0], allowFiles("all", f.subject))
		g.refused(t, f.actor, "open", p("etc/shadow"), "r")
	})
	t.Run("read but not write", func(t *testing.T) {
		g.apply(t, filePolicy("write", f.subject, policy.Rule{Deny: []policy.Pattern{policy.FilePattern{Paths: []string{p("own/")}, Access: policy.Write}}}))
		passed(t, f.actor, "open", p("own/a"), "r")
		for _, e := range [][]string{{"open", p("own/a"), "w"}, {"open", p("own/a"), "rw"}, {"open", p("own/a"), "trunc"}, {"unlink", p("own/a")}, {"chmod", p("own/a")}, {"utimes", p("own/a")}, {"setxattr", p("own/a")}} {
			g.refused(t, f.actor, e[0], e[1:]...)
		}
	})
	t.Run("run but not read", func(t *testing.T) {
		write(t, p("own/tool"), "")
		tool := copyProgram(t, p("own/tool"))
		g.apply(t, filePolicy("read", f.subject, policy.Rule{Deny: []policy.Pattern{policy.FilePattern{Paths: []string{p("own/")}, Access: policy.Read | policy.Write}}}))
		g.refused(t, f.actor, "open", tool, "r")
		d := startDoer(t, f.program)
		passed(t, d, "exec", tool)
		passed(t, d, "open", tool, "r")
		g.apply(t, filePolicy("exec", f.subject, policy.Rule{Deny: []policy.Pattern{policy.FilePattern{Paths: []string{p("own/")}, Access: policy.Exec}}}))
		passed(t, f.actor, "open", tool, "r")
		if alert := g.refused(t, f.actor, "exec", tool); alert.Access != policy.Exec {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("nothing but its own", func(t *testing.T) {
		deny := denyFiles("all", f.subject)
		// What the program needs to start is learnt from alerts.
		learn := deny
		learn.Mode = policy.ModeAudit
		g.apply(t, learn)
		passed(t, startDoer(t, f.program), "open", p("own/a"), "r")
		needs := map[string]bool{}
		for done := false; !done; {
			alert := g.next(t).(ebpfguard.FileOpenAlert)
			pid := fmt.Sprintf("/%d/", alert.PID)
			needs[strings.Replace(alert.Path, pid, "/*/", 1)] = true
			done = alert.Path == p("own/a")
		}
		delete(needs, p("own/a"))
		t.Logf("a Go program opens %v", needs)
		if !needs[f.program] {
			t.Errorf("it does not need itself: %v", needs)
		}
		paths := []string{p("own/")}
		for path := range needs {
			paths = append(paths, path)
		}
		g.apply(t, deny, allowFiles("own", f.subject, paths...))
		d := startDoer(t, f.program)
		for _, name := range []string{"own/a", "own/sub/b"} {
			passed(t, d, "open", p(name), "rw")
		}
		passed(t, d, "open", p("own/new"), "create")
		for _, path := range []string{p("else"), p("etc"), "/etc/passwd", "/dev/null", "/proc/self/status", "/"} {
			alert := g.refused(t, d, "open", path, "r")
			if path == "/proc/self/status" {
				path = fmt.Sprintf("/proc/%d/status", d.pid)
			}
			if alert.Path != path {
				t.Errorf("alert %v, want path %s", alert, path)
			}
			passed(t, f.other, "open", path, "r")
		}
		g.refused(t, d, "open", p("elsewhere"), "create")
		g.refused(t, d, "rename", p("own/new"), p("elsewhere"))
		g.refused(t, d, "link", p("else"), p("own/else"))
		// Without what it needs it does not come far.
		g.apply(t, deny, allowFiles("own", f.subject, p("own/")))
		if err := exec.Command(f.program).Run(); err == nil || !strings.Contains(err.Error(), "signal: ") {
			t.Errorf("it was started: %v", err)
		}
		if n := g.drain(); n == 0 {
			t.Error("no alert")
		}
	})
	t.Run("many processes", func(t *testing.T) {
		g.apply(t, f.deny("own/"))
		for i := range 8 {
			d := startDoer(t, f.program)
			g.refused(t, d, "open", p("own/a"), "r")
			o := passed(t, startDoer(t, "/proc/self/exe"), "hammer", strconv.Itoa(100), p("own/a"), p("own/a"))
			if slices.Max(o.Counts) != 0 {
				t.Errorf("%d: refused %v times", i, o.Counts)
			}
		}
	})
}
