package coverage

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// connectTo is a way to connect a socket of a kind to an address and the way's port.
func connectTo(k kind, address string) func(*Env) error {
	return func(e *Env) error { return connected(connect(k.socket(), sockaddr(address, e.Port()))) }
}

func connectWays() []Way {
	accept4, accept6 := listen(tcp4, "0.0.0.0"), listen(tcp6, "::")
	return []Way{
		{ID: "tcp4", Description: "connect(2), TCP, IPv4", Setup: accept4, Do: connectTo(tcp4, v4)},
		{ID: "tcp6", Description: "connect(2), TCP, IPv6", Setup: accept6, Do: connectTo(tcp6, v6)},
		{ID: "tcp6-mapped", Description: "connect(2), TCP, v4-mapped", Setup: accept4, Do: connectTo(tcp6, mapped)},
		{ID: "tcp4-any", Description: "connect(2), TCP, to 0.0.0.0, which is the loopback", Setup: accept4, Do: connectTo(tcp4, "0.0.0.0")},
		{ID: "tcp6-any", Description: "connect(2), TCP, to ::", Setup: accept6, Do: connectTo(tcp6, "::")},
		{ID: "tcp6-mapped-any", Description: "connect(2), TCP, to ::ffff:0.0.0.0", Setup: accept4, Do: connectTo(tcp6, "::ffff:0.0.0.0")},
		{ID: "tcp4-nonblocking", Description: "connect(2), TCP, not blocking", Setup: accept4, Do: func(e *Env) error {
			fd := tcp4.socket()
			must(unix.SetNonblock(fd, true))
			return connected(connect(fd, sockaddr(v4, e.Port())))
		}},
		{ID: "tcp4-bound", Description: "connect(2), TCP, from a bound socket", Setup: accept4, Do: func(e *Env) error {
			fd := tcp4.socket()
			must(bind(fd, sockaddr("127.0.0.3", 0)))
			return connect(fd, sockaddr(v4, e.Port()))
		}},
		{ID: "tcp-again", Description: "connect(2), TCP, after a connection to elsewhere was dissolved (AF_UNSPEC)", Setup: accept4, Do: func(e *Env) error {
			fd := tcp4.socket()
			connect(fd, sockaddr(v4, 9)) // nobody is there
			must(connect(fd, make([]byte, 16)))
			return connect(fd, sockaddr(v4, e.Port()))
		}},
		{ID: "tcp-repair", Description: "connect(2), TCP_REPAIR: a connection without a packet", Do: func(e *Env) error {
			fd := tcp4.socket()
			must(unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_REPAIR, 1))
			must(bind(fd, sockaddr(v4, 0)))
			return connect(fd, sockaddr(v4, e.Port()))
		}},
		{ID: "tcp-fastopen-connect", Description: "connect(2), TCP_FASTOPEN_CONNECT, then write(2)", Setup: accept4, Do: func(e *Env) error {
			fd := tcp4.socket()
			must(unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_FASTOPEN_CONNECT, 1))
			if err := connect(fd, sockaddr(v4, e.Port())); err != nil {
				return err
			}
			return fails(unix.Write(fd, []byte("x")))
		}},
		{ID: "fastopen-sendto", Description: "sendto(2), MSG_FASTOPEN, TCP", Setup: accept4, Do: func(e *Env) error {
			return connected(sendto(tcp4.socket(), sockaddr(v4, e.Port()), unix.MSG_FASTOPEN))
		}},
		{ID: "fastopen-sendto-v6", Description: "sendto(2), MSG_FASTOPEN, TCP, IPv6", Setup: accept6, Do: func(e *Env) error {
			return connected(sendto(tcp6.socket(), sockaddr(v6, e.Port()), unix.MSG_FASTOPEN))
		}},
		{ID: "fastopen-sendto-mapped", Description: "sendto(2), MSG_FASTOPEN, TCP, v4-mapped", Setup: accept4, Do: func(e *Env) error {
			return connected(sendto(tcp6.socket(), sockaddr(mapped, e.Port()), unix.MSG_FASTOPEN))
		}},
		{ID: "fastopen-sendmsg", Description: "sendmsg(2), MSG_FASTOPEN, TCP", Setup: accept4, Do: func(e *Env) error {
			return connected(sendmsg(tcp4.socket(), sockaddr(v4, e.Port()), unix.MSG_FASTOPEN))
		}},
		{ID: "fastopen-listener", Description: "sendto(2), MSG_FASTOPEN, to a listener that takes data in the first packet", Setup: func(e *Env) error {
			must(os.WriteFile("/proc/sys/net/ipv4/tcp_fastopen", []byte("1543"), 0)) // client, server, no cookies
			fd := tcp4.socket()
			e.Defer(func() { unix.Close(fd) })
			must(bind(fd, sockaddr(v4, e.Port())))
			must(unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_FASTOPEN, 16))
			return unix.Listen(fd, 16)
		}, Do: func(e *Env) error { return connected(sendto(tcp4.socket(), sockaddr(v4, e.Port()), unix.MSG_FASTOPEN)) }},
		{ID: "mptcp4", Needs: []string{"mptcp"}, Description: "connect(2), MPTCP, IPv4", Setup: listen(mptcp4, v4), Do: connectMPTCP(mptcp4, v4)},
		{ID: "mptcp6", Needs: []string{"mptcp"}, Description: "connect(2), MPTCP, IPv6", Setup: listen(mptcp6, v6), Do: connectMPTCP(mptcp6, v6)},
		{ID: "mptcp6-mapped", Needs: []string{"mptcp"}, Description: "connect(2), MPTCP, v4-mapped", Setup: listen(mptcp4, v4), Do: connectMPTCP(mptcp6, mapped)},
		{ID: "sctp4", Needs: []string{"sctp"}, Description: "connect(2), SCTP, IPv4", Setup: listen(sctp4, v4), Do: connectTo(sctp4, v4)},
		{ID: "sctp6", Needs: []string{"sctp"}, Description: "connect(2), SCTP, IPv6", Setup: listen(sctp6, v6), Do: connectTo(sctp6, v6)},
		{ID: "sctp6-v4", Needs: []string{"sctp"}, Description: "connect(2), SCTP, an IPv4 address on an IPv6 socket", Setup: listen(sctp4, v4), Do: connectTo(sctp6, v4)},
		{ID: "sctp-many", Needs: []string{"sctp"}, Description: "connect(2), SCTP, one-to-many", Setup: listen(sctp4, v4), Do: connectTo(sctpMany, v4)},
		{ID: "sctp-connectx", Needs: []string{"sctp"}, Description: "sctp_connectx(3)", Setup: listen(sctp4, v4), Do: func(e *Env) error {
			return connected(sctpOption(sctp4.socket(), sctpConnectx, sctpAddresses(e.Port(), v4)))
		}},
		{ID: "sctp-connectx-two", Needs: []string{"sctp"}, Description: "sctp_connectx(3), two addresses", Setup: listen(sctp4, "0.0.0.0"), Do: func(e *Env) error {
			return connected(sctpOption(sctp4.socket(), sctpConnectx, sctpAddresses(e.Port(), v4, "127.0.0.2")))
		}},
		{ID: "sctp-connectx-old", Needs: []string{"sctp"}, Description: "sctp_connectx(3), the older socket option", Setup: listen(sctp4, v4), Do: func(e *Env) error {
			const connectxOld = 107
			return connected(sctpOption(sctp4.socket(), connectxOld, sctpAddresses(e.Port(), v4)))
		}},
		{ID: "sctp-connectx3", Needs: []string{"sctp"}, Description: "sctp_connectx(3), by getsockopt(2)", Setup: listen(sctp4, v4), Do: sctpConnectx3},
		{ID: "sctp-sendto", Needs: []string{"sctp"}, Description: "sendto(2), SCTP, one-to-many, which connects", Setup: listen(sctp4, v4), Do: func(e *Env) error {
			return sendto(sctpMany.socket(), sockaddr(v4, e.Port()), 0)
		}},
		{ID: "sctp-sendmsg", Needs: []string{"sctp"}, Description: "sendmsg(2), SCTP, one-to-many, which connects", Setup: listen(sctp4, v4), Do: func(e *Env) error {
			return sendmsg(sctpMany.socket(), sockaddr(v4, e.Port()), 0)
		}},
		{ID: "smc4", Needs: []string{"smc"}, Description: "connect(2), SMC, IPv4", Setup: accept4, Do: connectTo(smc4, v4)},
		{ID: "smc6", Needs: []string{"smc"}, Description: "connect(2), SMC, IPv6", Setup: accept6, Do: connectTo(smc6, v6)},
		{ID: "smc-protocol", Needs: []string{"smc_protocol"}, Description: "connect(2), IPPROTO_SMC", Setup: accept4, Do: connectTo(smcProto, v4)},
		{ID: "dccp", Needs: []string{"dccp"}, Description: "connect(2), DCCP", Setup: listenDCCP, Do: connectDCCP},
		{ID: "io-uring", Needs: []string{"io_uring"}, Description: "connect through io_uring", Setup: accept4, Do: func(e *Env) error {
			return connected(uringAddress(uringOpConnect, 0)(tcp4.socket(), sockaddr(v4, e.Port())))
		}},
		{ID: "io-uring-async", Needs: []string{"io_uring"}, Description: "connect through io_uring, by a worker thread", Setup: accept4, Do: func(e *Env) error {
			return connected(uringAddress(uringOpConnect, sqeAsync)(tcp4.socket(), sockaddr(v4, e.Port())))
		}},
		{ID: "io-uring-udp", Needs: []string{"io_uring"}, Description: "connect through io_uring, UDP", Do: func(e *Env) error {
			return uringAddress(uringOpConnect, 0)(udp4.socket(), sockaddr(v4, e.Port()))
		}},
		{ID: "ia32", Needs: []string{"ia32"}, Description: "connect(2) through int 0x80", Setup: accept4, Do: func(e *Env) error {
			sa := sockaddr(v4, e.Port())
			return int80(362, uint32(tcp4.socket()), low(sa), uint32(len(sa)))
		}},
		{ID: "ia32-socketcall", Needs: []string{"ia32"}, Description: "socketcall(2), SYS_CONNECT, through int 0x80", Setup: accept4, Do: func(e *Env) error {
			sa := sockaddr(v4, e.Port())
			return int80(102, 3, lowWords(uint32(tcp4.socket()), low(sa), uint32(len(sa))), 0)
		}},
	}
}

