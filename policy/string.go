package policy

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// String returns the verdict as alerts spell it.
func (v Verdict) String() string {
	switch v {
	case Allow:
		return "allow"
	case Audit:
		return "audit"
	case Deny:
		return "deny"
	case Kill:
		return "kill"
	}
	return fmt.Sprintf("Verdict(%d)", uint8(v))
}

// String returns the mode as YAML spells it.
func (m Mode) String() string {
	switch m {
	case 0, ModeEnforce:
		return "enforce"
	case ModeAudit:
		return "audit"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// protocols lists the protocols that a policy can name, in their order.
var protocols = []struct {
	protocol Protocol
	name     string
	ports    bool
}{
	{TCP, "tcp", true},
	{UDP, "udp", true},
	{UDPLite, "udplite", true},
	{SCTP, "sctp", true},
	{DCCP, "dccp", true},
	{ICMP, "icmp", false},
	{Raw, "raw", false},
}

// String returns the protocol as YAML spells it.
func (p Protocol) String() string {
	for _, known := range protocols {
		if known.protocol == p {
			return known.name
		}
	}
	if p == OtherProtocol {
		return "other"
	}
	return fmt.Sprintf("Protocol(%d)", uint8(p))
}

// HasPorts reports whether sockets of the protocol have ports. What is not known
// to have them has none.
func (p Protocol) HasPorts() bool {
	for _, known := range protocols {
		if known.protocol == p {
			return known.ports
		}
	}
	return false
}

// ParseProtocol returns the protocol that a policy calls so.
func ParseProtocol(name string) (Protocol, error) {
	names := make([]string, len(protocols))
	for i, known := range protocols {
		if known.name == name {
			return known.protocol, nil
		}
		names[i] = known.name
	}
	switch strings.ToLower(name) {
	case "mptcp", "smc":
		return 0, fmt.Errorf("protocol %q is not told apart from tcp; write tcp, which includes it", name)
	case "icmpv6":
		return 0, fmt.Errorf("protocol %q is not told apart from icmp; write icmp, which includes it", name)
	}
	return 0, fmt.Errorf("unknown protocol %q; %s", name, suggest(name, names))
}

// String returns the range as YAML spells it: 22 or 2200-2299.
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// String returns the pattern as flow-style YAML, the addresses of files by the
// names of the files.
func (p SocketPattern) String() string {
	if p.All {
		return "all"
	}
	var ports, addresses, names []string
	for _, r := range p.Ports {
		ports = append(ports, r.String())
	}
	for _, prefix := range p.Addresses {
		text := prefix.String()
		if prefix.IsSingleIP() {
			text = prefix.Addr().String()
		}
		addresses = append(addresses, scalar(text))
	}
	for _, protocol := range p.Protocols {
		names = append(names, protocol.String())
	}
	var f flow
	f.list("ports", ports)
	f.list("addresses", addresses)
	f.list("addresses_from", quoted(p.AddressesFrom))
	f.list("protocols", names)
	return f.String()
}

// flow makes a mapping in flow style.
type flow struct{ keys []string }

// list adds a key with values, which are YAML, unless there are none.
func (f *flow) list(key string, values []string) {
	if len(values) > 0 {
		f.keys = append(f.keys, key+": ["+strings.Join(values, ", ")+"]")
	}
}

// flag adds a key that is true.
func (f *flow) flag(key string, set bool) {
	if set {
		f.keys = append(f.keys, key+": true")
	}
}

// String returns the mapping.
func (f *flow) String() string { return "{" + strings.Join(f.keys, ", ") + "}" }

// quoted returns the strings as YAML scalars.
func quoted(list []string) []string {
	scalars := make([]string, len(list))
	for i, s := range list {
		scalars[i] = scalar(s)
	}
	return scalars
}

// String returns the socket as protocol, address and port.
func (s Socket) String() string {
	text := s.Protocol.String() + " "
	if s.Protocol.HasPorts() {
		text += net.JoinHostPort(s.Address.String(), strconv.Itoa(int(s.Port)))
	} else {
		text += s.Address.String()
	}
	if s.DualStack && s.Address.Is6() && s.Address.IsUnspecified() {
		text += " (IPv6 and IPv4)"
	}
	return text
}

// scalar returns the string as a YAML scalar, quoted when it has to be. Every
// escape of [strconv.Quote] is one of YAML as well.
func scalar(s string) string {
	for i, c := range s {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '/'
		digit := c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_'
		if !letter && (!digit || i == 0 && !isAddress(s)) {
			return strconv.Quote(s)
		}
	}
	switch strings.ToLower(s) {
	case "", "true", "false", "yes", "no", "on", "off", "y", "n", "null":
		return strconv.Quote(s)
	}
	return s
}

// isAddress reports whether the string looks like an IPv4 address or prefix,
// which YAML takes for a string although it begins with a digit.
func isAddress(s string) bool {
	return strings.Count(s, ".") == 3 && strings.Trim(s, "0123456789./") == ""
}
