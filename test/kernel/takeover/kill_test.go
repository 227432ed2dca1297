//go:build vm

package takeover

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestKilledUnderLoad kills the manager at any moment while it replaces its set without
// pause and processes do what every set forbids and what none does.
func TestKilledUnderLoad(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	if !isOn(t, "5.10", "7") { // without safe task storage, and the newest
		return
	}
	kills := 10
	if vmtest.Thorough() {
		kills = 100
	}
	vmtest.Processors(t)
	cleanPins(t)
	things, always := guardtest.ThingsToDo(t)
	m, _ := startPinned(t, order{Set: []policy.Policy{always}, Replace: &always})
	// On a guest's only processor managers would take minutes to start beside others that
	// are as important.
	stop := guardtest.StrikeOn(t, 2, 5, things)
	var revision, longest, replaced int
	for i := range kills {
		// Every other one has replaced the set, however slow the machine is; the others are at any point before that.
		if i%2 == 1 {
			m.hear(t, replacedSet)
		}
		time.Sleep(time.Duration(i*i*37%500) * time.Millisecond)
		m.kill(t)
		begun := time.Now()
		var said string
		if m, said = startPinned(t, order{Replace: &always}); t.Failed() {
			break
		}
		longest = max(longest, int(time.Since(begun).Milliseconds()))
		var now, policies int
		if _, err := fmt.Sscanf(said, "ready %d %d", &now, &policies); err != nil || now < revision || policies == 0 {
			t.Errorf("%q after revision %d: %v", said, revision, err)
		}
		if now > revision {
			replaced++
		}
		revision = now
	}
	m.kill(t)
	if replaced < kills/2 {
		t.Errorf("the set was replaced before %d of %d kills only", replaced, kills)
	}
	total, _ := stop()
	fmt.Printf("killed %d times in %d revisions during %d operations; to take over took %d ms at most\n", kills, revision, total, longest)
	last, err := ebpfguard.NewManager(pinnedOptions())
	guardtest.Check(t, err)
	for _, o := range policy.Operations() {
		s, err := last.Stats(o)
		if err != nil || s.Alerts+s.AlertsLost != s.Denied+s.Audited {
			t.Errorf("%s: %+v, %v", o, s, err)
		}
	}
	if err := last.Remove(); err != nil {
		t.Error(err)
	}
	if err := unix.Access(pinPath, 0); !errors.Is(err, unix.ENOENT) {
		t.Errorf("the pins are still there: %v", err)
	}
}
