package coverage

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sockets that were connected or bound before the policy came, which the rule's revoke forbids to use. The object is "open".

// openWay makes a way of what is done with the first socket that setup passes on.
func openWay(id, description string, setup func(*Env) error, do func(fd int) error) Way {
	return Way{ID: "open-" + id, Object: "open", Description: "open before the policy: " + description, Setup: setup, Do: func(e *Env) error { return do(e.Passed(0)) }}
}

func needing(feature string, w Way) Way {
	w.Needs = append(w.Needs, feature)
	return w
}

// inside marks a way of SMC, whose address and port are those of a socket inside.
func inside(w Way) Way {
	w.NotCovered = map[string]string{"*": "the hook does not see the address and port of SMC's inner socket; rules about every address and port hold"}
	return w
}

// connection connects a socket of the kind to the way's port, hands it over, and lets the other end send something.
func connection(k kind, address string) func(*Env) error {
	return func(e *Env) error {
		listener := k.socket()
		e.Defer(func() { unix.Close(listener) })
		must(bind(listener, sockaddr(address, e.Port())))
		fd := k.socket()
		if k.typ == unix.SOCK_DGRAM {
			// The other end sends to where the socket is, so that has to be known.
			must(bind(fd, sockaddr(address, 0)))
			must(connect(fd, sockaddr(address, e.Port())))
			must(connect(listener, name(fd)))
			e.PassFD(fd)
			return fails(unix.Write(listener, []byte("coverage")))
		}
		must(unix.Listen(listener, 1))
		must(connect(fd, sockaddr(address, e.Port())))
		e.PassFD(fd)
		accepted := need(call(unix.SYS_ACCEPT4, uintptr(listener), 0, 0, unix.SOCK_CLOEXEC))
		e.Defer(func() { unix.Close(accepted) })
		return fails(unix.Write(accepted, []byte("coverage")))
	}
}

// accepted is a connection that comes from the way's port.
func accepted(e *Env) error {
	listener, peer := tcp4.socket(), tcp4.socket()
	defer unix.Close(listener)
	e.Defer(func() { unix.Close(peer) })
	must(bind(listener, sockaddr(v4, 0)))
	must(unix.Listen(listener, 1))
	must(bind(peer, sockaddr(v4, e.Port())))
	must(connect(peer, name(listener)))
	e.PassFD(need(call(unix.SYS_ACCEPT4, uintptr(listener), 0, 0, unix.SOCK_CLOEXEC)))
	return fails(unix.Write(peer, []byte("coverage")))
}

// waiting binds a socket of the kind to the way's port, hands it over, and has somebody connect or send to it.
func waiting(k kind, address string) func(*Env) error {
	return func(e *Env) error {
		fd, peer := k.socket(), k.socket()
		e.PassFD(fd)
		e.Defer(func() { unix.Close(peer) })
		must(bind(fd, sockaddr(address, e.Port())))
		if k.typ == unix.SOCK_DGRAM {
			return sendto(peer, sockaddr(address, e.Port()), 0)
		}
		must(unix.Listen(fd, 1))
		return connect(peer, sockaddr(address, e.Port()))
	}
}

// name returns the address that a socket has.
func name(fd int) []byte {
	sa := make([]byte, 28)
	length := uint32(len(sa))
	must(fails(call(unix.SYS_GETSOCKNAME, uintptr(fd), ptr(&sa[0]), ptr(&length))))
	return sa[:length]
}

func recvfrom(fd, flags int) error {
	b := make([]byte, 16)
	return fails(call(unix.SYS_RECVFROM, uintptr(fd), ptr(&b[0]), uintptr(len(b)), uintptr(flags), 0, 0))
}

func recvmsg(fd, flags int) error {
	m := newMessage(nil)
	return fails(call(unix.SYS_RECVMSG, uintptr(fd), ptr(&m.hdr), uintptr(flags)))
}

func sendNothing(fd int) error { return sendmsg(fd, nil, 0) }

func readSocket(fd int) error { return fails(unix.Read(fd, make([]byte, 16))) }

func writeSocket(fd int) error { return fails(unix.Write(fd, []byte("coverage"))) }

// spliceFrom moves what a socket received into a pipe.
func spliceFrom(fd int) error {
	var p [2]int
	must(unix.Pipe2(p[:], unix.O_CLOEXEC))
	return fails(unix.Splice(fd, nil, p[1], nil, 16, 0))
}

// buffered is an operation of io_uring with a buffer.
func buffered(op, flags uint8) func(int) error {
	return func(fd int) error {
		data := append(make([]byte, 0, 16), "coverage"...) // the kernel writes into it, too
		return fails(ring(sqe{op: op, flags: flags, fd: fd, addr: uint64(ptr(&data[0])), len: uint32(len(data)), keep: data}))
	}
}

