//go:build vm && full

package ebpfguard_test

import (
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// nextOther returns the next alert of another operation.
func (g *guard) nextOther(t *testing.T) ebpfguard.Alert {
	t.Helper()
	return nextOf[ebpfguard.Alert](t, g, g.others)
}

// drain takes all alerts that are still to come, of a test that they do not
// matter to.
func (g *guard) drain() {
	for {
		select {
		case <-g.alerts:
		case <-g.others:
		case <-g.errs:
		case <-time.After(200 * time.Millisecond):
			return
		}
	}
}

// use applies a policy set for the length of a test.
func (g *guard) use(t *testing.T, set ...policy.Policy) {
	t.Helper()
	if _, err := g.Apply(set); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := g.Apply(nil); err != nil {
			t.Error(err)
		}
	})
}

// divert returns all alerts for the length of a test.
func (g *guard) divert(t *testing.T) <-chan ebpfguard.Alert {
	t.Helper()
	alerts := make(chan ebpfguard.Alert, 1<<17)
	g.diverted.Store(&alerts)
	t.Cleanup(func() { g.diverted.Store(nil) })
	return alerts
}
