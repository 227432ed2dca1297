//go:build vm

package files

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testCacheOfWords has files whose directory is known, by somebody else, under another policy,
// or for other files.
func testCacheOfWords(t *testing.T, g *guardtest.FileGuard) {
	f := guardtest.NewPair(t)
	p := func(name string) string { return f.Dir + "/" + name }
	for _, name := range []string{"open/file", "shut/file", "else/file", "open/dir/known"} {
		guardtest.WriteFile(t, p(name), "")
	}
	t.Run("another subject", func(t *testing.T) {
		program := guardtest.CopyProgram(t, p("second"))
		second := guardtest.StartDoer(t, program)
		g.Enforce(t, f.Deny("shut/"), guardtest.DenyFiles("second", ebpfguard.Binaries(program), p("else/")))
		for range 3 {
			warm(t, second, "open", p("shut/file"), "r")
			warmRefused(t, g, f.Actor, "open", p("shut/file"), "r")
			warm(t, f.Actor, "open", p("else/file"), "r")
			warmRefused(t, g, second, "open", p("else/file"), "r")
		}
	})
	t.Run("a device node in a known directory", func(t *testing.T) {
		// The test's directory may be one where devices cannot be opened.
		guardtest.Check(t, os.Mkdir(p("dev"), 0o755))
		guardtest.Mount(t, "devices", p("dev"), "tmpfs", 0)
		for _, name := range []string{"dev/shut/file", "dev/open/file"} {
			guardtest.WriteFile(t, p(name), "")
		}
		for _, name := range []string{"dev/shut/null", "dev/open/null"} {
			guardtest.Check(t, unix.Mknod(p(name), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		}
		g.Enforce(t, f.Deny("dev/shut/null"))
		warm(t, f.Actor, "open", p("dev/open/file"), "r")
		warmRefused(t, g, f.Actor, "open", p("dev/open/null"), "r")
		warm(t, f.Actor, "open", p("dev/open/file"), "r")
	})
	t.Run("a link to a file that policies name, in a known directory", func(t *testing.T) {
		g.Enforce(t, f.Deny("shut/file"))
		warm(t, f.Actor, "open", p("open/file"), "r")
		guardtest.Check(t, os.Link(p("shut/file"), p("open/link")))
		warmRefused(t, g, f.Actor, "open", p("open/link"), "r")
		guardtest.Check(t, os.Remove(p("open/link")))
	})
	t.Run("a file with the number of one that policies name, on another filesystem", func(t *testing.T) {
		numbers := map[string]uint64{}
		for _, dir := range []string{"one", "two"} {
			guardtest.Check(t, os.Mkdir(p(dir), 0o755))
			guardtest.Mount(t, dir, p(dir), "tmpfs", 0)
			var stat unix.Stat_t
			guardtest.Check(t, unix.Stat(guardtest.WriteFile(t, p(dir+"/file"), ""), &stat))
			numbers[dir] = stat.Ino
		}
		if numbers["one"] != numbers["two"] {
			t.Fatalf("the files have the numbers %v; nothing is tried", numbers)
		}
		g.Enforce(t, f.Deny("one/file"))
		guardtest.Check(t, os.Link(p("one/file"), p("one/link")))
		guardtest.Check(t, os.Link(p("two/file"), p("two/link")))
		for range 3 {
			for _, name := range []string{"two/file", "two/link"} {
				warm(t, f.Actor, "open", p(name), "r")
			}
			for _, name := range []string{"one/file", "one/link"} {
				warmRefused(t, g, f.Actor, "open", p(name), "r")
			}
		}
	})
	t.Run("some names in a directory", func(t *testing.T) {
		g.Enforce(t, f.Deny("open/*.key"))
		for i := range 20 {
			name := strconv.Itoa(i)
			warm(t, f.Actor, "open", guardtest.WriteFile(t, p("open/"+name), ""), "r")
			warmRefused(t, g, f.Actor, "open", guardtest.WriteFile(t, p("open/"+name+".key"), ""), "r")
			guardtest.Check(t, os.Remove(p("open/"+name)))
			guardtest.Check(t, os.Link(p("open/"+name+".key"), p("open/"+name)))
			f.Actor.Passed(t, "open", p("open/"+name), "r")
			g.Refused(t, f.Actor, "open", p("open/"+name+".key"), "r")
		}
	})
	t.Run("a directory above is renamed, and another file used there first", func(t *testing.T) {
		// What is kept of the file, which may be read and not written, is of the former place;
		// what is kept of its directory is of the new one.
		pattern := func(path string, access policy.Access) policy.Pattern {
			return policy.FilePattern{Paths: []string{p(path)}, Access: access}
		}
		g.Enforce(t, guardtest.FilePolicy("test", f.Subject, policy.Rule{Deny: []policy.Pattern{
			pattern("*/sub/*.txt", policy.Write), pattern("keep/sub/*.txt", 0),
		}}))
		guardtest.WriteFile(t, p("other/sub/a.txt"), "")
		guardtest.WriteFile(t, p("other/sub/b.txt"), "")
		for range 3 {
			warm(t, f.Actor, "open", p("other/sub/a.txt"), "r")
			warmRefused(t, g, f.Actor, "open", p("other/sub/a.txt"), "w")
			guardtest.Check(t, os.Rename(p("other"), p("keep")))
			g.Refused(t, f.Actor, "open", p("keep/sub/b.txt"), "r")
			g.Refused(t, f.Actor, "open", p("keep/sub/a.txt"), "r")
			guardtest.Check(t, os.Rename(p("keep"), p("other")))
			f.Actor.Passed(t, "open", p("other/sub/b.txt"), "r")
			f.Actor.Passed(t, "open", p("other/sub/a.txt"), "r")
		}
	})
	t.Run("a directory is forgotten by the kernel", func(t *testing.T) {
		// Its dentry's memory goes to another one, and nothing was renamed.
		g.Enforce(t, f.Deny("shut/"))
		for range 10 {
			guardtest.WriteFile(t, p("open/a/b/file"), "")
			warm(t, f.Actor, "open", p("open/a/b/file"), "r")
			guardtest.Check(t, os.RemoveAll(p("open/a")))
			guardtest.Check(t, os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0))
			guardtest.WriteFile(t, p("shut/a/b/file"), "")
			warmRefused(t, g, f.Actor, "open", p("shut/a/b/file"), "r")
			guardtest.Check(t, os.RemoveAll(p("shut/a")))
		}
	})
}
