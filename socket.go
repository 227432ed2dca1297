package ebpfguard

import (
	"fmt"
	"net/netip"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// ipprotoMPTCP is IPPROTO_MPTCP (include/uapi/linux/in.h).
const ipprotoMPTCP = 262

// SocketPatterns selects the sockets that any of the patterns selects.
type SocketPatterns = []policy.SocketPattern

// AllPorts selects every socket.
func AllPorts() SocketPatterns { return everything[policy.SocketPattern](policy.SocketBind) }

// Ports selects the sockets with one of these ports. In socket_bind port 0 is
// "a port that the kernel chooses".
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

// SocketObject is the object of a [SocketBindAlert] and of a [SocketConnectAlert]: the
// local address, or the remote one.
type SocketObject struct {
	// Address and Port are those asked for. In socket_bind the unspecified
	// address stands for every address, and port 0 for one that the kernel
	// chooses.
	Address netip.Addr `json:"address"`
	Port    uint16     `json:"port"`
	// Protocol is the socket's own, for instance "mptcp", which policies
	// name tcp.
	Protocol string `json:"protocol"`
}

func socketOf(s abi.SocketObject) SocketObject {
	return SocketObject{netip.AddrFrom16(s.Address).Unmap(), s.Port, protocolName(s)}
}

func (o SocketObject) text() string {
	return netip.AddrPortFrom(o.Address, o.Port).String() + "/" + o.Protocol
}

// ipprotoSMC is IPPROTO_SMC (include/uapi/linux/in.h, since 6.11).
const ipprotoSMC = 256

// protocolName returns the name of what the socket was made with.
func protocolName(s abi.SocketObject) string {
	p := policy.Protocol(s.Protocol)
	switch {
	case s.IpProtocol == ipprotoMPTCP:
		return "mptcp"
	case s.IpProtocol == ipprotoSMC:
		return "smc"
	case p == policy.Raw || p != policy.OtherProtocol:
		return p.String()
	}
	return fmt.Sprint(s.IpProtocol)
}
