// Package policy holds the model of a policy, its strict YAML form and the
// reference semantics, [Decide]. It is pure Go: it needs no kernel and no
// privileges, and it decides exactly as the kernel programs do.
package policy

import (
	"net/netip"
	"slices"
)

// Operation names what a process wants to do. Its value is the name of the
// LSM hook that stands for the effect (include/linux/lsm_hook_defs.h in the
// kernel's source); the same name is used in YAML, Go, C and alerts.
type Operation string

// SocketBind is the effect "a socket takes a local address and port", whether
// by bind(2), by listen(2) on a socket without a port or by any other way that
// docs/hooks.md lists.
const SocketBind Operation = "socket_bind"

// Operations returns the operations that this version of ebpfguard enforces.
func Operations() []Operation { return []Operation{SocketBind} }

// Known tells whether this version of ebpfguard enforces the operation.
func (o Operation) Known() bool { return slices.Contains(Operations(), o) }

// Verdict is the outcome of a decision. Verdicts are ordered: a greater one is
// stricter. The zero value is no verdict.
type Verdict uint8

const (
	// Allow lets the operation pass without an alert.
	Allow Verdict = iota + 1
	// Audit lets the operation pass and raises an alert.
	Audit
	// Deny refuses the operation with EPERM and raises an alert.
	Deny
)

// Mode says what a policy does with its denials.
type Mode uint8

const (
	// ModeEnforce refuses what the policy denies. The zero Mode means
	// ModeEnforce as well, so that a forgotten mode fails closed.
	ModeEnforce Mode = iota + 1
	// ModeAudit turns the policy's denials into audits.
	ModeAudit
)

// Policy says what the processes of one subject may not do.
type Policy struct {
	// Name identifies the policy in its set and in alerts: 1 to 253
	// characters out of a-z, 0-9, '-', '.', '_' and '/', first and last a
	// letter or digit.
	Name    string
	Mode    Mode
	Subject Subject
	Rules   []Rule
	// Source tells where the policy was read, as file:line:column; empty
	// for a policy made in Go.
	Source string
}

// Subject selects processes. Exactly one of Everyone and Binaries is set; the
// zero value selects nobody and is refused by [Validate].
type Subject struct {
	// Everyone selects every process.
	Everyone bool
	// Binaries selects the processes whose program was started from one of
	// these absolute, clean paths.
	Binaries []string
}

// Rule is one operation with the objects that are allowed and denied.
type Rule struct {
	Operation Operation
	// Allow and Deny hold patterns of the type that belongs to the operation
	// ([SocketPattern] for socket_bind). An empty list matches nothing.
	Allow []Pattern
	Deny  []Pattern
	// Message, Severity and Tags are copied into the rule's alerts.
	Message  string
	Severity Severity
	Tags     []string
	// Source tells where the rule was read, as file:line:column; empty for a
	// rule made in Go.
	Source string
}

// Severity tells how much a rule's alert matters; it is free for the user to
// choose. The zero value means that the rule names none.
type Severity string

// The severities, least first.
const (
	SeverityInfo     Severity = "info"
	SeverityLow      Severity = "low"
	SeverityMedium   Severity = "medium"
	SeverityHigh     Severity = "high"
	SeverityCritical Severity = "critical"
)

// Pattern selects objects of an operation. The implementations are in this
// package: [SocketPattern].
type Pattern interface {
	// String returns the pattern as flow-style YAML.
	String() string
	// matches tells whether the pattern selects the object and how
	// specifically.
	matches(Object) (Specificity, bool)
	// validate returns what is wrong with the pattern itself.
	validate() error
}

// Object is what an operation acts on. The implementations are in this
// package: [Socket].
type Object interface {
	// String returns the object as a person would write it.
	String() string
}

// PortRange is an inclusive range of ports. Port 0 stands for "a port that the
// kernel chooses".
type PortRange struct{ First, Last uint16 }

// Contains tells whether the port lies in the range.
func (r PortRange) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

// Protocol is a transport protocol as a policy names it.
type Protocol uint8

const (
	// TCP includes what speaks TCP on the wire under another socket
	// protocol: MPTCP, and SMC, which falls back to TCP.
	TCP Protocol = iota + 1
	UDP
	UDPLite
	SCTP
	DCCP
	// ICMP is a "ping" socket (SOCK_DGRAM with IPPROTO_ICMP or
	// IPPROTO_ICMPV6, see icmp(7)). It has no ports.
	ICMP
	// Raw is any SOCK_RAW socket of the internet families. It has no ports.
	Raw
	// OtherProtocol is every other protocol of the internet families. It is
	// judged by patterns that name no protocol.
	OtherProtocol
)

// SocketPattern selects sockets by port, address and protocol. The keys are
// ANDed, the values of one key ORed, an empty key matches everything. The zero
// value is refused by [Validate]; the pattern for everything is
// SocketPattern{All: true}.
type SocketPattern struct {
	// All selects every socket; the other fields must be empty then.
	All bool
	// Ports never matches a socket whose protocol has no ports.
	Ports []PortRange
	// Addresses holds masked prefixes. An IPv4 prefix matches IPv4 and
	// v4-mapped IPv6 addresses, an IPv6 prefix only other IPv6 addresses.
	Addresses []netip.Prefix
	Protocols []Protocol
}

// Socket is the object of socket_bind.
type Socket struct {
	// Address is the local address; a v4-mapped one counts as IPv4. The
	// unspecified address (0.0.0.0 or ::) stands for every address of its
	// family.
	Address netip.Addr
	// Port is the local port. 0 stands for any port of Automatic.
	Port uint16
	// Automatic is the range from which the kernel chooses when Port is 0
	// (net.ipv4.ip_local_port_range, narrowed by IP_LOCAL_PORT_RANGE; see
	// ip(7)). The zero value means [DefaultAutomatic].
	Automatic PortRange
	Protocol  Protocol
	// DualStack says that an IPv6 socket bound to :: takes IPv4 as well
	// (IPV6_V6ONLY is off, see ipv6(7)). It only matters for ::.
	DualStack bool
}

// DefaultAutomatic is the kernel's default for net.ipv4.ip_local_port_range.
var DefaultAutomatic = PortRange{First: 32768, Last: 60999}

// Process is what a decision needs to know of the acting process.
type Process struct {
	// Binary is the absolute path from which the program was started.
	Binary string
	// Unknown says that the process could not be identified: a rule that
	// names a subject may or may not concern it (docs/semantics.md, rule 6).
	Unknown bool
}

// Request is one operation that a process wants to do.
type Request struct {
	Process   Process
	Operation Operation
	Object    Object
}
