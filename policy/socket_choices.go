package policy

import (
	"fmt"
	"net/netip"
	"slices"
)

// normal returns the socket with a v4-mapped address as IPv4, without a zone,
// without a port where the protocol has none and with the range of automatic
// ports filled in.
func (s Socket) normal() Socket {
	s.Address = s.Address.Unmap().WithZone("")
	if !s.Protocol.HasPorts() {
		s.Port = 0
	}
	if s.Automatic == (PortRange{}) {
		s.Automatic = DefaultAutomatic
	}
	if s.Automatic.First > s.Automatic.Last {
		// Nobody knows which port it will be.
		s.Automatic = PortRange{First: 1, Last: 65535}
	}
	s.DualStack = s.DualStack && s.Address == netip.IPv6Unspecified()
	return s
}

// connected returns the socket as socket_connect judges it: what connects to the
// unspecified address reaches this host, by the loopback address unless the socket
// is bound to another (net/ipv4/route.c, ip_route_output_key_hash_rcu;
// net/ipv6/tcp_ipv6.c, tcp_v6_connect).
func (s Socket) connected() Socket {
	s = s.normal()
	s.DualStack = false
	switch s.Address {
	case netip.IPv4Unspecified():
		s.Address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case netip.IPv6Unspecified():
		s.Address = netip.IPv6Loopback()
	}
	return s
}

// openObject is an [Object] with values that the kernel may still choose.
type openObject interface {
	// named reports whether a match of that specificity names port 0, and
	// whether it names the unspecified address.
	named(Specificity) (port, address bool)
}

func (s Socket) named(by Specificity) (port, address bool) {
	return s.namesPort(by), s.namesAddress(by)
}

// namesPort reports whether a match of that specificity names port 0.
func (s Socket) namesPort(by Specificity) bool {
	return s.Port == 0 && by[portKey] == PortSpecificity(PortRange{})
}

// namesAddress reports whether a match of that specificity names the unspecified
// address.
func (s Socket) namesAddress(by Specificity) bool {
	a := s.Address
	return a.IsUnspecified() && by[addressKey] == AddressSpecificity(netip.PrefixFrom(a, a.BitLen()))
}

// dualStack judges an IPv6 socket that takes IPv4 as well for both.
func (j judge) dualStack(s Socket) judgement {
	result := j.port(s)
	if s.DualStack {
		s.Address = netip.IPv4Unspecified()
		result = stricter(result, j.port(s))
	}
	return result
}

// port judges port 0 for every port that the kernel may choose. A delegated policy that names it cannot say which
// ports the others' denials are about: then all of them count, whichever the kernel may choose. It may be one that
// concerns an unknown process.
func (j judge) port(s Socket) judgement {
	result := j.address(s)
	if s.Port != 0 || !s.Protocol.HasPorts() {
		return result
	}
	named := result.NamesPort
	if others, ok := j.others(); ok && (named || j.unknown) {
		all := s
		all.Automatic = PortRange{First: 1, Last: 65535}
		result = result.with(others.port(all))
	}
	if named {
		return result
	}
	for _, port := range portRepresentatives(j.patterns(), s.Automatic) {
		s.Port = port
		result = stricter(result, j.address(s))
	}
	return result
}

// address judges the unspecified address for every address of its family. What it names is what the rules name among
// which delegated ones are.
func (j judge) address(s Socket) judgement {
	result := j.eachAddress(s)
	if others, ok := j.others(); ok {
		named := result.NamesPort
		result = result.with(others.eachAddress(s))
		result.NamesPort = named
	}
	return result
}

func (j judge) eachAddress(s Socket) judgement {
	result := j.alone(s)
	if !s.Address.IsUnspecified() || result.NamesAddress {
		return result
	}
	for _, a := range addressRepresentatives(j.patterns(), s.Address.Is4()) {
		s.Address = a
		result = stricter(result, j.alone(s))
	}
	return result
}

