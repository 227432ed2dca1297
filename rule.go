package ebpfguard

import "github.com/ebpfguard/ebpfguard/policy"

// Rule is what the policies of all operations have in common. P is the pattern
// of the operation's object.
type Rule[P policy.Pattern] struct {
	// Name identifies the policy; when it is empty, [Hook.AddPolicy] chooses
	// one.
	Name string
	// Mode is [policy.ModeEnforce] if zero.
	Mode policy.Mode
	// Subject is required; [Everyone] is every process.
	Subject Subject
	// Until, if not 0, is when the policy ends, in nanoseconds of CLOCK_BOOTTIME: see
	// [EndsIn] and [EndsAt]. [Hook.AddPolicy] refuses one that has passed or is absurd.
	Until uint64
	// Allow and Deny select objects. An empty list selects none.
	Allow, Deny []P
	// Verdict is what a match of Deny means: [policy.Deny] if zero,
	// [policy.Kill] or [policy.Audit].
	Verdict policy.Verdict
	// Revoke, for file_open and sockets, also refuses the use of descriptors that
	// were opened before.
	Revoke bool
	// Message, Severity and Tags are copied into alerts.
	Message  string
	Severity policy.Severity
	Tags     []string
	// AlertLimit is how many alerts are raised a second at most, 0 for no limit.
	AlertLimit uint32
}

// policy returns the rule as a policy for an operation.
func (r Rule[P]) policy(operation policy.Operation) policy.Policy {
	return policy.Policy{
		Name: r.Name, Mode: r.Mode, Subject: policy.Subject(r.Subject), Until: r.Until,
		Rules: []policy.Rule{{
			Operation: operation,
			Allow:     untyped(r.Allow), Deny: untyped(r.Deny),
			Verdict: r.Verdict, Revoke: r.Revoke,
			Message: r.Message, Severity: r.Severity, Tags: r.Tags, AlertLimit: r.AlertLimit,
		}},
	}
}

// ruleOf returns a rule of a policy. Its patterns are of type P.
func ruleOf[P policy.Pattern](p policy.Policy, r policy.Rule) Rule[P] {
	return Rule[P]{
		Name: p.Name, Mode: p.Mode, Subject: Subject(p.Subject), Until: p.Until,
		Allow: typed[P](r.Allow), Deny: typed[P](r.Deny),
		Verdict: r.Verdict, Revoke: r.Revoke,
		Message: r.Message, Severity: r.Severity, Tags: r.Tags, AlertLimit: r.AlertLimit,
	}
}

// everything returns the patterns of type P that select all objects of the operation.
func everything[P policy.Pattern](o policy.Operation) []P { return []P{policy.Everything(o).(P)} }

func untyped[P policy.Pattern](patterns []P) []policy.Pattern {
	var list []policy.Pattern
	for _, p := range patterns {
		list = append(list, p)
	}
	return list
}

func typed[P policy.Pattern](patterns []policy.Pattern) []P {
	var list []P
	for _, p := range patterns {
		list = append(list, p.(P))
	}
	return list
}

// Subject selects the processes that a policy concerns. Make one with
// [Everyone] or [Binaries], or by its fields.
type Subject policy.Subject

// Everyone selects every process.
func Everyone() Subject { return Subject{Everyone: true} }

// Binaries selects the processes whose program was started from one of these
// absolute paths, directories ("/opt/app/") or globs ("/usr/bin/python3*"), or
// that run such a script. A symbolic link stands for the file that it leads to
// when the policy is added.
func Binaries(paths ...string) Subject { return Subject{Binaries: paths} }

// Descendants is [Binaries] and all processes that descend from such ones.
func Descendants(paths ...string) Subject { return Subject{Binaries: paths, Descendants: true} }

// Processes selects running processes (see [RunningProcess]) and all that descends
// from them.
func Processes(processes ...policy.ProcessID) Subject { return Subject{Processes: processes} }
