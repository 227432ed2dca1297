package ebpfguard

import (
	"encoding/json"
	"net/netip"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/policy"
)

// SocketBind is a policy for the operation socket_bind: a socket takes a local
// address and port. docs/hooks.md lists the ways to do so that are judged.
type SocketBind struct {
	// Name identifies the policy; when it is empty, [Hook.AddPolicy] chooses
	// one.
	Name string
	// Mode is [policy.ModeEnforce] if zero.
	Mode policy.Mode
	// Subject is required; [Everyone] is every process.
	Subject Subject
	// Allow and Deny select sockets. An empty list selects none.
	Allow, Deny SocketPatterns
	// Message, Severity and Tags are copied into alerts.
	Message  string
	Severity policy.Severity
	Tags     []string
}

// SocketBindAlert tells that a bind was denied or audited.
type SocketBindAlert struct {
	AlertContext
	// Address and Port are those asked for: the unspecified address stands
	// for every address, port 0 for one that the kernel chooses.
	Address netip.Addr
	Port    uint16
	// Protocol is the socket's own, for instance "mptcp", which policies
	// name tcp.
	Protocol string
}

// MarshalJSON returns the alert as docs/alerts.md describes it.
func (a SocketBindAlert) MarshalJSON() ([]byte, error) {
	return a.marshal(struct {
		Address  netip.Addr `json:"address"`
		Port     uint16     `json:"port"`
		Protocol string     `json:"protocol"`
	}{a.Address, a.Port, a.Protocol})
}

// String returns the alert as a line of text.
func (a SocketBindAlert) String() string {
	return a.text(netip.AddrPortFrom(a.Address, a.Port).String() + "/" + a.Protocol)
}

var _ json.Marshaler = SocketBindAlert{}

var socketBind = operation{
	name: policy.SocketBind,
	id:   bpf.OperationSocketBind,
	hooks: []hook{
		{name: "socket_bind", effect: "bind(2), io_uring bind"},
		{name: "socket_listen", effect: "listen(2), with and without bind"},
		{name: "sctp_bind_connect", effect: "sctp_bindx(3)", optional: true},
	},
	alert: func(c AlertContext, record *bpf.Alert) Alert {
		s := record.Socket
		return SocketBindAlert{
			AlertContext: c,
			Address:      netip.AddrFrom16(s.Address).Unmap(),
			Port:         s.Port,
			Protocol:     protocolName(s),
		}
	},
}

// AttachSocketBind loads and attaches what enforces socket_bind. Everything is
// allowed until a policy is added.
func (m *Manager) AttachSocketBind() (*Hook[SocketBind, SocketBindAlert], error) {
	return attach[SocketBind, SocketBindAlert](m, &socketBind, SocketBind.policy, func(p policy.Policy, r policy.Rule) SocketBind {
		return SocketBind{
			Name: p.Name, Mode: p.Mode, Subject: Subject(p.Subject),
			Allow: socketPatterns(r.Allow), Deny: socketPatterns(r.Deny),
			Message: r.Message, Severity: r.Severity, Tags: r.Tags,
		}
	})
}

func (p SocketBind) policy() policy.Policy {
	return policy.Policy{
		Name: p.Name, Mode: p.Mode, Subject: policy.Subject(p.Subject),
		Rules: []policy.Rule{{
			Operation: policy.SocketBind,
			Allow:     p.Allow.patterns(), Deny: p.Deny.patterns(),
			Message: p.Message, Severity: p.Severity, Tags: p.Tags,
		}},
	}
}
