package coverage

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// selfWays connect and send to the unspecified address, which is this machine at an address that the socket decides, and to
// addresses that do not come as the socket's own family has them.
func selfWays() []Way {
	return slices.Concat(boundSelfWays(), loopbackWays(), controlWays(), carriedWays())
}

// means are the ways to aim a socket.
type means struct {
	id, call string
	do       func(fd int, sa []byte) error
}

var (
	byConnect  = means{"connect", "connect(2)", func(fd int, sa []byte) error { return connected(connect(fd, sa)) }}
	bySendto   = means{"sendto", "sendto(2)", func(fd int, sa []byte) error { return sendto(fd, sa, 0) }}
	bySendmsg  = means{"sendmsg", "sendmsg(2)", func(fd int, sa []byte) error { return sendmsg(fd, sa, 0) }}
	bySendmmsg = means{"sendmmsg", "sendmmsg(2)", func(fd int, sa []byte) error { return sendmmsg(fd, sa) }}
	datagram   = []means{byConnect, bySendto, bySendmsg, bySendmmsg}
	stream     = []means{byConnect}
)

// socketForm is a kind of socket that a way uses.
type socketForm struct {
	name  string
	k     kind
	needs []string
	means []means
}

var (
	forms4 = []socketForm{
		{"tcp4", tcp4, nil, stream}, {"mptcp4", mptcp4, []string{"mptcp"}, stream},
		{"udp4", udp4, nil, datagram}, {"udplite4", lite4, []string{"udplite"}, datagram},
	}
	forms6 = []socketForm{
		{"tcp6", tcp6, nil, stream}, {"mptcp6", mptcp6, []string{"mptcp"}, stream},
		{"udp6", udp6, nil, datagram}, {"udplite6", lite6, []string{"udplite"}, datagram},
	}
)

// listenAll has the parent take what comes by any address, of IPv4 too.
func listenAll(k kind) func(*Env) error {
	six := kind{unix.AF_INET6, k.typ, k.protocol}
	return listen(six, "::")
}

// selfWay is a way that binds a socket to one address and aims it at another.
func selfWay(id, object string, f socketForm, m means, from func(*Env) string, to, what string, family ...int) Way {
	return Way{
		ID: "self-" + f.name + "-" + id + m.id, Object: object, Needs: f.needs, Setup: listenAll(f.k),
		Description: m.call + ", " + f.name + ", to " + to + " from a socket that is bound to " + what,
		Do: func(e *Env) error {
			fd := f.k.socket()
			must(bind(fd, sockaddr(from(e), 0)))
			return m.do(fd, sockaddr(to, e.Port(), family...))
		},
	}
}

// boundSelfWays lead to the address that the socket is bound to.
func boundSelfWays() []Way {
	dest, dest6 := (*Env).Dest, (*Env).Dest6
	var ways []Way
	for _, f := range forms4 {
		for _, m := range f.means {
			ways = append(ways, selfWay("", "address", f, m, dest, "0.0.0.0", "a forbidden address"))
		}
	}
	for _, f := range forms6 {
		for _, m := range f.means {
			ways = append(ways, selfWay("mapped-", "address", f, m, dest6, "::ffff:0.0.0.0", "a forbidden v4-mapped address"))
		}
	}
	for _, f := range forms6[2:] {
		for _, m := range f.means {
			ways = append(ways, selfWay("v4-", "address", f, m, dest6, "0.0.0.0", "a forbidden v4-mapped address"))
		}
	}
	raw := socketForm{"raw4", raw4, nil, nil}
	for _, m := range datagram {
		w := selfWay("", "address", raw, m, dest, "0.0.0.0", "a forbidden address")
		w.Setup = nil
		w.Do = func(e *Env) error {
			fd := raw4.socket()
			must(bind(fd, sockaddr(e.Dest(), 0)))
			return m.do(fd, sockaddr("0.0.0.0", 0))
		}
		ways = append(ways, w)
	}
	for _, op := range []struct {
		id, by string
		flags  uint8
	}{{"io-uring", "", 0}, {"io-uring-async", ", by a worker thread", sqeAsync}} {
		ways = append(ways, Way{ID: "self-tcp6-mapped-" + op.id, Object: "address", Needs: []string{"io_uring"}, Setup: listenAll(tcp6),
			Description: "connect through io_uring" + op.by + ", TCP, to ::ffff:0.0.0.0 from a socket that is bound to a forbidden v4-mapped address", Do: func(e *Env) error {
				fd := tcp6.socket()
				must(bind(fd, sockaddr(e.Dest6(), 0)))
				return connected(uringAddress(uringOpConnect, op.flags)(fd, sockaddr("::ffff:0.0.0.0", e.Port())))
			}})
	}
	return ways
}

