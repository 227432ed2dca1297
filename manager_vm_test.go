//go:build vm

package ebpfguard_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
)

// TestKernelWithoutBPF wants a clear error where LSM programs attach but do
// nothing.
func TestKernelWithoutBPF(t *testing.T) {
	k, ok := vmtest.Guest()
	if !ok {
		t.Fatal("not in a guest")
	}
	report := ebpfguard.Probe()
	m, err := ebpfguard.NewManager(ebpfguard.Options{})
	if k.Offers("bpf_lsm") {
		if err != nil || !report.Enforcing {
			t.Fatalf("error %v, report %+v", err, report)
		}
		if err := m.Supported(policy.SocketBind); err != nil {
			t.Error(err)
		}
		if err := m.Supported("socket_listen"); !errors.Is(err, ebpfguard.ErrNotSupported) {
			t.Errorf("an operation that does not exist: %v", err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	if !errors.Is(err, ebpfguard.ErrNotSupported) || report.Enforcing {
		t.Fatalf("error %v, report %+v", err, report)
	}
	active, readErr := os.ReadFile("/sys/kernel/security/lsm")
	if readErr != nil {
		t.Fatal(readErr)
	}
	if want := "add lsm=" + strings.TrimSpace(string(active)) + ",bpf to the kernel command line"; !strings.Contains(err.Error(), want) {
		t.Errorf("the error does not say %q: %v", want, err)
	}
}

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
	if alert.TID < alert.PID { // threads of a Go program are started later
		t.Errorf("tid %d, pid %d", alert.TID, alert.PID)
	}
	want := ebpfguard.Process{
		PID: uint32(pid), TID: alert.TID, PPID: uint32(os.Getpid()), Comm: alert.Comm,
		Binary: program, ParentBinary: self, CgroupID: stat.Ino, Cgroup: "/alert test",
		Namespaces: ebpfguard.Namespaces{Mount: namespace("mnt"), PID: namespace("pid"), Network: namespace("net"), User: namespace("user")},
	}
	if alert.Process != want {
		t.Errorf("process\n%+v, want\n%+v", alert.Process, want)
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
		"severity": "high", "errno": "EPERM", "count": 1.0, "generation": float64(alert.Generation),
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
				case <-time.After(10 * time.Second):
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

// TestTwoManagers lets two managers enforce side by side.
func TestTwoManagers(t *testing.T) {
	first, second := sharedGuard(t), newGuard(t, ebpfguard.Options{})
	a := startActor(t, "/proc/self/exe")
	first.add(t, ebpfguard.SocketBind{Name: "first", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(2022)})
	second.add(t, ebpfguard.SocketBind{Name: "second", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(2023), Allow: ebpfguard.Ports(2022)})
	for _, test := range []struct {
		port uint16
		by   *guard
		name string
	}{{2022, first, "first"}, {2023, second, "second"}} {
		if r := a.do(tcp(lo4, test.port)); !r.denied() {
			t.Errorf("port %d: %v", test.port, r)
		}
		if alert := test.by.next(t); alert.Policy != test.name {
			t.Errorf("port %d: %v", test.port, alert)
		}
	}
	detachAndClose(t, second, a)
	if r := a.do(tcp(lo4, 2022)); !r.denied() {
		t.Errorf("after the second manager was closed: %v", r)
	}
	first.next(t)
	if r := a.do(tcp(lo4, 2023)); r.Errno != 0 {
		t.Errorf("after the second manager was closed: %v", r)
	}
	first.quiet(t)
	if err := second.bind.AddPolicy(ebpfguard.SocketBind{Subject: ebpfguard.Everyone(), Deny: ebpfguard.AllPorts()}); !errors.Is(err, ebpfguard.ErrClosed) {
		t.Errorf("adding to a closed manager: %v", err)
	}
}

// detachAndClose ends a manager's enforcement of port 2023 and its iterators.
func detachAndClose(t *testing.T, g *guard, a *actor) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	typed, all := g.bind.Alerts(ctx), g.Alerts(context.Background())
	if r := a.do(tcp(lo4, 2023)); !r.denied() {
		t.Error(r)
	}
	g.next(t)
	for alert, err := range typed {
		if err != nil || alert.Policy != "second" {
			t.Errorf("alert %v, %v", alert, err)
		}
		cancel()
	}
	if err := g.bind.Detach(); err != nil {
		t.Fatal(err)
	}
	if r := a.do(tcp(lo4, 2023)); r.Errno != 0 {
		t.Errorf("after Detach: %v", r)
	}
	if err := g.bind.AddPolicy(ebpfguard.SocketBind{Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(1)}); !errors.Is(err, ebpfguard.ErrNotAttached) {
		t.Errorf("adding after Detach: %v", err)
	}
	if _, err := g.AttachSocketBind(); err != nil {
		t.Errorf("attaching again: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range all {
		if err != nil {
			t.Error(err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d alerts until Close, want the one that was raised", n)
	}
}

// manage is a process that enforces until it is killed.
func manage() {
	m, err := ebpfguard.NewManager(ebpfguard.Options{})
	if err != nil {
		panic(err)
	}
	bind, err := m.AttachSocketBind()
	if err != nil {
		panic(err)
	}
	if err := bind.AddPolicy(ebpfguard.SocketBind{Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(2022)}); err != nil {
		panic(err)
	}
	fmt.Println("ready")
	for { // an empty select is a deadlock to Go's runtime
		time.Sleep(time.Hour)
	}
}

// TestKilledManager leaves nothing behind: no pins, no programs, no denials.
func TestKilledManager(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	programs := func() (n int) {
		id := ebpf.ProgramID(0)
		for {
			var err error
			if id, err = ebpf.ProgramGetNextID(id); err != nil {
				return n
			}
			n++
		}
	}
	before := programs()
	manager := exec.Command("/proc/self/exe")
	manager.Env = append(os.Environ(), actorEnv+"=manager")
	manager.Stderr = os.Stderr
	out, err := manager.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	a := startActor(t, "/proc/self/exe")
	if r := a.do(tcp(lo4, 2022)); !r.denied() {
		t.Errorf("while it lives: %v", r)
	}
	if programs() == before {
		t.Error("no programs while it lives")
	}
	if err := manager.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	manager.Wait()
	for deadline := time.Now().Add(20 * time.Second); programs() != before && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	if n := programs(); n != before {
		t.Errorf("%d programs, %d before", n, before)
	}
	if pins, err := filepath.Glob("/sys/fs/bpf/*"); err != nil || len(pins) != 0 {
		t.Errorf("pins %v, %v", pins, err)
	}
	if r := a.do(tcp(lo4, 2022)); r.Errno != 0 {
		t.Errorf("after it was killed: %v", r)
	}
}

// TestReplacedWhileUsed replaces the set while processes do what both sets
// forbid and what both allow.
func TestReplacedWhileUsed(t *testing.T) {
	g := smallGuard(t) // alerts do not matter here
	t.Cleanup(func() {
		for {
			select {
			case <-g.alerts:
			case <-g.errs:
			case <-time.After(200 * time.Millisecond):
				return
			}
		}
	})
	g.add(t, ebpfguard.SocketBind{Name: "forbidden", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(2022)})
	done := make(chan struct{})
	var wait sync.WaitGroup
	for i := range 4 {
		a := startActor(t, "/proc/self/exe")
		// Port 0 takes the way that reads the tables twice.
		what, denied := tcp(lo4, []uint16{2022, 0, 2022, 2023}[i]), i%2 == 0
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
				r := a.do(what)
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
		if err != nil {
			t.Fatal(err)
		}
		if n := len(changes.Added) + len(changes.Changed); n != 1 || len(changes.Removed) != 0 {
			t.Fatalf("changes %+v", changes)
		}
	}
	close(done)
	wait.Wait()
}

// TestRejectedSet changes nothing.
func TestRejectedSet(t *testing.T) {
	g := sharedGuard(t)
	a := startActor(t, "/proc/self/exe")
	g.add(t, ebpfguard.SocketBind{Name: "test", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(2022)})
	for name, p := range map[string]ebpfguard.SocketBind{
		"no subject":     {Deny: ebpfguard.Ports(1)},
		"duplicate name": {Name: "test", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(1)},
		"relative path":  {Subject: ebpfguard.Binaries("sshd"), Deny: ebpfguard.Ports(1)},
		"no patterns":    {Subject: ebpfguard.Everyone()},
	} {
		if err := g.bind.AddPolicy(p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := g.Apply([]policy.Policy{{Name: "x", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{{Operation: "file_open"}}}}); err == nil {
		t.Error("an unknown operation: no error")
	}
	if n := len(g.bind.Policies()); n != 1 {
		t.Errorf("%d policies", n)
	}
	if r := a.do(tcp(lo4, 2022)); !r.denied() {
		t.Error(r)
	}
	g.next(t)
	if err := g.bind.RemovePolicy("none"); !errors.Is(err, ebpfguard.ErrNoPolicy) {
		t.Errorf("removing what is not there: %v", err)
	}
}
