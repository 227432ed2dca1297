package policy

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// Protocol is a transport protocol as a policy names it.
type Protocol uint8

const (
	// TCP includes what speaks TCP on the wire under another socket
	// protocol: MPTCP, and SMC, which falls back to TCP.
	TCP Protocol = iota + 1
	UDP
	UDPLite
	SCTP
	DCCP
	// ICMP is a "ping" socket (SOCK_DGRAM with IPPROTO_ICMP or
	// IPPROTO_ICMPV6, see icmp(7)). It has no ports.
	ICMP
	// Raw is any SOCK_RAW socket of the internet families. It has no ports.
	Raw
	// OtherProtocol is every other protocol of the internet families. It is
	// judged by patterns that name no protocol.
	OtherProtocol
)

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

// protocolNumbers are the protocols by their number in /etc/protocols.
var protocolNumbers = map[int]Protocol{1: ICMP, 6: TCP, 17: UDP, 33: DCCP, 58: ICMP, 132: SCTP, 136: UDPLite, 255: Raw, 262: TCP}

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
	if number, err := strconv.Atoi(name); err == nil {
		if known, ok := protocolNumbers[number]; ok {
			return 0, fmt.Errorf("protocol %d is called %v; write %v", number, known, known)
		}
		return 0, fmt.Errorf("protocol %d has no name in policies; leave protocols out to select all, or choose from %s", number, strings.Join(names, ", "))
	}
	switch strings.ToLower(name) {
	case "mptcp", "smc":
		return 0, fmt.Errorf("policies have no protocol %q; write tcp, which includes it", name)
	case "icmpv6":
		return 0, fmt.Errorf("policies have no protocol %q; write icmp, which includes it", name)
	}
	return 0, fmt.Errorf("unknown protocol %q; %s", name, strictyaml.Suggest(name, names))
}
