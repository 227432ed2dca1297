//go:build vm

package files

import (
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

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
	f := guardtest.NewPair(t)
	device := makeDisk(t, f.Dir)
	p := func(name string) string { return f.Dir + "/" + name }
	for _, name := range []string{"disk/named", "disk/tree/sub/file", "disk/free", "disk/gone"} {
		guardtest.WriteFile(t, p(name), "")
	}
	guardtest.Check(t, os.Mkdir(p("mnt"), 0o755))
	guardtest.Check(t, os.Link(p("disk/named"), p("disk/before")))
	g.Enforce(t, f.Deny("disk/named", "disk/tree/", "disk/gone"))
	t.Run("links", func(t *testing.T) {
		guardtest.Check(t, os.Link(p("disk/named"), p("disk/after")))
		for _, name := range []string{"named", "before", "after", "tree/sub/file"} {
			g.Refused(t, f.Actor, "open", p("disk/"+name), "r")
			f.Other.Passed(t, "open", p("disk/"+name), "r")
		}
		f.Actor.Passed(t, "open", p("disk/free"), "r")
	})
	t.Run("mounted a second time", func(t *testing.T) {
		d := guardtest.StartDoer(t, f.Program)
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
			for _, d := range []*guardtest.Doer{f.Actor, f.Other} {
				d.Passed(t, "hold", "disk", p("disk"), "r")
				d.Passed(t, "handle", "disk", name)
				unix.Sync()
				for range 3 {
					guardtest.Check(t, os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o200))
				}
				if d == f.Actor {
					g.Undecided(t, d, "open-handle", "disk", "r")
				} else {
					d.Passed(t, "open-handle", "disk", "r")
				}
			}
			// By its name it is known again.
			if name == "free" {
				f.Actor.Passed(t, "open", p("disk/"+name), "r")
			} else {
				g.Refused(t, f.Actor, "open", p("disk/"+name), "r")
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
			f.Actor.Passed(t, "open", name, "r")
		}
		guardtest.WriteFile(t, p("disk/gone"), "")
		g.Refused(t, f.Actor, "open", p("disk/gone"), "r")
	})
}
