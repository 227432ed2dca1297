//go:build vm

package ebpfguard_test

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
)

var (
	any4  = netip.IPv4Unspecified()
	any6  = netip.IPv6Unspecified()
	lo4   = netip.MustParseAddr("127.0.0.1")
	lo6   = netip.IPv6Loopback()
	lo4in = netip.MustParseAddr("::ffff:127.0.0.1")
)

// bindTest is one way to take an address: the rule forbids it, and without the
// rule, or with the bystander's port, it is done.
type bindTest struct {
	name     string
	feature  string // of the kernel that it needs
	action   action
	rule     ebpfguard.SocketPatterns
	refused  string // the step that fails; empty for what the rule does not concern
	protocol string
	hook     string
	address  netip.Addr // in the alert, if not that of the action
}

func tcp(address netip.Addr, port uint16) action {
	return inet(address, port, unix.SOCK_STREAM, 0)
}

func inet(address netip.Addr, port uint16, kind, protocol int) action {
	a := action{Family: unix.AF_INET, Type: kind, Protocol: protocol, Address: address, Port: port}
	if address.Is6() {
		a.Family = unix.AF_INET6
	}
	return a
}

func (a action) with(change func(*action)) action {
	change(&a)
	return a
}

func prefix(s string) ebpfguard.SocketPatterns { return ebpfguard.Addresses(netip.MustParsePrefix(s)) }

