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

// The operations. Each is an effect, by whatever system call: docs/hooks.md
// lists the hooks that cover it between them.
const (
	// FileOpen: a file is read, written or executed, or the file itself is
	// changed, created, renamed or removed.
	FileOpen Operation = "file_open"
	// BprmCheckSecurity: a program is started.
	BprmCheckSecurity Operation = "bprm_check_security"
	// SbMount: something is mounted, moved, or its propagation changed.
	SbMount Operation = "sb_mount"
	// SbRemount: the options of a mount or filesystem are changed.
	SbRemount Operation = "sb_remount"
	// SbUmount: a mount is removed.
	SbUmount Operation = "sb_umount"
	// TaskFixSetuid: a process changes its identity.
	TaskFixSetuid Operation = "task_fix_setuid"
	// SocketBind: a socket takes a local address and port.
	SocketBind Operation = "socket_bind"
	// SocketConnect: a socket connects, or sends to an address.
	SocketConnect Operation = "socket_connect"
)

// Operations returns the operations that this version of ebpfguard enforces.
func Operations() []Operation {
	return []Operation{FileOpen, BprmCheckSecurity, SbMount, SbRemount, SbUmount, TaskFixSetuid, SocketBind, SocketConnect}
}

// Known reports whether this version of ebpfguard enforces the operation.
func (o Operation) Known() bool { return slices.Contains(Operations(), o) }

// Revokes reports whether rules of the operation may have [Rule.Revoke].
func (o Operation) Revokes() bool {
	return o == FileOpen || o == SocketBind || o == SocketConnect
}

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
	// Kill refuses the operation, raises an alert and kills the process with
	// SIGKILL.
	Kill
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
	Name    string  `json:"name"`
	Mode    Mode    `json:"mode,omitempty"`
	Subject Subject `json:"subject"`
	Rules   []Rule  `json:"rules,omitempty"`
	// Until, if not 0, is when the policy ends: from then on, in nanoseconds of
	// CLOCK_BOOTTIME, its subject selects nobody. The kernel ends it by itself.
	Until uint64 `json:"until,omitempty"`
	// Source tells where the policy was read, as file:line:column; empty
	// for a policy made in Go.
	Source string `json:"source,omitempty"`
}

// Subject selects processes: either Everyone, or those that match every kind
// of selector that is given; the values of one kind are alternatives. The zero
// value selects nobody and is refused by [Validate].
type Subject struct {
	// Everyone selects every process; the other fields must be empty then.
	Everyone bool `json:"everyone,omitempty"`
	// Binaries are path patterns (see [PathPattern]) of the program that the
	// process was started from, or of the script that it runs.
	Binaries []string `json:"binaries,omitempty"`
	// Descendants selects the processes that descend from one of Binaries
	// as well, whatever they have started since.
	Descendants bool `json:"descendants,omitempty"`
	// Users selects by the real user id. Names are resolved by [ResolveNames].
	Users IDs `json:"users,omitzero"`
	// Cgroups are paths of control groups (v2), each with all below it, see
	// [ParseCgroupPattern]. The group counts that the process was in when it
	// started its program.
	Cgroups []string `json:"cgroups,omitempty"`
	// Processes are running processes, each with all that descends from it,
	// whatever they start. One that has ended selects nobody by itself.
	Processes []ProcessID `json:"processes,omitempty"`
}

