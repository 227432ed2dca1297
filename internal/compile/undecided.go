package compile

import (
	"cmp"
	"slices"

	"github.com/ebpfguard/ebpfguard/policy"
)

// chooseUndecided is chooseUncertain for objects with one name. Where that is unknown, the rules that name one may
// concern it, and each of them is more specific than all others. So what decides is the strictest of their
// denials and of what the others decide (policy.ResolveUnknown): a row of tests, however many subjects
// there are.
func (m *matrix) chooseUndecided(options []option) root {
	certain, denials := make([]option, 0, len(options)), make([]option, 0, len(options))
	may := make([]int32, 0, len(options)) // the atoms of all that are uncertain
	for _, o := range options {
		if !o.Uncertain {
			certain = append(certain, o)
			continue
		}
		may = append(may, o.atom)
		if o.Verdict != policy.Allow {
			denials = append(denials, o)
		}
	}
	m.work += len(options)
	decided := m.choose(certain, m.leaf(policy.NoRule()))
	return m.anyOf(may, m.firstDenial(denials, m.markUndecided(decided)), decided)
}

// firstDenial returns the diagram in which the first of the denials that is true decides, and after them
// others. Of these a decision counts before a denial only if it is stricter.
func (m *matrix) firstDenial(denials []option, after root) root {
	slices.SortFunc(denials, func(a, b option) int { return cmp.Or(a.CompareDenial(b.Candidate), cmp.Compare(a.atom, b.atom)) })
	at := after
	for _, o := range slices.Backward(denials) {
		leaf := m.combineRoots(denialFirst, m.leaf(policy.ResolveUnknown([]policy.Candidate{o.Candidate})), after)
		if !o.Revoke && o.Verdict > policy.Deny { // one that revokes may come later
			leaf = m.combineRoots(denialBefore, leaf, at)
		}
		if o.atom == always {
			at = leaf
		} else {
			at = m.test(o.atom, leaf, at)
		}
	}
	return at
}

// anyOf leads to one of two roots by whether any of the atoms is true. It sorts the atoms.
func (m *matrix) anyOf(atoms []int32, then, otherwise root) root {
	atoms = sortedSet(atoms)
	if len(atoms) > 0 && atoms[0] == always {
		return then
	}
	at := otherwise
	for _, atom := range slices.Backward(atoms) {
		at = m.test(atom, then, at)
	}
	return at
}