// loopbackWays lead to 127.0.0.1, which only their rule forbids, by an address that looks like another.
func loopbackWays() []Way {
	var ways []Way
	for _, f := range forms6 {
		for _, m := range f.means {
			ways = append(ways, selfWay("mapped-any-", "loopback", f, m, func(e *Env) string {
				return pick(e, "::ffff:127.0.0.5", "::1")
			}, "::", "a v4-mapped address, which leads to 127.0.0.1"))
		}
	}
	for _, f := range forms4[2:] {
		for _, m := range f.means {
			ways = append(ways, selfWay("multicast-", "loopback", f, m, func(e *Env) string {
				return pick(e, "224.0.0.9", "127.0.0.5")
			}, "0.0.0.0", "a multicast address, which leads to 127.0.0.1"))
		}
	}
	return ways
}

// control is a control message.
func control(level, kind int, data ...byte) []byte {
	const header = 16
	b := binary.NativeEndian.AppendUint64(nil, uint64(header+len(data)))
	b = binary.NativeEndian.AppendUint32(b, uint32(level))
	b = binary.NativeEndian.AppendUint32(b, uint32(kind))
	b = append(b, data...)
	return append(b, make([]byte, (8-len(b)%8)%8)...)
}

// controlWays name the address in a control message.
func controlWays() []Way {
	// packetInfo is IP_PKTINFO: interface, address to send from, address.
	packetInfo := func(address string) []byte {
		return control(unix.SOL_IP, unix.IP_PKTINFO, slices.Concat(make([]byte, 4), netip.MustParseAddr(address).AsSlice(), make([]byte, 4))...)
	}
	const dstAddr4, dstAddr6, sndInfo = 7, 8, 2
	const free = "127.0.43.9"
	sctp := func(messages func(*Env) []byte) func(*Env) error {
		return func(e *Env) error {
			return connected(sendmsg(sctpMany.socket(), sockaddr(free, e.Port()), unix.MSG_DONTWAIT, messages(e)...))
		}
	}
	info := control(solSCTP, sndInfo, make([]byte, 16)...)
	dest := func(e *Env) []byte { return control(solSCTP, dstAddr4, netip.MustParseAddr(e.Dest()).AsSlice()...) }
	plain := sctp(func(*Env) []byte { return info })
	return []Way{
		{ID: "self-udp4-pktinfo", Object: "address", Setup: listenAll(udp6), Description: "sendmsg(2), UDP, to 0.0.0.0 with IP_PKTINFO, which leads to the address in it", Do: func(e *Env) error {
			return sendmsg(udp4.socket(), sockaddr("0.0.0.0", e.Port()), 0, packetInfo(e.Dest())...)
		}, Bystander: func(e *Env) error {
			return sendmsg(udp4.socket(), sockaddr(e.Dest(), e.Port()), 0, packetInfo("127.0.43.1")...)
		}},
		{ID: "self-udp6-pktinfo", Object: "address", Setup: listenAll(udp6), Description: "sendmsg(2), UDP, to ::ffff:0.0.0.0 with IP_PKTINFO", Do: func(e *Env) error {
			return sendmsg(udp6.socket(), sockaddr("::ffff:0.0.0.0", e.Port()), 0, packetInfo(e.Dest())...)
		}, Bystander: func(e *Env) error {
			return sendmsg(udp6.socket(), sockaddr(e.Dest6(), e.Port()), 0, packetInfo("127.0.43.1")...)
		}},
		{ID: "self-raw-pktinfo", Object: "address", Description: "sendmsg(2), a raw socket, to 0.0.0.0 with IP_PKTINFO", Do: func(e *Env) error {
			return sendmsg(raw4.socket(), sockaddr("0.0.0.0", 0), 0, packetInfo(e.Dest())...)
		}, Bystander: func(e *Env) error {
			return sendmsg(raw4.socket(), sockaddr(e.Dest(), 0), 0, packetInfo("127.0.43.1")...)
		}},
		{ID: "sctp-dstaddr4", Object: "address", Needs: []string{"sctp"}, Setup: listen(sctp4, "0.0.0.0"), Description: "sendmsg(2), SCTP, a forbidden address in SCTP_DSTADDRV4", Do: sctp(dest), Bystander: plain},
		{ID: "sctp-dstaddr4-second", Object: "address", Needs: []string{"sctp"}, Setup: listen(sctp4, "0.0.0.0"), Description: "sendmsg(2), SCTP, a forbidden address in SCTP_DSTADDRV4 behind another control message",
			Do: sctp(func(e *Env) []byte { return slices.Concat(info, dest(e)) }), Bystander: plain},
		{ID: "sctp-dstaddr6", Object: "address", Needs: []string{"sctp"}, Setup: listen(sctp6, "::"), Description: "sendmsg(2), SCTP, a forbidden v4-mapped address in SCTP_DSTADDRV6", Do: func(e *Env) error {
			as16 := netip.MustParseAddr(e.Dest6()).As16()
			many6 := kind{unix.AF_INET6, unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP}
			return connected(sendmsg(many6.socket(), sockaddr("::ffff:"+free, e.Port()), unix.MSG_DONTWAIT, control(solSCTP, dstAddr6, as16[:]...)...))
		}, Bystander: plain},
		{ID: "sctp-connectx-many", Object: "address", Needs: []string{"sctp"}, Setup: listen(sctp4, "0.0.0.0"), Description: "sctp_connectx(3) with more addresses than are looked at", Do: func(e *Env) error {
			addresses := slices.Repeat([]string{free}, 15)
			for i := range addresses {
				addresses[i] = netip.AddrFrom4([4]byte{127, 0, 43, byte(10 + i)}).String()
			}
			fd := sctp4.socket()
			must(unix.SetNonblock(fd, true)) // the kernel would try each
			return connected(sctpOption(fd, sctpConnectx, sctpAddresses(e.Port(), append(addresses, e.Dest())...)))
		}, Bystander: func(e *Env) error {
			fd := sctp4.socket()
			must(unix.SetNonblock(fd, true))
			return connected(sctpOption(fd, sctpConnectx, sctpAddresses(e.Port(), free, e.Dest())))
		}},
	}
}

