//go:build vm

package subjects

import (
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestProcesses selects running processes.
func TestProcesses(t *testing.T) {
	g := guardtest.NewFileGuard(t)
	dir := t.TempDir()
	secret := guardtest.WriteFile(t, dir+"/secret", "")
	one, two := guardtest.CopyProgram(t, dir+"/one"), guardtest.CopyProgram(t, dir+"/two")
	id := func(t *testing.T, d *guardtest.Doer) policy.ProcessID {
		t.Helper()
		process, err := ebpfguard.RunningProcess(d.PID)
		guardtest.Check(t, err)
		return process
	}
	deny := func(processes ...policy.ProcessID) policy.Policy {
		return guardtest.DenyFiles("test", ebpfguard.Processes(processes...), secret)
	}

	t.Run("with all that it starts", func(t *testing.T) {
		process, child, grandchild := guardtest.StartDoer(t, one), guardtest.StartDoer(t, one), guardtest.StartDoer(t, one)
		child.Passed(t, "spawn", two)
		grandchild.Passed(t, "spawn", two)
		grandchild.Passed(t, "spawn", one)
		bystander := guardtest.StartDoer(t, one)
		g.Enforce(t, deny(id(t, process), id(t, child), id(t, grandchild)))
		for _, d := range []*guardtest.Doer{process, child, grandchild} {
			g.Refused(t, d, "open", secret, "r")
		}
		g.RefusedChild(t, process, secret)
		process.Passed(t, "spawn", two)
		if alert := g.Refused(t, process, "open", secret, "r"); alert.Policy != "test" || alert.Binary != two {
			t.Errorf("a child that was started later: alert %v", alert)
		}
		process.Passed(t, "exec", one)
		g.Refused(t, process, "open", secret, "r")
		process.Passed(t, "orphan", two)
		g.Refused(t, process, "open", secret, "r")
		bystander.Passed(t, "open", secret, "r")
		guardtest.StartDoer(t, one).Passed(t, "open", secret, "r")
		// The same processes once more, and not any more.
		g.Enforce(t, deny(id(t, child)))
		g.Refused(t, child, "open", secret, "r")
		grandchild.Passed(t, "open", secret, "r")
		g.Enforce(t)
		child.Passed(t, "open", secret, "r")
		g.Quiet(t)
	})
	t.Run("not another one with its pid", func(t *testing.T) {
		d := guardtest.StartDoer(t, one)
		right := id(t, d)
		later, sooner, exact := right, right, right
		later.Start += 10_000_000
		sooner.Start -= 10_000_000
		exact.Start += 9_999_999 // what the kernel counts beyond 10 ms
		g.Enforce(t, deny(later, sooner))
		d.Passed(t, "open", secret, "r")
		g.Enforce(t, deny(exact))
		g.Refused(t, d, "open", secret, "r")
	})
	t.Run("one that has ended", func(t *testing.T) {
		d := guardtest.StartDoer(t, one)
		gone := id(t, d)
		d.Stop()
		g.Enforce(t, deny(gone))
		guardtest.StartDoer(t, one).Passed(t, "open", secret, "r")
		g.Quiet(t)
	})
	t.Run("before binaries", func(t *testing.T) {
		d, other := guardtest.StartDoer(t, one), guardtest.StartDoer(t, one)
		g.Enforce(t, guardtest.DenyFiles("binary", ebpfguard.Binaries(one), secret),
			guardtest.AllowFiles("test", ebpfguard.Processes(id(t, d)), secret))
		d.Passed(t, "open", secret, "r")
		if alert := g.Refused(t, other, "open", secret, "r"); alert.Policy != "binary" {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("with another selector", func(t *testing.T) {
		d := guardtest.StartDoer(t, one)
		subject := ebpfguard.Processes(id(t, d))
		subject.Binaries = []string{two}
		g.Enforce(t, guardtest.DenyFiles("test", subject, secret))
		d.Passed(t, "open", secret, "r")
		d.Passed(t, "exec", two)
		g.Refused(t, d, "open", secret, "r")
		guardtest.StartDoer(t, two).Passed(t, "open", secret, "r")
	})
}
