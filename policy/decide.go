package policy

import "slices"

// Decide returns what happens to the operation under the policies, which must
// be valid (see [Validate]) and without unresolved names (see [ResolveNames]).
// It is the reference semantics: the kernel programs give the same answer.
//
// An operation that no rule concerns is allowed. Among the rules whose subject
// matches the process and whose pattern matches the object [ResolveUnknown]
// chooses. The subject of a policy that has ended matches nobody.
//
//   - An object with several names is judged by each one that a path in any rule
//     for the operation selects, whatever its subject. If there is none it
//     is judged once, as what no path selects. The strictest verdict counts.
//   - An access of several kinds is judged by each; the strictest verdict counts.
//   - Where delegated policies and others decide, the others decide once more without
//     them; the stricter verdict counts.
//   - For socket_bind the unspecified address and port 0 stand for every value
//     that the kernel may choose: a rule that names them outright decides,
//     otherwise the strictest verdict over all of them does. For socket_connect
//     the unspecified address is the loopback address, where Linux connects to.
//
// An object that cannot be judged at all (of the wrong type, without address,
// protocol or access) is denied if any deny rule for the operation could concern
// the process.
func Decide(set []Policy, r Request) Decision {
	return newJudge(set, r).judge(r.Object).Decision
}

// entry is one pattern of a policy set.
type entry struct {
	pattern Pattern
	verdict Verdict
	rank    SubjectRank
	// uncertain says that the subject may match or not.
	uncertain    bool
	revoke       bool
	delegated    bool
	policy, rule int
	// names is how many keys name the object, see [Operation.NameKeys].
	names int
}

// judge decides about the objects of one operation and process.
type judge struct {
	operation Operation
	// inUnidentified says that nothing is known of the process's container.
	inUnidentified bool
	entries        []entry
	// unknown says that the process could not be identified, tiered that some policies with rules of the operation are
	// delegated.
	unknown, tiered bool
	// mixed says that policies that are not delegated have such rules, too.
	mixed bool
	// withoutDelegated leaves the entries of delegated policies out.
	withoutDelegated bool
	// paths are the path patterns of all rules of the operation.
	paths [][]string
}

// judgement is a decision and the literal object that led to it.
type judgement struct {
	Decision
	object Object
	// unidentified says that the object could not be judged.
	unidentified bool
}

func newJudge(set []Policy, r Request) judge {
	r.Process = r.Process.settled(set)
	return judge{
		operation:      r.Operation,
		unknown:        r.Process.Unknown,
		tiered:         concerned(set, r.Operation, true),
		mixed:          concerned(set, r.Operation, false),
		inUnidentified: r.Process.inUnidentified() && !r.Process.Unknown,
		entries: entriesFor(set, r.Operation, func(i int) (SubjectRank, certainty) {
			if set[i].over(r.Now) {
				return 0, no
			}
			return set[i].Subject.match(r.Process)
		}),
		paths: pathsOf(set, r.Operation),
	}
}

// concerned reports whether policies that are delegated, or that are not, have rules of the operation.
func concerned(set []Policy, operation Operation, delegated bool) bool {
	return slices.ContainsFunc(set, func(p Policy) bool {
		return p.Delegated == delegated && slices.ContainsFunc(p.Rules, func(rule Rule) bool { return rule.Operation == operation })
	})
}

// entriesFor returns the patterns of the operation in the policies whose subject
// matches or may match, of which the function tells by the policy's index.
func entriesFor(set []Policy, operation Operation, match func(i int) (SubjectRank, certainty)) []entry {
	var entries []entry
	names := operation.NameKeys()
	for i, p := range set {
		rank, certain := match(i)
		if certain == no {
			continue
		}
		for j, rule := range p.Rules {
			if rule.Operation != operation {
				continue
			}
			e := entry{rank: rank, uncertain: certain == maybe, delegated: p.Delegated, policy: i, rule: j, names: names}
			add := func(patterns []Pattern) {
				for _, pattern := range patterns {
					if pattern != nil {
						e.pattern = pattern
						entries = append(entries, e)
					}
				}
			}
			e.verdict, e.revoke = p.denial(rule), rule.Revoke
			add(rule.Deny)
			e.verdict, e.revoke = Allow, false
			add(rule.Allow)
		}
	}
	return entries
}

