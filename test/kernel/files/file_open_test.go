//go:build vm

package files

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// fileTest is a program that policies are about, and one that they are not.
type fileTest struct {
	dir, program string
	subject      ebpfguard.Subject
	actor, other *guardtest.Doer
}

func newFileTest(t *testing.T) *fileTest {
	t.Helper()
	f := &fileTest{dir: t.TempDir()}
	guardtest.Check(t, os.Chmod(f.dir, 0o755))
	f.program = guardtest.CopyProgram(t, f.dir+"/program")
	f.subject = ebpfguard.Binaries(f.program)
	f.actor, f.other = guardtest.StartDoer(t, f.program), guardtest.StartDoer(t, "/proc/self/exe")
	return f
}

// deny is a policy that denies the actor what lies below the test's directory.
func (f *fileTest) deny(paths ...string) policy.Policy {
	all := slices.Clone(paths)
	for i := range all {
		all[i] = f.dir + "/" + all[i]
	}
	return guardtest.DenyFiles("test", f.subject, all...)
}

// testPaths matches patterns with paths.
func testPaths(t *testing.T, g *guardtest.FileGuard) {
	f := newFileTest(t)
	long := strings.Repeat("n", 255)
	files := []string{
		"etc", "etc/shadow", "etc/shadow-", "etc/ssl", "etc/ssl/a.pem", "etc/ssl/deep/er/b.pem", "etc/sslfake/a.pem",
		"home/ann/.ssh/id_rsa", "home/bob/.ssh/id_ed", "home/bob/.ssh/config", "home/bob/id_x", "home/bob/sub/.ssh/id_y",
		"srv/x.key", "srv/a/b/x.key", "srv/a/b/x.pub", "srv/a/b", "odd/[x]", "odd/a b\n", "odd/ü", "odd/" + long, "odd/" + long[1:],
	}
	for _, name := range files {
		if name := f.dir + "/" + name; filepath.Ext(name) != "" || strings.Contains(name, "id_") || strings.Contains(name, "/odd/") || strings.Contains(name, "shadow") || strings.HasSuffix(name, "config") {
			guardtest.WriteFile(t, name, "")
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
		g.Enforce(t, guardtest.DenyFiles("test", f.subject, pattern))
		refused := 0
		for _, name := range files {
			path := f.dir + "/" + name
			f.other.Passed(t, "open", path, "r")
			if !parsed.Match(path) {
				f.actor.Passed(t, "open", path, "r")
				continue
			}
			refused++
			if alert := g.Refused(t, f.actor, "open", path, "r"); alert.Path != path {
				t.Errorf("alert %v, want path %q", alert, path)
			}
		}
		if refused != test.refused {
			t.Errorf("%s: %d refused, want %d", test.pattern, refused, test.refused)
		}
	}
}

// testDepth goes to the limit of components and beyond.
func testDepth(t *testing.T, g *guardtest.FileGuard) {
	f := newFileTest(t)
	above := strings.Count(f.dir, "/")
	// at returns a file of so many components.
	at := func(components int) string {
		return guardtest.WriteFile(t, f.dir+strings.Repeat("/d", components-above-1)+"/file", "")
	}
	deep := map[int]string{}
	for _, n := range []int{63, 64, 65, 66, 70, 95, 96, 97, 128, 200} {
		deep[n] = at(n)
	}
	t.Run("denied", func(t *testing.T) {
		g.Enforce(t, f.deny("nothing"))
		for n, path := range deep {
			f.other.Passed(t, "open", path, "r")
			if n <= 64 {
				f.actor.Passed(t, "open", path, "r")
				continue
			}
			for _, mode := range []string{"r", "w"} {
				if alert := g.Undecided(t, f.actor, "open", path, mode); alert.Policy != "test" || alert.Path != "" {
					t.Errorf("%d: alert %v", n, alert)
				}
			}
			g.Undecided(t, f.actor, "unlink", path)
			g.Undecided(t, f.actor, "rename", path, f.dir+"/here")
		}
	})
	t.Run("below a directory", func(t *testing.T) {
		g.Enforce(t, f.deny("d/"))
		g.Refused(t, f.actor, "open", deep[64], "r")
		for n, path := range deep {
			if n > 64 {
				g.Denied(t, f.actor, "open", path, "r")
			}
		}
	})
	t.Run("glob", func(t *testing.T) {
		g.Enforce(t, f.deny("**/file"))
		g.Refused(t, f.actor, "open", deep[64], "r")
		for n, path := range deep {
			if n > 64 {
				g.Undecided(t, f.actor, "open", path, "r")
			}
		}
	})
	t.Run("nothing that could deny", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("others", ebpfguard.Binaries(f.dir+"/none"), f.dir+"/nothing"), guardtest.AllowFiles("mine", f.subject, f.dir+"/nothing"),
			guardtest.FilePolicy("write", f.subject, policy.Rule{Deny: []policy.Pattern{policy.FilePattern{Paths: []string{f.dir + "/nothing"}, Access: policy.Write}}}))
		for n, path := range deep {
			f.actor.Passed(t, "open", path, "r")
			if n > 64 {
				g.Undecided(t, f.actor, "open", path, "w")
			}
		}
	})
	t.Run("audit", func(t *testing.T) {
		p := f.deny("nothing")
		p.Mode = policy.ModeAudit
		g.Enforce(t, p)
		f.actor.Passed(t, "open", deep[200], "r")
		if alert := g.Next(t).Context(); alert.Verdict != policy.Audit || !alert.Undecided {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("mounts on the way", func(t *testing.T) {
		g.Enforce(t, f.deny("nothing", "mounts/**/secret"))
		mounts := f.dir + "/mounts"
		guardtest.Check(t, os.Mkdir(mounts, 0o755))
		// One below the other, a component each.
		d := guardtest.StartDoer(t, f.program)
		d.Passed(t, "unshare")
		path := mounts
		for range 25 {
			d.Passed(t, "tmpfs", path)
			path += "/m"
			d.Passed(t, "mkdir", path)
		}
		d.Passed(t, "open", path+"/public", "create")
		g.Refused(t, d, "open", path+"/secret", "create")
		// More mounts than anybody has.
		for range 40 {
			d.Passed(t, "tmpfs", path)
		}
		g.Undecided(t, d, "open", path+"/public", "create")
	})
	t.Run("a mount of what is too deep", func(t *testing.T) {
		deep := f.dir + "/whole" + strings.Repeat("/d", 70)
		guardtest.WriteFile(t, deep+"/file", "")
		shown := f.dir + "/shown"
		guardtest.Check(t, os.Mkdir(shown, 0o755))
		guardtest.Mount(t, deep, shown, "", unix.MS_BIND)
		f.actor.Passed(t, "open", shown+"/file", "r")
		g.Enforce(t, f.deny("whole/"))
		g.Undecided(t, f.actor, "open", shown+"/file", "r")
		f.other.Passed(t, "open", shown+"/file", "r")
	})
}

// testLength has long names and paths longer than a system call takes.
func testLength(t *testing.T, g *guardtest.FileGuard) {
	f := newFileTest(t)
	component := "/" + strings.Repeat("c", 249)
	path := f.dir + strings.Repeat(component, 15) + "/file"
	guardtest.WriteFile(t, path, "")
	public := guardtest.WriteFile(t, filepath.Dir(path)+"/public", "")
	t.Run("exact", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("test", f.subject, path))
		f.actor.Passed(t, "open", public, "r")
		if alert := g.Refused(t, f.actor, "open", path, "r"); alert.Path == "" || !strings.HasPrefix(path, alert.Path) {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("relative", func(t *testing.T) {
		g.Enforce(t, f.deny(component[1:]+component+"/"))
		d := guardtest.StartDoer(t, f.program)
		guardtest.Check(t, os.Chdir(filepath.Dir(path)))
		defer os.Chdir("/")
		for range 8 { // 6000 bytes
			guardtest.Check(t, os.Mkdir(component[1:], 0o755))
			guardtest.Check(t, os.Chdir(component[1:]))
		}
		guardtest.Check(t, os.WriteFile("file", nil, 0o644))
		d.Passed(t, "chdir", filepath.Dir(path))
		for range 8 {
			d.Passed(t, "chdir", component[1:])
		}
		g.Refused(t, d, "open", "file", "r")
		g.Refused(t, d, "open", "new", "create")
		g.Refused(t, d, "unlink", "file")
	})
	t.Run("as program", func(t *testing.T) {
		secret := guardtest.WriteFile(t, f.dir+"/secret", "")
		// Its name is too long to be kept, so nobody knows what it is later.
		long := f.dir + strings.Repeat(component, 5) + "/program"
		guardtest.Check(t, os.Link(f.program, long))
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(f.dir+"/other"), secret))
		g.Undecided(t, guardtest.StartDoer(t, long), "open", secret, "r")
		f.actor.Passed(t, "open", secret, "r")
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
