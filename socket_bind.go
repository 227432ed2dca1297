package ebpfguard

import (
	"github.com/ebpfguard/ebpfguard/policy"
)

// SocketBind is a policy for the operation socket_bind: a socket takes a local address
// and port.
// docs/hooks.md lists the ways to do so that are judged.
type SocketBind Rule[policy.SocketPattern]

// SocketBindAlert tells that a bind was denied or audited.
type SocketBindAlert struct {
	AlertContext
	SocketObject // Address, Port, Protocol
}

// WithContext returns the alert with another context.
func (a SocketBindAlert) WithContext(c AlertContext) Alert {
	a.AlertContext = c
	return a
}

// Object returns the SocketObject.
func (a SocketBindAlert) Object() any { return a.SocketObject }

// MarshalJSON returns the alert as docs/alerts.md describes it.
func (a SocketBindAlert) MarshalJSON() ([]byte, error) { return a.marshal(a.SocketObject) }

// String returns the alert as a line of text.
func (a SocketBindAlert) String() string { return a.AlertContext.text(a.SocketObject.text()) }

var socketBind = operation{
	name: policy.SocketBind,
	hooks: []hook{
		{name: "socket_bind", effect: "bind(2), io_uring bind"},
		{name: "socket_listen", effect: "listen(2), with and without bind"},
		{name: "sctp_bind_connect", effect: "sctp_bindx(3)", instead: "the kernel has no SCTP"},
		{name: "socket_accept", program: "revoke_accept", effect: "accept(2) on a socket that is bound already (rules with revoke)", revoke: true},
		{name: "socket_recvmsg", program: "revoke_recvmsg", effect: "receiving on a socket that is bound already (rules with revoke)", revoke: true},
		{name: "file_permission", program: "revoke_socket", effect: "read(2), splice(2) on a socket that is bound already (rules with revoke)", revoke: true},
	},
	open: []way{
		{effect: "the port that a socket gets which connects or sends without bind", reason: "no kernel has an LSM hook for it; socket_connect judges the sending"},
	},
	alert: func(c AlertContext, r record) Alert { return SocketBindAlert{c, socketOf(r.Socket)} },
}

// AttachSocketBind loads and attaches what enforces socket_bind. Everything is allowed
// until a policy is added. If it is attached already, that and its policies stay as they are, and
// this returns another handle of it, see [Hook].
func (m *Manager) AttachSocketBind() (*Hook[SocketBind, SocketBindAlert], error) {
	return attach[SocketBind, SocketBindAlert](m, &socketBind,
		func(p SocketBind) policy.Policy { return Rule[policy.SocketPattern](p).policy(policy.SocketBind) },
		func(p policy.Policy, r policy.Rule) SocketBind { return SocketBind(ruleOf[policy.SocketPattern](p, r)) })
}
