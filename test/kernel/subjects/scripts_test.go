//go:build vm

package subjects

import (
	"fmt"
	"os"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testScripts names scripts. A script is a program where the kernel starts its
// interpreter, not where another program reads it.
func testScripts(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	secret := guardtest.WriteFile(t, dir+"/secret", "")
	interpreter := guardtest.CopyProgram(t, dir+"/interpreter")
	script := guardtest.WriteFile(t, dir+"/bin/script", "#!"+interpreter+"\n")
	other := guardtest.WriteFile(t, dir+"/bin/other", "#!"+interpreter+"\n")
	running := guardtest.StartDoer(t, script)

	for _, binary := range []string{script, dir + "/bin/s*", dir + "/**/script"} {
		t.Run(binary[len(dir):], func(t *testing.T) {
			g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(binary), secret))
			for _, d := range []*guardtest.Doer{running, guardtest.StartDoer(t, script)} {
				if alert := g.Refused(t, d, "open", secret, "r"); alert.Binary != interpreter {
					t.Errorf("alert %v", alert)
				}
			}
			guardtest.StartDoer(t, interpreter, script).Passed(t, "open", secret, "r")
			guardtest.StartDoer(t, other).Passed(t, "open", secret, "r")
			guardtest.StartDoer(t, interpreter).Passed(t, "open", secret, "r")
		})
	}
	t.Run("under another name", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(script), secret))
		guardtest.Check(t, os.Link(script, dir+"/linked"))
		g.Refused(t, guardtest.StartDoer(t, dir+"/linked"), "open", secret, "r")
	})
	t.Run("the interpreter of any script", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(interpreter), secret))
		for _, d := range []*guardtest.Doer{running, guardtest.StartDoer(t, other), guardtest.StartDoer(t, interpreter, script)} {
			g.Refused(t, d, "open", secret, "r")
		}
	})
	t.Run("an exception for a script", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("nobody", ebpfguard.Everyone(), secret), guardtest.AllowFiles("but", ebpfguard.Binaries(script), secret))
		running.Passed(t, "open", secret, "r")
		guardtest.StartDoer(t, script).Passed(t, "open", secret, "r")
		g.Refused(t, guardtest.StartDoer(t, interpreter, script), "open", secret, "r")
	})
	t.Run("script and interpreter", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("interpreter", ebpfguard.Binaries(interpreter), secret), guardtest.AllowFiles("script", ebpfguard.Binaries(script), secret))
		// Both name it exactly: the denial wins.
		if alert := g.Refused(t, running, "open", secret, "r"); alert.Policy != "interpreter" {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("sixty binaries", func(t *testing.T) { testManyScripts(t, g, dir) })
}

// testManyScripts has 60 policies that name a program or script each, and runs
// scripts by interpreters: any two of the 60 are told apart from each by itself.
func testManyScripts(t *testing.T, g *guardtest.FileGuard, dir string) {
	one, two := guardtest.WriteFile(t, dir+"/one", ""), guardtest.WriteFile(t, dir+"/two", "")
	name := func(i int) string { return fmt.Sprintf("%s/many/b%d", dir, i) }
	set := []policy.Policy{guardtest.DenyFiles("everyone", ebpfguard.Everyone(), two)}
	for i := range 60 {
		subject, p := ebpfguard.Binaries(name(i)), policy.Policy{}
		switch i % 3 {
		case 0:
			p = guardtest.DenyFiles("p", subject, one)
		case 1:
			p = guardtest.AllowFiles("p", subject, one, two)
		case 2:
			p = guardtest.DenyFiles("p", subject, one, two)
		}
		p.Name = fmt.Sprintf("p%d", i)
		set = append(set, p)
	}
	interpreters := []int{0, 28, 59}
	scripts := []int{1, 2, 3, 27, 29, 30, 56, 57, 58}
	for _, i := range interpreters {
		guardtest.CopyProgram(t, name(i))
	}
	g.Enforce(t, set...)
	for _, i := range interpreters {
		for _, s := range scripts {
			script := name(s)
			os.Remove(script)
			guardtest.WriteFile(t, script, "#!"+name(i)+"\n")
			d := guardtest.StartDoer(t, script)
			for _, path := range []string{one, two} {
				process := policy.Process{Binary: name(i), Script: script}
				want := policy.Decide(set, policy.Request{Process: process, Operation: policy.FileOpen, Object: policy.File{Names: policy.Names{Path: path}, Access: policy.Read}})
				if want.Verdict == policy.Allow {
					d.Passed(t, "open", path, "r")
				} else if alert := g.Refused(t, d, "open", path, "r"); alert.Undecided || alert.Policy != set[want.Policy].Name {
					t.Errorf("%d for %d: %v, want %s", i, s, alert, set[want.Policy].Name)
				}
			}
			d.Stop()
		}
	}
}
