//go:build vm

package differential

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// socket adds a socket for a trial and returns the question's object as well.
func (c *comparison) socket() (policy.Socket, guardtest.Action) {
	s := c.r.Socket()
	a := guardtest.Action{Family: unix.AF_INET, Type: unix.SOCK_STREAM, Address: s.Address, Port: s.Port}
	if s.Address.Is6() {
		a.Family = unix.AF_INET6
	}
	if s.Protocol == policy.UDP {
		a.Type = unix.SOCK_DGRAM
	}
	return s, a
}

func (c *comparison) bind(*player) (trial, bool) {
	s, a := c.socket()
	v6only := !s.DualStack && !s.Address.Is4In6()
	if s.Protocol == policy.UDP {
		s.DualStack = true // may still become so (bpf/sockaddr.h, object_finish)
	}
	return trial{what: "bind", asked: []question{{operation: policy.SocketBind, object: s}}, fails: []unix.Errno{unix.EADDRINUSE}, make: func(b *guardtest.Batch) int {
		b.Socket(a, v6only)
		address := a.Sockaddr(a.Address)
		call := b.Call(unix.SYS_BIND, guardtest.OpenedFD, b.Bytes(address), uintptr(len(address)))
		b.Call(unix.SYS_CLOSE, guardtest.OpenedFD)
		return call
	}}, true
}

// unreachable are the errors of addresses that lead nowhere.
var unreachable = []unix.Errno{
	unix.ECONNREFUSED, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EADDRNOTAVAIL, unix.EINVAL, unix.EACCES, unix.EINPROGRESS, unix.EAFNOSUPPORT,
}

func (c *comparison) remote() (policy.Socket, guardtest.Action) {
	s, a := c.socket()
	if s.Address.Unmap().IsUnspecified() && s.Address.Is4In6() {
		s.Address = netip.MustParseAddr("::ffff:127.0.0.1")
	}
	return s, a
}

func (c *comparison) connect(*player) (trial, bool) {
	s, a := c.remote()
	return trial{what: "connect", asked: []question{{operation: policy.SocketConnect, object: s}}, fails: unreachable, make: func(b *guardtest.Batch) int {
		b.Socket(a, false)
		address := a.Sockaddr(a.Address)
		call := b.Call(unix.SYS_CONNECT, guardtest.OpenedFD, b.Bytes(address), uintptr(len(address)))
		b.Call(unix.SYS_CLOSE, guardtest.OpenedFD)
		return call
	}}, true
}

func (c *comparison) send(*player) (trial, bool) {
	s, a := c.remote()
	s.Protocol, a.Type = policy.UDP, unix.SOCK_DGRAM
	return trial{what: "sendto", asked: []question{{operation: policy.SocketConnect, object: s}}, fails: unreachable, make: func(b *guardtest.Batch) int {
		b.Socket(a, false)
		address := a.Sockaddr(a.Address)
		call := b.Call(unix.SYS_SENDTO, guardtest.OpenedFD, b.Text("x"), 1, 0, b.Bytes(address), uintptr(len(address)))
		b.Call(unix.SYS_CLOSE, guardtest.OpenedFD)
		return call
	}}, true
}

// receiveBound receives on a socket that was bound before.
func (c *comparison) receiveBound(*player) (trial, bool) {
	return c.useSocket(policy.SocketBind, choose(c, "receive", "read"))
}

// useConnected uses a socket that was connected before.
func (c *comparison) useConnected(*player) (trial, bool) {
	return c.useSocket(policy.SocketConnect, choose(c, "send", "write", "receive", "read"))
}

func (c *comparison) useSocket(operation policy.Operation, what string) (trial, bool) {
	i := c.r.IntN(len(heldSockets))
	for heldSockets[i].bound != (operation == policy.SocketBind) {
		i = c.r.IntN(len(heldSockets))
	}
	asked := []question{{operation: operation, object: heldSockets[i].socket, held: true}}
	fails := append([]unix.Errno{unix.EAGAIN}, unreachable...)
	return trial{what: what + " on an open socket", asked: asked, fails: fails, make: func(b *guardtest.Batch) int {
		fd := uintptr(firstSocketFD + i)
		switch what {
		case "send":
			return b.Call(unix.SYS_SENDTO, fd, b.Text("x"), 1, 0, 0, 0)
		case "write":
			return b.Call(unix.SYS_WRITE, fd, b.Text("x"), 1)
		case "receive":
			return b.Call(unix.SYS_RECVFROM, fd, b.Bytes(make([]byte, 8)), 8, 0, 0, 0)
		}
		return b.Call(unix.SYS_READ, fd, b.Bytes(make([]byte, 8)), 8)
	}}, true
}
