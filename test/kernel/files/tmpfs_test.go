//go:build vm

package files

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testTmpfs mounts a tmpfs that gets the device number of one that has ended, and in it a file with the inode number of
// one that policies named: it is another file, as far as the kernel tells.
func testTmpfs(t *testing.T, g *guardtest.FileGuard) {
	f := guardtest.NewPair(t)
	mount := func(name string) (dir string, end func()) {
		dir = f.Dir + "/" + name
		guardtest.Check(t, os.MkdirAll(dir, 0o755))
		guardtest.Check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"))
		end = func() { guardtest.Check(t, unix.Unmount(dir, 0)) }
		guardtest.WriteFile(t, dir+"/file", "")
		return dir, end
	}
	number := func(dir string) (number [2]uint64) {
		var stat unix.Stat_t
		guardtest.Check(t, unix.Stat(dir+"/file", &stat))
		return [2]uint64{uint64(stat.Dev), stat.Ino}
	}
	first, end := mount("first")
	g.Enforce(t, f.Deny("first/file"))
	g.Refused(t, f.Actor, "open", first+"/file", "r")
	before := number(first)
	// It is the same file elsewhere.
	guardtest.Check(t, os.MkdirAll(f.Dir+"/again", 0o755))
	guardtest.Check(t, unix.Mount(first, f.Dir+"/again", "", unix.MS_BIND, ""))
	g.Refused(t, f.Actor, "open", f.Dir+"/again/file", "r")
	guardtest.Check(t, unix.Unmount(f.Dir+"/again", 0))
	end()

	second, end := mount("second")
	defer end()
	if now := number(second); now != before {
		t.Fatalf("device and inode of the next tmpfs are %v, want those of the former one, %v", now, before)
	}
	f.Other.Passed(t, "open", second+"/file", "r")
	if k, _ := vmtest.Guest(); !k.Offers("tmpfs_uuid") {
		g.Refused(t, f.Actor, "open", second+"/file", "r") // docs/threat-model.md says so
		return
	}
	f.Actor.Passed(t, "open", second+"/file", "r")
}
