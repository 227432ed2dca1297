//go:build vm

package subjects

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testEnvScripts has scripts whose first line names env, which starts the interpreter.
func testEnvScripts(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	makeCgroup(t, "/env")
	secret := guardtest.WriteFile(t, dir+"/secret", "")
	// A doer that is started as env goes on in another program when it is told to.
	env, like := guardtest.CopyProgram(t, dir+"/bin/env"), guardtest.CopyProgram(t, dir+"/bin/myenv")
	interpreter, other := guardtest.CopyProgram(t, dir+"/interpreter"), guardtest.CopyProgram(t, dir+"/other")
	far := guardtest.CopyProgram(t, dir+"/"+strings.Repeat(strings.Repeat("f", 100)+"/", 3)+"interpreter")
	script := guardtest.WriteFile(t, dir+"/script", "#!"+env+" interpreter\n")
	second := guardtest.WriteFile(t, dir+"/second", "#!"+env+" interpreter\n")
	stranger := guardtest.WriteFile(t, dir+"/stranger", "#!"+like+" interpreter\n")
	open := []string{"open", secret, "r"}

	jail := guardtest.DenyFiles("test", ebpfguard.Binaries(script), secret)
	t.Run("a denial", func(t *testing.T) {
		g.Enforce(t, jail)
		for _, next := range []string{interpreter, far, "/proc/self/exe"} {
			d := guardtest.StartDoer(t, script)
			g.Refused(t, d, "open", secret, "r")
			d.Passed(t, "exec", next, script)
			g.Refused(t, d, "open", secret, "r")
			g.RefusedChild(t, d, secret)
			d.Passed(t, "exec", other) // what the interpreter starts is another program
			d.Passed(t, open[0], open[1:]...)
		}
	})
	t.Run("an exception", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("nobody", ebpfguard.Everyone(), secret), guardtest.AllowFiles("but", ebpfguard.Binaries(script), secret))
		d := guardtest.StartDoer(t, script)
		d.Passed(t, "exec", interpreter, script)
		d.Passed(t, open[0], open[1:]...)
		d.Passed(t, "exec", interpreter, script) // without env the script is an argument
		g.Refused(t, d, "open", secret, "r")
		g.Refused(t, guardtest.StartDoer(t, interpreter, script), "open", secret, "r")
		g.Refused(t, guardtest.StartDoer(t, second), "open", secret, "r")
	})
	t.Run("env by env", func(t *testing.T) {
		g.Enforce(t, jail)
		d := guardtest.StartDoer(t, script)
		d.Passed(t, "exec", env, "interpreter", script)
		d.Passed(t, "exec", interpreter, script)
		g.Refused(t, d, "open", secret, "r")
	})
	t.Run("what env does not start in its place", func(t *testing.T) {
		g.Enforce(t, jail)
		d := guardtest.StartDoer(t, script)
		d.Passed(t, "spawn", interpreter, script) // a child
		d.Passed(t, open[0], open[1:]...)
		d = guardtest.StartDoer(t, stranger)
		d.Passed(t, "exec", interpreter, stranger)
		d.Passed(t, open[0], open[1:]...)
		d = guardtest.StartDoer(t, env) // run by somebody, not by a first line
		d.Passed(t, "exec", interpreter, script)
		d.Passed(t, open[0], open[1:]...)
	})
	t.Run("another script in its place", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(second), secret))
		d := guardtest.StartDoer(t, script)
		d.Passed(t, "exec", second)
		d.Passed(t, "exec", interpreter)
		g.Refused(t, d, "open", secret, "r")
	})
	t.Run("in another control group meanwhile", func(t *testing.T) {
		g.Enforce(t, jail)
		d := guardtest.StartDoer(t, script)
		moveToCgroup(t, d, "/env")
		d.Passed(t, "exec", interpreter)
		g.Refused(t, d, "open", secret, "r")
		d.Stop()
	})
	t.Run("the real one", func(t *testing.T) {
		cat := func(first string) (string, error) {
			path := guardtest.WriteFile(t, dir+"/real", first+"\nread l < "+secret+" && echo read || echo refused\n")
			out, err := exec.Command(path).CombinedOutput()
			return string(out), err
		}
		guardtest.WriteFile(t, secret, "x\n")
		lines := []string{"#!/bin/sh", "#!/usr/bin/env sh", "#! /usr/bin/env sh", "#!/usr/bin/env -S sh -u", "#!/bin/env bash"}
		for _, first := range lines {
			if out, err := cat(first); err != nil || !strings.HasSuffix(out, "read\n") {
				t.Fatalf("%s without a policy: %v: %q", first, err, out)
			}
		}
		for _, subject := range []ebpfguard.Subject{ebpfguard.Binaries(dir + "/real"), ebpfguard.Descendants(dir + "/real")} {
			g.Enforce(t, guardtest.FilePolicy("test", subject, policy.Rule{Deny: guardtest.FilePatterns([]string{secret})}))
			for _, first := range lines {
				if out, _ := cat(first); !strings.HasSuffix(out, "refused\n") {
					t.Errorf("%s: %q, want it refused", first, out)
				}
				g.Next(t)
			}
		}
	})
}
