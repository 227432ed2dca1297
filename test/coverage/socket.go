package coverage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

const (
	sockDCCP     = 6
	ipprotoSMC   = 256
	ipprotoL2TP  = 115
	smcProtocol6 = 1
	solSCTP      = 132
	sctpBindxAdd = 100
	sctpConnectx = 110
	v4           = "127.0.0.1"
	v6           = "::1"
	mapped       = "::ffff:127.0.0.1"
)

// kind is what a socket is made from.
type kind struct{ family, typ, protocol int }

var (
	tcp4     = kind{unix.AF_INET, unix.SOCK_STREAM, 0}
	tcp6     = kind{unix.AF_INET6, unix.SOCK_STREAM, 0}
	udp4     = kind{unix.AF_INET, unix.SOCK_DGRAM, 0}
	udp6     = kind{unix.AF_INET6, unix.SOCK_DGRAM, 0}
	lite4    = kind{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE}
	lite6    = kind{unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE}
	mptcp4   = kind{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}
	mptcp6   = kind{unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}
	sctp4    = kind{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP}
	sctp6    = kind{unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_SCTP}
	sctpMany = kind{unix.AF_INET, unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP}
	smc4     = kind{unix.AF_SMC, unix.SOCK_STREAM, 0}
	smc6     = kind{unix.AF_SMC, unix.SOCK_STREAM, smcProtocol6}
	smcProto = kind{unix.AF_INET, unix.SOCK_STREAM, ipprotoSMC}
	dccp4    = kind{unix.AF_INET, sockDCCP, unix.IPPROTO_DCCP}
	raw4     = kind{unix.AF_INET, unix.SOCK_RAW, 253}
	raw6     = kind{unix.AF_INET6, unix.SOCK_RAW, 253}
	ping4    = kind{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}
	l2tp4    = kind{unix.AF_INET, unix.SOCK_DGRAM, ipprotoL2TP}
)

// socket makes a socket that may use any address, configured or not, at once.
func (k kind) socket() int {
	fd := need(unix.Socket(k.family, k.typ|unix.SOCK_CLOEXEC, k.protocol))
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1)
	if k.family == unix.AF_INET6 {
		unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
		unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 0)
	}
	return fd
}

// sockaddr is the address as the kernel takes it. A family replaces the address's own.
func sockaddr(address string, port int, family ...int) []byte {
	a := netip.MustParseAddr(address)
	f := unix.AF_INET6
	if a.Is4() {
		f = unix.AF_INET
	}
	if len(family) > 0 {
		f = family[0]
	}
	b := binary.NativeEndian.AppendUint16(nil, uint16(f))
	b = binary.BigEndian.AppendUint16(b, uint16(port))
	if a.Is4() {
		return append(append(b, a.AsSlice()...), make([]byte, 8)...)
	}
	as16 := a.As16()
	b = append(b, 0, 0, 0, 0)
	b = append(b, as16[:]...)
	return append(b, 0, 0, 0, 0)
}

// sockaddrL2TP is an IPv4 address with a connection id in the place of a port.
func sockaddrL2TP(address string, connection uint32) []byte {
	b := sockaddr(address, 0)
	binary.NativeEndian.PutUint32(b[8:], connection)
	return b
}

func bind(fd int, sa []byte) error {
	return fails(call(unix.SYS_BIND, uintptr(fd), ptr(&sa[0]), uintptr(len(sa))))
}

func connect(fd int, sa []byte) error {
	return fails(call(unix.SYS_CONNECT, uintptr(fd), ptr(&sa[0]), uintptr(len(sa))))
}

func sendto(fd int, sa []byte, flags int, data ...byte) error {
	if len(data) == 0 {
		data = []byte("coverage")
	}
	return fails(call(unix.SYS_SENDTO, uintptr(fd), ptr(&data[0]), uintptr(len(data)), uintptr(flags), ptr(&sa[0]), uintptr(len(sa))))
}

// message is a struct msghdr for an address.
type message struct {
	name, data []byte
	iov        unix.Iovec
	hdr        unix.Msghdr
}

