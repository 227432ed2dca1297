//go:build vm

package load

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// opsPerSet is how many operations each process of TestReplacedUnderLoad has to do for
// each set, or the test says nothing.
const opsPerSet = 4

// TestReplacedUnderLoad replaces the policy set while eight processes do what each set
// forbids and what none does: a thousand times in make test-full, else a tenth of that.
func TestReplacedUnderLoad(t *testing.T) {
	const processes = 8
	sets := 100
	if vmtest.Thorough() {
		sets = 1000
	}
	vmtest.Processors(t)
	g := guardtest.Shared(t)
	alerts := g.Divert(t)
	things, always := guardtest.ThingsToDo(t)
	g.Use(t, always)
	var listener sync.WaitGroup
	done := make(chan struct{})
	listener.Go(func() {
		for {
			select {
			case <-alerts: // they do not matter here
			case <-g.Errs:
			case <-done:
				return
			}
		}
	})
	// Beside processes that are as important a set takes three times as long on a guest's
	// only processor.
	stop := guardtest.StrikeOn(t, processes, 10, things)
	began := time.Now()
	var first, last uint32 // revisions
	for i := range sets {
		changes, err := g.Apply(guardtest.Replacement(always, i))
		if err != nil {
			t.Error(err)
		}
		if last = changes.Revision; i == 0 {
			first = last
		}
	}
	took := time.Since(began)
	total, least := stop()
	close(done)
	listener.Wait()
	fmt.Printf("revisions %d to %d applied in %v while %d processes did %d operations, each %d at least\n",
		first, last, took.Round(time.Millisecond), processes, total, least)
	if want := int64(sets * opsPerSet); least < want {
		t.Errorf("a process did %d operations while %d sets were replaced, want %d", least, sets, want)
	}
	if last-first != uint32(sets-1) {
		t.Errorf("%d sets make revisions %d to %d", sets, first, last)
	}
}

// TestReplacedWhileUsed replaces the set while processes do what both sets
// forbid and what both allow.
func TestReplacedWhileUsed(t *testing.T) {
	vmtest.Processors(t)
	g := guardtest.Small(t) // alerts do not matter here
	t.Cleanup(func() { g.Drain(t) })
	g.Add(t, ebpfguard.SocketBind{Name: "forbidden", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(2022)})
	done := make(chan struct{})
	var wait sync.WaitGroup
	for i := range 4 {
		a := guardtest.StartActor(t, "/proc/self/exe")
		a.Nice(t, 10)
		// Port 0 takes the way that reads the tables twice.
		what, denied := guardtest.TCP(guardtest.Lo4, []uint16{2022, 0, 2022, 2023}[i]), i%2 == 0
		what.Times = 100
		wait.Go(func() {
			n := 0
			for {
				select {
				case <-done:
					if n == 0 {
						t.Error("nothing was tried")
					}
					return
				default:
				}
				r := a.Do(what)
				if want := map[bool]int{true: what.Times}[denied]; r.Denied != want {
					t.Errorf("%d of %d binds of port %d were refused, want %d", r.Denied, what.Times, what.Port, want)
				}
				n += what.Times
			}
		})
	}
	for i := range 200 {
		other := policy.Policy{Name: "other", Subject: policy.Subject{Binaries: []string{fmt.Sprintf("/bin/%d", i)}}, Rules: []policy.Rule{{
			Operation: policy.SocketBind, Deny: []policy.Pattern{policy.SocketPattern{Ports: []policy.PortRange{{First: 1, Last: uint16(1 + i)}}}},
		}}}
		set := append(g.Policies(), other)
		if i > 0 {
			set = append(g.Policies()[:1], other)
		}
		changes, err := g.Apply(set)
		guardtest.Check(t, err)
		if n := len(changes.Added) + len(changes.Changed); n != 1 || len(changes.Removed) != 0 {
			t.Fatalf("changes %+v", changes)
		}
	}
	close(done)
	wait.Wait()
}