func bindTests() []bindTest {
	const p = 2022
	port := ebpfguard.Ports(p)
	protocols := func(p ...policy.Protocol) ebpfguard.SocketPatterns {
		return ebpfguard.SocketPatterns{{Protocols: p}}
	}
	noBind := func(a *action) { a.NoBind, a.Listen, a.Port = true, true, 0 }
	return []bindTest{
		{name: "IPv4 TCP", action: tcp(lo4, p), rule: port, refused: "bind", protocol: "tcp"},
		{name: "IPv4 TCP any address", action: tcp(any4, p), rule: port, refused: "bind", protocol: "tcp"},
		{name: "IPv4 UDP", action: inet(lo4, p, unix.SOCK_DGRAM, 0), rule: port, refused: "bind", protocol: "udp"},
		{name: "IPv6 TCP", action: tcp(lo6, p), rule: port, refused: "bind", protocol: "tcp"},
		{name: "IPv6 UDP", action: inet(lo6, p, unix.SOCK_DGRAM, 0), rule: port, refused: "bind", protocol: "udp"},
		{name: "v4-mapped TCP", action: tcp(lo4in, p), rule: prefix("127.0.0.0/8"), refused: "bind", protocol: "tcp", address: lo4},
		{name: "v4-mapped UDP", action: inet(lo4in, p, unix.SOCK_DGRAM, 0), rule: prefix("127.0.0.1/32"), refused: "bind", protocol: "udp", address: lo4},
		{name: "UDP-Lite", action: inet(lo4, p, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE), feature: "udplite", rule: port, refused: "bind", protocol: "udplite"},
		{name: "MPTCP", action: inet(lo4, p, unix.SOCK_STREAM, unix.IPPROTO_MPTCP), feature: "mptcp", rule: port, refused: "bind", protocol: "mptcp"},
		{name: "MPTCP is TCP", action: inet(lo6, p, unix.SOCK_STREAM, unix.IPPROTO_MPTCP), feature: "mptcp", rule: protocols(policy.TCP), refused: "bind", protocol: "mptcp"},
		{name: "SCTP", action: inet(lo4, p, unix.SOCK_STREAM, unix.IPPROTO_SCTP), feature: "sctp", rule: port, refused: "bind", protocol: "sctp"},
		{name: "SCTP IPv4 on an IPv6 socket", action: inet(lo4, p, unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP).with(func(a *action) { a.Family = unix.AF_INET6 }),
			feature: "sctp", rule: prefix("127.0.0.0/8"), refused: "bind", protocol: "sctp"},
		{name: "SCTP bindx", action: inet(lo4, p, unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP).with(func(a *action) { a.Bindx = []netip.Addr{lo4} }),
			feature: "sctp", rule: port, refused: "bindx", protocol: "sctp", hook: "sctp_bind_connect"},
		{name: "SCTP bindx, last of mixed addresses", action: inet(lo4, p, unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP).with(func(a *action) {
			a.Family = unix.AF_INET6
			a.Bindx = []netip.Addr{lo6, netip.MustParseAddr("127.0.0.2"), lo4}
		}), feature: "sctp", rule: prefix("127.0.0.1/32"), refused: "bindx", protocol: "sctp", hook: "sctp_bind_connect"},
		{name: "SCTP bindx, port 0 means the port it has", action: inet(lo4, p, unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP).with(func(a *action) {
			a.Bindx, a.SamePort = []netip.Addr{netip.MustParseAddr("127.0.0.2"), lo4, netip.MustParseAddr("127.0.0.3")}, true
		}), feature: "sctp", rule: ebpfguard.SocketPatterns{{Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Ports: []policy.PortRange{{First: p, Last: p}}}},
			refused: "bindx", protocol: "sctp", hook: "sctp_bind_connect"},
		{name: "SMC", action: tcp(lo4, p).with(func(a *action) { a.Family = unix.AF_SMC }), feature: "smc", rule: port, refused: "bind", protocol: "tcp"},
		{name: "SMC by protocol", action: inet(lo4, p, unix.SOCK_STREAM, 256), feature: "smc_protocol", rule: port, refused: "bind", protocol: "smc"},
		{name: "raw", action: inet(lo4, 0, unix.SOCK_RAW, unix.IPPROTO_TCP), rule: protocols(policy.Raw), refused: "bind", protocol: "raw"},
		{name: "raw has no port", action: inet(lo4, p, unix.SOCK_RAW, unix.IPPROTO_TCP), rule: port},
		{name: "raw IPv4 with another family", action: inet(lo4, 0, unix.SOCK_RAW, unix.IPPROTO_TCP).with(func(a *action) { a.SockFamily = unix.AF_INET6 }),
			rule: prefix("127.0.0.1/32"), refused: "bind", protocol: "raw"},
		{name: "AF_UNSPEC means IPv4", action: tcp(any4, p).with(func(a *action) { a.SockFamily = -1 }), rule: port, refused: "bind", protocol: "tcp"},
		{name: "io_uring", action: tcp(lo4, p).with(func(a *action) { a.Uring = true }), feature: "io_uring_bind", rule: port, refused: "bind", protocol: "tcp"},
		{name: "io_uring IPv6 UDP", action: inet(lo6, p, unix.SOCK_DGRAM, 0).with(func(a *action) { a.Uring = true }), feature: "io_uring_bind", rule: port, refused: "bind", protocol: "udp"},
		{name: "in a child", action: tcp(lo4, p).with(func(a *action) { a.Fork = true }), rule: port, refused: "bind", protocol: "tcp"},

		{name: "any address takes each", action: tcp(any4, p), rule: prefix("10.1.2.3/32"), refused: "bind", protocol: "tcp"},
		{name: "any IPv6 address takes IPv4", action: tcp(any6, p), rule: prefix("10.1.2.3/32"), refused: "bind", protocol: "tcp"},
		{name: "any IPv6 address alone", action: tcp(any6, p).with(func(a *action) { a.V6Only = true }), rule: prefix("10.1.2.3/32")},
		{name: "UDP may still become dual-stack", action: inet(any6, p, unix.SOCK_DGRAM, 0).with(func(a *action) { a.V6Only = true }),
			rule: prefix("10.1.2.3/32"), refused: "bind", protocol: "udp"},
		{name: "any IPv6 address takes each", action: tcp(any6, p), rule: prefix("2001:db8::/32"), refused: "bind", protocol: "tcp"},

		{name: "port 0 named", action: tcp(lo4, 0), rule: ebpfguard.Ports(0), refused: "bind", protocol: "tcp"},
		{name: "port 0 may become any of the automatic ones", action: tcp(lo4, 0), rule: ebpfguard.PortRange(50000, 50001), refused: "bind", protocol: "tcp"},
		{name: "port 0 never becomes another", action: tcp(lo4, 0), rule: port},
		{name: "listen without bind", action: tcp(lo4, 0).with(noBind), rule: ebpfguard.Ports(0), refused: "listen", protocol: "tcp", hook: "socket_listen", address: any4},
		{name: "listen without bind IPv6", action: tcp(lo6, 0).with(noBind), rule: ebpfguard.Ports(50000), refused: "listen", protocol: "tcp", hook: "socket_listen", address: any6},
		{name: "listen without bind MPTCP", action: inet(lo4, 0, unix.SOCK_STREAM, unix.IPPROTO_MPTCP).with(noBind), feature: "mptcp", rule: ebpfguard.AllPorts(),
			refused: "listen", protocol: "mptcp", hook: "socket_listen", address: any4},
		{name: "listen without bind SCTP", action: inet(lo4, 0, unix.SOCK_STREAM, unix.IPPROTO_SCTP).with(noBind), feature: "sctp", rule: ebpfguard.AllPorts(),
			refused: "listen", protocol: "sctp", hook: "socket_listen", address: any4},
		{name: "listen after bind", action: tcp(lo4, p+1).with(func(a *action) { a.Listen = true }), rule: port},
	}
}

