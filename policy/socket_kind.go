package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// socketKind is what socket_bind and socket_connect have in common.
type socketKind struct{}

// bindKind is for socket_bind, connectKind for socket_connect.
type (
	bindKind    struct{ socketKind }
	connectKind struct{ socketKind }
)

func (socketKind) everything() Pattern { return SocketPattern{All: true} }

func (socketKind) check(Pattern) error { return nil }

func (socketKind) keys() (names, kinds []string) {
	return []string{"addresses", "ports"}, []string{"protocols"}
}

func (socketKind) fields() ([]string, string) {
	return []string{"ports", "addresses", "addresses_from", "protocols"}, "ports: [...]"
}

func (socketKind) decode(d *decoder, set strictyaml.Fields) Pattern { return d.socketPattern(set) }

func (bindKind) judge(j judge, o Object) (judgement, bool) {
	s, ok := o.(Socket)
	if !ok || !s.valid() {
		return judgement{}, false
	}
	return j.dualStack(s.normal()), true
}

func (connectKind) judge(j judge, o Object) (judgement, bool) {
	s, ok := o.(Socket)
	if !ok || !s.valid() {
		return judgement{}, false
	}
	return j.literal(s.connected()), true
}

func (bindKind) notes(from, to Object) []string {
	return bindNotes(from.(Socket).normal(), to.(Socket))
}

func (connectKind) notes(from, to Object) []string {
	a, b := from.(Socket).normal().Address, to.(Socket).Address
	if a == b {
		return nil
	}
	return []string{fmt.Sprintf("connecting to %v reaches %v", a, b)}
}

func (socketKind) representatives(all []Pattern) []Object { return socketObjects(all) }

var (
	flagAddress   = &Flag{Name: "address", Usage: "socket: the local `address` to bind, the remote one to connect to", Default: "0.0.0.0"}
	flagPort      = &Flag{Name: "port", Usage: "socket: its `port`; to bind, 0, the default, is a port that the kernel chooses"}
	flagAutomatic = &Flag{Name: "automatic", Usage: "socket: the `ports` from which the kernel chooses", Default: DefaultAutomatic.String()}
	flagProtocol  = &Flag{Name: "protocol", Usage: "socket: its `protocol`: tcp, udp, udplite, sctp, dccp, icmp, raw or other", Default: TCP.String(),
		Words: []string{"tcp", "udp", "udplite", "sctp", "dccp", "icmp", "raw", "other"}}
	flagDualStack = &Flag{Name: "dual-stack", Usage: "socket: at :: it takes IPv4 as well", Form: FlagSwitch}
)

func (bindKind) flags() []*Flag {
	return []*Flag{flagAddress, flagPort, flagAutomatic, flagProtocol, flagDualStack}
}

func (connectKind) flags() []*Flag { return []*Flag{flagAddress, flagPort, flagProtocol} }

func (bindKind) object(d *Description) (Object, error) { return describedSocket(d) }

func (connectKind) object(d *Description) (Object, error) {
	if !d.has(flagAddress) {
		return nil, missing(flagAddress, SocketConnect, "192.0.2.1")
	}
	if protocol, err := parseAnyProtocol(d.text(flagProtocol)); err == nil && protocol.HasPorts() && !d.has(flagPort) {
		return nil, missing(flagPort, SocketConnect, "443")
	}
	return describedSocket(d)
}

func describedSocket(d *Description) (Object, error) {
	address, err := netip.ParseAddr(d.text(flagAddress))
	if err != nil {
		return nil, fmt.Errorf("--address %q is no address; write one such as 10.0.0.1 or ::1", d.text(flagAddress))
	}
	protocol, err := parseAnyProtocol(d.text(flagProtocol))
	if err != nil {
		return nil, invalid(flagProtocol, err)
	}
	if !protocol.HasPorts() {
		for _, flag := range []*Flag{flagPort, flagAutomatic} {
			if d.has(flag) {
				return nil, fmt.Errorf("--%s does not apply to %v, which has no ports; leave it out", flag.Name, protocol)
			}
		}
	}
	if address.Is4() && d.has(flagDualStack) {
		return nil, fmt.Errorf("--dual-stack does not apply to the IPv4 address %v; write --address :: or leave it out", address)
	}
	port, err := describedPort(d.text(flagPort))
	if err != nil {
		return nil, err
	}
	automatic, err := describedPorts(d.text(flagAutomatic))
	if err != nil {
		return nil, err
	}
	return Socket{Address: address, Port: port, Automatic: automatic, Protocol: protocol, DualStack: d.has(flagDualStack)}, nil
}

// parseAnyProtocol is [ParseProtocol] for an object, which may be of a protocol that
// no policy can name.
func parseAnyProtocol(name string) (Protocol, error) {
	if name == OtherProtocol.String() {
		return OtherProtocol, nil
	}
	return ParseProtocol(name)
}

// describedPort returns the port of --port, 0 if none is given.
func describedPort(text string) (uint16, error) {
	const remedy = "write a number from 0 to 65535"
	port, err := strconv.ParseUint(text, 10, 16)
	switch {
	case text == "":
		return 0, nil
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("--port %s is too large; %s", text, remedy)
	case err != nil:
		return 0, fmt.Errorf("--port %q is no port; %s", text, remedy)
	}
	return uint16(port), nil
}

func describedPorts(s string) (PortRange, error) {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		last = first
	}
	a, err1 := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || a == 0 || a > b {
		return PortRange{}, fmt.Errorf("--automatic %q is no range of ports; write one such as %v", s, DefaultAutomatic)
	}
	return PortRange{First: uint16(a), Last: uint16(b)}, nil
}

var (
	randomPorts    = []uint16{0, 1, 22, 23, 80, 40000, 40001, 40010, 65535}
	randomPrefixes = []string{
		"0.0.0.0/0", "0.0.0.0/32", "0.0.0.0/8", "127.0.0.0/8", "127.0.0.1/32", "127.0.0.0/31", "10.0.0.0/8", "10.1.0.0/16",
		"255.255.255.255/32", "128.0.0.0/1", "::/0", "::/128", "::1/128", "::/80", "2001:db8::/32", "2001:db8::/33", "8000::/1",
	}
	randomAddresses = []string{
		"0.0.0.0", "0.0.0.1", "127.0.0.1", "127.0.0.2", "10.0.0.1", "10.1.0.1",
		"::", "::1", "2001:db8::1", "2001:db8:8000::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0.0.0.0",
	}
)

func (socketKind) randomPattern(d Draws) Pattern {
	var p SocketPattern
	if d.IntN(2) == 0 {
		for range 1 + d.IntN(2) {
			a := choose(d, randomPorts...)
			b := choose(d, a, a, choose(d, randomPorts...))
			p.Ports = append(p.Ports, PortRange{First: min(a, b), Last: max(a, b)})
		}
	}
	if d.IntN(2) == 0 {
		for range 1 + d.IntN(2) {
			p.Addresses = append(p.Addresses, netip.MustParsePrefix(choose(d, randomPrefixes...)))
		}
	}
	if d.IntN(4) == 0 {
		p.Protocols = append(p.Protocols, choose(d, TCP, UDP))
	}
	p.All = p.Ports == nil && p.Addresses == nil && p.Protocols == nil
	return p
}

func (socketKind) randomObject(d Draws) Object {
	return Socket{
		Address:   netip.MustParseAddr(choose(d, randomAddresses...)),
		Port:      choose(d, randomPorts...),
		Protocol:  choose(d, TCP, UDP),
		Automatic: DefaultAutomatic,
		DualStack: d.IntN(2) == 0,
	}
}
