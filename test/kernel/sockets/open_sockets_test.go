//go:build vm

package sockets

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// echo serves TCP connections with what they send, and returns its address.
func echo(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	guardtest.Check(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go func() {
				// More than anybody asks for, so that nobody waits.
				_, _ = c.Write(make([]byte, 1000))
				b := make([]byte, 1)
				for _, err := c.Read(b); err == nil; _, err = c.Read(b) {
				}
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// TestOpenSockets cuts connections that were there before the policy.
func TestOpenSockets(t *testing.T) {
	g := guardtest.Shared(t)
	alerts := g.Divert(t)
	program := guardtest.CopyProgram(t, "/tmp/open-sockets/program")
	d, second, bystander := guardtest.StartDoer(t, program), guardtest.StartDoer(t, program), guardtest.StartDoer(t, "/proc/self/exe")
	forbidden, other := echo(t), echo(t)
	for _, d := range []*guardtest.Doer{d, second, bystander} {
		d.Passed(t, "connect", "forbidden", forbidden.String())
		d.Passed(t, "connect", "other", other.String())
	}
	uses := map[string]string{"write-socket": "file_permission", "sendmsg": "socket_sendmsg", "read-socket": "file_permission", "recvmsg": "socket_recvmsg"}
	cut := policy.Policy{Name: "cut", Subject: policy.Subject{Binaries: []string{program}}, Rules: []policy.Rule{{
		Operation: policy.SocketConnect, Revoke: true, Deny: []policy.Pattern{guardtest.Ports(forbidden.Port())},
	}}}
	// apply leaves the set in force until the next one, so that the programs of rules with
	// revoke are loaded once.
	apply := func(t *testing.T, set ...policy.Policy) {
		t.Helper()
		_, err := g.Apply(set)
		guardtest.Check(t, err)
	}
	t.Cleanup(func() { apply(t) })
	wantAttached := func(t *testing.T, want bool) {
		t.Helper()
		for _, name := range []string{"revoke_sendmsg", "revoke_recvmsg", "revoke_socket"} {
			if got := guardtest.IsLoaded(t, name); got != want {
				t.Errorf("%s is loaded: %v, want %v", name, got, want)
			}
		}
	}
	wantUsable := func(t *testing.T, d *guardtest.Doer, name string) {
		t.Helper()
		for use := range uses {
			d.Passed(t, use, name)
		}
	}
	wantAlert := func(t *testing.T, hook string, verdict policy.Verdict) {
		t.Helper()
		a, ok := guardtest.NextOf[ebpfguard.Alert](t, g, alerts).(ebpfguard.SocketConnectAlert)
		if !ok || a.Hook != hook || a.Verdict != verdict || a.Address != forbidden.Addr() || a.Port != forbidden.Port() || a.Protocol != "tcp" || a.Policy != "cut" || a.Undecided {
			t.Errorf("alert %v, want one of %s", a, hook)
		}
	}

	wantAttached(t, false)
	t.Run("without revoke", func(t *testing.T) {
		p := cut
		p.Rules = []policy.Rule{cut.Rules[0]}
		p.Rules[0].Revoke = false
		apply(t, p)
		wantAttached(t, false)
		wantUsable(t, d, "forbidden")
	})
	t.Run("with revoke", func(t *testing.T) {
		apply(t, cut)
		wantAttached(t, true)
		for use, hook := range uses {
			if o := d.Do(use, "forbidden"); o.Errno != syscall.EPERM {
				t.Errorf("%s: %v, want EPERM", use, o)
				continue
			}
			wantAlert(t, hook, policy.Deny)
		}
		wantUsable(t, d, "other")
		wantUsable(t, bystander, "forbidden")
	})
	t.Run("an exception", func(t *testing.T) {
		everyone, but := cut, cut
		everyone.Subject = policy.Subject{Everyone: true}
		but.Name, but.Rules = "but", []policy.Rule{{Operation: policy.SocketConnect, Allow: cut.Rules[0].Deny}}
		apply(t, everyone, but)
		wantUsable(t, d, "forbidden")
		if o := bystander.Do("sendmsg", "forbidden"); o.Errno != syscall.EPERM {
			t.Errorf("bystander: %v, want EPERM", o)
		}
		wantAlert(t, "socket_sendmsg", policy.Deny)
	})
	t.Run("audit tells once", func(t *testing.T) {
		p := cut
		p.Mode = policy.ModeAudit
		apply(t, p)
		for use, hook := range uses {
			d.Passed(t, use, "forbidden")
			wantAlert(t, hook, policy.Audit)
		}
	})
	t.Run("who listens", func(t *testing.T) {
		const at = "127.0.0.1:4711"
		d.Passed(t, "listen", "listener", at)
		for range 2 {
			c, err := net.Dial("tcp4", at)
			guardtest.Check(t, err)
			t.Cleanup(func() { c.Close() })
		}
		d.Passed(t, "accept", "listener")
		p := cut
		p.Rules = []policy.Rule{{Operation: policy.SocketBind, Revoke: true, Deny: []policy.Pattern{policy.SocketPattern{All: true}}}}
		apply(t, p)
		if o := d.Do("accept", "listener"); o.Errno != syscall.EPERM {
			t.Errorf("accept: %v, want EPERM", o)
		}
		if a, ok := guardtest.NextOf[ebpfguard.Alert](t, g, alerts).(ebpfguard.SocketBindAlert); !ok || a.Hook != "socket_accept" || a.Port != 4711 || a.Address != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("alert %v", a)
		}
		wantUsable(t, d, "forbidden") // it has a peer, so no rule about binding concerns it
	})
	t.Run("kill", func(t *testing.T) {
		p := cut
		p.Rules = []policy.Rule{cut.Rules[0]}
		p.Rules[0].Verdict = policy.Kill
		apply(t, p)
		if o := second.Do("write-socket", "forbidden"); o.Errno != syscall.ESRCH {
			t.Errorf("%v, want it killed", o)
		}
		wantAlert(t, "file_permission", policy.Kill)
		wantUsable(t, bystander, "forbidden")
	})
	t.Run("no longer", func(t *testing.T) {
		apply(t)
		wantAttached(t, false)
		wantUsable(t, d, "forbidden")
	})
	g.Settle(t)
	if len(alerts) > 0 {
		t.Errorf("alerts that should not be: %v", <-alerts)
	}
}
