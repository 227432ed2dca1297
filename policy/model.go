// Package policy holds the model of a policy, its strict YAML form and the
// reference semantics, [Decide]. It is pure Go: it needs no kernel and no
// privileges, and it decides exactly as the kernel programs do.
package policy

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
	// From, if not 0, is when the policy begins, on the same clock: before, its subject selects nobody.
	// With Until in another policy it is how a set goes back to what it was by itself.
	From uint64 `json:"from,omitempty"`
	// Delegated says that the policy is one of somebody to whom the authors of the others leave only what
	// they do not forbid, such as the owner of a namespace, or that it may be lifted by such: its exceptions
	// lift what delegated policies deny, nothing else ([Decide]). Its paths are names, and never stand for
	// what they lead to on the host.
	Delegated bool `json:"delegated,omitempty"`
	// Source tells where the policy was read, as file:line:column; empty
	// for a policy made in Go.
	Source string `json:"source,omitempty"`
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

// Request is one operation that a process wants to do.
type Request struct {
	Process   Process
	Operation Operation
	Object    Object
	// Now is when, in nanoseconds of CLOCK_BOOTTIME: policies that have ended
	// by then select nobody. At 0 none has.
	Now uint64
}
