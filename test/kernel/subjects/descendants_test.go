//go:build vm

package subjects

import (
	"fmt"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testDescendants follows what a program has started.
func testDescendants(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	secret, second := guardtest.WriteFile(t, dir+"/secret", ""), guardtest.WriteFile(t, dir+"/second", "")
	one, two, three := guardtest.CopyProgram(t, dir+"/one"), guardtest.CopyProgram(t, dir+"/two"), guardtest.CopyProgram(t, dir+"/three")
	ofOne := guardtest.DenyFiles("of-one", ebpfguard.Descendants(one), secret)
	ofTwo := guardtest.DenyFiles("of-two", ebpfguard.Descendants(two), second)
	// start starts a program, and others from it.
	start := func(t *testing.T, programs ...string) *guardtest.Doer {
		t.Helper()
		d := guardtest.StartDoer(t, programs[0])
		for _, p := range programs[1:] {
			d.Passed(t, "spawn", p)
		}
		return d
	}

	t.Run("all that it starts", func(t *testing.T) {
		g.Enforce(t, ofOne)
		g.Refused(t, start(t, one), "open", secret, "r")
		g.Refused(t, start(t, one, two), "open", secret, "r")
		g.Refused(t, start(t, one, two, three), "open", secret, "r")
		start(t, two, three).Passed(t, "open", secret, "r")
		start(t, two, one, three).Passed(t, "open", second, "r")
		d := start(t, two, one, three)
		if alert := g.Refused(t, d, "open", secret, "r"); alert.Binary != three {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("in place of it", func(t *testing.T) {
		g.Enforce(t, ofOne)
		d := start(t, one)
		d.Passed(t, "exec", two)
		g.Refused(t, d, "open", secret, "r")
		d.Passed(t, "exec", three)
		g.Refused(t, d, "open", secret, "r")
		g.RefusedChild(t, d, secret)
	})
	t.Run("orphans", func(t *testing.T) {
		g.Enforce(t, ofOne)
		d := start(t, one, two)
		d.Passed(t, "orphan", three)
		g.Refused(t, d, "open", secret, "r")
		d.Passed(t, "orphan", two)
		g.Refused(t, d, "open", secret, "r")
	})
	t.Run("running before the policy", func(t *testing.T) {
		program, child, grandchild, stranger := start(t, one), start(t, one, two), start(t, one, two, three), start(t, two, three)
		g.Enforce(t, ofOne)
		for _, d := range []*guardtest.Doer{program, child, grandchild} {
			g.Refused(t, d, "open", secret, "r")
		}
		stranger.Passed(t, "open", secret, "r")
		child.Passed(t, "orphan", three)
		g.Refused(t, child, "open", secret, "r")
	})
	t.Run("not without it", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(one), secret))
		start(t, one, two).Passed(t, "open", secret, "r")
	})
	t.Run("over policy sets", func(t *testing.T) {
		g.Enforce(t, ofOne)
		orphan := start(t, one, two)
		orphan.Passed(t, "orphan", three)
		g.Enforce(t, ofTwo, ofOne)
		g.Refused(t, orphan, "open", secret, "r")
		// It was two's child; two has run and gone under the first set, which did not ask for that.
		child := start(t, two, three)
		g.Refused(t, child, "open", second, "r")
		child.Passed(t, "open", secret, "r")
		g.Enforce(t)
		orphan.Passed(t, "open", secret, "r")
		child.Passed(t, "open", second, "r")
		orphan.Passed(t, "spawn", one)
		orphan.Passed(t, "spawn", two)
		g.Enforce(t, ofOne)
		g.Refused(t, orphan, "open", secret, "r")
		child.Passed(t, "open", secret, "r")
		child.Passed(t, "open", second, "r")
		g.Enforce(t, ofTwo)
		orphan.Passed(t, "open", secret, "r")
		g.Refused(t, orphan, "open", second, "r") // two, which is still running
		g.Refused(t, child, "open", second, "r")
	})
	t.Run("two marks at once", func(t *testing.T) {
		g.Enforce(t, ofOne, ofTwo)
		both := start(t, one, two, three)
		g.Refused(t, both, "open", secret, "r")
		if alert := g.Refused(t, both, "open", second, "r"); alert.Policy != "of-two" {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("less specific than the program", func(t *testing.T) {
		g.Enforce(t, ofOne, guardtest.AllowFiles("but", ebpfguard.Binaries(three), secret), guardtest.AllowFiles("cgroup", ebpfguard.Subject{Cgroups: []string{"/"}}, secret))
		g.Refused(t, start(t, one, two), "open", secret, "r")
		start(t, one, three).Passed(t, "open", secret, "r")
	})
	t.Run("more lists than there are marks, one after the other", func(t *testing.T) {
		g.Enforce(t, ofOne)
		orphan := start(t, one, two)
		orphan.Passed(t, "orphan", three)
		for i := range 9 {
			var set []policy.Policy
			for j := range abi.MaxMarks / 8 {
				name := fmt.Sprintf("list-%d-%d", i, j)
				set = append(set, guardtest.DenyFiles(name, ebpfguard.Descendants(dir+"/"+name), secret))
			}
			g.Enforce(t, set...)
			orphan.Passed(t, "open", secret, "r")
		}
		g.Enforce(t, ofTwo)
		orphan.Passed(t, "open", second, "r")
		g.Refused(t, start(t, two, three), "open", second, "r")
		start(t, one, three).Passed(t, "open", second, "r")
	})
	t.Run("of a script and of a directory", func(t *testing.T) {
		script := guardtest.WriteFile(t, dir+"/scripts/script", "#!"+three+"\n")
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Descendants(dir+"/scripts/"), secret))
		g.Refused(t, start(t, script, two), "open", secret, "r")
		start(t, three, two).Passed(t, "open", secret, "r")
	})
}