// zeroCopy receives by mapping what has come.
func zeroCopy(fd int) error {
	const tcpZerocopyReceive = 35
	mapped := need(unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED))
	receive := struct {
		address      uint64
		length, hint uint32
	}{uint64(uintptr(unsafe.Pointer(&mapped[0]))), 4096, 0}
	size := uint32(unsafe.Sizeof(receive))
	return fails(call(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_TCP, tcpZerocopyReceive, ptr(&receive), ptr(&size)))
}

func openConnectWays() []Way {
	tcp, udp := connection(tcp4, v4), connection(udp4, v4)
	return []Way{
		openWay("tcp4-write", "write(2), TCP", tcp, writeSocket),
		openWay("tcp4-writev", "writev(2), TCP", tcp, func(fd int) error { return fails(unix.Writev(fd, [][]byte{[]byte("coverage")})) }),
		openWay("tcp4-send", "send(2), TCP", tcp, func(fd int) error {
			return fails(call(unix.SYS_SENDTO, uintptr(fd), ptr(&[]byte("coverage")[0]), 8, 0, 0, 0))
		}),
		openWay("tcp4-sendmsg", "sendmsg(2), TCP", tcp, sendNothing),
		openWay("tcp4-sendmmsg", "sendmmsg(2), TCP", tcp, func(fd int) error { return sendmmsg(fd, nil) }),
		openWay("tcp4-sendto", "sendto(2), TCP, with a permitted address, which does not count", tcp, func(fd int) error {
			return sendto(fd, sockaddr("127.0.0.9", 9999), 0)
		}),
		openWay("tcp4-oob", "send(2), TCP, MSG_OOB", tcp, func(fd int) error { return sendmsg(fd, nil, unix.MSG_OOB) }),
		openWay("tcp4-zerocopy", "sendmsg(2), TCP, MSG_ZEROCOPY", tcp, func(fd int) error {
			must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1))
			return sendmsg(fd, nil, unix.MSG_ZEROCOPY)
		}),
		openWay("tcp4-sendfile", "sendfile(2), TCP", tcp, func(fd int) error {
			return fails(unix.Sendfile(fd, need(unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)), nil, 16))
		}),
		openWay("tcp4-splice", "splice(2) to it, TCP", tcp, func(fd int) error {
			var p [2]int
			must(unix.Pipe2(p[:], unix.O_CLOEXEC))
			must(writeSocket(p[1]))
			return fails(unix.Splice(p[0], nil, fd, nil, 8, 0))
		}),
		openWay("tcp4-read", "read(2), TCP", tcp, readSocket),
		openWay("tcp4-recv", "recv(2), TCP", tcp, func(fd int) error { return recvfrom(fd, 0) }),
		openWay("tcp4-peek", "recv(2), TCP, MSG_PEEK", tcp, func(fd int) error { return recvfrom(fd, unix.MSG_PEEK) }),
		openWay("tcp4-recvmsg", "recvmsg(2), TCP", tcp, func(fd int) error { return recvmsg(fd, 0) }),
		openWay("tcp4-splice-from", "splice(2) from it, TCP", tcp, spliceFrom),
		openWay("tcp4-zerocopy-receive", "getsockopt(2), TCP_ZEROCOPY_RECEIVE", tcp, zeroCopy),
		openWay("tcp4-dup", "dup(2), then write(2), TCP", tcp, func(fd int) error { return writeSocket(need(unix.Dup(fd))) }),
		openWay("tcp4-thread", "write(2) in another thread, TCP", tcp, func(fd int) error { return inThread(func() error { return writeSocket(fd) }) }),
		openWay("tcp4-child", "write(2) in a forked child, TCP", tcp, func(fd int) error {
			b := []byte("coverage")
			return forked(0, step{unix.SYS_WRITE, uintptr(fd), ptr(&b[0]), uintptr(len(b))})
		}),
		openWay("accepted-write", "write(2), TCP, a connection that was accepted", accepted, writeSocket),
		openWay("accepted-read", "read(2), TCP, a connection that was accepted", accepted, readSocket),
		openWay("tcp6-write", "write(2), TCP, IPv6", connection(tcp6, v6), writeSocket),
		openWay("tcp6-read", "read(2), TCP, IPv6", connection(tcp6, v6), readSocket),
		openWay("tcp6-mapped-write", "write(2), TCP, v4-mapped", connection(tcp6, mapped), writeSocket),
		openWay("udp4-write", "write(2), UDP", udp, writeSocket),
		openWay("udp4-sendmsg", "sendmsg(2), UDP", udp, sendNothing),
		openWay("udp4-read", "read(2), UDP", udp, readSocket),
		openWay("udp4-recv", "recv(2), UDP", udp, func(fd int) error { return recvfrom(fd, 0) }),
		openWay("udp6-write", "write(2), UDP, IPv6", connection(udp6, v6), writeSocket),
		openWay("udp6-unspec", "sendto(2), UDP, IPv6, with AF_UNSPEC, which means the peer", connection(udp6, v6), func(fd int) error {
			return sendto(fd, make([]byte, 28), 0)
		}),
		openWay("udp6-mapped-write", "write(2), UDP, v4-mapped", connection(udp6, mapped), writeSocket),
		needing("udplite", openWay("udplite4-write", "write(2), UDP-Lite", connection(lite4, v4), writeSocket)),
		needing("mptcp", openWay("mptcp4-write", "write(2), MPTCP", connection(mptcp4, v4), writeSocket)),
		needing("mptcp", openWay("mptcp4-read", "read(2), MPTCP", connection(mptcp4, v4), readSocket)),
		needing("mptcp", openWay("mptcp6-write", "write(2), MPTCP, IPv6", connection(mptcp6, v6), writeSocket)),
		needing("sctp", openWay("sctp4-write", "write(2), SCTP", connection(sctp4, v4), writeSocket)),
		needing("sctp", openWay("sctp4-read", "read(2), SCTP", connection(sctp4, v4), readSocket)),
		needing("sctp", openWay("sctp6-write", "write(2), SCTP, IPv6", connection(sctp6, v6), writeSocket)),
		needing("smc", openWay("smc4-write", "write(2), SMC that fell back to TCP", connection(smc4, v4), writeSocket)),
		needing("io_uring", openWay("io-uring-send", "send through io_uring, TCP", tcp, buffered(uringOpSend, 0))),
		needing("io_uring", openWay("io-uring-send-async", "send through io_uring, TCP, by a worker thread", tcp, buffered(uringOpSend, sqeAsync))),
		needing("io_uring", openWay("io-uring-write", "write through io_uring, TCP", tcp, buffered(uringOpWrite, 0))),
		needing("io_uring_sendto", openWay("io-uring-send-zc", "zero-copy send through io_uring, TCP", tcp, buffered(uringOpSendZC, 0))),
		needing("io_uring", openWay("io-uring-recv", "recv through io_uring, TCP", tcp, buffered(uringOpRecv, 0))),
		needing("io_uring", openWay("io-uring-read", "read through io_uring, TCP", tcp, buffered(uringOpRead, 0))),
		needing("ia32", openWay("ia32-send", "socketcall(2), SYS_SEND, through int 0x80", tcp, func(fd int) error {
			data := []byte("coverage")
			return int80(102, 9, lowWords(uint32(fd), low(data), uint32(len(data)), 0), 0)
		})),
	}
}

