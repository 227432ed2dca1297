package coverage

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// bindTo is a way to bind a socket of a kind to an address and the way's port.
func bindTo(k kind, address string, family ...int) func(*Env) error {
	return func(e *Env) error { return bind(k.socket(), sockaddr(address, e.Port(), family...)) }
}

func bindWays() []Way {
	ways := []Way{
		{ID: "tcp4", Description: "bind(2), TCP, IPv4", Do: bindTo(tcp4, v4)},
		{ID: "tcp4-any", Description: "bind(2), TCP, 0.0.0.0", Do: bindTo(tcp4, "0.0.0.0")},
		{ID: "tcp4-listen", Description: "bind(2) and listen(2), TCP, IPv4", Do: func(e *Env) error {
			fd := tcp4.socket()
			if err := bind(fd, sockaddr(v4, e.Port())); err != nil {
				return err
			}
			return unix.Listen(fd, 1)
		}},
		{ID: "tcp6", Description: "bind(2), TCP, IPv6", Do: bindTo(tcp6, v6)},
		{ID: "tcp6-any", Description: "bind(2), TCP, ::", Do: bindTo(tcp6, "::")},
		{ID: "tcp6-mapped", Description: "bind(2), TCP, v4-mapped", Do: bindTo(tcp6, mapped)},
		{ID: "tcp6-mapped-any", Description: "bind(2), TCP, ::ffff:0.0.0.0", Do: bindTo(tcp6, "::ffff:0.0.0.0")},
		{ID: "udp4", Description: "bind(2), UDP, IPv4", Do: bindTo(udp4, v4)},
		{ID: "udp4-any", Description: "bind(2), UDP, 0.0.0.0", Do: bindTo(udp4, "0.0.0.0")},
		{ID: "udp6", Description: "bind(2), UDP, IPv6", Do: bindTo(udp6, v6)},
		{ID: "udp6-any", Description: "bind(2), UDP, ::", Do: bindTo(udp6, "::")},
		{ID: "udp6-mapped", Description: "bind(2), UDP, v4-mapped", Do: bindTo(udp6, mapped)},
		{ID: "unspec", Description: "bind(2), TCP, AF_UNSPEC in the address of 0.0.0.0", Do: bindTo(tcp4, "0.0.0.0", unix.AF_UNSPEC)},
		{ID: "unspec-udp", Description: "bind(2), UDP, AF_UNSPEC in the address of 0.0.0.0", Do: bindTo(udp4, "0.0.0.0", unix.AF_UNSPEC)},
		{ID: "broadcast", Description: "bind(2), UDP, to a multicast address", Do: bindTo(udp4, "224.0.0.1")},
		{ID: "udplite4", Needs: []string{"udplite"}, Description: "bind(2), UDP-Lite, IPv4", Do: bindTo(lite4, v4)},
		{ID: "udplite6", Needs: []string{"udplite"}, Description: "bind(2), UDP-Lite, IPv6", Do: bindTo(lite6, v6)},
		{ID: "mptcp4", Needs: []string{"mptcp"}, Description: "bind(2), MPTCP, IPv4", Do: bindTo(mptcp4, v4)},
		{ID: "mptcp6", Needs: []string{"mptcp"}, Description: "bind(2), MPTCP, IPv6", Do: bindTo(mptcp6, v6)},
		{ID: "mptcp6-mapped", Needs: []string{"mptcp"}, Description: "bind(2), MPTCP, v4-mapped", Do: bindTo(mptcp6, mapped)},
		{ID: "sctp4", Needs: []string{"sctp"}, Description: "bind(2), SCTP, IPv4", Do: bindTo(sctp4, v4)},
		{ID: "sctp6", Needs: []string{"sctp"}, Description: "bind(2), SCTP, IPv6", Do: bindTo(sctp6, v6)},
		{ID: "sctp6-v4", Needs: []string{"sctp"}, Description: "bind(2), SCTP, an IPv4 address on an IPv6 socket", Do: bindTo(sctp6, v4)},
		{ID: "sctp-many", Needs: []string{"sctp"}, Description: "bind(2), SCTP, one-to-many", Do: bindTo(sctpMany, v4)},
		{ID: "sctp-bindx", Needs: []string{"sctp"}, Description: "sctp_bindx(3), one address", Do: func(e *Env) error {
			return sctpOption(sctp4.socket(), sctpBindxAdd, sctpAddresses(e.Port(), v4))
		}},
		{ID: "sctp-bindx-two", Needs: []string{"sctp"}, Description: "sctp_bindx(3), two addresses", Do: func(e *Env) error {
			return sctpOption(sctp4.socket(), sctpBindxAdd, sctpAddresses(e.Port(), v4, "127.0.0.2"))
		}},
		{ID: "sctp-bindx-v6", Needs: []string{"sctp"}, Description: "sctp_bindx(3), IPv6 and IPv4 together", Do: func(e *Env) error {
			return sctpOption(sctp6.socket(), sctpBindxAdd, sctpAddresses(e.Port(), v6, v4))
		}},
		{ID: "smc4", Needs: []string{"smc"}, Description: "bind(2), SMC, IPv4", Do: bindTo(smc4, v4)},
		{ID: "smc6", Needs: []string{"smc"}, Description: "bind(2), SMC, IPv6", Do: bindTo(smc6, v6)},
		{ID: "smc-protocol", Needs: []string{"smc_protocol"}, Description: "bind(2), IPPROTO_SMC", Do: bindTo(smcProto, v4)},
		{ID: "dccp", Needs: []string{"dccp"}, Description: "bind(2), DCCP", Do: bindTo(dccp4, v4)},
		{ID: "freebind", Description: "bind(2), IP_FREEBIND, an address that the machine does not have", Do: bindTo(tcp4, "192.0.2.1")},
		{ID: "transparent", Description: "bind(2), IP_TRANSPARENT, an address that the machine does not have", Do: func(e *Env) error {
			fd := need(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
			must(unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1))
			return bind(fd, sockaddr("192.0.2.2", e.Port()))
		}},
		{ID: "reuseport", Description: "bind(2), SO_REUSEPORT, beside another process's socket", Setup: func(e *Env) error {
			fd := tcp4.socket()
			e.Defer(func() { unix.Close(fd) })
			must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
			return bind(fd, sockaddr(v4, e.Port()))
		}, Do: func(e *Env) error {
			fd := tcp4.socket()
			must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
			return bind(fd, sockaddr(v4, e.Port()))
		}},
		{ID: "bind-to-device", Description: "bind(2), SO_BINDTODEVICE", Do: func(e *Env) error {
			fd := tcp4.socket()
			must(unix.BindToDevice(fd, "lo"))
			return bind(fd, sockaddr(v4, e.Port()))
		}},
		{ID: "io-uring", Needs: []string{"io_uring_bind"}, Description: "bind through io_uring", Do: func(e *Env) error {
			return uringAddress(uringOpBind, 0)(tcp4.socket(), sockaddr(v4, e.Port()))
		}},
		{ID: "io-uring-async", Needs: []string{"io_uring_bind"}, Description: "bind through io_uring, by a worker thread", Do: func(e *Env) error {
			return uringAddress(uringOpBind, sqeAsync)(tcp6.socket(), sockaddr(v6, e.Port()))
		}},
		{ID: "ia32", Needs: []string{"ia32"}, Description: "bind(2) through int 0x80", Do: func(e *Env) error {
			sa := sockaddr(v4, e.Port())
			return int80(361, uint32(tcp4.socket()), low(sa), uint32(len(sa)))
		}},
		{ID: "ia32-socketcall", Needs: []string{"ia32"}, Description: "socketcall(2), SYS_BIND, through int 0x80", Do: func(e *Env) error {
			sa := sockaddr(v4, e.Port())
			return int80(102, 2, lowWords(uint32(tcp4.socket()), low(sa), uint32(len(sa))), 0)
		}},
	}
	return ways
}

