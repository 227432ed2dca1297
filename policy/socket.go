package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// PortRange is an inclusive range of ports. Port 0 stands for "a port that the
// kernel chooses".
type PortRange struct {
	First uint16 `json:"first"`
	Last  uint16 `json:"last"`
}

// SocketPattern selects sockets by port, address and protocol. The keys are
// ANDed, the values of one key ORed, an empty key matches everything. The zero
// value is refused by [Validate]; the pattern for everything is
// SocketPattern{All: true}.
type SocketPattern struct {
	// All selects every socket; the other fields must be empty then.
	All bool `json:"all,omitempty"`
	// Ports never matches a socket whose protocol has no ports.
	Ports []PortRange `json:"ports,omitempty"`
	// Addresses holds masked prefixes. An IPv4 prefix matches IPv4 and
	// v4-mapped IPv6 addresses, an IPv6 prefix only other IPv6 addresses.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	// AddressesFrom names the files whose prefixes are in Listed, as
	// [LoadAddresses] returns them, sorted and each one once. It is for
	// people; what counts is Listed, which is part of the key addresses. Both
	// can be empty without being nil: then the pattern names addresses, of
	// which there are none, and matches nothing.
	AddressesFrom []string       `json:"addresses_from,omitzero"`
	Listed        []netip.Prefix `json:"listed,omitzero"`
	Protocols     []Protocol     `json:"protocols,omitempty"`
}

// Socket is the object of socket_bind, with the local address, and of
// socket_connect, with the remote one.
type Socket struct {
	// Address is the address; a v4-mapped one counts as IPv4. To bind, the
	// unspecified address (0.0.0.0 or ::) stands for every address of its
	// family; to connect, for the loopback address.
	Address netip.Addr
	// Port is the port. To bind, 0 stands for any port of Automatic.
	Port uint16
	// Automatic is the range from which the kernel chooses when Port is 0
	// (net.ipv4.ip_local_port_range, narrowed by IP_LOCAL_PORT_RANGE; see
	// ip(7)). The zero value means [DefaultAutomatic].
	Automatic PortRange
	Protocol  Protocol
	// DualStack says that an IPv6 socket bound to :: takes IPv4 as well
	// (IPV6_V6ONLY is off, see ipv6(7)). It only matters to bind ::.
	DualStack bool
}

// DefaultAutomatic is the kernel's default for net.ipv4.ip_local_port_range.
var DefaultAutomatic = PortRange{First: 32768, Last: 60999}

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
	if p.NamesAddresses() {
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

// NamesAddresses reports whether the pattern names addresses, be it none of them.
func (p SocketPattern) NamesAddresses() bool {
	return len(p.Addresses) > 0 || p.AddressesFrom != nil || len(p.Listed) > 0
}

// contradiction tells that files of addresses have none.
func (p SocketPattern) contradiction(Operation) string {
	if !p.NamesAddresses() || len(p.Addresses)+len(p.Listed) > 0 {
		return ""
	}
	return "matches nothing: the files of addresses_from contain no address now; if that is not meant, check what writes them"
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
	return !p.All && len(p.Ports) == 0 && !p.NamesAddresses() && len(p.Protocols) == 0
}

// validate returns what is wrong with the pattern itself.
func (p SocketPattern) validate() error {
	var errs []error
	if p.isZero() {
		errs = append(errs, errors.New("the pattern names nothing; write all to select every socket"))
	}
	if p.All && (len(p.Ports) > 0 || p.NamesAddresses() || len(p.Protocols) > 0) {
		errs = append(errs, errors.New("all cannot be combined with ports, addresses or protocols; leave out one or the other"))
	}
	errs = append(errs,
		checkEmpty("ports", p.Ports), checkEmpty("addresses", p.Addresses), checkEmpty("protocols", p.Protocols),
		p.checkListed())
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
	case p.Listed == nil && len(p.AddressesFrom) > 0:
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

// Contains reports whether the port lies in the range.
func (r PortRange) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

// socketState has the addresses of files in a form that suits a million of them.
type socketState struct {
	socketFields
	Listed packedPrefixes `json:"listed,omitzero"`
}

// socketFields is SocketPattern without its methods.
type socketFields SocketPattern

// MarshalJSON returns the pattern as [EncodeState] has it.
func (p SocketPattern) MarshalJSON() ([]byte, error) {
	return json.Marshal(socketState{socketFields(p), p.Listed})
}

// UnmarshalJSON reads what [SocketPattern.MarshalJSON] wrote.
func (p *SocketPattern) UnmarshalJSON(data []byte) error {
	var s socketState
	if err := strictJSON(data, &s); err != nil {
		return err
	}
	*p = SocketPattern(s.socketFields)
	p.Listed = s.Listed
	return nil
}