// TestSocketBind refuses every way to take a port and lets bystanders be.
func TestSocketBind(t *testing.T) {
	g := sharedGuard(t)
	self := startActor(t, "/proc/self/exe")
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range bindTests() {
		t.Run(test.name, func(t *testing.T) {
			if test.feature != "" {
				vmtest.Require(t, test.feature)
			}
			if r := self.do(test.action); r.Errno != 0 {
				t.Fatalf("without a policy: %v", r)
			}
			g.add(t, ebpfguard.SocketBind{Name: "test", Subject: ebpfguard.Everyone(), Allow: ebpfguard.AllPorts(), Deny: test.rule, Message: "not here", Tags: []string{"a"}})
			r := self.do(test.action)
			if test.refused == "" {
				if r.Errno != 0 {
					t.Errorf("what the rule does not concern: %v", r)
				}
				g.quiet(t)
				return
			}
			if !r.denied() || !strings.HasPrefix(r.Step, test.refused) {
				t.Fatalf("got %v, want EPERM from %s", r, test.refused)
			}
			// The bystander: another port, or for rules without ports
			// another address.
			bystander := tcp(netip.MustParseAddr("10.9.8.7"), 2023)
			switch {
			case test.rule[0].All || test.rule[0].Protocols != nil && test.rule[0].Protocols[0] == policy.TCP:
				bystander = action{Family: unix.AF_UNIX, Type: unix.SOCK_STREAM, NoBind: true}
			case test.rule[0].Protocols != nil:
				bystander = tcp(lo4, 2023)
			}
			if r := self.do(bystander); r.Errno != 0 {
				t.Errorf("bystander: %v", r)
			}

			alert := g.next(t)
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
			if !test.action.Fork && alert.PID != uint32(self.command.Process.Pid) {
				t.Errorf("alert by pid %d, not %d", alert.PID, self.command.Process.Pid)
			}
			g.quiet(t)
			if err := g.bind.RemovePolicy("test"); err != nil {
				t.Fatal(err)
			}
			if r := self.do(test.action); r.Errno != 0 {
				t.Errorf("after the policy was removed: %v", r)
			}
		})
	}
}