// connectMPTCP connects to a listener in the same kernel; both ends speak MPTCP then.
func connectMPTCP(k kind, address string) func(*Env) error { return connectTo(k, address) }

// dccpService is any number; both ends have to give the same before they meet.
const (
	solDCCP           = 269
	dccpOptionService = 2
	dccpService       = 42
)

func listenDCCP(e *Env) error {
	fd := dccp4.socket()
	e.Defer(func() { unix.Close(fd) })
	must(unix.SetsockoptInt(fd, solDCCP, dccpOptionService, dccpService))
	must(bind(fd, sockaddr(v4, e.Port())))
	return unix.Listen(fd, 16)
}

func connectDCCP(e *Env) error {
	fd := dccp4.socket()
	must(unix.SetsockoptInt(fd, solDCCP, dccpOptionService, dccpService))
	return connected(connect(fd, sockaddr(v4, e.Port())))
}

// sctpConnectx3 is the form that libraries use: the option's value is a structure with a pointer.
func sctpConnectx3(e *Env) error {
	packed := sctpAddresses(e.Port(), v4)
	option := struct {
		assoc, size int32
		addresses   *byte
	}{0, int32(len(packed)), &packed[0]}
	length := uint32(unsafe.Sizeof(option))
	const connectx3 = 111
	return connected(fails(call(unix.SYS_GETSOCKOPT, uintptr(sctp4.socket()), solSCTP, connectx3, ptr(&option), ptr(&length))))
}

