package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// matches reports whether the pattern selects the socket, taking address and
// port literally: the unspecified address and port 0 are values like others
// here, [Decide] gives them their meaning.
func (p SocketPattern) matches(o Object) (Specificity, certainty) {
	var s Specificity
	socket, ok := o.(Socket)
	if !ok {
		return s, no
	}
	if p.All {
		return s, yes
	}
	if p.namesAddresses() {
		s[addressKey] = p.matchAddress(socket.Address)
		if s[addressKey] == 0 {
			return s, no
		}
	}
	if len(p.Ports) > 0 {
		if !socket.Protocol.HasPorts() {
			return s, no
		}
		for _, r := range p.Ports {
			if r.Contains(socket.Port) {
				s[portKey] = max(s[portKey], PortSpecificity(r))
			}
		}
		if s[portKey] == 0 {
			return s, no
		}
	}
	if len(p.Protocols) > 0 {
		if !slices.Contains(p.Protocols, socket.Protocol) {
			return s, no
		}
		s[protocolKey] = 1
	}
	return s, yes
}

// namesAddresses reports whether the pattern names addresses, be it none of them.
func (p SocketPattern) namesAddresses() bool {
	return len(p.Addresses) > 0 || len(p.AddressesFrom) > 0 || len(p.Listed) > 0
}

// matchAddress returns the specificity of the longest prefix that contains the
// address, 0 if none does.
func (p SocketPattern) matchAddress(a netip.Addr) uint32 {
	best := uint32(0)
	for _, prefix := range p.Addresses {
		if prefix.Contains(a) {
			best = max(best, AddressSpecificity(prefix))
		}
	}
	if longest, ok := findListed(p.Listed, a); ok {
		best = max(best, AddressSpecificity(longest))
	}
	return best
}

// eachPrefix calls f for every prefix of the pattern.
func (p SocketPattern) eachPrefix(f func(netip.Prefix)) {
	for _, prefix := range p.Addresses {
		f(prefix)
	}
	for _, prefix := range p.Listed {
		f(prefix)
	}
}

// isZero reports whether the pattern names nothing.
func (p SocketPattern) isZero() bool {
	return !p.All && len(p.Ports) == 0 && !p.namesAddresses() && len(p.Protocols) == 0
}

// validate returns what is wrong with the pattern itself.
func (p SocketPattern) validate() error {
	var errs []error
	if p.isZero() {
		errs = append(errs, errors.New("the pattern names nothing; write all to select every socket"))
	}
	if p.All && (len(p.Ports) > 0 || p.namesAddresses() || len(p.Protocols) > 0) {
		errs = append(errs, errors.New("all cannot be combined with ports, addresses or protocols; leave out one or the other"))
	}
	errs = append(errs,
		checkEmpty("ports", p.Ports), checkEmpty("addresses", p.Addresses), checkEmpty("protocols", p.Protocols),
		checkEmpty("addresses_from", p.AddressesFrom), p.checkListed())
	for _, r := range p.Ports {
		if r.First > r.Last {
			errs = append(errs, fmt.Errorf("port range %v is empty; write %d-%d", r, r.Last, r.First))
		}
	}
	for _, prefix := range p.Addresses {
		if err := checkPrefix(prefix); err != nil {
			errs = append(errs, err)
		}
	}
	for _, protocol := range p.Protocols {
		if protocol < TCP || protocol >= OtherProtocol {
			errs = append(errs, fmt.Errorf("a policy cannot name protocol %v; name one of TCP to Raw", protocol))
		}
	}
	return errors.Join(errs...)
}

// checkListed returns what is wrong with the addresses of files.
func (p SocketPattern) checkListed() error {
	switch {
	case len(p.Listed) == 0 && len(p.AddressesFrom) > 0:
		return errors.New("the addresses of addresses_from are not loaded; set Listed to what LoadAddresses returns")
	case len(p.Listed) > 0 && len(p.AddressesFrom) == 0:
		return errors.New("the pattern has Listed, which is for the addresses of files; name the files in AddressesFrom or use Addresses")
	case slices.Contains(p.AddressesFrom, ""):
		return errors.New("addresses_from names an empty file name; write the name of a file")
	}
	for i, prefix := range p.Listed {
		if err := checkPrefix(prefix); err != nil {
			return err
		}
		if i > 0 && comparePrefixes(p.Listed[i-1], prefix) >= 0 {
			return errors.New("the addresses of addresses_from are not sorted; set Listed to what LoadAddresses returns")
		}
	}
	return nil
}

// checkPrefix returns what is wrong with a prefix in a pattern.
func checkPrefix(p netip.Prefix) error {
	if !p.IsValid() {
		return errors.New("an address prefix is invalid; write an address or CIDR such as 10.0.0.0/8")
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return fmt.Errorf("%v is an IPv4 address with a prefix shorter than 96 bits; write 0.0.0.0/0 for every IPv4 address or ::/0 for every IPv6 address", p)
		}
		return fmt.Errorf("%v is v4-mapped; write %v", p, normalPrefix(p).Masked())
	}
	if p != p.Masked() {
		return fmt.Errorf("%v has bits set after the prefix; write %v or %v", p, p.Masked(), p.Addr())
	}
	return nil
}

// normalPrefix returns a v4-mapped prefix as the IPv4 prefix that it means and
// any other one unchanged.
func normalPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// valid reports whether the socket is one that can be judged.
func (s Socket) valid() bool {
	return s.Address.IsValid() && s.Protocol >= TCP && s.Protocol <= OtherProtocol
}

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
