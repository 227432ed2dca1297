//go:build vm

package subjects

import (
	"os"
	"testing"

	"github.com/ebpfguard/ebpfguard"
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
}
