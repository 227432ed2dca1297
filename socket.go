package ebpfguard

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Subject selects the processes that a policy concerns. Make one with
// [Everyone] or [Binaries].
type Subject policy.Subject

// Everyone selects every process.
func Everyone() Subject { return Subject{Everyone: true} }

// Binaries selects the processes whose program was started from one of these
// absolute paths. A symbolic link stands for the file that it leads to when the
// policy is added.
func Binaries(paths ...string) Subject { return Subject{Binaries: paths} }

// SocketPatterns selects the sockets that any of the patterns selects.
type SocketPatterns []policy.SocketPattern

// AllPorts selects every socket.
func AllPorts() SocketPatterns { return SocketPatterns{{All: true}} }

// Ports selects the sockets with one of these ports. Port 0 is "a port that the
// kernel chooses".
func Ports(ports ...uint16) SocketPatterns {
	ranges := make([]policy.PortRange, len(ports))
	for i, port := range ports {
		ranges[i] = policy.PortRange{First: port, Last: port}
	}
	return SocketPatterns{{Ports: ranges}}
}

// PortRange selects the sockets with a port from first to last.
func PortRange(first, last uint16) SocketPatterns {
	return SocketPatterns{{Ports: []policy.PortRange{{First: first, Last: last}}}}
}

// Addresses selects the sockets with an address in one of these prefixes.
func Addresses(prefixes ...netip.Prefix) SocketPatterns {
	return SocketPatterns{{Addresses: prefixes}}
}

func (s SocketPatterns) patterns() []policy.Pattern {
	var patterns []policy.Pattern
	for _, p := range s {
		patterns = append(patterns, p)
	}
	return patterns
}

func socketPatterns(patterns []policy.Pattern) SocketPatterns {
	var s SocketPatterns
	for _, p := range patterns {
		s = append(s, p.(policy.SocketPattern))
	}
	return s
}

// ipprotoSMC is IPPROTO_SMC (include/uapi/linux/in.h, since 6.11).
const ipprotoSMC = 256

// protocolName returns the name of what the socket was made with.
func protocolName(s bpf.Socket) string {
	p := policy.Protocol(s.Protocol)
	switch {
	case s.IpProtocol == unix.IPPROTO_MPTCP:
		return "mptcp"
	case s.IpProtocol == ipprotoSMC:
		return "smc"
	case p == policy.Raw || p != policy.OtherProtocol:
		return p.String()
	}
	return fmt.Sprint(s.IpProtocol)
}
