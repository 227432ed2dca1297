//go:build vm

package manager

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestTwoManagers lets two managers enforce side by side.
func TestTwoManagers(t *testing.T) {
	first, second := guardtest.Shared(t), guardtest.New(t, ebpfguard.Options{})
	a := guardtest.StartActor(t, "/proc/self/exe")
	first.Add(t, ebpfguard.SocketBind{Name: "first", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(2022)})
	second.Add(t, ebpfguard.SocketBind{Name: "second", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(2023), Allow: ebpfguard.Ports(2022)})
	for _, test := range []struct {
		port uint16
		by   *guardtest.Guard
		name string
	}{{2022, first, "first"}, {2023, second, "second"}} {
		a.WantRefused(t, test.port, "side by side")
		if alert := test.by.Next(t); alert.Policy != test.name {
			t.Errorf("port %d: %v", test.port, alert)
		}
	}
	detachAndClose(t, second, a)
	a.WantRefused(t, 2022, "after the second manager was closed")
	if alert := first.Next(t); alert.Policy != "first" {
		t.Errorf("alert %v", alert)
	}
	a.WantBound(t, 2023, "after the second manager was closed")
	first.Quiet(t)
	if err := second.Bind.AddPolicy(ebpfguard.SocketBind{Subject: ebpfguard.Everyone(), Deny: ebpfguard.AllPorts()}); !errors.Is(err, ebpfguard.ErrClosed) {
		t.Errorf("adding to a closed manager: %v", err)
	}
}

// detachAndClose ends a manager's enforcement of port 2023 and its iterators.
func detachAndClose(t *testing.T, g *guardtest.Guard, a *guardtest.Actor) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	typed, all := g.Bind.Alerts(ctx), g.Alerts(context.Background())
	a.WantRefused(t, 2023, "before Detach")
	if alert := g.Next(t); alert.Policy != "second" {
		t.Errorf("alert %v", alert)
	}
	for alert, err := range typed {
		if err != nil || alert.Policy != "second" {
			t.Errorf("alert %v, %v", alert, err)
		}
		cancel()
	}
	guardtest.Check(t, g.Bind.Detach())
	a.WantBound(t, 2023, "after Detach")
	if err := g.Bind.AddPolicy(ebpfguard.SocketBind{Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(1)}); !errors.Is(err, ebpfguard.ErrNotAttached) {
		t.Errorf("adding after Detach: %v", err)
	}
	if _, err := g.AttachSocketBind(); err != nil {
		t.Errorf("attaching again: %v", err)
	}
	if err := g.Bind.AddPolicy(ebpfguard.SocketBind{Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(1)}); err != nil {
		t.Errorf("the former handle, attached again: %v", err)
	}
	guardtest.Check(t, g.Close())
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
	manager := guardtest.Self("manager")
	out, err := manager.StdoutPipe()
	guardtest.Check(t, err)
	guardtest.Check(t, manager.Start())
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	a := guardtest.StartActor(t, "/proc/self/exe")
	a.WantRefused(t, 2022, "while it lives")
	if programs() <= before {
		t.Error("no programs while it lives")
	}
	guardtest.Check(t, manager.Process.Kill())
	manager.Wait()
	// The kernel frees programs when it has time, also those of the tests before.
	for deadline := time.Now().Add(guardtest.Patience); programs() > before && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	if n := programs(); n > before {
		t.Errorf("%d programs, %d before", n, before)
	}
	if pins, err := filepath.Glob("/sys/fs/bpf/*"); err != nil || len(pins) != 0 {
		t.Errorf("pins %v, %v", pins, err)
	}
	a.WantBound(t, 2022, "after it was killed")
}

// TestRejectedSet changes nothing.
func TestRejectedSet(t *testing.T) {
	g := guardtest.Shared(t)
	a := guardtest.StartActor(t, "/proc/self/exe")
	g.Add(t, ebpfguard.SocketBind{Name: "test", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(2022)})
	for name, p := range map[string]ebpfguard.SocketBind{
		"no subject":     {Deny: ebpfguard.Ports(1)},
		"duplicate name": {Name: "test", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(1)},
		"relative path":  {Subject: ebpfguard.Binaries("sshd"), Deny: ebpfguard.Ports(1)},
		"no patterns":    {Subject: ebpfguard.Everyone()},
	} {
		if err := g.Bind.AddPolicy(p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := g.Apply([]policy.Policy{{Name: "x", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{{Operation: "file_open"}}}}); err == nil {
		t.Error("an unknown operation: no error")
	}
	// What would be refused can be asked before, and what would not.
	bind := func(name string, subject policy.Subject) policy.Policy {
		return policy.Policy{Name: name, Subject: subject, Rules: []policy.Rule{{Operation: policy.SocketBind, Deny: []policy.Pattern{policy.SocketPattern{All: true}}}}}
	}
	var tooMany []policy.Policy
	for i := range abi.MaxMarks + 1 {
		tooMany = append(tooMany, bind(fmt.Sprintf("p%d", i), policy.Subject{Binaries: []string{fmt.Sprintf("/bin/%d", i)}, Descendants: true}))
	}
	for name, set := range map[string][]policy.Policy{
		"no rules":     {{Name: "x", Subject: policy.Subject{Everyone: true}}},
		"unknown user": {bind("x", policy.Subject{Users: policy.IDs{Names: []string{"no-such-user"}}})},
		"too large":    tooMany,
	} {
		checked := g.Check(set)
		_, err := g.Apply(set)
		if checked == nil || err == nil || checked.Error() != err.Error() {
			t.Errorf("%s: Check says %v, Apply %v", name, checked, err)
		}
	}
	if err := g.Check(tooMany[:abi.MaxMarks]); err != nil {
		t.Errorf("a set that fits: %v", err)
	}
	if n := len(g.Bind.Policies()); n != 1 {
		t.Errorf("%d policies", n)
	}
	a.WantRefused(t, 2022, "after the sets were rejected")
	if alert := g.Next(t); alert.Policy != "test" {
		t.Errorf("alert %v", alert)
	}
	a.WantBound(t, 1, "what only rejected sets forbid")
	if err := g.Bind.RemovePolicy("none"); !errors.Is(err, ebpfguard.ErrNoPolicy) {
		t.Errorf("removing what is not there: %v", err)
	}
}