// TestListenAfterPolicy judges a socket that was bound before the policy came.
func TestListenAfterPolicy(t *testing.T) {
	g := sharedGuard(t)
	a := startActor(t, "/proc/self/exe")
	for name, test := range map[string]struct {
		what    action
		address netip.Addr
	}{
		"IPv4":                  {tcp(lo4, 2022), lo4},
		"IPv6":                  {tcp(lo6, 2022), lo6},
		"v4-mapped":             {tcp(lo4in, 2022), lo4},
		"a port that it chose":  {tcp(lo4, 0), lo4},
		"any address, both":     {tcp(any6, 2022), any6},
		"any address, the port": {tcp(any4, 0), any4},
	} {
		t.Run(name, func(t *testing.T) {
			for _, port := range []int{0, 1} { // the port itself, and the bystander next to it
				r := a.do(test.what.with(func(a *action) { a.Hold = true }))
				if r.Errno != 0 || r.Port == 0 {
					t.Fatal(r)
				}
				rule := ebpfguard.Ports(r.Port + uint16(port))
				if err := g.bind.AddPolicy(ebpfguard.SocketBind{Name: "test", Subject: ebpfguard.Everyone(), Deny: rule}); err != nil {
					t.Fatal(err)
				}
				listened := a.do(action{ListenHeld: true})
				if listened.denied() != (port == 0) {
					t.Errorf("bound to %d before a policy on %v: %v", r.Port, rule[0], listened)
				}
				if port == 0 {
					if alert := g.next(t); alert.Hook != "socket_listen" || alert.Port != r.Port || alert.Address != test.address {
						t.Errorf("alert %v by %s", alert, alert.Hook)
					}
				}
				if err := g.bind.RemovePolicy("test"); err != nil {
					t.Fatal(err)
				}
			}
			g.quiet(t)
		})
	}
}

// TestSocketBindAgain asks again and again about what differs little from what was
// allowed just before, since the last answer is kept; and about the ports that the
// kernel chooses from, which change meanwhile. What no rule concerns is not counted.
func TestSocketBindAgain(t *testing.T) {
	g := sharedGuard(t)
	a := startActor(t, "/proc/self/exe")
	g.add(t, ebpfguard.SocketBind{Name: "test", Subject: ebpfguard.Everyone(), Deny: ebpfguard.SocketPatterns{
		{Protocols: []policy.Protocol{policy.UDP}, Ports: []policy.PortRange{{First: 2022, Last: 2022}}},
		{Addresses: []netip.Prefix{netip.MustParsePrefix("::1/128")}, Ports: []policy.PortRange{{First: 2023, Last: 2023}}},
		{Ports: []policy.PortRange{{First: 50000, Last: 50001}}},
	}})
	const ports = "/proc/sys/net/ipv4/ip_local_port_range"
	before, err := os.ReadFile(ports)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(ports, before, 0) })
	counted, err := g.Stats(policy.SocketBind)
	if err != nil {
		t.Fatal(err)
	}
	denied := counted.Denied
	for range 20 {
		for _, step := range []struct {
			what   action
			denied bool
			ports  string // to choose from
		}{
			{tcp(lo4, 2022), false, ""},
			{tcp(lo4, 2022), false, ""},
			{inet(lo4, 2022, unix.SOCK_DGRAM, 0), true, ""},
			{tcp(lo4in, 2022), false, ""},
			{tcp(lo4, 2023), false, ""},
			{tcp(lo6, 2023), true, ""},
			{tcp(netip.MustParseAddr("::"), 2024), false, ""},
			{tcp(lo6, 2024), false, ""},
			{tcp(lo4, 0), false, "40000 40100"},
			{tcp(lo4, 0), true, "49000 50000"},
			{tcp(lo4, 0), false, "40000 40100"},
			{inet(lo4, 0, unix.SOCK_RAW, unix.IPPROTO_TCP), false, "49000 50000"},
			{tcp(lo4, 0), true, ""},
		} {
			if step.ports != "" {
				if err := os.WriteFile(ports, []byte(step.ports), 0); err != nil {
					t.Fatal(err)
				}
			}
			if r := a.do(step.what); r.denied() != step.denied || !step.denied && r.Errno != 0 {
				t.Fatalf("%+v: %v, denied should be %v", step.what, r, step.denied)
			}
			if step.denied {
				denied++
				g.next(t)
			}
		}
	}
	after, err := g.Stats(policy.SocketBind)
	if err != nil {
		t.Fatal(err)
	}
	if after.Denied != denied || after.Allowed != counted.Allowed {
		t.Errorf("counted %+v, before %+v: want %d denied and no more allowed", after, counted, denied)
	}
}