// bindOtherWays bind in other circumstances, and other things than ports.
func bindOtherWays() []Way {
	tcp := func(e *Env) []byte { return sockaddr(v4, e.Port()) }
	return []Way{
		{ID: "namespace", Description: "bind(2) in a network namespace of the actor's own", Do: func(e *Env) error {
			ownNetwork()
			return bind(tcp4.socket(), tcp(e))
		}},
		{ID: "user-namespace", Description: "bind(2) in a user namespace of the actor's own", Do: func(e *Env) error {
			return inUserNamespace(e, "bind", fmt.Sprint(e.Port()))
		}},
		{ID: "inherited", Description: "bind(2) of a socket from before the policy", Setup: func(e *Env) error {
			e.PassFD(tcp4.socket())
			return nil
		}, Do: func(e *Env) error { return bind(e.Passed(0), tcp(e)) }},
		{ID: "received", Description: "bind(2) of a socket that another process sent", Setup: func(e *Env) error {
			fd := tcp4.socket()
			defer unix.Close(fd)
			return sendFD(e, fd)
		}, Do: func(e *Env) error { return bind(need(receiveFile(e.Passed(0))), tcp(e)) }},
		{ID: "pidfd-getfd", Needs: []string{"pidfd_getfd"}, Description: "bind(2) of a socket taken from another process", Setup: func(e *Env) error {
			fd := tcp4.socket()
			e.Set("fd", fd)
			e.Defer(func() { unix.Close(fd) })
			return nil
		}, Do: func(e *Env) error {
			return bind(need(unix.PidfdGetfd(need(unix.PidfdOpen(e.Parent, 0)), e.Int("fd"), 0)), tcp(e))
		}},
		{ID: "bound-before-listen", Description: "listen(2) on a socket that was bound before the policy", Setup: func(e *Env) error {
			fd := tcp4.socket()
			e.PassFD(fd)
			return bind(fd, tcp(e))
		}, Do: func(e *Env) error { return unix.Listen(e.Passed(0), 1) }},
		{ID: "bound-before-listen6", Description: "listen(2) on an IPv6 socket that was bound before the policy", Setup: func(e *Env) error {
			fd := tcp6.socket()
			e.PassFD(fd)
			return bind(fd, sockaddr("::", e.Port()))
		}, Do: func(e *Env) error { return unix.Listen(e.Passed(0), 1) }},
		{ID: "thread", Description: "bind(2) in another thread", Do: func(e *Env) error {
			return inThread(func() error { return bind(tcp4.socket(), tcp(e)) })
		}},
		{ID: "child", Description: "bind(2) in a forked child", Do: func(e *Env) error {
			fd, sa := uintptr(tcp4.socket()), tcp(e)
			return forked(0, step{unix.SYS_BIND, fd, ptr(&sa[0]), uintptr(len(sa))})
		}},
		{ID: "descendant", Description: "bind(2) in another program that the actor started", Do: func(e *Env) error {
			return asCopy(e.Path("child"), "bind", fmt.Sprint(e.Port()))
		}},
		{ID: "long-sockaddr", Description: "bind(2) with a longer socket address than needed", Do: func(e *Env) error {
			return bind(tcp4.socket(), append(tcp(e), make([]byte, 64)...))
		}},
		{ID: "sockaddr-race", Description: "bind(2) while another thread changes the port in the socket address", Do: bindRace},
		{ID: "rebound", Description: "bind(2), UDP, after the socket was bound to another port and disconnected", Do: func(e *Env) error {
			fd := udp4.socket()
			must(connect(fd, sockaddr(v4, 9)))
			must(connect(fd, make([]byte, 16))) // AF_UNSPEC
			return bind(fd, tcp(e))
		}},
		{ID: "listen-automatic", Description: "listen(2) without bind: the kernel takes a port from the namespace's range", Do: func(e *Env) error {
			automaticPort(e)
			return unix.Listen(tcp4.socket(), 1)
		}},
		{ID: "listen-automatic-v6", Description: "listen(2) without bind, IPv6", Do: func(e *Env) error {
			automaticPort(e)
			return unix.Listen(tcp6.socket(), 1)
		}},
		{ID: "listen-automatic-mptcp", Needs: []string{"mptcp"}, Description: "listen(2) without bind, MPTCP", Do: func(e *Env) error {
			automaticPort(e)
			return unix.Listen(mptcp4.socket(), 1)
		}},
		{ID: "listen-automatic-sctp", Needs: []string{"sctp"}, Description: "listen(2) without bind, SCTP", Do: func(e *Env) error {
			automaticPort(e)
			return unix.Listen(sctp4.socket(), 1)
		}},
		{ID: "listen-automatic-io-uring", Needs: []string{"io_uring_listen"}, Description: "listen without bind through io_uring", Do: func(e *Env) error {
			automaticPort(e)
			return fails(ring(sqe{op: uringOpListen, fd: tcp4.socket(), len: 1}))
		}},
		{ID: "port-zero", Description: "bind(2) to port 0: the kernel takes a port from the namespace's range", Do: func(e *Env) error {
			automaticPort(e)
			return bind(tcp4.socket(), sockaddr(v4, 0))
		}},
		{ID: "port-zero-udp", Description: "bind(2) to port 0, UDP", Do: func(e *Env) error {
			automaticPort(e)
			return bind(udp6.socket(), sockaddr("::", 0))
		}},
		{ID: "port-zero-late", Description: "bind(2) to port 0 with IP_BIND_ADDRESS_NO_PORT, then listen(2)", Do: func(e *Env) error {
			automaticPort(e)
			fd := tcp4.socket()
			must(unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
			if err := bind(fd, sockaddr(v4, 0)); err != nil {
				return err
			}
			return unix.Listen(fd, 1)
		}},
		{ID: "port-zero-range", Needs: []string{"local_port_range"}, Description: "bind(2) to port 0 with IP_LOCAL_PORT_RANGE", Do: func(e *Env) error {
			automaticPort(e)
			fd := tcp4.socket()
			must(unix.SetsockoptInt(fd, unix.SOL_IP, ipLocalPortRange, e.Port()<<16|e.Port()))
			return bind(fd, sockaddr(v4, 0))
		}},
		{ID: "connect-automatic", Description: "connect(2), UDP, without bind: the kernel takes a port from the namespace's range", Do: func(e *Env) error {
			automaticPort(e)
			return connect(udp4.socket(), sockaddr(v4, 9))
		}, NotCovered: automaticReason},
		{ID: "sendto-automatic", Description: "sendto(2), UDP, without bind", Do: func(e *Env) error {
			automaticPort(e)
			return sendto(udp4.socket(), sockaddr(v4, 9), 0)
		}, NotCovered: automaticReason},
		{ID: "address-tcp4", Object: "address", Description: "bind(2), TCP, a forbidden address", Do: bindAddress(tcp4, "127.0.42.1", "127.0.43.1")},
		{ID: "address-udp4", Object: "address", Description: "bind(2), UDP, a forbidden address", Do: bindAddress(udp4, "127.0.42.1", "127.0.43.1")},
		{ID: "address-tcp6", Object: "address", Description: "bind(2), TCP, a forbidden IPv6 address", Do: bindAddress(tcp6, "fd42::1", "fd43::1")},
		{ID: "address-udp6", Object: "address", Description: "bind(2), UDP, a forbidden IPv6 address", Do: bindAddress(udp6, "fd42::1", "fd43::1")},
		{ID: "address-mapped", Object: "address", Description: "bind(2), TCP, a forbidden address, v4-mapped", Do: bindAddress(tcp6, "::ffff:127.0.42.1", "::ffff:127.0.43.1")},
		{ID: "address-any", Object: "address", Description: "bind(2), TCP, 0.0.0.0, which includes a forbidden address", Do: bindAddress(tcp4, "0.0.0.0", "127.0.43.1")},
		{ID: "address-any6", Object: "address", Description: "bind(2), TCP, ::, which includes a forbidden address", Do: bindAddress(tcp6, "::", "::1")},
		{ID: "address-raw4", Object: "address", Description: "bind(2), a raw socket, a forbidden address", Do: bindAddress(raw4, "127.0.42.1", "127.0.43.1")},
		{ID: "address-raw6", Object: "address", Description: "bind(2), a raw IPv6 socket, a forbidden address", Do: bindAddress(raw6, "fd42::1", "fd43::1")},
		{ID: "address-ping", Object: "address", Setup: allowPing, Description: "bind(2), a ping socket, a forbidden address", Do: bindAddress(ping4, "127.0.42.1", "127.0.43.1")},
		{ID: "address-l2tp", Object: "address", Needs: []string{"l2tp"}, Description: "bind(2), an L2TP/IP socket, a forbidden address", Do: func(e *Env) error {
			return bind(l2tp4.socket(), sockaddrL2TP(e.Dest(), 1))
		}},
		{ID: "address-sctp-bindx", Object: "address", Needs: []string{"sctp"}, Description: "sctp_bindx(3), a forbidden address behind a permitted one", Do: func(e *Env) error {
			return sctpOption(sctp4.socket(), sctpBindxAdd, sctpAddresses(e.Port(), v4, e.Dest()))
		}},
		{ID: "address-sctp-bindx-later", Object: "address", Needs: []string{"sctp"}, Description: "sctp_bindx(3), a forbidden address added to a bound socket", Do: func(e *Env) error {
			fd := sctp4.socket()
			must(bind(fd, sockaddr(v4, e.Port())))
			return sctpOption(fd, sctpBindxAdd, sctpAddresses(e.Port(), e.Dest()))
		}},
		{ID: "protocol-udp", Object: "protocol", Description: "bind(2), UDP, a port that is forbidden for UDP", Do: bindTo(udp4, v4), Bystander: func(e *Env) error {
			return bind(tcp4.socket(), sockaddr(v4, e.Port()))
		}},
		{ID: "protocol-udp6", Object: "protocol", Description: "bind(2), UDP, IPv6, a port that is forbidden for UDP", Do: bindTo(udp6, v6), Bystander: func(e *Env) error {
			return bind(tcp6.socket(), sockaddr(v6, e.Port()))
		}},
	}
}

var automaticReason = map[string]string{"*": "the port of a sender that did not bind is chosen after every hook; socket_connect judges the sending"}

func bindAddress(k kind, forbidden, free string) func(*Env) error {
	return func(e *Env) error {
		port := e.Port()
		if k.typ == unix.SOCK_RAW {
			port = 0
		}
		return bind(k.socket(), sockaddr(pick(e, forbidden, free), port))
	}
}

// bindRace binds again and again while the address in memory changes. The kernel copies it once, before it asks.
func bindRace(e *Env) error {
	sa := sockaddr(v4, e.Port())
	forbidden, permitted := [2]byte(sa[2:4]), [2]byte(sockaddr(v4, 9000+e.Index)[2:4])
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				copy(sa[2:4], permitted[:])
				copy(sa[2:4], forbidden[:])
			}
		}
	}()
	defer close(stop)
	refused := error(unix.EAGAIN)
	for range 2000 {
		fd := tcp4.socket()
		err := bind(fd, sa)
		if err == nil {
			name := need(unix.Getsockname(fd))
			unix.Close(fd)
			if name.(*unix.SockaddrInet4).Port == e.Port() {
				return nil
			}
			continue
		}
		unix.Close(fd)
		refused = err
	}
	return refused
}

func errandBind(a []string) error {
	var port int
	must(fails(fmt.Sscan(a[0], &port)))
	return bind(tcp4.socket(), sockaddr(v4, port))
}
