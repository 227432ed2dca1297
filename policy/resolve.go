package policy

import (
	"cmp"
	"net/netip"
	"slices"
)

// Specificity says how specific a pattern's match is in each of its keys; 0
// means that the pattern does not name the key. The keys are, in this order:
//
//   - file_open: path (see [PathSpecificity]) and access (1 when named);
//   - bprm_check_security: path and traits (how many of fileless and no_args are
//     named);
//   - sb_mount, sb_remount and sb_umount: target (as a path), source (see
//     [SourcePattern.Specificity]), type and flags (1 each when named);
//   - task_fix_setuid: the uid before, the gid before, the uid after and the gid
//     after (see [IDSpecificity]);
//   - socket_bind and socket_connect: address (see [AddressSpecificity]; of the
//     longest prefix), port (see [PortSpecificity]; of the narrowest range) and
//     protocol (1 when named).
//
// Access, type, flags and protocol tell of which kind the operation is, the others
// name the object: see [Specificity.Split].
//
// Of several values of a key that match, the most specific counts.
type Specificity [4]uint32

// The keys of a socket's [Specificity].
const (
	addressKey = iota
	portKey
	protocolKey
)

// PortSpecificity returns how specific a match by the range is: 1 for all
// ports, 65536 for a single one. A range that contains nothing yields 0.
func PortSpecificity(r PortRange) uint32 {
	if r.First > r.Last {
		return 0
	}
	return 1 + 65535 - uint32(r.Last-r.First)
}

// AddressSpecificity returns how specific a match by the prefix is: 1 for all
// addresses of the family, 33 or 129 for a single one. An invalid prefix
// yields 0.
func AddressSpecificity(p netip.Prefix) uint32 {
	return uint32(1 + p.Bits()) // Bits is -1 for an invalid prefix
}

// Split returns the specificity in the keys that name the object, of which there
// are so many (see [Operation.NameKeys]), and in those that tell the kind.
func (s Specificity) Split(names int) (object, kind Specificity) {
	copy(object[:names], s[:names])
	copy(kind[names:], s[names:])
	return object, kind
}

// moreSpecificThan reports whether s is at least as specific as other in every
// key and more specific in one. Two specificities can be incomparable.
func (s Specificity) moreSpecificThan(other Specificity) bool {
	for i := range s {
		if s[i] < other[i] {
			return false
		}
	}
	return s != other
}

// Candidate is a pattern that matches the object or may match it, in a rule whose
// subject matches the process or may match it.
type Candidate struct {
	// Object is how specifically the pattern names the object or, if it is not
	// certain to match, how specifically at most.
	Object  Specificity
	Subject SubjectRank
	// Kind is how specific the pattern is about the kind of the operation.
	Kind Specificity
	// Verdict is what the pattern asks for: Allow for a pattern of an allow
	// set; for one of a deny set the rule's verdict or, in a policy in
	// ModeAudit, Audit.
	Verdict Verdict
	// Policy and Rule are indices into the policy set and into the policy.
	Policy, Rule int
	// Uncertain says that the subject may match or not, since the process
	// could not be identified, or the pattern, since the object could not.
	Uncertain bool
	// Unidentified says that the subject may match or not, since nothing is known of the
	// process's container.
	Unidentified bool
	// NamesPort says that the pattern matches port 0 because it names just
	// that port, and NamesAddress that it matches the unspecified address
	// because it names just that address.
	NamesPort, NamesAddress bool
	// NamesObject says that the pattern names paths or fileless.
	NamesObject bool
	// Revoke says that it is a deny pattern of a rule with Revoke.
	Revoke bool
}

// Decision is the outcome for one operation.
type Decision struct {
	Verdict Verdict
	// Policy and Rule are the indices of the rule that decided; both are -1
	// when no rule did.
	Policy, Rule int
	// Undecided says that the process or the object could not be identified
	// and that the verdict is the strictest that could have applied.
	Undecided bool
	// NamesPort and NamesAddress say that every rule that could claim this
	// decision names port 0, or the unspecified address, outright. Such a
	// decision is final; otherwise the values that the kernel may choose
	// have to be judged as well. See [Decide].
	NamesPort, NamesAddress bool
	// NamesObject says that the reported rule decided by a pattern that
	// names paths or fileless, and so is about the file rather than about
	// how it is used.
	NamesObject bool
	// Revoke says that one of the rules that could claim this denial, or a laxer denial that
	// applies beside it, has Revoke.
	Revoke bool
	// Delegated says that the verdict is so strict because of delegated policies only.
	Delegated bool
}

// NoRule returns the decision when no rule concerns the operation.
func NoRule() Decision { return Decision{Verdict: Allow, Policy: -1, Rule: -1} }