// addressRepresentatives returns addresses of the family such that each
// address of the family that is not v4-mapped is selected by exactly the same
// prefixes as one of them.
func addressRepresentatives(patterns []Pattern, v4 bool) []netip.Addr {
	first := netip.IPv6Unspecified()
	// Between the prefixes at their ends, v4-mapped addresses can make up a
	// class of their own, which no socket has; it is skipped below.
	afterMapped := netip.MustParseAddr("0:0:0:0:1::")
	reps := []netip.Addr{first, afterMapped}
	if v4 {
		first = netip.IPv4Unspecified()
		reps = []netip.Addr{first}
	}
	for _, pattern := range patterns {
		p, ok := pattern.(SocketPattern)
		if !ok {
			continue
		}
		p.eachPrefix(func(prefix netip.Prefix) {
			if !prefix.IsValid() || prefix.Addr().Is4() != v4 {
				return
			}
			reps = append(reps, prefix.Masked().Addr())
			if next := lastAddress(prefix).Next(); next.IsValid() {
				reps = append(reps, next)
			}
		})
	}
	reps = slices.DeleteFunc(reps, netip.Addr.Is4In6)
	slices.SortFunc(reps, netip.Addr.Compare)
	return slices.Compact(reps)
}

// lastAddress returns the last address of a prefix.
func lastAddress(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(bytes); bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}

// portRepresentatives returns ports of the range such that each port of the
// range is selected by exactly the same port ranges as one of them.
func portRepresentatives(patterns []Pattern, within PortRange) []uint16 {
	reps := []uint16{within.First}
	for _, pattern := range patterns {
		p, ok := pattern.(SocketPattern)
		if !ok {
			continue
		}
		for _, r := range p.Ports {
			if within.Contains(r.First) {
				reps = append(reps, r.First)
			}
			if r.Last < 65535 && within.Contains(r.Last+1) {
				reps = append(reps, r.Last+1)
			}
		}
	}
	slices.Sort(reps)
	return slices.Compact(reps)
}

// protocolRepresentatives returns protocols such that each one is selected by
// exactly the same patterns as one of them.
func protocolRepresentatives(patterns []Pattern) []Protocol {
	named := make(map[Protocol]bool)
	for _, pattern := range patterns {
		if p, ok := pattern.(SocketPattern); ok {
			for _, protocol := range p.Protocols {
				named[protocol] = true
			}
		}
	}
	// No pattern names OtherProtocol, which stands for all without ports.
	reps := []Protocol{OtherProtocol}
	unnamed := false
	for _, known := range protocols {
		switch {
		case named[known.protocol]:
			reps = append(reps, known.protocol)
		case known.ports && !unnamed:
			reps = append(reps, known.protocol)
			unnamed = true
		}
	}
	return reps
}

// bindNotes tells which of the values that the kernel may choose decided.
func bindNotes(from, to Socket) []string {
	var notes []string
	if from.DualStack && to.Address.Is4() {
		notes = append(notes, "the socket takes IPv4 as well")
		if !to.Address.IsUnspecified() {
			notes = append(notes, fmt.Sprintf("address 0.0.0.0 stands for every IPv4 address, also %v", to.Address))
		}
	} else if from.Address != to.Address {
		notes = append(notes, fmt.Sprintf("address %v stands for every address of its family, also %v", from.Address, to.Address))
	}
	if from.Port != to.Port {
		notes = append(notes, fmt.Sprintf("port %d may become %d", from.Port, to.Port))
	}
	return notes
}

func socketObjects(all []Pattern) []Object {
	listed := 0
	for _, pattern := range all {
		if p, ok := pattern.(SocketPattern); ok {
			listed += len(p.Listed)
		}
	}
	if listed > maxObjects {
		return nil
	}
	addresses := append(addressRepresentatives(all, true), addressRepresentatives(all, false)...)
	// The first addresses stand for themselves and for those after them.
	addresses = append(addresses, netip.IPv4Unspecified().Next(), netip.IPv6Unspecified().Next())
	ports := append(portRepresentatives(all, PortRange{1, 65535}), 0)
	protocols := protocolRepresentatives(all)
	if len(addresses)*len(ports)*len(protocols) > maxObjects {
		return nil
	}
	return product(len(addresses), func(i int) []Object {
		var sockets []Object
		for _, protocol := range protocols {
			for _, port := range ports {
				if port == 0 || protocol.HasPorts() {
					sockets = append(sockets, Socket{Address: addresses[i], Port: port, Protocol: protocol})
				}
			}
		}
		return sockets
	})
}