// sendWays send to an address without connecting to it.
func sendWays() []Way {
	to := func(k kind, address string, family ...int) func(*Env) error {
		return func(e *Env) error { return sendto(k.socket(), sockaddr(address, e.Port(), family...), 0) }
	}
	udp := listen(udp4, "0.0.0.0")
	udpBoth := listen(udp6, "::")
	return []Way{
		{ID: "udp4-connect", Description: "connect(2), UDP, IPv4", Do: connectTo(udp4, v4)},
		{ID: "udp6-connect", Description: "connect(2), UDP, IPv6", Do: connectTo(udp6, v6)},
		{ID: "udp6-connect-mapped", Description: "connect(2), UDP, v4-mapped", Do: connectTo(udp6, mapped)},
		{ID: "udp6-connect-v4", Description: "connect(2), UDP, an IPv4 address on an IPv6 socket", Do: connectTo(udp6, v4)},
		{ID: "udp-reconnect", Description: "connect(2), UDP, of a socket that is connected to elsewhere", Do: func(e *Env) error {
			fd := udp4.socket()
			must(connect(fd, sockaddr(v4, 9)))
			return connect(fd, sockaddr(v4, e.Port()))
		}},
		{ID: "udp4-sendto", Description: "sendto(2), UDP, IPv4", Setup: udp, Do: to(udp4, v4)},
		{ID: "udp4-sendto-any", Description: "sendto(2), UDP, to 0.0.0.0", Setup: udp, Do: to(udp4, "0.0.0.0")},
		{ID: "udp6-sendto", Description: "sendto(2), UDP, IPv6", Setup: udpBoth, Do: to(udp6, v6)},
		{ID: "udp6-sendto-any", Description: "sendto(2), UDP, to ::", Setup: udpBoth, Do: to(udp6, "::")},
		{ID: "udp6-sendto-mapped", Description: "sendto(2), UDP, v4-mapped", Setup: udp, Do: to(udp6, mapped)},
		{ID: "udp6-sendto-v4", Description: "sendto(2), UDP, an IPv4 address on an IPv6 socket", Setup: udp, Do: to(udp6, v4)},
		{ID: "udp4-sendto-unspec", Description: "sendto(2), UDP, AF_UNSPEC in an IPv4 address", Setup: udp, Do: to(udp4, v4, unix.AF_UNSPEC)},
		{ID: "udp4-sendmsg", Description: "sendmsg(2), UDP", Setup: udp, Do: func(e *Env) error { return sendmsg(udp4.socket(), sockaddr(v4, e.Port()), 0) }},
		{ID: "udp6-sendmsg", Description: "sendmsg(2), UDP, IPv6", Setup: udpBoth, Do: func(e *Env) error { return sendmsg(udp6.socket(), sockaddr(v6, e.Port()), 0) }},
		{ID: "udp4-sendmmsg", Description: "sendmmsg(2), UDP, one message", Setup: udp, Do: func(e *Env) error { return sendmmsg(udp4.socket(), sockaddr(v4, e.Port())) }},
		{ID: "udp4-sendmmsg-second", Description: "sendmmsg(2), UDP, a permitted address before the forbidden one", Setup: udp, Do: func(e *Env) error {
			return sendmmsg(udp4.socket(), sockaddr("127.0.0.9", 9999), sockaddr(v4, e.Port()))
		}},
		{ID: "udp-sendto-connected", Description: "sendto(2), UDP, on a socket that is connected to elsewhere", Setup: udp, Do: func(e *Env) error {
			fd := udp4.socket()
			must(connect(fd, sockaddr("127.0.0.9", 9999)))
			return sendto(fd, sockaddr(v4, e.Port()), 0)
		}},
		{ID: "udp-cork", Description: "sendto(2), UDP, MSG_MORE, then without", Setup: udp, Do: func(e *Env) error {
			fd := udp4.socket()
			if err := sendto(fd, sockaddr(v4, e.Port()), unix.MSG_MORE); err != nil {
				return err
			}
			return sendto(fd, sockaddr(v4, e.Port()), 0)
		}},
		{ID: "udp4-sendmsg-flags", Description: "sendmsg(2), UDP, with MSG_CONFIRM|MSG_DONTROUTE", Setup: udp, Do: func(e *Env) error {
			return sendmsg(udp4.socket(), sockaddr(v4, e.Port()), unix.MSG_CONFIRM|unix.MSG_DONTROUTE)
		}},
		{ID: "connected-before", Description: "write(2), UDP, on a socket that was connected before the policy", Setup: func(e *Env) error {
			must(udp(e))
			fd := udp4.socket()
			e.PassFD(fd)
			return connect(fd, sockaddr(v4, e.Port()))
		}, Do: func(e *Env) error { return fails(unix.Write(e.Passed(0), []byte("x"))) },
			NotCovered: map[string]string{"*": "a connection that was there before the policy goes on, unless the rule has revoke"}},
		{ID: "connected-before-tcp", Description: "write(2), TCP, on a connection from before the policy", Setup: func(e *Env) error {
			must(listen(tcp4, v4)(e))
			fd := tcp4.socket()
			e.PassFD(fd)
			return connect(fd, sockaddr(v4, e.Port()))
		}, Do: func(e *Env) error { return fails(unix.Write(e.Passed(0), []byte("x"))) },
			NotCovered: map[string]string{"*": "a connection that was there before the policy goes on, unless the rule has revoke"}},
		{ID: "udplite4-connect", Needs: []string{"udplite"}, Description: "connect(2), UDP-Lite", Do: connectTo(lite4, v4)},
		{ID: "udplite4-sendto", Needs: []string{"udplite"}, Description: "sendto(2), UDP-Lite", Setup: listenLite, Do: to(lite4, v4)},
		{ID: "udplite6-sendto", Needs: []string{"udplite"}, Description: "sendto(2), UDP-Lite, IPv6", Setup: listenLite, Do: to(lite6, v6)},
		{ID: "io-uring-sendmsg", Needs: []string{"io_uring"}, Description: "sendmsg through io_uring, UDP", Setup: udp, Do: func(e *Env) error {
			m := newMessage(sockaddr(v4, e.Port()))
			return fails(ring(sqe{op: uringOpSendmsg, fd: udp4.socket(), addr: uint64(ptr(&m.hdr)), len: 1, keep: m}))
		}},
		{ID: "io-uring-sendmsg-async", Needs: []string{"io_uring"}, Description: "sendmsg through io_uring, UDP, by a worker thread", Setup: udp, Do: func(e *Env) error {
			m := newMessage(sockaddr(v4, e.Port()))
			return fails(ring(sqe{op: uringOpSendmsg, flags: sqeAsync, fd: udp4.socket(), addr: uint64(ptr(&m.hdr)), len: 1, keep: m}))
		}},
		{ID: "io-uring-send", Needs: []string{"io_uring_sendto"}, Description: "send with an address through io_uring, UDP", Setup: udp, Do: uringSend(uringOpSend)},
		{ID: "io-uring-send-zc", Needs: []string{"io_uring_sendto"}, Description: "zero-copy send with an address through io_uring, UDP", Setup: udp, Do: uringSend(uringOpSendZC)},
		{ID: "ia32-sendto", Needs: []string{"ia32"}, Description: "socketcall(2), SYS_SENDTO, through int 0x80", Setup: udp, Do: func(e *Env) error {
			sa, data := sockaddr(v4, e.Port()), []byte("coverage")
			return int80(102, 11, lowWords(uint32(udp4.socket()), low(data), uint32(len(data)), 0, low(sa), uint32(len(sa))), 0)
		}},
	}
}

