//go:build vm

package sockets

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// bindTest is one way to take an address: the rule forbids it, and without the
// rule, or with the bystander's port, it is done.
type bindTest struct {
	name     string
	feature  string // of the kernel that it needs
	action   guardtest.Action
	rule     ebpfguard.SocketPatterns
	refused  string // the step that fails; empty for what the rule does not concern
	protocol string
	hook     string
	address  netip.Addr // in the alert, if not that of the action
}

func prefix(s string) ebpfguard.SocketPatterns { return ebpfguard.Addresses(netip.MustParsePrefix(s)) }

func bindTests() []bindTest {
	const p = 2022
	port := ebpfguard.Ports(p)
	protocols := func(p ...policy.Protocol) ebpfguard.SocketPatterns {
		return ebpfguard.SocketPatterns{{Protocols: p}}
	}
	noBind := func(a *guardtest.Action) { a.NoBind, a.Listen, a.Port = true, true, 0 }
	return []bindTest{
		{name: "IPv4 TCP", action: guardtest.TCP(guardtest.Lo4, p), rule: port, refused: "bind", protocol: "tcp"},
		{name: "IPv4 TCP any address", action: guardtest.TCP(guardtest.Any4, p), rule: port, refused: "bind", protocol: "tcp"},
		{name: "IPv4 UDP", action: guardtest.Inet(guardtest.Lo4, p, unix.SOCK_DGRAM, 0), rule: port, refused: "bind", protocol: "udp"},
		{name: "IPv6 TCP", action: guardtest.TCP(guardtest.Lo6, p), rule: port, refused: "bind", protocol: "tcp"},
		{name: "IPv6 UDP", action: guardtest.Inet(guardtest.Lo6, p, unix.SOCK_DGRAM, 0), rule: port, refused: "bind", protocol: "udp"},
		{name: "v4-mapped TCP", action: guardtest.TCP(guardtest.Mapped4, p), rule: prefix("127.0.0.0/8"), refused: "bind", protocol: "tcp", address: guardtest.Lo4},
		{name: "v4-mapped UDP", action: guardtest.Inet(guardtest.Mapped4, p, unix.SOCK_DGRAM, 0), rule: prefix("127.0.0.1/32"), refused: "bind", protocol: "udp", address: guardtest.Lo4},
		{name: "UDP-Lite", action: guardtest.Inet(guardtest.Lo4, p, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE), feature: "udplite", rule: port, refused: "bind", protocol: "udplite"},
		{name: "MPTCP", action: guardtest.Inet(guardtest.Lo4, p, unix.SOCK_STREAM, unix.IPPROTO_MPTCP), feature: "mptcp", rule: port, refused: "bind", protocol: "mptcp"},
		{name: "MPTCP is TCP", action: guardtest.Inet(guardtest.Lo6, p, unix.SOCK_STREAM, unix.IPPROTO_MPTCP), feature: "mptcp", rule: protocols(policy.TCP), refused: "bind", protocol: "mptcp"},
		{name: "SCTP", action: guardtest.Inet(guardtest.Lo4, p, unix.SOCK_STREAM, unix.IPPROTO_SCTP), feature: "sctp", rule: port, refused: "bind", protocol: "sctp"},
		{name: "SCTP IPv4 on an IPv6 socket", action: guardtest.Inet(guardtest.Lo4, p, unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP).With(func(a *guardtest.Action) { a.Family = unix.AF_INET6 }),
			feature: "sctp", rule: prefix("127.0.0.0/8"), refused: "bind", protocol: "sctp"},
		{name: "SCTP bindx", action: guardtest.Inet(guardtest.Lo4, p, unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP).With(func(a *guardtest.Action) { a.Bindx = []netip.Addr{guardtest.Lo4} }),
			feature: "sctp", rule: port, refused: "bindx", protocol: "sctp", hook: "sctp_bind_connect"},
		{name: "SCTP bindx, last of mixed addresses", action: guardtest.Inet(guardtest.Lo4, p, unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP).With(func(a *guardtest.Action) {
			a.Family = unix.AF_INET6
			a.Bindx = []netip.Addr{guardtest.Lo6, netip.MustParseAddr("127.0.0.2"), guardtest.Lo4}
		}), feature: "sctp", rule: prefix("127.0.0.1/32"), refused: "bindx", protocol: "sctp", hook: "sctp_bind_connect"},
		{name: "SCTP bindx, port 0 means the port it has", action: guardtest.Inet(guardtest.Lo4, p, unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP).With(func(a *guardtest.Action) {
			a.Bindx, a.SamePort = []netip.Addr{netip.MustParseAddr("127.0.0.2"), guardtest.Lo4, netip.MustParseAddr("127.0.0.3")}, true
		}), feature: "sctp", rule: ebpfguard.SocketPatterns{{Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Ports: []policy.PortRange{{First: p, Last: p}}}},
			refused: "bindx", protocol: "sctp", hook: "sctp_bind_connect"},
		{name: "SMC", action: guardtest.TCP(guardtest.Lo4, p).With(func(a *guardtest.Action) { a.Family = unix.AF_SMC }), feature: "smc", rule: port, refused: "bind", protocol: "tcp"},
		{name: "SMC by protocol", action: guardtest.Inet(guardtest.Lo4, p, unix.SOCK_STREAM, 256), feature: "smc_protocol", rule: port, refused: "bind", protocol: "smc"},
		{name: "raw", action: guardtest.Inet(guardtest.Lo4, 0, unix.SOCK_RAW, unix.IPPROTO_TCP), rule: protocols(policy.Raw), refused: "bind", protocol: "raw"},
		{name: "raw has no port", action: guardtest.Inet(guardtest.Lo4, p, unix.SOCK_RAW, unix.IPPROTO_TCP), rule: port},
		{name: "raw IPv4 with another family", action: guardtest.Inet(guardtest.Lo4, 0, unix.SOCK_RAW, unix.IPPROTO_TCP).With(func(a *guardtest.Action) { a.SockFamily = unix.AF_INET6 }),
			rule: prefix("127.0.0.1/32"), refused: "bind", protocol: "raw"},
		{name: "AF_UNSPEC means IPv4", action: guardtest.TCP(guardtest.Any4, p).With(func(a *guardtest.Action) { a.SockFamily = -1 }), rule: port, refused: "bind", protocol: "tcp"},
		{name: "io_uring", action: guardtest.TCP(guardtest.Lo4, p).With(func(a *guardtest.Action) { a.Uring = true }), feature: "io_uring_bind", rule: port, refused: "bind", protocol: "tcp"},
		{name: "io_uring IPv6 UDP", action: guardtest.Inet(guardtest.Lo6, p, unix.SOCK_DGRAM, 0).With(func(a *guardtest.Action) { a.Uring = true }), feature: "io_uring_bind", rule: port, refused: "bind", protocol: "udp"},
		{name: "in a child", action: guardtest.TCP(guardtest.Lo4, p).With(func(a *guardtest.Action) { a.Fork = true }), rule: port, refused: "bind", protocol: "tcp"},

		{name: "any address takes each", action: guardtest.TCP(guardtest.Any4, p), rule: prefix("10.1.2.3/32"), refused: "bind", protocol: "tcp"},
		{name: "any IPv6 address takes IPv4", action: guardtest.TCP(guardtest.Any6, p), rule: prefix("10.1.2.3/32"), refused: "bind", protocol: "tcp"},
		{name: "any IPv6 address alone", action: guardtest.TCP(guardtest.Any6, p).With(func(a *guardtest.Action) { a.V6Only = true }), rule: prefix("10.1.2.3/32")},
		{name: "UDP may still become dual-stack", action: guardtest.Inet(guardtest.Any6, p, unix.SOCK_DGRAM, 0).With(func(a *guardtest.Action) { a.V6Only = true }),
			rule: prefix("10.1.2.3/32"), refused: "bind", protocol: "udp"},
		{name: "any IPv6 address takes each", action: guardtest.TCP(guardtest.Any6, p), rule: prefix("2001:db8::/32"), refused: "bind", protocol: "tcp"},

		{name: "port 0 named", action: guardtest.TCP(guardtest.Lo4, 0), rule: ebpfguard.Ports(0), refused: "bind", protocol: "tcp"},
		{name: "port 0 may become any of the automatic ones", action: guardtest.TCP(guardtest.Lo4, 0), rule: ebpfguard.PortRange(50000, 50001), refused: "bind", protocol: "tcp"},
		{name: "port 0 never becomes another", action: guardtest.TCP(guardtest.Lo4, 0), rule: port},
		{name: "listen without bind", action: guardtest.TCP(guardtest.Lo4, 0).With(noBind), rule: ebpfguard.Ports(0), refused: "listen", protocol: "tcp", hook: "socket_listen", address: guardtest.Any4},
		{name: "listen without bind IPv6", action: guardtest.TCP(guardtest.Lo6, 0).With(noBind), rule: ebpfguard.Ports(50000), refused: "listen", protocol: "tcp", hook: "socket_listen", address: guardtest.Any6},
		{name: "listen without bind MPTCP", action: guardtest.Inet(guardtest.Lo4, 0, unix.SOCK_STREAM, unix.IPPROTO_MPTCP).With(noBind), feature: "mptcp", rule: ebpfguard.AllPorts(),
			refused: "listen", protocol: "mptcp", hook: "socket_listen", address: guardtest.Any4},
		{name: "listen without bind SCTP", action: guardtest.Inet(guardtest.Lo4, 0, unix.SOCK_STREAM, unix.IPPROTO_SCTP).With(noBind), feature: "sctp", rule: ebpfguard.AllPorts(),
			refused: "listen", protocol: "sctp", hook: "socket_listen", address: guardtest.Any4},
		{name: "listen after bind", action: guardtest.TCP(guardtest.Lo4, p+1).With(func(a *guardtest.Action) { a.Listen = true }), rule: port},
	}
}