func newMessage(sa []byte, control ...byte) *message {
	m := &message{name: sa, data: []byte("coverage")}
	m.iov.Base = &m.data[0]
	m.iov.SetLen(len(m.data))
	m.hdr.Iov = &m.iov
	m.hdr.SetIovlen(1)
	if len(sa) > 0 {
		m.hdr.Name, m.hdr.Namelen = &m.name[0], uint32(len(sa))
	}
	if len(control) > 0 {
		m.hdr.Control = &control[0]
		m.hdr.SetControllen(len(control))
	}
	return m
}

func sendmsg(fd int, sa []byte, flags int, control ...byte) error {
	m := newMessage(sa, control...)
	return fails(call(unix.SYS_SENDMSG, uintptr(fd), ptr(&m.hdr), uintptr(flags)))
}

// sendmmsg sends several messages at once; the address of the last is the one that matters.
func sendmmsg(fd int, addresses ...[]byte) error {
	type mmsghdr struct {
		hdr unix.Msghdr
		_   [8]byte // what the kernel sent, and padding
	}
	vector := make([]mmsghdr, len(addresses))
	var kept []*message
	for i, sa := range addresses {
		m := newMessage(sa)
		kept = append(kept, m)
		vector[i].hdr = m.hdr
	}
	sent, err := call(unix.SYS_SENDMMSG, uintptr(fd), ptr(&vector[0]), uintptr(len(vector)), 0)
	if err != nil {
		return err
	}
	_ = kept
	if sent < len(addresses) {
		// The kernel reports the messages before the refused one, not the refusal; the next call tells.
		return sendmsg(fd, addresses[sent], 0)
	}
	return nil
}

// Dest is the address that a way connects to.
func (e *Env) Dest() string {
	if e.object == "address" {
		return pick(e, "127.0.42.1", "127.0.43.1")
	}
	return v4
}

// Dest6 is the same as an IPv6 address.
func (e *Env) Dest6() string {
	if e.object == "address" {
		return pick(e, "::ffff:127.0.42.1", "::ffff:127.0.43.1")
	}
	return v6
}

// listen has the parent take connections where the way goes.
func listen(k kind, address string) func(*Env) error {
	return func(e *Env) error {
		fd := k.socket()
		e.Defer(func() { unix.Close(fd) })
		if err := bind(fd, sockaddr(address, e.Port())); err != nil {
			return fmt.Errorf("bind the parent's socket: %w", err)
		}
		if k.typ == unix.SOCK_DGRAM || k.typ == unix.SOCK_RAW {
			return nil
		}
		return unix.Listen(fd, 16)
	}
}

// connected makes a connection that is under way a success.
func connected(err error) error {
	if errors.Is(err, unix.EINPROGRESS) || errors.Is(err, unix.EISCONN) { // the latter when it was quick
		return nil
	}
	return err
}

// ownNetwork gives the thread a network namespace with a working loopback interface.
func ownNetwork() {
	must(unix.Unshare(unix.CLONE_NEWNET))
	fd := need(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
	defer unix.Close(fd)
	req := need(unix.NewIfreq("lo"))
	must(unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req))
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	must(unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req))
}

// automaticPort makes a network namespace whose only automatic port is the way's.
func automaticPort(e *Env) {
	ownNetwork()
	// The file is about the network namespace of the thread that opens it.
	must(os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", fmt.Appendf(nil, "%d %d", e.Port(), e.Port()), 0))
}

// allowPing lets the actor's group have ping sockets.
func allowPing(*Env) error {
	return os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 2147483647"), 0)
}

// uringAddress is an operation of io_uring about a socket and an address.
func uringAddress(op uint8, flags uint8) func(fd int, sa []byte) error {
	return func(fd int, sa []byte) error {
		return fails(ring(sqe{op: op, flags: flags, fd: fd, addr: uint64(ptr(&sa[0])), off: uint64(len(sa)), keep: sa}))
	}
}

// sctpAddresses packs addresses as the calls of SCTP take them.
func sctpAddresses(port int, addresses ...string) []byte {
	var b []byte
	for _, a := range addresses {
		b = append(b, sockaddr(a, port)...)
	}
	return b
}

func sctpOption(fd, option int, value []byte) error {
	return fails(call(unix.SYS_SETSOCKOPT, uintptr(fd), solSCTP, uintptr(option), ptr(&value[0]), uintptr(len(value))))
}

const ipLocalPortRange = 51

func probeLocalPortRange() string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err.Error()
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, ipLocalPortRange, 0); err != nil {
		return "no IP_LOCAL_PORT_RANGE"
	}
	return ""
}
