//go:build vm

package subjects

import (
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testNameAtExec renames and replaces programs that run, before a policy names them.
func testNameAtExec(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	secret := guardtest.WriteFile(t, dir+"/secret", "")
	deny := func(t *testing.T, binary string) {
		t.Helper()
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(dir+"/"+binary), secret))
	}
	t.Run("renamed", func(t *testing.T) {
		d := guardtest.StartDoer(t, guardtest.CopyProgram(t, dir+"/a"))
		guardtest.Check(t, os.Rename(dir+"/a", dir+"/b"))
		deny(t, "a")
		g.Refused(t, d, "open", secret, "r")
		deny(t, "b") // it is this file
		g.Refused(t, d, "open", secret, "r")
		deny(t, "b*") // it was started by another name
		d.Passed(t, "open", secret, "r")
	})
	t.Run("unlinked", func(t *testing.T) {
		d := guardtest.StartDoer(t, guardtest.CopyProgram(t, dir+"/c"))
		guardtest.Check(t, os.Remove(dir+"/c"))
		deny(t, "c")
		g.Refused(t, d, "open", secret, "r")
		if alert := g.Refused(t, d, "open", secret, "r"); alert.Binary != dir+"/c" {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("replaced", func(t *testing.T) {
		d, e := guardtest.StartDoer(t, guardtest.CopyProgram(t, dir+"/d")), guardtest.StartDoer(t, guardtest.CopyProgram(t, dir+"/e"))
		guardtest.Check(t, os.Rename(dir+"/e", dir+"/d"))
		deny(t, "d")
		g.Refused(t, d, "open", secret, "r")
		g.Refused(t, e, "open", secret, "r")
		g.Refused(t, guardtest.StartDoer(t, dir+"/d"), "open", secret, "r")
		deny(t, "e")
		d.Passed(t, "open", secret, "r")
		g.Refused(t, e, "open", secret, "r")
		guardtest.StartDoer(t, dir+"/d").Passed(t, "open", secret, "r")
	})
	t.Run("replaced, and started again by itself", func(t *testing.T) {
		// As after an upgrade. Its file has no name any more but the one it had.
		path := guardtest.CopyProgram(t, dir+"/i")
		d := guardtest.StartDoer(t, path)
		guardtest.Check(t, os.Rename(guardtest.CopyProgram(t, dir+"/j"), path))
		deny(t, "i")
		for range 2 {
			g.Refused(t, d, "open", secret, "r")
			d.Passed(t, "exec", "/proc/self/exe")
		}
		g.Refused(t, d, "open", secret, "r")
		deny(t, "j")
		d.Passed(t, "open", secret, "r")
	})
	t.Run("in a renamed directory", func(t *testing.T) {
		d := guardtest.StartDoer(t, guardtest.CopyProgram(t, dir+"/app/f"))
		guardtest.Check(t, os.Rename(dir+"/app", dir+"/old"))
		deny(t, "app/")
		g.Refused(t, d, "open", secret, "r")
		guardtest.StartDoer(t, dir+"/old/f").Passed(t, "open", secret, "r")
		deny(t, "old/")
		d.Passed(t, "open", secret, "r")
		g.Refused(t, guardtest.StartDoer(t, dir+"/old/f"), "open", secret, "r")
	})
	t.Run("renamed under the policy", func(t *testing.T) {
		path := guardtest.CopyProgram(t, dir+"/g")
		deny(t, "g")
		d := guardtest.StartDoer(t, path)
		g.Refused(t, d, "open", secret, "r")
		guardtest.Check(t, os.Rename(path, dir+"/h"))
		g.Refused(t, d, "open", secret, "r")
		g.Refused(t, guardtest.StartDoer(t, dir+"/h"), "open", secret, "r")
		deny(t, "g")
		g.Refused(t, d, "open", secret, "r")
		// Nothing is there, so that the name counts alone.
		guardtest.StartDoer(t, dir+"/h").Passed(t, "open", secret, "r")
	})
}

// testOlderThanGuard has processes that were there before a guard.
func testOlderThanGuard(t *testing.T, _ *guardtest.FileGuard) {
	dir := t.TempDir()
	makeCgroup(t, "/older")
	one, two, three := guardtest.CopyProgram(t, dir+"/one"), guardtest.CopyProgram(t, dir+"/two"), guardtest.CopyProgram(t, dir+"/three")
	script := guardtest.WriteFile(t, dir+"/script", "#!"+three+"\n")
	program, renamed, scripted, grouped := guardtest.StartDoer(t, one), guardtest.StartDoer(t, guardtest.CopyProgram(t, dir+"/before")), guardtest.StartDoer(t, script), startInCgroup(t, "/older", two)
	guardtest.Check(t, os.Rename(dir+"/before", dir+"/after"))
	replaced, removed := guardtest.StartDoer(t, guardtest.CopyProgram(t, dir+"/daemon")), guardtest.StartDoer(t, guardtest.CopyProgram(t, dir+"/old/removed"))
	// The way of a package: the former file has another name for a while.
	guardtest.Check(t, os.Link(dir+"/daemon", dir+"/daemon.dpkg-tmp"))
	guardtest.Check(t, os.Rename(guardtest.CopyProgram(t, dir+"/daemon.dpkg-new"), dir+"/daemon"))
	guardtest.Check(t, os.Remove(dir+"/daemon.dpkg-tmp"))
	guardtest.Check(t, os.RemoveAll(dir+"/old"))
	child, orphan := guardtest.StartDoer(t, one), guardtest.StartDoer(t, one)
	child.Passed(t, "spawn", two)
	orphan.Passed(t, "orphan", two)

	m, err := ebpfguard.NewManager(ebpfguard.Options{AlertBytes: 4096})
	guardtest.Check(t, err)
	defer m.Close()
	all := []*guardtest.Doer{program, renamed, scripted, grouped, replaced, removed, child, orphan}
	guardtest.Check(t, m.Attach(policy.SocketBind)) // it has the fewest programs
	moveToCgroup(t, grouped, "")                    // it began to count a moment ago
	for _, test := range []struct {
		name    string
		subject ebpfguard.Subject
		refused []*guardtest.Doer
	}{
		{"program", ebpfguard.Binaries(one), []*guardtest.Doer{program}},
		{"directory", ebpfguard.Binaries(dir + "/"), all},
		{"replaced program", ebpfguard.Binaries(dir + "/daemon"), []*guardtest.Doer{replaced}},
		{"name that it never had", ebpfguard.Binaries(dir + "/daemon.dpkg-new"), nil},
		{"removed with its directory", ebpfguard.Binaries(dir + "/old/"), []*guardtest.Doer{removed}},
		{"new name", ebpfguard.Binaries(dir + "/aft*"), []*guardtest.Doer{renamed}},
		{"former name", ebpfguard.Binaries(dir + "/before"), nil},
		{"interpreter", ebpfguard.Binaries(three), []*guardtest.Doer{scripted}},
		{"script", ebpfguard.Binaries(script), nil},
		{"living ancestors", ebpfguard.Descendants(one), []*guardtest.Doer{program, child}},
		{"control group", ebpfguard.Subject{Cgroups: []string{"/older"}}, []*guardtest.Doer{grouped}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := m.Apply([]policy.Policy{{Name: "test", Subject: policy.Subject(test.subject), Rules: []policy.Rule{
				{Operation: policy.SocketBind, Deny: []policy.Pattern{guardtest.Ports(2022)}},
			}}})
			guardtest.Check(t, err)
			for _, d := range all {
				o := d.Do("port", "2022")
				if want := slices.Contains(test.refused, d); want != (o.Errno == syscall.EPERM) || !want && o.Errno != 0 {
					t.Errorf("%s: %v, want it refused: %v", d.Command.Path, o, want)
				}
			}
		})
	}
}