// TestSocketBind refuses every way to take a port and lets bystanders be.
func TestSocketBind(t *testing.T) {
	g := guardtest.Shared(t)
	self := guardtest.StartActor(t, "/proc/self/exe")
	program, err := os.Readlink("/proc/self/exe")
	guardtest.Check(t, err)
	for _, test := range bindTests() {
		t.Run(test.name, func(t *testing.T) {
			if test.feature != "" {
				vmtest.Require(t, test.feature)
			}
			if r := self.Do(test.action); r.Errno != 0 {
				t.Fatalf("without a policy: %v", r)
			}
			g.Add(t, ebpfguard.SocketBind{Name: "test", Subject: ebpfguard.Everyone(), Allow: ebpfguard.AllPorts(), Deny: test.rule, Message: "not here", Tags: []string{"a"}})
			r := self.Do(test.action)
			if test.refused == "" {
				if r.Errno != 0 {
					t.Errorf("what the rule does not concern: %v", r)
				}
				g.Quiet(t)
				return
			}
			if !r.Refused() || !strings.HasPrefix(r.Step, test.refused) {
				t.Fatalf("got %v, want EPERM from %s", r, test.refused)
			}
			// The bystander: another port, or for rules without ports
			// another address.
			bystander := guardtest.TCP(netip.MustParseAddr("10.9.8.7"), 2023)
			switch {
			case test.rule[0].All || test.rule[0].Protocols != nil && test.rule[0].Protocols[0] == policy.TCP:
				bystander = guardtest.Action{Family: unix.AF_UNIX, Type: unix.SOCK_STREAM, NoBind: true}
			case test.rule[0].Protocols != nil:
				bystander = guardtest.TCP(guardtest.Lo4, 2023)
			}
			if r := self.Do(bystander); r.Errno != 0 {
				t.Errorf("bystander: %v", r)
			}

			alert := g.Next(t)
			address := test.action.Address.Unmap()
			if test.address.IsValid() {
				address = test.address
			}
			hook := test.hook
			if hook == "" {
				hook = "socket_bind"
			}
			port := test.action.Port
			if alert.Address != address || alert.Port != port || alert.Protocol != test.protocol || alert.Hook != hook {
				t.Errorf("alert about %v port %d %s by %s, want %v %d %s by %s", alert.Address, alert.Port, alert.Protocol, alert.Hook, address, port, test.protocol, hook)
			}
			if alert.Verdict != policy.Deny || alert.Policy != "test" || alert.Rule != 0 || alert.Message != "not here" || alert.Undecided {
				t.Errorf("alert %+v", alert)
			}
			if alert.Binary != program || alert.UID != 0 || alert.Operation != policy.SocketBind {
				t.Errorf("alert by %q uid %d about %s", alert.Binary, alert.UID, alert.Operation)
			}
			if !test.action.Fork && alert.PID != uint32(self.Command.Process.Pid) {
				t.Errorf("alert by pid %d, not %d", alert.PID, self.Command.Process.Pid)
			}
			g.Quiet(t)
			guardtest.Check(t, g.Bind.RemovePolicy("test"))
			if r := self.Do(test.action); r.Errno != 0 {
				t.Errorf("after the policy was removed: %v", r)
			}
		})
	}
}