func listenLite(e *Env) error { return listen(lite6, "::")(e) }

func uringSend(op uint8) func(*Env) error {
	return func(e *Env) error {
		sa, data := sockaddr(v4, e.Port()), []byte("coverage")
		return fails(ring(sqe{
			op: op, fd: udp4.socket(), addr: uint64(ptr(&data[0])), len: uint32(len(data)), off: uint64(ptr(&sa[0])), addrLen: uint16(len(sa)),
			keep: data, keep2: sa,
		}))
	}
}

// connectOtherWays connect in other circumstances, and where there are no ports.
func connectOtherWays() []Way {
	accept := listen(tcp4, "0.0.0.0")
	udp := listen(udp4, "0.0.0.0")
	tcp := func(e *Env) []byte { return sockaddr(e.Dest(), e.Port()) }
	noPort := func(e *Env) []byte { return sockaddr(e.Dest(), 0) }
	return []Way{
		{ID: "namespace", Description: "connect(2), TCP, in a network namespace of the actor's own", Do: func(e *Env) error {
			ownNetwork()
			fd := tcp4.socket()
			must(bind(fd, tcp(e)))
			must(unix.Listen(fd, 1))
			return connect(tcp4.socket(), tcp(e))
		}},
		{ID: "user-namespace", Description: "connect(2), TCP, in a user namespace of the actor's own", Setup: accept, Do: func(e *Env) error {
			return inUserNamespace(e, "connect", fmt.Sprint(e.Port()))
		}},
		{ID: "inherited", Description: "connect(2) of a socket from before the policy", Setup: func(e *Env) error {
			must(accept(e))
			e.PassFD(tcp4.socket())
			return nil
		}, Do: func(e *Env) error { return connect(e.Passed(0), tcp(e)) }},
		{ID: "received", Description: "connect(2) of a socket that another process sent", Setup: func(e *Env) error {
			must(accept(e))
			fd := tcp4.socket()
			defer unix.Close(fd)
			return sendFD(e, fd)
		}, Do: func(e *Env) error { return connect(need(receiveFile(e.Passed(0))), tcp(e)) }},
		{ID: "dup", Description: "connect(2) of a duplicate descriptor", Setup: accept, Do: func(e *Env) error { return connect(need(unix.Dup(tcp4.socket())), tcp(e)) }},
		{ID: "thread", Description: "connect(2) in another thread", Setup: accept, Do: func(e *Env) error {
			return inThread(func() error { return connect(tcp4.socket(), tcp(e)) })
		}},
		{ID: "child", Description: "connect(2) in a forked child", Setup: accept, Do: func(e *Env) error {
			fd, sa := uintptr(tcp4.socket()), tcp(e)
			return forked(0, step{unix.SYS_CONNECT, fd, ptr(&sa[0]), uintptr(len(sa))})
		}},
		{ID: "descendant", Description: "connect(2) in another program that the actor started", Setup: accept, Do: func(e *Env) error {
			return asCopy(e.Path("child"), "connect", fmt.Sprint(e.Port()))
		}},
		{ID: "long-sockaddr", Description: "connect(2) with a longer socket address than needed", Setup: accept, Do: func(e *Env) error {
			return connect(tcp4.socket(), append(tcp(e), make([]byte, 64)...))
		}},
		{ID: "packet-socket", Description: "a whole UDP packet by a packet socket (AF_PACKET)", Setup: udp, Do: sendFrame,
			NotCovered: map[string]string{"*": "the packet has no socket address; it takes CAP_NET_RAW"}},
		{ID: "raw-udp", Description: "a whole UDP packet by a raw socket (IP_HDRINCL)", Setup: udp, Do: func(e *Env) error {
			fd := need(unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW))
			return sendto(fd, sockaddr(v4, 0), 0, udpPacket(v4, e.Port())...)
		}, NotCovered: map[string]string{"*": "a raw socket has no port; it takes CAP_NET_RAW. Rules with addresses apply"}},
		{ID: "address-tcp", Object: "address", Description: "connect(2), TCP, a forbidden address", Setup: accept, Do: func(e *Env) error { return connect(tcp4.socket(), tcp(e)) }},
		{ID: "address-mapped", Object: "address", Description: "connect(2), TCP, a forbidden address, v4-mapped", Setup: accept, Do: func(e *Env) error {
			return connect(tcp6.socket(), sockaddr(e.Dest6(), e.Port()))
		}},
		{ID: "address-udp", Object: "address", Description: "connect(2), UDP, a forbidden address", Do: func(e *Env) error { return connect(udp4.socket(), tcp(e)) }},
		{ID: "address-sendto", Object: "address", Description: "sendto(2), UDP, a forbidden address", Setup: udp, Do: func(e *Env) error { return sendto(udp4.socket(), tcp(e), 0) }},
		{ID: "address-sctp-connectx", Object: "address", Needs: []string{"sctp"}, Description: "sctp_connectx(3), a forbidden address behind a permitted one", Setup: listen(sctp4, "0.0.0.0"), Do: func(e *Env) error {
			return connected(sctpOption(sctp4.socket(), sctpConnectx, sctpAddresses(e.Port(), v4, e.Dest())))
		}},
		{ID: "address-raw-connect", Object: "address", Description: "connect(2), a raw socket", Do: func(e *Env) error { return connect(raw4.socket(), noPort(e)) }},
		{ID: "address-raw-sendto", Object: "address", Description: "sendto(2), a raw socket", Do: func(e *Env) error { return sendto(raw4.socket(), noPort(e), 0) }},
		{ID: "address-raw-sendmsg", Object: "address", Description: "sendmsg(2), a raw socket", Do: func(e *Env) error { return sendmsg(raw4.socket(), noPort(e), 0) }},
		{ID: "address-raw-unspec", Object: "address", Description: "sendto(2), a raw socket, AF_UNSPEC in the address", Do: func(e *Env) error {
			return sendto(raw4.socket(), sockaddr(e.Dest(), 0, unix.AF_UNSPEC), 0)
		}},
		{ID: "address-hdrincl", Object: "address", Description: "sendto(2), a raw socket with IP_HDRINCL", Do: func(e *Env) error {
			fd := need(unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW))
			return sendto(fd, noPort(e), 0, udpPacket(e.Dest(), e.Port())...)
		}},
		{ID: "address-hdrincl-forged", Object: "address", Description: "a raw socket with IP_HDRINCL: a permitted address given, the forbidden one in the packet", Do: func(e *Env) error {
			fd := need(unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW))
			return sendto(fd, sockaddr(v4, 0), 0, udpPacket(e.Dest(), e.Port())...)
		}, NotCovered: map[string]string{"*": "the packet's own header is not looked into; it takes CAP_NET_RAW"}},
		{ID: "address-ping-connect", Object: "address", Description: "connect(2), a ping socket", Setup: allowPing, Do: func(e *Env) error { return connect(ping4.socket(), noPort(e)) }},
		{ID: "address-ping-sendto", Object: "address", Description: "sendto(2), a ping socket", Setup: allowPing, Do: func(e *Env) error {
			return sendto(ping4.socket(), noPort(e), 0, 8, 0, 0, 0, 0, 0, 0, 1)
		}},
		{ID: "address-l2tp-connect", Object: "address", Needs: []string{"l2tp"}, Description: "connect(2), an L2TP/IP socket", Do: func(e *Env) error {
			fd := l2tp4.socket()
			// A connection needs a bound socket, and every one has to have a connection id.
			must(bind(fd, sockaddrL2TP("127.0.0.5", uint32(e.Port()))))
			return connect(fd, sockaddrL2TP(e.Dest(), 2))
		}},
		{ID: "protocol-udp-connect", Object: "protocol", Description: "connect(2), UDP, a port that is forbidden for UDP", Setup: accept, Do: connectTo(udp4, v4), Bystander: func(e *Env) error {
			return connect(tcp4.socket(), tcp(e))
		}},
		{ID: "protocol-udp-sendto", Object: "protocol", Description: "sendto(2), UDP, a port that is forbidden for UDP", Setup: func(e *Env) error {
			must(udp(e))
			return accept(e)
		}, Do: func(e *Env) error { return sendto(udp4.socket(), tcp(e), 0) }, Bystander: func(e *Env) error { return connect(tcp4.socket(), tcp(e)) }},
	}
}

// udpPacket is an IPv4 packet with an empty UDP datagram. The kernel fills in the checksum and the source.
func udpPacket(destination string, port int) []byte {
	b := make([]byte, 28)
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[12:], []byte{127, 0, 0, 1})
	a := netip.MustParseAddr(destination).As4()
	copy(b[16:], a[:])
	binary.BigEndian.PutUint16(b[20:], 9)
	binary.BigEndian.PutUint16(b[22:], uint16(port))
	binary.BigEndian.PutUint16(b[24:], 8)
	return b
}

// sendFrame sends below IP, on the loopback interface.
func sendFrame(e *Env) error {
	const ipProtocol = 0x0008 // ETH_P_IP in network order
	fd := need(unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
	return unix.Sendto(fd, udpPacket(v4, e.Port()), 0, &unix.SockaddrLinklayer{Ifindex: 1, Protocol: ipProtocol, Halen: 6})
}

func errandConnect(a []string) error {
	var port int
	must(fails(fmt.Sscan(a[0], &port)))
	return connect(tcp4.socket(), sockaddr(v4, port))
}