// Resolve decides between the candidates for a known process:
//
//   - a candidate drops out when another one names the object more specifically,
//     that is at least as specifically in every key and more specifically in one;
//   - of those left the ones with the most specific subject stay;
//   - of those one drops out when another one is more specific about the kind;
//   - of those the strictest verdict wins.
//
// Of several candidates with the winning verdict the one with the lowest
// policy and rule is reported. The decision names port 0 or the unspecified
// address only if all of them do, so neither the verdict nor what it names
// depends on the order of the policies.
func Resolve(candidates []Candidate) Decision {
	left := undominated(candidates, candidates, Candidate.object)
	left = greatest(left, func(c Candidate) SubjectRank { return c.Subject })
	left = undominated(left, left, Candidate.kind)
	return merge(greatest(left, func(c Candidate) Verdict { return c.Verdict }))
}

func (c Candidate) object() Specificity { return c.Object }

func (c Candidate) kind() Specificity { return c.Kind }

// greatest returns the candidates for which the value is greatest.
func greatest[T cmp.Ordered](candidates []Candidate, value func(Candidate) T) []Candidate {
	var best []Candidate
	for _, c := range candidates {
		if len(best) > 0 {
			order := cmp.Compare(value(c), value(best[0]))
			if order < 0 {
				continue
			}
			if order > 0 {
				best = best[:0]
			}
		}
		best = append(best, c)
	}
	return best
}

// ResolveUnknown decides between the candidates for a process or an object that
// could not be identified; without an uncertain candidate it is [Resolve]. When
// a denial may apply that is not certainly overridden, the operation is denied,
// likewise audited, and the decision says so (docs/semantics.md, rule 6). The
// verdict is never laxer than the one that [Resolve] gives for any process and
// object that the unknown one could be.
//
// Where a rule may concern an unidentified container, all denials count and no exceptions do.
func ResolveUnknown(candidates []Candidate) Decision {
	if slices.ContainsFunc(candidates, func(c Candidate) bool { return c.Unidentified }) {
		decision, _ := strictestDenial(candidates)
		return decision
	}
	if len(candidates) == 1 { // what follows comes to the same
		if candidates[0].Uncertain {
			decision, _ := strictestDenial(candidates)
			return decision
		}
		return merge(candidates)
	}
	var certain, uncertain []Candidate
	for _, c := range candidates {
		if c.Uncertain {
			uncertain = append(uncertain, c)
		} else {
			certain = append(certain, c)
		}
	}
	decision := Resolve(certain)
	if len(uncertain) == 0 {
		return decision
	}
	certain = distinct(undominated(certain, certain, Candidate.object))
	if !slices.ContainsFunc(uncertain, func(c Candidate) bool { return !c.surpassed(certain) }) {
		return decision // whatever applies, the same wins
	}
	// Whatever applies, the winner is among the candidates left or, if none
	// of them applies, there is none: the decision names a value only if it
	// does so in each case.
	namesPort, namesAddress := decision.NamesPort, decision.NamesAddress
	left := possible(candidates, certain, uncertain)
	for _, c := range left {
		namesPort = namesPort && c.NamesPort
		namesAddress = namesAddress && c.NamesAddress
	}
	if denial, ok := strictestDenial(left); ok {
		decision = denial
	}
	decision.NamesPort, decision.NamesAddress = namesPort, namesAddress
	return decision
}

// strictestDenial returns what is decided when any of the denials may count, false if there is none.
func strictestDenial(candidates []Candidate) (Decision, bool) {
	var first *Candidate
	revoke := false
	for i := range candidates {
		c := &candidates[i]
		if c.Verdict == Allow {
			continue
		}
		revoke = revoke || c.revokes()
		if first == nil || c.CompareDenial(*first) < 0 {
			first = c
		}
	}
	if first == nil {
		return NoRule(), false
	}
	return Decision{
		Verdict: first.Verdict, Policy: first.Policy, Rule: first.Rule, Undecided: true, NamesObject: first.NamesObject, Revoke: revoke,
	}, true
}

func (c Candidate) revokes() bool { return c.Revoke && c.Verdict >= Deny }