// TestListenAfterPolicy judges a socket that was bound before the policy came.
func TestListenAfterPolicy(t *testing.T) {
	g := guardtest.Shared(t)
	a := guardtest.StartActor(t, "/proc/self/exe")
	for name, test := range map[string]struct {
		what    guardtest.Action
		address netip.Addr
	}{
		"IPv4":                  {guardtest.TCP(guardtest.Lo4, 2022), guardtest.Lo4},
		"IPv6":                  {guardtest.TCP(guardtest.Lo6, 2022), guardtest.Lo6},
		"v4-mapped":             {guardtest.TCP(guardtest.Mapped4, 2022), guardtest.Lo4},
		"a port that it chose":  {guardtest.TCP(guardtest.Lo4, 0), guardtest.Lo4},
		"any address, both":     {guardtest.TCP(guardtest.Any6, 2022), guardtest.Any6},
		"any address, the port": {guardtest.TCP(guardtest.Any4, 0), guardtest.Any4},
	} {
		t.Run(name, func(t *testing.T) {
			for _, port := range []int{0, 1} { // the port itself, and the bystander next to it
				r := a.Do(test.what.With(func(a *guardtest.Action) { a.Hold = true }))
				if r.Errno != 0 || r.Port == 0 {
					t.Fatal(r)
				}
				rule := ebpfguard.Ports(r.Port + uint16(port))
				guardtest.Check(t, g.Bind.AddPolicy(ebpfguard.SocketBind{Name: "test", Subject: ebpfguard.Everyone(), Deny: rule}))
				listened := a.Do(guardtest.Action{ListenHeld: true})
				if listened.Refused() != (port == 0) {
					t.Errorf("bound to %d before a policy on %v: %v", r.Port, rule[0], listened)
				}
				if port == 0 {
					if alert := g.Next(t); alert.Hook != "socket_listen" || alert.Port != r.Port || alert.Address != test.address {
						t.Errorf("alert %v by %s", alert, alert.Hook)
					}
				}
				guardtest.Check(t, g.Bind.RemovePolicy("test"))
			}
			g.Quiet(t)
		})
	}
}