var (
	rds   = kind{unix.AF_RDS, unix.SOCK_SEQPACKET, 0}
	rxrpc = kind{unix.AF_RXRPC, unix.SOCK_DGRAM, unix.AF_INET}
)

// sockaddrRxRPC is the address of an RxRPC service at an address of UDP.
func sockaddrRxRPC(address string, port int) []byte {
	transport := sockaddr(address, port)
	b := binary.NativeEndian.AppendUint16(nil, unix.AF_RXRPC)
	b = binary.NativeEndian.AppendUint16(b, 52) // the service
	b = binary.NativeEndian.AppendUint16(b, unix.SOCK_DGRAM)
	b = binary.NativeEndian.AppendUint16(b, uint16(len(transport)))
	b = append(b, transport...)
	return append(b, make([]byte, 36-len(b))...)
}

// carriedWays use sockets for which the kernel makes one of TCP or UDP.
func carriedWays() []Way {
	var ways []Way
	for _, m := range datagram {
		ways = append(ways,
			Way{ID: "rds-" + m.id, Object: "address", Needs: []string{"rds"}, Description: m.call + ", RDS, which is carried by TCP", Do: func(e *Env) error {
				fd := need(unix.Socket(rds.family, rds.typ|unix.SOCK_CLOEXEC, 0))
				must(bind(fd, sockaddr("127.0.0.1", 0)))
				return m.do(fd, sockaddr(e.Dest(), e.Port()))
			}})
	}
	return append(ways,
		Way{ID: "rxrpc-connect", Object: "address", Needs: []string{"rxrpc"}, Description: "connect(2), RxRPC, which is carried by UDP", Do: func(e *Env) error {
			return connect(need(unix.Socket(rxrpc.family, rxrpc.typ|unix.SOCK_CLOEXEC, rxrpc.protocol)), sockaddrRxRPC(e.Dest(), e.Port()))
		}})
}

// carriedBindWays bind them.
func carriedBindWays() []Way {
	return []Way{
		{ID: "rds", Object: "address", Needs: []string{"rds"}, Description: "bind(2), RDS", Do: func(e *Env) error {
			return bind(need(unix.Socket(rds.family, rds.typ|unix.SOCK_CLOEXEC, 0)), sockaddr(pick(e, "127.0.42.1", "127.0.43.1"), 0))
		}},
		{ID: "rxrpc", Needs: []string{"rxrpc"}, Description: "bind(2), RxRPC", Do: func(e *Env) error {
			return bind(need(unix.Socket(rxrpc.family, rxrpc.typ|unix.SOCK_CLOEXEC, rxrpc.protocol)), sockaddrRxRPC("127.0.0.1", e.Port()))
		}},
	}
}