// CompareDenial orders denials such that the first one stands for all that may count: the strictest, of
// those one that revokes, and of those one that names the object.
func (c Candidate) CompareDenial(other Candidate) int {
	first := func(a, b bool) int {
		switch {
		case a == b:
			return 0
		case a:
			return -1
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(other.Verdict, c.Verdict), first(c.revokes(), other.revokes()),
		first(c.Object != Specificity{}, other.Object != Specificity{}),
		cmp.Compare(c.Policy, other.Policy), cmp.Compare(c.Rule, other.Rule), first(c.NamesObject, other.NamesObject),
	)
}

// possible returns the candidates that win in some case. A candidate never does
// if a certain one
//
//   - names the object more specifically; or
//   - names it as specifically, and comes first by its subject or kind: what
//     overrides that one overrides both; or
//   - is one that nothing can override, and comes first by its subject or kind.
//
// The certain ones are those that no other certain one overrides.
func possible(candidates, certain, uncertain []Candidate) []Candidate {
	// Less specific than one of the uncertain is what may be overridden.
	safe := undominated(certain, uncertain, Candidate.object)
	safe = greatest(safe, func(c Candidate) SubjectRank { return c.Subject })
	return slices.DeleteFunc(slices.Clone(candidates), func(c Candidate) bool {
		return c.surpassed(certain) || slices.ContainsFunc(safe, func(other Candidate) bool { return other.before(c) })
	})
}

// distinct returns one of the candidates of each object, subject and kind.
func distinct(candidates []Candidate) []Candidate {
	type place struct {
		object, kind Specificity
		subject      SubjectRank
	}
	seen := make(map[place]bool)
	var left []Candidate
	for _, c := range candidates {
		if p := (place{c.Object, c.Kind, c.Subject}); !seen[p] {
			seen[p] = true
			left = append(left, c)
		}
	}
	return left
}

// surpassed reports whether one of the others, which apply, names the object more
// specifically, or as specifically and comes first by its subject or kind. Then the
// candidate neither wins nor overrides what that one does not.
func (c Candidate) surpassed(others []Candidate) bool {
	return slices.ContainsFunc(others, func(other Candidate) bool {
		return other.Object.moreSpecificThan(c.Object) || other.Object == c.Object && other.before(c)
	})
}

// before reports whether a candidate comes first by its subject, or as the more
// specific kind for the same subject.
func (c Candidate) before(other Candidate) bool {
	return c.Subject > other.Subject || c.Subject == other.Subject && c.Kind.moreSpecificThan(other.Kind)
}

// undominated returns the candidates for which none of the others is more
// specific about the object, or about the kind.
func undominated(candidates, others []Candidate, about func(Candidate) Specificity) []Candidate {
	// What is less specific than any of the others is less specific than
	// one that is itself undominated, and of those there are few.
	var most []Specificity
	for _, other := range others {
		specificity := about(other)
		if slices.ContainsFunc(most, func(s Specificity) bool { return s == specificity || s.moreSpecificThan(specificity) }) {
			continue
		}
		most = append(slices.DeleteFunc(most, specificity.moreSpecificThan), specificity)
	}
	var left []Candidate
	for _, c := range candidates {
		if !slices.ContainsFunc(most, func(s Specificity) bool { return s.moreSpecificThan(about(c)) }) {
			left = append(left, c)
		}
	}
	return left
}

// merge returns the decision of candidates with the same verdict.
func merge(winners []Candidate) Decision {
	decision := NoRule()
	for i, c := range winners {
		d := Decision{
			Verdict: c.Verdict, Policy: c.Policy, Rule: c.Rule,
			NamesPort: c.NamesPort, NamesAddress: c.NamesAddress, NamesObject: c.NamesObject,
			Revoke: c.Revoke,
		}
		if i == 0 {
			decision = d
		} else {
			decision = Stricter(decision, d)
		}
	}
	return decision
}

// Stricter returns the decision for an operation that may turn out to be one
// of two: the one with the greater verdict or, if they are equal, with the
// lower policy and rule.
//
// The result names port 0 or the unspecified address only if both do: where one
// of the two does not, the values that the kernel may choose have still to be
// judged. It names the object if the one that it is does. It revokes if one of the
// denials does: whichever of the two is reported, what either of them asks for
// happens. Stricter is commutative and associative.
func Stricter(a, b Decision) Decision {
	order := CompareStrictness(a, b)
	if order < 0 {
		a, b = b, a
	}
	result := a
	result.NamesPort = a.NamesPort && b.NamesPort
	result.NamesAddress = a.NamesAddress && b.NamesAddress
	if order == 0 {
		result.NamesObject = a.NamesObject || b.NamesObject
	}
	if b.Verdict == a.Verdict || b.Verdict >= Deny {
		result.Revoke = a.Revoke || b.Revoke
	}
	return result
}

// CompareStrictness orders decisions; the greater one is the stricter (see [Stricter]).
func CompareStrictness(a, b Decision) int {
	last := func(is bool) int {
		if is {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(a.Verdict, b.Verdict),
		cmp.Compare(b.Policy, a.Policy),
		cmp.Compare(b.Rule, a.Rule),
		cmp.Compare(last(a.Delegated), last(b.Delegated)),
		cmp.Compare(last(a.Undecided), last(b.Undecided)),
	)
}