// TestSocketBindAgain asks again and again about what differs little from what was
// allowed just before, since the last answer is kept; and about the ports that the
// kernel chooses from, which change meanwhile. What no rule concerns is not counted.
func TestSocketBindAgain(t *testing.T) {
	g := guardtest.Shared(t)
	a := guardtest.StartActor(t, "/proc/self/exe")
	g.Add(t, ebpfguard.SocketBind{Name: "test", Subject: ebpfguard.Everyone(), Deny: ebpfguard.SocketPatterns{
		{Protocols: []policy.Protocol{policy.UDP}, Ports: []policy.PortRange{{First: 2022, Last: 2022}}},
		{Addresses: []netip.Prefix{netip.MustParsePrefix("::1/128")}, Ports: []policy.PortRange{{First: 2023, Last: 2023}}},
		{Ports: []policy.PortRange{{First: 50000, Last: 50001}}},
	}})
	const ports = "/proc/sys/net/ipv4/ip_local_port_range"
	before, err := os.ReadFile(ports)
	guardtest.Check(t, err)
	t.Cleanup(func() { os.WriteFile(ports, before, 0) })
	counted, err := g.Stats(policy.SocketBind)
	guardtest.Check(t, err)
	denied := counted.Denied
	for range 20 {
		for _, step := range []struct {
			what   guardtest.Action
			denied bool
			ports  string // to choose from
		}{
			{guardtest.TCP(guardtest.Lo4, 2022), false, ""},
			{guardtest.TCP(guardtest.Lo4, 2022), false, ""},
			{guardtest.Inet(guardtest.Lo4, 2022, unix.SOCK_DGRAM, 0), true, ""},
			{guardtest.TCP(guardtest.Mapped4, 2022), false, ""},
			{guardtest.TCP(guardtest.Lo4, 2023), false, ""},
			{guardtest.TCP(guardtest.Lo6, 2023), true, ""},
			{guardtest.TCP(netip.MustParseAddr("::"), 2024), false, ""},
			{guardtest.TCP(guardtest.Lo6, 2024), false, ""},
			{guardtest.TCP(guardtest.Lo4, 0), false, "40000 40100"},
			{guardtest.TCP(guardtest.Lo4, 0), true, "49000 50000"},
			{guardtest.TCP(guardtest.Lo4, 0), false, "40000 40100"},
			{guardtest.Inet(guardtest.Lo4, 0, unix.SOCK_RAW, unix.IPPROTO_TCP), false, "49000 50000"},
			{guardtest.TCP(guardtest.Lo4, 0), true, ""},
		} {
			if step.ports != "" {
				guardtest.Check(t, os.WriteFile(ports, []byte(step.ports), 0))
			}
			if r := a.Do(step.what); r.Refused() != step.denied || !step.denied && r.Errno != 0 {
				t.Fatalf("%+v: %v, denied should be %v", step.what, r, step.denied)
			}
			if step.denied {
				denied++
				if alert := g.Next(t); alert.Policy != "test" || alert.Address != step.what.Address || alert.Verdict != policy.Deny {
					t.Errorf("%+v: alert %v", step.what, alert)
				}
			}
		}
	}
	after, err := g.Stats(policy.SocketBind)
	guardtest.Check(t, err)
	if after.Denied != denied || after.Allowed != counted.Allowed {
		t.Errorf("counted %+v, before %+v: want %d denied and no more allowed", after, counted, denied)
	}
}
