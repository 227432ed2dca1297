//go:build vm

package files

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testIdentity reaches protected files by other names than theirs.
func testIdentity(t *testing.T, g *guardtest.FileGuard) {
	f := newFileTest(t)
	for _, name := range []string{"a/file", "a/free", "a/tree/sub/file", "b/file", "b/free", "b/tree/sub/file", "mnt/x", "new/x"} {
		guardtest.WriteFile(t, f.dir+"/"+name, "")
	}
	guardtest.Check(t, os.Link(f.dir+"/a/file", f.dir+"/before"))
	g.Enforce(t, f.deny("a/file", "a/tree/"))
	p := func(name string) string { return f.dir + "/" + name }
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
			{"protected", f.program, "a"}, {"not protected", f.program, "b"}, {"bystander", "/proc/self/exe", "a"},
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
		g.Enforce(t, f.deny("a/g*/key"))
		d := guardtest.StartDoer(t, f.program)
		d.Passed(t, "unshare")
		d.Passed(t, "bind", p("a/g1"), p("mnt"))
		g.Refused(t, d, "open", p("mnt/key"), "r")
		d.Passed(t, "bind", p("a"), p("new"))
		g.Refused(t, d, "open", p("new/g2/key"), "r")
		d.Passed(t, "hold", "g1", p("a/g1"), "path")
		g.Refused(t, d, "openat", "g1", "key", "r")
		guardtest.Check(t, os.Rename(p("a"), p("renamed")))
		g.Refused(t, f.actor, "open", p("renamed/g1/key"), "r")
		guardtest.Check(t, os.Rename(p("renamed"), p("a")))
		// But whoever may rename what stands for the wildcard takes it away
		// (docs/threat-model.md): only what is before it has an identity.
		f.actor.Passed(t, "rename", p("a/g1"), p("away"))
		f.actor.Passed(t, "open", p("away/key"), "r")
	})
	t.Run("a link from before", func(t *testing.T) {
		g.Refused(t, f.actor, "open", p("before"), "r")
		g.Refused(t, f.actor, "unlink", p("before"))
	})
	t.Run("another filesystem at the name", func(t *testing.T) {
		d := guardtest.StartDoer(t, f.program)
		d.Passed(t, "unshare")
		d.Passed(t, "tmpfs", p("a"))
		g.Refused(t, d, "open", p("a/file"), "create")
		d.Passed(t, "open", p("a/free"), "create")
		g.Refused(t, d, "mkdir", p("a/tree"))
	})
	t.Run("another file at the name", func(t *testing.T) {
		d := guardtest.StartDoer(t, f.program)
		d.Passed(t, "unshare")
		d.Passed(t, "bind", p("b/free"), p("a/file"))
		g.Refused(t, d, "open", p("a/file"), "r")
		d.Passed(t, "open", p("b/free"), "r")
	})
	t.Run("a user's mount namespace", func(t *testing.T) {
		guardtest.Check(t, os.Chmod(filepath.Dir(f.dir), 0o755))
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
		d := guardtest.StartDoerWith(t, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: ids, GidMappings: ids}, f.program)
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
	f := newFileTest(t)
	p := func(name string) string { return f.dir + "/" + name }
	guardtest.WriteFile(t, p("one/a"), "")
	guardtest.Check(t, os.MkdirAll(p("two"), 0o755))
	guardtest.Check(t, os.Link(p("one/a"), p("two/b")))
	both := func(t *testing.T, policy string) {
		t.Helper()
		for _, name := range []string{"one/a", "two/b"} {
			if alert := g.Refused(t, f.actor, "open", p(name), "r"); alert.Policy != policy || alert.Path != p(name) {
				t.Errorf("%s: alert %v", name, alert)
			}
		}
		f.other.Passed(t, "open", p("two/b"), "r")
	}
	t.Run("allowed and denied", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("b", f.subject, p("two/b")), guardtest.AllowFiles("a", f.subject, p("one/a")))
		both(t, "b")
	})
	t.Run("audited and denied", func(t *testing.T) {
		audit := guardtest.DenyFiles("a", f.subject, p("one/a"))
		audit.Mode = policy.ModeAudit
		g.Enforce(t, audit, guardtest.DenyFiles("b", f.subject, p("two/b")))
		both(t, "b")
	})
	t.Run("one has an exception", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("all", ebpfguard.Subject{Cgroups: []string{"/"}}, p("one/a"), p("two/b")), guardtest.AllowFiles("a", f.subject, p("one/a")), guardtest.AllowFiles("other", ebpfguard.Binaries("/**"), p("two/b")))
		g.Enforce(t, guardtest.DenyFiles("all", f.subject, p("one/a"), p("two/b")), guardtest.AllowFiles("less", ebpfguard.Everyone(), p("one/a")))
		both(t, "all")
	})
	t.Run("a name that no policy names", func(t *testing.T) {
		// Of all else, "deny all but" concerns only what is named by nothing.
		guardtest.Check(t, os.Link(p("one/a"), p("third")))
		g.Enforce(t, guardtest.DenyFiles("all", f.subject), guardtest.AllowFiles("a", f.subject, p("one/a")))
		f.actor.Passed(t, "open", p("third"), "r")
		if alert := g.Refused(t, f.actor, "open", p("program"), "r"); alert.Policy != "all" {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("through a bind mount", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("one", f.subject, p("one/")), guardtest.AllowFiles("mnt", f.subject, p("mnt/")))
		guardtest.Check(t, os.Mkdir(p("mnt"), 0o755))
		d := guardtest.StartDoer(t, f.program)
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

// diskInodes is how many files the disk has room for: few, so that a test can use them up.
const diskInodes = 128

// makeDisk mounts an ext4 of its own, whose names are forgotten under pressure
// and whose inode numbers are used again.
func makeDisk(t *testing.T, dir string) (device string) {
	t.Helper()
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		t.Fatal("no mkfs.ext4: run with -packages e2fsprogs -modules loop, as make test-vm does")
	}
	image := guardtest.WriteFile(t, dir+"/disk.img", "")
	guardtest.Check(t, os.Truncate(image, 16<<20))
	if out, err := exec.Command(mkfs, "-q", "-F", "-O", "^has_journal", "-N", strconv.Itoa(diskInodes), image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	device = "/dev/loop6"
	if err := unix.Mknod(device, unix.S_IFBLK|0o600, int(unix.Mkdev(7, 6))); err != nil && err != unix.EEXIST {
		t.Fatal(err)
	}
	loop, err := os.OpenFile(device, os.O_RDWR, 0)
	guardtest.Check(t, err)
	defer loop.Close()
	file, err := os.OpenFile(image, os.O_RDWR, 0)
	guardtest.Check(t, err)
	defer file.Close()
	guardtest.Check(t, unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_SET_FD, int(file.Fd())))
	guardtest.Check(t, os.Mkdir(dir+"/disk", 0o755))
	guardtest.Check(t, unix.Mount(device, dir+"/disk", "ext4", 0, ""))
	t.Cleanup(func() {
		guardtest.Check(t, unix.Unmount(dir+"/disk", unix.MNT_DETACH))
		loop, err := os.OpenFile(device, os.O_RDWR, 0)
		guardtest.Check(t, err)
		unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_CLR_FD, 0)
		loop.Close()
	})
	return device
}

// testDisk is about files of a filesystem on a disk.
func testDisk(t *testing.T, g *guardtest.FileGuard) {
	f := newFileTest(t)
	device := makeDisk(t, f.dir)
	p := func(name string) string { return f.dir + "/" + name }
	for _, name := range []string{"disk/named", "disk/tree/sub/file", "disk/free", "disk/gone"} {
		guardtest.WriteFile(t, p(name), "")
	}
	guardtest.Check(t, os.Mkdir(p("mnt"), 0o755))
	guardtest.Check(t, os.Link(p("disk/named"), p("disk/before")))
	g.Enforce(t, f.deny("disk/named", "disk/tree/", "disk/gone"))
	t.Run("links", func(t *testing.T) {
		guardtest.Check(t, os.Link(p("disk/named"), p("disk/after")))
		for _, name := range []string{"named", "before", "after", "tree/sub/file"} {
			g.Refused(t, f.actor, "open", p("disk/"+name), "r")
			f.other.Passed(t, "open", p("disk/"+name), "r")
		}
		f.actor.Passed(t, "open", p("disk/free"), "r")
	})
	t.Run("mounted a second time", func(t *testing.T) {
		d := guardtest.StartDoer(t, f.program)
		d.Passed(t, "unshare")
		d.Passed(t, "ext4", device, p("mnt"))
		for _, name := range []string{"named", "before", "tree/sub/file"} {
			g.Refused(t, d, "open", p("mnt/"+name), "r")
		}
		g.Refused(t, d, "open", p("mnt/tree/new"), "create")
		d.Passed(t, "open", p("mnt/free"), "r")
	})
	t.Run("by handle", func(t *testing.T) {
		// When the names are forgotten, nobody knows where a file lies.
		for _, name := range []string{"named", "tree/sub/file", "free"} {
			for _, d := range []*guardtest.Doer{f.actor, f.other} {
				d.Passed(t, "hold", "disk", p("disk"), "r")
				d.Passed(t, "handle", "disk", name)
				unix.Sync()
				for range 3 {
					guardtest.Check(t, os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o200))
				}
				if d == f.actor {
					g.Undecided(t, d, "open-handle", "disk", "r")
				} else {
					d.Passed(t, "open-handle", "disk", "r")
				}
			}
			// By its name it is known again.
			if name == "free" {
				f.actor.Passed(t, "open", p("disk/"+name), "r")
			} else {
				g.Refused(t, f.actor, "open", p("disk/"+name), "r")
			}
		}
	})
	t.Run("an inode number used again", func(t *testing.T) {
		var before, after unix.Stat_t
		guardtest.Check(t, unix.Stat(p("disk/gone"), &before))
		guardtest.Check(t, os.Remove(p("disk/gone")))
		// ext4 without a journal rather uses another one within the first minutes
		// (fs/ext4/ialloc.c, recently_deleted), while there is any.
		for i := 0; after.Ino != before.Ino; i++ {
			if i == diskInodes {
				t.Fatal("it is not used again")
			}
			name := guardtest.WriteFile(t, p("disk/fresh-"+strconv.Itoa(i)), "")
			guardtest.Check(t, unix.Stat(name, &after))
			f.actor.Passed(t, "open", name, "r")
		}
		guardtest.WriteFile(t, p("disk/gone"), "")
		g.Refused(t, f.actor, "open", p("disk/gone"), "r")
	})
}