// denial returns the verdict of the rule's deny patterns.
func (p Policy) denial(r Rule) Verdict {
	switch {
	case p.Mode == ModeAudit:
		return Audit
	case r.Verdict == Audit || r.Verdict == Kill:
		return r.Verdict
	}
	return Deny
}

// pathsOf returns the path patterns of all rules of the operation.
func pathsOf(set []Policy, operation Operation) [][]string {
	var paths [][]string
	for _, p := range set {
		for _, rule := range p.Rules {
			if rule.Operation != operation {
				continue
			}
			for _, patterns := range [][]Pattern{rule.Allow, rule.Deny} {
				for _, pattern := range patterns {
					if list := PathsOf(pattern); len(list) > 0 {
						paths = append(paths, list)
					}
				}
			}
		}
	}
	return paths
}

// judge decides about an object.
func (j judge) judge(o Object) judgement {
	if known := find(j.operation); known != nil {
		if result, ok := known.judge(j, o); ok {
			return result
		}
	}
	return j.unidentified(o)
}

// unidentified decides when the object could be anything.
func (j judge) unidentified(o Object) judgement {
	result := judgement{Decision: NoRule(), object: o, unidentified: true}
	for _, e := range j.entries {
		if e.verdict != Allow {
			result.Decision = Stricter(result.Decision,
				Decision{Verdict: e.verdict, Policy: e.policy, Rule: e.rule, Undecided: true, Revoke: e.revoke})
		}
	}
	return result
}

// literal judges the object as it is: an address and port literally, the only
// name, a single kind of access.
func (j judge) literal(o Object) judgement {
	result := j.alone(o)
	if others, ok := j.others(); ok {
		rest := others.alone(o)
		delegated := j.mixed && result.Verdict > rest.Verdict
		result = result.with(rest)
		result.Delegated = delegated
	}
	return result
}

// with adds what the policies that are not delegated decide.
func (j judgement) with(others judgement) judgement {
	if others.Verdict == Allow {
		return j
	}
	return stricter(j, others)
}

// alone is literal by the entries as they are.
func (j judge) alone(o Object) judgement {
	return judgement{Decision: ResolveUnknown(j.candidates(o)), object: o}
}

// candidates returns the patterns that match the object or may match it.
func (j judge) candidates(o Object) []Candidate {
	candidates := make([]Candidate, 0, len(j.entries))
	for _, e := range j.entries {
		if j.withoutDelegated && e.delegated {
			continue
		}
		if c, ok := e.candidate(o); ok {
			c.Unidentified = e.uncertain && j.inUnidentified
			candidates = append(candidates, c)
		}
	}
	return candidates
}

// others returns what judges by the policies that are not delegated; false if all are such.
func (j judge) others() (judge, bool) {
	if j.withoutDelegated || !j.tiered && !slices.ContainsFunc(j.entries, func(e entry) bool { return e.delegated }) {
		return j, false
	}
	j.withoutDelegated = true
	return j, true
}

// candidate returns the pattern as a candidate if it matches the object or may
// match it.
func (e entry) candidate(o Object) (Candidate, bool) {
	s, certain := e.pattern.matches(o)
	object, kind := s.Split(e.names)
	c := Candidate{
		Object: object, Kind: kind, Subject: e.rank, Verdict: e.verdict, Policy: e.policy, Rule: e.rule,
		Uncertain: e.uncertain || certain == maybe, Revoke: e.revoke, NamesObject: NamesObject(e.pattern),
	}
	if open, ok := o.(openObject); ok && certain != no {
		c.NamesPort, c.NamesAddress = open.named(s)
	}
	return c, certain != no
}

// NamesObject reports whether the pattern says which file it is about, rather than
// how the file is used.
func NamesObject(pattern Pattern) bool {
	if p, ok := pattern.(interface{ namesObject() bool }); ok && p.namesObject() {
		return true
	}
	return len(PathsOf(pattern)) > 0
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
	if CompareStrictness(a.Decision, b.Decision) < 0 {
		result = b
	}
	result.Decision = Stricter(a.Decision, b.Decision)
	return result
}