// Rule is one operation with the objects that are allowed and denied.
type Rule struct {
	Operation Operation `json:"operation"`
	// Allow and Deny hold patterns of the type that belongs to the operation.
	// An empty list matches nothing.
	Allow []Pattern `json:"allow,omitempty"`
	Deny  []Pattern `json:"deny,omitempty"`
	// Verdict is what a match of Deny means: Audit, Deny or Kill. The zero
	// value means Deny, so that a forgotten verdict fails closed.
	Verdict Verdict `json:"verdict,omitempty"`
	// Revoke refuses the use of what is open already, too: for file_open of
	// descriptors, for socket_connect sending and receiving on connected sockets,
	// for socket_bind accepting and receiving on bound ones. Other operations
	// have nothing that stays open.
	Revoke bool `json:"revoke,omitempty"`
	// Message, Severity and Tags are copied into the rule's alerts.
	Message  string   `json:"message,omitempty"`
	Severity Severity `json:"severity,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	// AlertLimit is how many alerts the rule raises a second at most; 0 is no
	// limit. Those above are counted, and what is decided does not depend on it.
	AlertLimit uint32 `json:"alert_limit,omitempty"`
	// Source tells where the rule was read, as file:line:column; empty for a
	// rule made in Go.
	Source string `json:"source,omitempty"`
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
// package: [FilePattern], [ProgramPattern], [MountPattern],
// [CredentialsPattern] and [SocketPattern].
type Pattern interface {
	// String returns the pattern as flow-style YAML.
	String() string
	// matches reports whether the pattern selects the object and how
	// specifically or, if it is not certain, how specifically at most.
	matches(Object) (Specificity, certainty)
	// validate returns what is wrong with the pattern itself.
	validate() error
}

// Object is what an operation acts on. The implementations are in this
// package: [File], [Program], [Mount], [Credentials] and [Socket].
type Object interface {
	// String returns the object as a person would write it.
	String() string
}

// PortRange is an inclusive range of ports. Port 0 stands for "a port that the
// kernel chooses".
type PortRange struct {
	First uint16 `json:"first"`
	Last  uint16 `json:"last"`
}

// Contains reports whether the port lies in the range.
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
	All bool `json:"all,omitempty"`
	// Ports never matches a socket whose protocol has no ports.
	Ports []PortRange `json:"ports,omitempty"`
	// Addresses holds masked prefixes. An IPv4 prefix matches IPv4 and
	// v4-mapped IPv6 addresses, an IPv6 prefix only other IPv6 addresses.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	// AddressesFrom names the files whose prefixes are in Listed, as
	// [LoadAddresses] returns them, sorted and each one once. It is for
	// people; what counts is Listed, which is part of the key addresses.
	AddressesFrom []string       `json:"addresses_from,omitempty"`
	Listed        []netip.Prefix `json:"listed,omitempty"`
	Protocols     []Protocol     `json:"protocols,omitempty"`
}

// Socket is the object of socket_bind, with the local address, and of
// socket_connect, with the remote one.
type Socket struct {
	// Address is the address; a v4-mapped one counts as IPv4. To bind, the
	// unspecified address (0.0.0.0 or ::) stands for every address of its
	// family; to connect, for the loopback address.
	Address netip.Addr
	// Port is the port. To bind, 0 stands for any port of Automatic.
	Port uint16
	// Automatic is the range from which the kernel chooses when Port is 0
	// (net.ipv4.ip_local_port_range, narrowed by IP_LOCAL_PORT_RANGE; see
	// ip(7)). The zero value means [DefaultAutomatic].
	Automatic PortRange
	Protocol  Protocol
	// DualStack says that an IPv6 socket bound to :: takes IPv4 as well
	// (IPV6_V6ONLY is off, see ipv6(7)). It only matters to bind ::.
	DualStack bool
}

// DefaultAutomatic is the kernel's default for net.ipv4.ip_local_port_range.
var DefaultAutomatic = PortRange{First: 32768, Last: 60999}

// Access is a set of kinds of access to a file.
type Access uint8

// The kinds of access.
const (
	Read Access = 1 << iota
	// Write covers every change to the file: of what is in it, of its
	// attributes, of its name, and making or removing it.
	Write
	Exec
	AllAccess = Read | Write | Exec
)

// FilePattern selects accesses to files. The keys are ANDed, the values of one
// key ORed, an empty key matches everything. The zero value is refused; the
// pattern for everything is FilePattern{All: true}.
type FilePattern struct {
	All    bool     `json:"all,omitempty"`
	Paths  []string `json:"paths,omitempty"` // see [PathPattern]
	Access Access   `json:"access,omitempty"`
}

// File is the object of file_open.
type File struct {
	Names
	// Access is what the process wants to do: one kind or several, of which
	// each is judged.
	Access Access
}

// Names are the names of a file. Each is an absolute and clean path.
type Names struct {
	// Path is the name by which the file was reached, from the root of the
	// process's mount namespace. It is empty for what has no name there.
	Path string
	// Aliases are the names that the file's identity stands for: names in
	// policies of this file, or of a directory above it, reached by another
	// name.
	Aliases []string
	// Unknown says that the name could not be found out: patterns with
	// paths may match or not (docs/semantics.md, rule 6).
	Unknown bool
}

// ProgramPattern selects programs that are started. The keys are ANDed, the values
// of one key ORed, an empty key matches everything. The zero value is refused;
// the pattern for everything is ProgramPattern{All: true}.
type ProgramPattern struct {
	All   bool     `json:"all,omitempty"`
	Paths []string `json:"paths,omitempty"` // see [PathPattern]
	// Fileless selects programs that no file of the system holds: memfd,
	// deleted files and what lies below /dev/shm.
	Fileless bool `json:"fileless,omitempty"`
	// NoArgs selects programs started without even an argv[0].
	NoArgs bool `json:"no_args,omitempty"`
}

// Program is the object of bprm_check_security: a program, the script that is
// started, or the interpreter that runs it.
type Program struct {
	Names
	Fileless, NoArgs bool
}

// MountFlags is a set of flags of a mount: MountNew to MountForce.
type MountFlags uint32

// MountPattern selects operations on mounts. The keys are ANDed, the values of one
// key ORed, an empty key matches everything: a pattern with flags matches when
// the operation has any of them. The zero value is refused; the pattern for
// everything is MountPattern{All: true}.
type MountPattern struct {
	All     bool     `json:"all,omitempty"`
	Sources []string `json:"sources,omitempty"` // see [SourcePattern]; not for sb_umount
	Targets []string `json:"targets,omitempty"` // see [PathPattern]
	// Types are names of types of filesystems, without a subtype.
	Types []string `json:"types,omitempty"`
	// Flags are some of those that the operation can have, see [MountFlagsOf].
	Flags MountFlags `json:"flags,omitempty"`
}

// Mount is the object of sb_mount, sb_remount and sb_umount.
type Mount struct {
	// Source is the device or directory as the process named it; empty
	// where there is none.
	Source string
	// Target are the names of where it is mounted.
	Target Names
	// Type is the type of the filesystem; empty for a bind mount, a move or
	// a change of propagation.
	Type  string
	Flags MountFlags
}

// IDRange is an inclusive range of user or group ids, of the initial user
// namespace.
type IDRange struct {
	First uint32 `json:"first"`
	Last  uint32 `json:"last"`
}

// IDs is a set of user or group ids.
type IDs struct {
	Ranges []IDRange `json:"ranges,omitempty"`
	// Names have to be resolved with [ResolveNames] before policies are
	// compiled or decided.
	Names []string `json:"names,omitempty"`
}

// Identity selects user and group ids.
type Identity struct {
	UIDs IDs `json:"uids,omitzero"`
	GIDs IDs `json:"gids,omitzero"`
}

// CredentialsPattern selects changes of identity by the effective ids before and
// the id after. Since each id that changes is judged for itself, To names users
// or groups but not both. The keys are ANDed, the values of one key ORed, an empty
// key matches everything. The zero value is refused; the pattern for everything is
// CredentialsPattern{All: true}.
type CredentialsPattern struct {
	All  bool     `json:"all,omitempty"`
	From Identity `json:"from,omitzero"`
	To   Identity `json:"to,omitzero"`
}

// Credentials is the object of task_fix_setuid: one id that changes.
type Credentials struct {
	// FromUID and FromGID are the effective ids before.
	FromUID, FromGID uint32
	// To is the new id, a group's if Group is set.
	To    uint32
	Group bool
}

// Process is what a decision needs to know of the acting process.
type Process struct {
	// Binary is the absolute path from which the program was started.
	Binary string
	// Script is the script that the program was started to run, if any.
	Script string
	// Ancestors are the programs and scripts that the process and its
	// ancestors ran before.
	Ancestors []string
	// IDs are the process itself and those that it descends from.
	IDs []ProcessID
	// UID is the real user id.
	UID uint32
	// Cgroup is the path of the control group.
	Cgroup string
	// Unknown says that program and ancestors could not be identified: a
	// rule that names them may or may not concern it (docs/semantics.md,
	// rule 6).
	Unknown bool
}

// Request is one operation that a process wants to do.
type Request struct {
	Process   Process
	Operation Operation
	Object    Object
	// Now is when, in nanoseconds of CLOCK_BOOTTIME: policies that have ended
	// by then select nobody. At 0 none has.
	Now uint64
}
