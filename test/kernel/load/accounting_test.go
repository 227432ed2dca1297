//go:build vm

package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestEveryDenialIsAccountedFor compares denials with alerts and counted losses
// in a burst, with a buffer that takes all and with one that cannot.
func TestEveryDenialIsAccountedFor(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	vmtest.Processors(t)
	const workers = 4
	each := 2_500
	if k, _ := vmtest.Guest(); k.Name == "6.1" || k.Name == "7" { // in emulation this takes its time
		each = 12_500
	}
	for name, guard := range map[string]func(*testing.T) *guardtest.Guard{"large buffer": guardtest.Shared, "small buffer": guardtest.Small} {
		t.Run(name, func(t *testing.T) {
			g := guard(t)
			before, err := g.Bind.Stats()
			guardtest.Check(t, err)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			slow := g.Bind.Alerts(ctx) // does not take any until all have come
			g.Add(t, ebpfguard.SocketBind{Name: "test", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(2022)})
			var wait sync.WaitGroup
			var mu sync.Mutex
			refused := 0
			for range workers {
				a := guardtest.StartActor(t, "/proc/self/exe")
				wait.Go(func() {
					r := a.Do(guardtest.TCP(guardtest.Lo4, 2022).With(func(a *guardtest.Action) { a.Times = each }))
					mu.Lock()
					defer mu.Unlock()
					refused += r.Denied
				})
			}
			wait.Wait()
			if refused != each*workers {
				t.Errorf("%d of %d binds were refused", refused, each*workers)
			}
			stats, err := g.Bind.Stats()
			guardtest.Check(t, err)
			stats.Denied -= before.Denied
			stats.Audited -= before.Audited
			stats.Alerts -= before.Alerts
			stats.AlertsLost -= before.AlertsLost
			if stats.Denied != uint64(each*workers) || stats.Alerts+stats.AlertsLost != stats.Denied {
				t.Errorf("stats %+v", stats)
			}
			var received, lost uint64
			for received+lost < stats.Alerts {
				select {
				case <-g.Binds:
					received++
				case err := <-g.Errs:
					var l *ebpfguard.LostAlertsError
					if !errors.As(err, &l) {
						t.Fatal(err)
					}
					lost += l.Count
				case <-time.After(guardtest.Patience):
					t.Fatalf("received %d and lost %d of %d alerts", received, lost, stats.Alerts)
				}
			}
			if received+lost+stats.AlertsLost != stats.Denied {
				t.Errorf("received %d, lost %d, dropped %d of %d", received, lost, stats.AlertsLost, stats.Denied)
			}
			fmt.Printf("%s: %d denials = %d alerts received + %d not taken in time + %d dropped in the kernel\n",
				name, stats.Denied, received, lost, stats.AlertsLost)
			received, lost = 0, 0
			for _, err := range slow {
				var l *ebpfguard.LostAlertsError
				switch {
				case errors.As(err, &l):
					lost += l.Count
				case err != nil:
					t.Fatal(err)
				default:
					received++
				}
				if received+lost >= stats.Alerts {
					break
				}
			}
			if received+lost != stats.Alerts || stats.Alerts > 20_000 && lost == 0 {
				t.Errorf("who listens late hears %d and is told of %d lost, of %d alerts", received, lost, stats.Alerts)
			}
			if name == "large buffer" && stats.AlertsLost != 0 {
				t.Errorf("%d alerts dropped although there is room", stats.AlertsLost)
			}
			g.Quiet(t)
		})
	}
}
