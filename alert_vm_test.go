//go:build vm

package ebpfguard_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
)

// TestAlert compares everything that an alert tells with the process itself.
func TestAlert(t *testing.T) {
	g := sharedGuard(t)
	cgroup := "/sys/fs/cgroup/alert test"
	if err := os.Mkdir(cgroup, 0o755); err != nil {
		t.Fatal(err)
	}
	program := copyProgram(t, "/tmp/alert/a program\n")
	g.add(t, ebpfguard.SocketBind{Name: "named", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(2022), Message: "no", Severity: policy.SeverityHigh, Tags: []string{"x", "y"}})
	a, err := startIn(t, program, unix.CLONE_NEWUSER|unix.CLONE_NEWNET|unix.CLONE_NEWPID|unix.CLONE_NEWNS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.stop(); os.Remove(cgroup) })
	pid := a.command.Process.Pid
	if err := os.WriteFile(cgroup+"/cgroup.procs", fmt.Append(nil, pid), 0); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	if r := a.do(tcp(lo4, 2022)); !r.denied() {
		t.Fatal(r)
	}
	alert := g.next(t)
	if alert.Time.Before(before.Add(-time.Second)) || alert.Time.After(time.Now().Add(time.Second)) {
		t.Errorf("time %v, now %v", alert.Time, time.Now())
	}
	namespace := func(name string) uint32 {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		var n uint32
		if _, err := fmt.Sscanf(link, name+":[%d]", &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	var stat unix.Stat_t
	if err := unix.Stat(cgroup, &stat); err != nil {
		t.Fatal(err)
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if started := startTicks(t, pid); alert.StartTime/10_000_000 != started {
		t.Errorf("started at %d ns, not %d ticks", alert.StartTime, started)
	}
	if alert.TID < alert.PID { // threads of a Go program are started later
		t.Errorf("tid %d, pid %d", alert.TID, alert.PID)
	}
	want := ebpfguard.Process{
		PID: uint32(pid), TID: alert.TID, PPID: uint32(os.Getpid()), StartTime: alert.StartTime, Comm: alert.Comm,
		Binary: program, ParentBinary: self, CgroupID: stat.Ino, Cgroup: "/alert test",
		Namespaces: ebpfguard.Namespaces{Mount: namespace("mnt"), PID: namespace("pid"), Network: namespace("net"), User: namespace("user")},
	}
	if diff := cmp.Diff(want, alert.Process); diff != "" {
		t.Errorf("process (-want +got):\n%s", diff)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if alert.Host != host || alert.BootID+"\n" != string(boot) {
		t.Errorf("host %q, want %q; boot id %q, want %q", alert.Host, host, alert.BootID, boot)
	}
	if alert.Sequence != 0 || alert.Count != 1 {
		t.Errorf("sequence %d, count %d", alert.Sequence, alert.Count)
	}
	if alert.Comm != "a program\n" {
		t.Errorf("comm %q", alert.Comm)
	}
	if text := alert.String(); strings.Contains(text, "\n") {
		t.Errorf("a program's name breaks the line of text: %q", text)
	}
	data, err := json.Marshal(alert)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"operation": "socket_bind", "hook": "socket_bind", "verdict": "deny", "policy": "named", "rule": 0.0, "message": "no",
		"severity": "high", "errno": "EPERM", "count": 1.0, "revision": float64(alert.Revision),
	} {
		if keys[key] != want {
			t.Errorf("%s is %v, want %v in %s", key, keys[key], want, data)
		}
	}
	if object := fmt.Sprint(keys["object"]); object != "map[address:127.0.0.1 port:2022 protocol:tcp]" {
		t.Errorf("object %s", object)
	}
}

// TestEveryDenialIsAccountedFor compares denials with alerts and counted losses
// in a burst, with a buffer that takes all and with one that cannot.
func TestEveryDenialIsAccountedFor(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	const workers = 4
	each := 2_500
	if k, _ := vmtest.Guest(); k.Name == "6.1" || k.Name == "7" { // in emulation this takes its time
		each = 12_500
	}
	for name, guard := range map[string]func(*testing.T) *guard{"large buffer": sharedGuard, "small buffer": smallGuard} {
		t.Run(name, func(t *testing.T) {
			g := guard(t)
			before, err := g.bind.Stats()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			slow := g.bind.Alerts(ctx) // does not take any until all have come
			g.add(t, ebpfguard.SocketBind{Name: "test", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(2022)})
			var wait sync.WaitGroup
			var mu sync.Mutex
			refused := 0
			for range workers {
				a := startActor(t, "/proc/self/exe")
				wait.Go(func() {
					r := a.do(tcp(lo4, 2022).with(func(a *action) { a.Times = each }))
					mu.Lock()
					defer mu.Unlock()
					refused += r.Denied
				})
			}
			wait.Wait()
			if refused != each*workers {
				t.Errorf("%d of %d binds were refused", refused, each*workers)
			}
			stats, err := g.bind.Stats()
			if err != nil {
				t.Fatal(err)
			}
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
				case <-g.alerts:
					received++
				case err := <-g.errs:
					var l *ebpfguard.LostAlertsError
					if !errors.As(err, &l) {
						t.Fatal(err)
					}
					lost += l.Count
				case <-time.After(patience):
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
			g.quiet(t)
		})
	}
}
