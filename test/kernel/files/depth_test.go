//go:build vm

package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testDepth goes to the limit of components and beyond.
func testDepth(t *testing.T, g *guardtest.FileGuard) {
	f := guardtest.NewPair(t)
	above := strings.Count(f.Dir, "/")
	// at returns a file of so many components.
	at := func(components int) string {
		return guardtest.WriteFile(t, f.Dir+strings.Repeat("/d", components-above-1)+"/file", "")
	}
	deep := map[int]string{}
	for _, n := range []int{63, 64, 65, 66, 70, 95, 96, 97, 128, 200} {
		deep[n] = at(n)
	}
	t.Run("unconcerned", func(t *testing.T) {
		g.Enforce(t, f.Deny("nothing"))
		for n, path := range deep {
			f.Other.Passed(t, "open", path, "r")
			f.Actor.Passed(t, "open", path, "r")
			f.Actor.Passed(t, "open", path, "w")
			f.Actor.Passed(t, "open", path+"2", "create")
			f.Actor.Passed(t, "rename", path+"2", path+"3")
			f.Actor.Passed(t, "unlink", path+"3")
			if n == 200 { // from what is too deep, and back
				f.Actor.Passed(t, "rename", path, f.Dir+"/here")
				f.Actor.Passed(t, "rename", f.Dir+"/here", path)
			}
		}
	})
	t.Run("below a directory", func(t *testing.T) {
		g.Enforce(t, f.Deny("d/"))
		for _, path := range deep {
			g.Refused(t, f.Actor, "open", path, "r")
			f.Other.Passed(t, "open", path, "r")
		}
		g.Refused(t, f.Actor, "rename", deep[200], f.Dir+"/here")
	})
	t.Run("known by identity", func(t *testing.T) {
		link := f.Dir + "/link"
		guardtest.Check(t, os.Link(deep[200], link))
		g.Enforce(t, f.Deny("link"))
		g.Undecided(t, f.Actor, "open", deep[200], "r")
		f.Actor.Passed(t, "open", deep[128], "r")
	})
	t.Run("glob", func(t *testing.T) {
		g.Enforce(t, f.Deny("**/file"))
		for n, path := range deep {
			switch {
			case n <= 70:
				g.Refused(t, f.Actor, "open", path, "r")
			case n >= 97: // with the mounts on its way
				g.Undecided(t, f.Actor, "open", path, "r")
			}
		}
	})
	t.Run("nothing that could deny", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("others", ebpfguard.Binaries(f.Dir+"/none"), f.Dir+"/**/nothing"), guardtest.AllowFiles("mine", f.Subject, f.Dir+"/nothing"),
			guardtest.FilePolicy("write", f.Subject, policy.Rule{Deny: []policy.Pattern{policy.FilePattern{Paths: []string{f.Dir + "/**/nothing"}, Access: policy.Write}}}))
		for n, path := range deep {
			f.Actor.Passed(t, "open", path, "r")
			if n >= 97 {
				g.Undecided(t, f.Actor, "open", path, "w")
			}
		}
	})
	t.Run("audit", func(t *testing.T) {
		p := f.Deny("**/nothing")
		p.Mode = policy.ModeAudit
		g.Enforce(t, p)
		f.Actor.Passed(t, "open", deep[200], "r")
		if alert := g.Next(t).Context(); alert.Verdict != policy.Audit || !alert.Undecided {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("mounts on the way", func(t *testing.T) {
		g.Enforce(t, f.Deny("nothing", "mounts/**/secret"))
		mounts := f.Dir + "/mounts"
		guardtest.Check(t, os.Mkdir(mounts, 0o755))
		// One below the other, a component each.
		d := guardtest.StartDoer(t, f.Program)
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
		deep := f.Dir + "/whole" + strings.Repeat("/d", 70)
		guardtest.WriteFile(t, deep+"/file", "")
		shown := f.Dir + "/shown"
		guardtest.Check(t, os.Mkdir(shown, 0o755))
		guardtest.Mount(t, deep, shown, "", unix.MS_BIND)
		f.Actor.Passed(t, "open", shown+"/file", "r")
		g.Enforce(t, f.Deny("whole/"))
		g.Undecided(t, f.Actor, "open", shown+"/file", "r")
		f.Other.Passed(t, "open", shown+"/file", "r")
	})
}

// testLength has long names and paths longer than a system call takes.
func testLength(t *testing.T, g *guardtest.FileGuard) {
	f := guardtest.NewPair(t)
	component := "/" + strings.Repeat("c", 249)
	path := f.Dir + strings.Repeat(component, 15) + "/file"
	guardtest.WriteFile(t, path, "")
	public := guardtest.WriteFile(t, filepath.Dir(path)+"/public", "")
	t.Run("exact", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("test", f.Subject, path))
		f.Actor.Passed(t, "open", public, "r")
		if alert := g.Refused(t, f.Actor, "open", path, "r"); alert.Path == "" || !strings.HasPrefix(path, alert.Path) {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("relative", func(t *testing.T) {
		g.Enforce(t, f.Deny(component[1:]+component+"/"))
		d := guardtest.StartDoer(t, f.Program)
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
		secret := guardtest.WriteFile(t, f.Dir+"/secret", "")
		// Its name is too long to be kept, so nobody knows what it is later.
		long := f.Dir + strings.Repeat(component, 5) + "/program"
		guardtest.Check(t, os.Link(f.Program, long))
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(f.Dir+"/other"), secret))
		g.Undecided(t, guardtest.StartDoer(t, long), "open", secret, "r")
		f.Actor.Passed(t, "open", secret, "r")
	})
}
