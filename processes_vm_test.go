//go:build vm

package ebpfguard_test

import (
	"syscall"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// TestProcesses selects running processes.
func TestProcesses(t *testing.T) {
	g := newFileGuard(t)
	dir := t.TempDir()
	secret := write(t, dir+"/secret", "")
	one, two := copyProgram(t, dir+"/one"), copyProgram(t, dir+"/two")
	id := func(t *testing.T, d *doer) policy.ProcessID {
		t.Helper()
		process, err := ebpfguard.RunningProcess(d.pid)
		check(t, err)
		return process
	}
	deny := func(processes ...policy.ProcessID) policy.Policy {
		return denyFiles("test", ebpfguard.Processes(processes...), secret)
	}

	t.Run("with all that it starts", func(t *testing.T) {
		process, child, grandchild := startDoer(t, one), startDoer(t, one), startDoer(t, one)
		child.passed(t, "spawn", two)
		grandchild.passed(t, "spawn", two)
		grandchild.passed(t, "spawn", one)
		bystander := startDoer(t, one)
		g.apply(t, deny(id(t, process), id(t, child), id(t, grandchild)))
		for _, d := range []*doer{process, child, grandchild} {
			g.refused(t, d, "open", secret, "r")
		}
		if o := process.do("fork", secret); o.Errno != syscall.EPERM {
			t.Errorf("a child that starts no program: %v", o)
		}
		g.next(t)
		process.passed(t, "spawn", two)
		if alert := g.refused(t, process, "open", secret, "r"); alert.Policy != "test" || alert.Binary != two {
			t.Errorf("a child that was started later: alert %v", alert)
		}
		process.passed(t, "exec", one)
		g.refused(t, process, "open", secret, "r")
		process.passed(t, "orphan", two)
		g.refused(t, process, "open", secret, "r")
		bystander.passed(t, "open", secret, "r")
		startDoer(t, one).passed(t, "open", secret, "r")
		// The same processes once more, and not any more.
		g.apply(t, deny(id(t, child)))
		g.refused(t, child, "open", secret, "r")
		grandchild.passed(t, "open", secret, "r")
		g.apply(t)
		child.passed(t, "open", secret, "r")
		g.quiet(t)
	})
	t.Run("not another one with its pid", func(t *testing.T) {
		d := startDoer(t, one)
		right := id(t, d)
		later, sooner, exact := right, right, right
		later.Start += 10_000_000
		sooner.Start -= 10_000_000
		exact.Start += 9_999_999 // what the kernel counts beyond 10 ms
		g.apply(t, deny(later, sooner))
		d.passed(t, "open", secret, "r")
		g.apply(t, deny(exact))
		g.refused(t, d, "open", secret, "r")
	})
	t.Run("one that has ended", func(t *testing.T) {
		d := startDoer(t, one)
		gone := id(t, d)
		d.stop()
		g.apply(t, deny(gone))
		startDoer(t, one).passed(t, "open", secret, "r")
		g.quiet(t)
	})
	t.Run("before binaries", func(t *testing.T) {
		d, other := startDoer(t, one), startDoer(t, one)
		g.apply(t, denyFiles("binary", ebpfguard.Binaries(one), secret),
			allowFiles("test", ebpfguard.Processes(id(t, d)), secret))
		d.passed(t, "open", secret, "r")
		if alert := g.refused(t, other, "open", secret, "r"); alert.Policy != "binary" {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("with another selector", func(t *testing.T) {
		d := startDoer(t, one)
		subject := ebpfguard.Processes(id(t, d))
		subject.Binaries = []string{two}
		g.apply(t, denyFiles("test", subject, secret))
		d.passed(t, "open", secret, "r")
		d.passed(t, "exec", two)
		g.refused(t, d, "open", secret, "r")
		startDoer(t, two).passed(t, "open", secret, "r")
	})
}
