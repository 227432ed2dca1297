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
	timed.Until = bootNow(t) + uint64(20*time.Second)
	killed, _ = startPinned(t, order{Set: []policy.Policy{nobodyBinds("everyone", 2022), timed}})
	killed.kill(t)
	refused := 0
	for bootNow(t) < timed.Until-uint64(time.Second) {
		if r := a.Do(guardtest.TCP(guardtest.Lo4, 2023)); !r.Refused() {
			t.Errorf("%v before the end: %v", time.Duration(timed.Until-bootNow(t)), r)
		}
		refused++
		time.Sleep(100 * time.Millisecond)
	}
	if refused == 0 {
		t.Error("the policy had ended before it was tried")
	}
	for bootNow(t) <= timed.Until {
		time.Sleep(10 * time.Millisecond)
	}
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2023)); r.Errno != 0 {
		t.Errorf("after the end: %v", r)
	}
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2022)); !r.Refused() {
		t.Errorf("what has no end: %v", r)
	}
	m, err := ebpfguard.NewManager(pinnedOptions())
	if err != nil {
		t.Fatal(err)
	}
	if former, _ := m.Takeover(); len(former.Policies) != 2 || former.Policies[1].Until != timed.Until {
		t.Errorf("took over %+v", former)
	}
	if err := m.Remove(); err != nil {
		t.Error(err)
	}
}

func bootNow(t *testing.T) uint64 {
	t.Helper()
	now, err := ebpfguard.Boottime()
	if err != nil {
		t.Fatal(err)
	}
	return now
}
