package policy

import (
	"net/netip"
	"slices"
)

// Decide returns what happens to the operation under the policies, which must
// be valid (see [Validate]). It is the reference semantics: the kernel
// programs give the same answer.
//
// An operation that no rule concerns is allowed. Among the rules whose subject
// matches the process and whose pattern matches the object [Resolve] chooses,
// or [ResolveUnknown] when the process could not be identified.
//
// The unspecified address and port 0 stand for every value that the kernel may
// choose: a rule that names them outright decides, otherwise the strictest
// verdict over all of them does. An object that cannot be judged at all (of
// the wrong type, without address or protocol) is denied if any deny rule for
// the operation could concern the process.
func Decide(set []Policy, r Request) Decision {
	return newJudge(set, r).judge(r.Object).Decision
}

// entry is one pattern of a policy set.
type entry struct {
	pattern      Pattern
	verdict      Verdict
	rank         SubjectRank
	policy, rule int
}

// judge decides about the objects of one operation and process.
type judge struct {
	entries []entry
	unknown bool
	socket  bool // the operation's object is a Socket
}

// judgement is a decision and the literal object that led to it.
type judgement struct {
	Decision
	object Object
	// unidentified says that the object could not be judged.
	unidentified bool
}

func newJudge(set []Policy, r Request) judge {
	return judge{
		entries: entriesFor(set, r.Operation, r.Process),
		unknown: r.Process.Unknown,
		socket:  r.Operation == SocketBind,
	}
}

// entriesFor returns the patterns of the operation in the policies whose
// subject matches the process or, if it is unknown, may match it.
func entriesFor(set []Policy, operation Operation, process Process) []entry {
	var entries []entry
	for i, p := range set {
		rank, ok := p.Subject.matches(process)
		if !ok {
			continue
		}
		deny := Deny
		if p.Mode == ModeAudit {
			deny = Audit
		}
		for j, rule := range p.Rules {
			if rule.Operation != operation {
				continue
			}
			add := func(patterns []Pattern, verdict Verdict) {
				for _, pattern := range patterns {
					if pattern != nil {
						entries = append(entries, entry{pattern, verdict, rank, i, j})
					}
				}
			}
			add(rule.Deny, deny)
			add(rule.Allow, Allow)
		}
	}
	return entries
}

// matches tells whether the subject selects the process, or may select it if
// the process is unknown, and how specifically.
func (s Subject) matches(p Process) (SubjectRank, bool) {
	switch {
	case s.Everyone:
		return SubjectEveryone, true
	case p.Unknown && len(s.Binaries) > 0:
		return SubjectBinary, true
	}
	return SubjectBinary, slices.Contains(s.Binaries, p.Binary)
}

// judge decides about an object.
func (j judge) judge(o Object) judgement {
	if socket, ok := o.(Socket); ok && j.socket && socket.valid() {
		return j.dualStack(socket.normal())
	}
	return j.unidentified(o)
}

// unidentified decides when the object could be anything.
func (j judge) unidentified(o Object) judgement {
	result := judgement{Decision: NoRule(), object: o, unidentified: true}
	for _, e := range j.entries {
		if e.verdict != Allow {
			result.Decision = Stricter(result.Decision,
				Decision{Verdict: e.verdict, Policy: e.policy, Rule: e.rule, Undecided: true})
		}
	}
	return result
}

// dualStack judges an IPv6 socket that takes IPv4 as well for both.
func (j judge) dualStack(s Socket) judgement {
	result := j.port(s)
	if s.DualStack {
		s.Address = netip.IPv4Unspecified()
		result = stricter(result, j.port(s))
	}
	return result
}

// port judges port 0 for every port that the kernel may choose.
func (j judge) port(s Socket) judgement {
	result := j.address(s)
	if s.Port != 0 || !s.Protocol.HasPorts() || result.NamesPort {
		return result
	}
	for _, port := range portRepresentatives(j.patterns(), s.Automatic) {
		s.Port = port
		result = stricter(result, j.address(s))
	}
	return result
}

// address judges the unspecified address for every address of its family.
func (j judge) address(s Socket) judgement {
	result := j.literal(s)
	if !s.Address.IsUnspecified() || result.NamesAddress {
		return result
	}
	for _, a := range addressRepresentatives(j.patterns(), s.Address.Is4()) {
		s.Address = a
		result = stricter(result, j.literal(s))
	}
	return result
}

// literal judges the object with its address and port as they are.
func (j judge) literal(o Object) judgement {
	candidates := make([]Candidate, 0, len(j.entries))
	for _, e := range j.entries {
		if c, ok := e.candidate(o); ok {
			candidates = append(candidates, c)
		}
	}
	if j.unknown {
		return judgement{Decision: ResolveUnknown(candidates), object: o}
	}
	return judgement{Decision: Resolve(candidates), object: o}
}

// candidate returns the pattern as a candidate if it matches the object.
func (e entry) candidate(o Object) (Candidate, bool) {
	s, ok := e.pattern.matches(o)
	c := Candidate{Object: s, Subject: e.rank, Verdict: e.verdict, Policy: e.policy, Rule: e.rule}
	if socket, isSocket := o.(Socket); isSocket && ok {
		c.NamesPort = socket.namesPort(s)
		c.NamesAddress = socket.namesAddress(s)
	}
	return c, ok
}

func (j judge) patterns() []Pattern {
	patterns := make([]Pattern, len(j.entries))
	for i, e := range j.entries {
		patterns[i] = e.pattern
	}
	return patterns
}

// stricter is [Stricter] for judgements; of equal ones the first is reported.
func stricter(a, b judgement) judgement {
	result := a
	if compareStrictness(a.Decision, b.Decision) < 0 {
		result = b
	}
	result.Decision = Stricter(a.Decision, b.Decision)
	return result
}
