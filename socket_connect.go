package ebpfguard

import (
	"github.com/ebpfguard/ebpfguard/policy"
)

// SocketConnect is a policy for the operation socket_connect: a socket connects, or sends to
// an address.
// docs/hooks.md lists the ways to do so that are judged.
type SocketConnect Rule[policy.SocketPattern]

// SocketConnectAlert tells that a connection or datagram was denied or audited.
type SocketConnectAlert struct {
	AlertContext
	SocketObject // Address, Port, Protocol
}

// WithContext returns the alert with another context.
func (a SocketConnectAlert) WithContext(c AlertContext) Alert {
	a.AlertContext = c
	return a
}

// Object returns the SocketObject.
func (a SocketConnectAlert) Object() any { return a.SocketObject }

// MarshalJSON returns the alert as docs/alerts.md describes it.
func (a SocketConnectAlert) MarshalJSON() ([]byte, error) { return a.marshal(a.SocketObject) }

// String returns the alert as a line of text.
func (a SocketConnectAlert) String() string { return a.AlertContext.text(a.SocketObject.text()) }

var socketConnect = operation{
	name: policy.SocketConnect,
	hooks: []hook{
		{name: "socket_connect", effect: "connect(2), io_uring connect"},
		{name: "socket_sendmsg", effect: "sendto(2), sendmsg(2), sendmmsg(2), TCP fast open, io_uring send"},
		{name: "socket_sendmsg", program: "revoke_sendmsg", effect: "sending on a socket that is connected already (rules with revoke)", revoke: true},
		{name: "socket_recvmsg", program: "revoke_recvmsg", effect: "receiving on a socket that is connected already (rules with revoke)", revoke: true},
		{name: "socket_getsockopt", program: "revoke_getsockopt", effect: "TCP_ZEROCOPY_RECEIVE (rules with revoke)", revoke: true},
		{name: "file_permission", program: "revoke_socket", effect: "read(2), write(2), sendfile(2), splice(2) on a socket that is connected already (rules with revoke)", revoke: true},
		{name: "sctp_bind_connect", program: "sctp_connect", effect: "sctp_connectx(3), SCTP association by sending", instead: "the kernel has no SCTP"},
	},
	open: []way{
		{effect: "what is sent on a connection from before the policy", reason: "a rule with revoke: true refuses to send and receive on it"},
		{effect: "addresses in packets that a raw or packet socket writes itself", reason: "no hook looks into packets; sending them needs CAP_NET_RAW"},
		{effect: "further paths that MPTCP opens by itself", reason: "the kernel opens them without asking a hook"},
		{effect: "connections that the kernel makes for a process: mounts over the network (NFS, SMB, 9p, Ceph), network block devices, tunnels (L2TP, PPTP), TIPC's and WireGuard's peers", reason: "the kernel asks no hook about the addresses of its own sockets; forbid the mounts with sb_mount and types, and the rest by CAP_NET_ADMIN"},
	},
	alert: func(c AlertContext, r record) Alert { return SocketConnectAlert{c, socketOf(r.Socket)} },
}

// AttachSocketConnect loads and attaches what enforces socket_connect. Everything is allowed
// until a policy is added. If it is attached already, that and its policies stay as they are, and
// this returns another handle of it, see [Hook].
func (m *Manager) AttachSocketConnect() (*Hook[SocketConnect, SocketConnectAlert], error) {
	return attach[SocketConnect, SocketConnectAlert](m, &socketConnect,
		func(p SocketConnect) policy.Policy { return Rule[policy.SocketPattern](p).policy(policy.SocketConnect) },
		func(p policy.Policy, r policy.Rule) SocketConnect {
			return SocketConnect(ruleOf[policy.SocketPattern](p, r))
		})
}
