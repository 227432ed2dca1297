//go:build vm

package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestStorm refuses a hundred thousand operations of several processes (in make
// test-full a million), as fast as they ask, and accounts for each of them.
func TestStorm(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	denials := 100_000
	if vmtest.Thorough() {
		denials = 1_000_000
	}
	for _, limit := range []uint32{0, 100} {
		t.Run(fmt.Sprintf("alert limit %d", limit), func(t *testing.T) { testStorm(t, denials, limit) })
	}
}

// The storm may take this much memory: the buffer of the kernel and the queue.
const stormMemory = 64 << 20

func testStorm(t *testing.T, denials int, limit uint32) {
	const workers = 8
	m, err := ebpfguard.NewManager(ebpfguard.Options{})
	guardtest.Check(t, err)
	t.Cleanup(func() { guardtest.Check(t, m.Close()) })
	hook, err := m.AttachSocketBind()
	guardtest.Check(t, err)
	guardtest.Check(t, hook.AddPolicy(ebpfguard.SocketBind{
		Name: "storm", Subject: ebpfguard.Everyone(), Allow: ebpfguard.Ports(2023), Deny: ebpfguard.Ports(2022), AlertLimit: limit,
	}))
	ctx, cancel := context.WithCancel(context.Background())
	var received atomic.Uint64 // with those that the loop was too slow for
	var reading sync.WaitGroup
	alerts := hook.Alerts(ctx)
	reading.Go(func() {
		for alert, err := range alerts {
			var lost *ebpfguard.LostAlertsError
			switch {
			case errors.As(err, &lost):
				received.Add(lost.Count)
			case err != nil:
				t.Error(err)
			case alert.Policy != "storm" || alert.Verdict != policy.Deny:
				t.Errorf("an alert that should not be: %v", alert)
			default:
				received.Add(1)
			}
		}
	})
	runtime.GC()
	debug.FreeOSMemory()
	before := memoryPeak(t, true)

	began := time.Now()
	passed := stormWith(t, workers, denials)
	took := time.Since(began)
	grown := memoryPeak(t, false) - before

	stats := settled(t, hook.Stats, uint64(denials))
	rules, err := m.RuleStats()
	guardtest.Check(t, err)
	for deadline := time.Now().Add(guardtest.Patience); received.Load() < stats.Alerts && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	reading.Wait()
	fmt.Printf("storm: limit %d: %d denials in %v = %d alerts + %d lost + %d limited; %d operations of bystanders passed meanwhile; %d KiB more memory\n",
		limit, stats.Denied, took.Round(time.Millisecond), stats.Alerts, stats.AlertsLost, stats.AlertsLimited, passed, grown>>10)

	if stats.Denied != uint64(denials) || stats.Audited != 0 || stats.Killed != 0 {
		t.Errorf("%d denials: stats %+v", denials, stats)
	}
	if stats.Alerts+stats.AlertsLost+stats.AlertsLimited != stats.Denied {
		t.Errorf("not every denial is accounted for: %+v", stats)
	}
	if n := received.Load(); n != stats.Alerts {
		t.Errorf("read %d alerts, %d were sent", n, stats.Alerts)
	}
	want := ebpfguard.RuleStats{
		Policy: "storm", Operation: policy.SocketBind,
		Hits: stats.Denied, AlertsLost: stats.AlertsLost, AlertsLimited: stats.AlertsLimited,
	}
	if len(rules) != 1 || rules[0] != want {
		t.Errorf("rules %+v, want %+v", rules, want)
	}
	// The counters stay with the policy when another one comes.
	guardtest.Check(t, hook.AddPolicy(ebpfguard.SocketBind{Name: "other", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(2024)}))
	if rules, err = m.RuleStats(); err != nil || len(rules) != 2 || rules[0] != want {
		t.Errorf("rules %+v, %v; want %+v first", rules, err, want)
	}
	if passed == 0 || stats.Allowed < passed {
		t.Errorf("%d operations of bystanders passed, %d were allowed", passed, stats.Allowed)
	}
	if grown > stormMemory {
		t.Errorf("the storm took %d MiB of memory", grown>>20)
	}
	most := uint64(limit) * uint64(took/time.Second+2) * 11 / 10 // a few more at the start of a second
	switch {
	case limit == 0 && stats.AlertsLimited != 0:
		t.Errorf("%d alerts kept back without a limit", stats.AlertsLimited)
	case limit != 0 && (stats.Alerts < uint64(limit) || stats.Alerts > most):
		t.Errorf("%d alerts in %v with a limit of %d a second", stats.Alerts, took, limit)
	}
}

// stormWith has processes do what is forbidden while another one does what is
// allowed, of which nothing may be refused. It returns how much that was.
func stormWith(t *testing.T, workers, denials int) (passed uint64) {
	t.Helper()
	done := make(chan struct{})
	bystander := guardtest.StartActor(t, "/proc/self/exe")
	var beside, storm sync.WaitGroup
	beside.Go(func() {
		for {
			if r := bystander.Do(guardtest.TCP(guardtest.Lo4, 2023)); r.Errno != 0 {
				t.Errorf("a bystander in the storm: %v", r)
			}
			passed++
			select {
			case <-done:
				return
			default:
			}
		}
	})
	refused := make([]int, workers)
	for i := range workers {
		a := guardtest.StartActor(t, "/proc/self/exe")
		storm.Go(func() {
			refused[i] = a.Do(guardtest.TCP(guardtest.Lo4, 2022).With(func(a *guardtest.Action) { a.Rebinds = denials / workers })).Denied
		})
	}
	storm.Wait()
	close(done)
	beside.Wait()
	for _, n := range refused {
		if n != denials/workers {
			t.Errorf("a process was refused %d times, not %d", n, denials/workers)
		}
	}
	return passed
}

// settled returns the counters when the last program has ended that counts.
func settled(t *testing.T, stats func() (ebpfguard.Stats, error), denials uint64) ebpfguard.Stats {
	t.Helper()
	for deadline := time.Now().Add(guardtest.Patience); ; time.Sleep(10 * time.Millisecond) {
		s, err := stats()
		guardtest.Check(t, err)
		if s.Denied >= denials || time.Now().After(deadline) {
			return s
		}
	}
}

// memoryPeak returns the most memory that this process has had since the last
// call with reset, in bytes.
func memoryPeak(t *testing.T, reset bool) int64 {
	t.Helper()
	if reset {
		guardtest.Check(t, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0))
	}
	status, err := os.ReadFile("/proc/self/status")
	guardtest.Check(t, err)
	for line := range bytes.Lines(status) {
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatal("/proc/self/status has no VmHWM")
	return 0
}