func openBindWays() []Way {
	accept := func(fd int) error { return closed(call(unix.SYS_ACCEPT, uintptr(fd), 0, 0)) }
	udp, tcp := waiting(udp4, v4), waiting(tcp4, v4)
	return []Way{
		openWay("tcp4-accept", "accept(2), TCP", tcp, accept),
		openWay("tcp4-accept4", "accept4(2), TCP", tcp, func(fd int) error {
			return closed(call(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_CLOEXEC))
		}),
		openWay("tcp6-accept", "accept(2), TCP, IPv6", waiting(tcp6, v6), accept),
		openWay("tcp6-mapped-accept", "accept(2), TCP, v4-mapped", waiting(tcp6, mapped), accept),
		needing("mptcp", openWay("mptcp4-accept", "accept(2), MPTCP", waiting(mptcp4, v4), accept)),
		needing("sctp", openWay("sctp4-accept", "accept(2), SCTP", waiting(sctp4, v4), accept)),
		needing("smc", inside(openWay("smc4-accept", "accept(2), SMC", waiting(smc4, v4), accept))),
		needing("io_uring", openWay("io-uring-accept", "accept through io_uring", tcp, func(fd int) error {
			return closed(ring(sqe{op: uringOpAccept, fd: fd}))
		})),
		openWay("udp4-read", "read(2), UDP", udp, readSocket),
		openWay("udp4-recv", "recv(2), UDP", udp, func(fd int) error { return recvfrom(fd, 0) }),
		openWay("udp4-recvmsg", "recvmsg(2), UDP", udp, func(fd int) error { return recvmsg(fd, 0) }),
		openWay("udp4-recvmmsg", "recvmmsg(2), UDP", udp, func(fd int) error {
			vector := struct {
				hdr unix.Msghdr
				_   [8]byte
			}{hdr: newMessage(nil).hdr}
			return fails(call(unix.SYS_RECVMMSG, uintptr(fd), ptr(&vector), 1, 0, 0))
		}),
		openWay("udp6-read", "read(2), UDP, IPv6", waiting(udp6, v6), readSocket),
		openWay("udp6-mapped-read", "read(2), UDP, v4-mapped", waiting(udp6, mapped), readSocket),
		needing("io_uring", openWay("io-uring-recv", "recv through io_uring, UDP", udp, buffered(uringOpRecv, 0))),
		needing("ia32", openWay("ia32-recv", "socketcall(2), SYS_RECV, through int 0x80", udp, func(fd int) error {
			return int80(102, 10, lowWords(uint32(fd), low(make([]byte, 16)), 16, 0), 0)
		})),
	}
}
