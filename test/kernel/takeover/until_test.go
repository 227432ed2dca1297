//go:build vm

package takeover

import (
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestPinnedUntil kills the manager while a policy runs that ends: it ends by itself, and
// what has no end goes on.
func TestPinnedUntil(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	cleanPins(t)
	a := guardtest.StartActor(t, "/proc/self/exe")
	killed, _ := startPinned(t, order{Set: []policy.Policy{nobodyBinds("everyone", 2022)}})
	killed.kill(t)
	timed := nobodyBinds("timed", 2023)
	timed.Until = guardtest.Boottime(t) + uint64(20*time.Second)
	killed, _ = startPinned(t, order{Set: []policy.Policy{nobodyBinds("everyone", 2022), timed}})
	killed.kill(t)
	refused := 0
	for guardtest.Boottime(t) < timed.Until-uint64(time.Second) {
		a.WantRefused(t, 2023, "before the end")
		refused++
		time.Sleep(100 * time.Millisecond)
	}
	if refused == 0 {
		t.Error("the policy had ended before it was tried")
	}
	for guardtest.Boottime(t) <= timed.Until {
		time.Sleep(10 * time.Millisecond)
	}
	a.WantBound(t, 2023, "after the end")
	a.WantRefused(t, 2022, "what has no end")
	m, err := ebpfguard.NewManager(pinnedOptions())
	guardtest.Check(t, err)
	if former, _ := m.Takeover(); len(former.Policies) != 2 || former.Policies[1].Until != timed.Until {
		t.Errorf("took over %+v", former)
	}
	if err := m.Remove(); err != nil {
		t.Error(err)
	}
}
