//go:build vm

package guardtest

import (
	"syscall"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// FileGuard is the shared guard while TestFiles has all its alerts.
type FileGuard struct {
	*Guard
	alerts <-chan ebpfguard.Alert
	// owner is the test whose policies are in force.
	owner *testing.T
	// Applied counts the sets, applying is the time that it took.
	Applied  int
	Applying time.Duration
}

func NewFileGuard(t *testing.T) *FileGuard {
	t.Helper()
	start := time.Now()
	shared := Shared(t)
	t.Logf("attached in %v", time.Since(start))
	return &FileGuard{Guard: shared, alerts: shared.Divert(t)}
}

// Enforce puts a set in force until the test applies another one or ends. By then
// all alerts must have been looked at.
func (g *FileGuard) Enforce(t *testing.T, set ...policy.Policy) {
	t.Helper()
	former, outer, start := g.Policies(), g.owner, time.Now()
	_, err := g.Apply(set)
	Check(t, err)
	g.Applied++
	g.Applying += time.Since(start)
	if outer == t {
		return
	}
	g.owner = t
	t.Cleanup(func() {
		if _, err := g.Apply(former); err != nil {
			t.Error(err)
		}
		g.owner = outer
		g.Quiet(t)
	})
}

// Next returns the next alert.
func (g *FileGuard) Next(t *testing.T) ebpfguard.Alert {
	t.Helper()
	select {
	case alert := <-g.alerts:
		return alert
	case <-time.After(Patience):
		t.Fatalf("no alert within %v", Patience)
	}
	panic("unreachable")
}

// Quiet fails if there is an alert.
func (g *FileGuard) Quiet(t *testing.T) {
	t.Helper()
	g.Settle(t)
	for {
		select {
		case alert := <-g.alerts:
			t.Errorf("an alert that should not be: %v", alert)
		default:
			return
		}
	}
}

// Forget drops the alerts that are there and returns how many.
func (g *FileGuard) Forget() int {
	for n := 0; ; n++ {
		select {
		case <-g.alerts:
		default:
			return n
		}
	}
}

// Drain drops the alerts of all that was decided so far and returns how many.
func (g *FileGuard) Drain(t *testing.T) int {
	t.Helper()
	g.Settle(t)
	return g.Forget()
}

// Refused wants an errand to be refused, for certain, and returns its alert.
func (g *FileGuard) Refused(t *testing.T, d *Doer, do string, args ...string) ebpfguard.FileOpenAlert {
	t.Helper()
	alert := g.Denied(t, d, do, args...)
	if alert.Undecided {
		t.Errorf("%s %q: undecided: %v", do, args, alert)
	}
	return alert
}

// Undecided wants an errand to be refused since nobody knows.
func (g *FileGuard) Undecided(t *testing.T, d *Doer, do string, args ...string) ebpfguard.FileOpenAlert {
	t.Helper()
	alert := g.Denied(t, d, do, args...)
	if !alert.Undecided {
		t.Errorf("%s %q: refused for certain: %v", do, args, alert)
	}
	return alert
}

// RefusedChild wants a child of a doer that starts no program to be refused a file, and
// returns the alert.
func (g *FileGuard) RefusedChild(t *testing.T, d *Doer, path string) ebpfguard.FileOpenAlert {
	t.Helper()
	if o := d.Do("fork", path); o.Errno != syscall.EPERM {
		t.Fatalf("a child opens %s: %v, want EPERM", path, o)
	}
	alert, ok := g.Next(t).(ebpfguard.FileOpenAlert)
	if !ok || alert.PPID != uint32(d.PID) || alert.PID == uint32(d.PID) || alert.Verdict != policy.Deny || alert.Path != path || alert.Undecided {
		t.Fatalf("a child of %d opens %s: alert %v", d.PID, path, alert)
	}
	return alert
}

func (g *FileGuard) Denied(t *testing.T, d *Doer, do string, args ...string) ebpfguard.FileOpenAlert {
	t.Helper()
	o := d.Do(do, args...)
	if o.Errno != syscall.EPERM {
		t.Fatalf("%s %q: %v, want EPERM", do, args, o)
	}
	alert, ok := g.Next(t).(ebpfguard.FileOpenAlert)
	if !ok || alert.PID != uint32(o.PID) || alert.Verdict != policy.Deny {
		t.Fatalf("%s %q by %d: alert %v", do, args, o.PID, alert)
	}
	return alert
}
