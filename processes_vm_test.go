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
		passed(t, child, "spawn", two)
		passed(t, grandchild, "spawn", two)
		passed(t, grandchild, "spawn", one)
		bystander := startDoer(t, one)
		g.apply(t, deny(id(t, process), id(t, child), id(t, grandchild)))
		for _, d := range []*doer{process, child, grandchild} {
			g.refused(t, d, "open", secret, "r")
		}
		if o := process.do("fork", secret); o.Errno != syscall.EPERM {
			t.Errorf("a child that starts no program: %v", o)
		}
		g.next(t)
		passed(t, process, "spawn", two)
		if alert := g.refused(t, process, "open", secret, "r"); alert.Policy != "test" || alert.Binary != two {
			t.Errorf("a child that was started later: alert %v", alert)
		}
		passed(t, process, "exec", one)
		g.refused(t, process, "open", secret, "r")
		passed(t, process, "orphan", two)
		g.refused(t, process, "open", secret, "r")
		passed(t, bystander, "open", secret, "r")
		passed(t, startDoer(t, one), "open", secret, "r")
		// The same processes once more, and not any more.
		g.apply(t, deny(id(t, child)))
		g.refused(t, child, "open", secret, "r")
		passed(t, grandchild, "open", secret, "r")
		g.apply(t)
		passed(t, child, "open", secret, "r")
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
		passed(t, d, "open", secret, "r")
		g.apply(t, deny(exact))
		g.refused(t, d, "open", secret, "r")
	})
	t.Run("one that has ended", func(t *testing.T) {
		d := startDoer(t, one)
		gone := id(t, d)
		d.stop()
		g.apply(t, deny(gone))
		passed(t, startDoer(t, one), "open", secret, "r")
		g.quiet(t)
	})
	t.Run("before binaries", func(t *testing.T) {
		d, other := startDoer(t, one), startDoer(t, one)
		g.apply(t, denyFiles("binary", ebpfguard.Binaries(one), secret),
			allowFiles("test", ebpfguard.Processes(id(t, d)), secret))
		passed(t, d, "open", secret, "r")
		if alert := g.refused(t, other, "open", secret, "r"); alert.Policy != "binary" {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("with another selector", func(t *testing.T) {
		d := startDoer(t, one)
		subject := ebpfguard.Processes(id(t, d))
		subject.Binaries = []string{two}
		g.apply(t, denyFiles("test", subject, secret))
		passed(t, d, "open", secret, "r")
		passed(t, d, "exec", two)
		g.refused(t, d, "open", secret, "r")
		passed(t, startDoer(t, two), "open", secret, "r")
	})
}
