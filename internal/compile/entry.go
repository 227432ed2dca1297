package compile

import (
	"github.com/ebpfguard/ebpfguard/policy"
)

// entry is one pattern of one rule for an operation.
type entry struct {
	pattern      policy.Pattern
	verdict      policy.Verdict
	policy, rule int
	revoke       bool
	delegated    bool
	// namesObject is that of [policy.Candidate].
	namesObject bool
	// named has a bit for each key that the pattern names.
	named uint8
}

// entriesOf returns the patterns of all rules by their operation.
func entriesOf(set []policy.Policy) map[policy.Operation][]entry {
	counts, entries := map[policy.Operation]int{}, map[policy.Operation][]entry{}
	for i := range set {
		for j := range set[i].Rules {
			r := &set[i].Rules[j]
			counts[r.Operation] += len(r.Deny) + len(r.Allow)
		}
	}
	for operation, count := range counts {
		entries[operation] = make([]entry, 0, count)
	}
	for i := range set {
		for j := range set[i].Rules {
			r := &set[i].Rules[j]
			of := entries[r.Operation]
			add := func(e entry, patterns []policy.Pattern) {
				for _, pattern := range patterns {
					if pattern != nil {
						e.pattern, e.namesObject = pattern, policy.NamesObject(pattern)
						of = append(of, e)
					}
				}
			}
			add(entry{verdict: denial(&set[i], r), policy: i, rule: j, delegated: set[i].Delegated, revoke: r.Revoke}, r.Deny)
			add(entry{verdict: policy.Allow, policy: i, rule: j, delegated: set[i].Delegated}, r.Allow)
			entries[r.Operation] = of
		}
	}
	return entries
}

// denial returns the verdict of a rule's deny patterns.
func denial(p *policy.Policy, r *policy.Rule) policy.Verdict {
	switch {
	case p.Mode == policy.ModeAudit:
		return policy.Audit
	case r.Verdict == policy.Audit || r.Verdict == policy.Kill:
		return r.Verdict
	}
	return policy.Deny
}

// names says that the pattern names a key.
func (e *entry) names(key int, named bool) {
	if named {
		e.named |= 1 << key
	}
}

// dimension is one key of an operation's objects: the classes of its values.
type dimension struct {
	*columns
	// classes are the columns by class: one, or those of the names of an
	// object that has several.
	classes [][]int32
	// uncertain is the class of a value that nobody knows, -1 for none: each
	// pattern of its column may match.
	uncertain int
	// own is the first of the last classes in which only patterns count that name
	// the key; 0 for none.
	own int
	// kinds is what the values are called in an error.
	kinds string
}

// newDimension returns a key without classes yet.
func newDimension(kinds string) dimension {
	return dimension{columns: newColumns(0), uncertain: -1, kinds: kinds}
}

// addUnknown makes the class of a value that nobody knows: each pattern that
// names the key may match it, with the greatest specificity that it can have.
func (d *dimension) addUnknown(all []term) uint32 {
	d.uncertain = len(d.classes)
	d.classes = append(d.classes, []int32{d.columns.add(all)})
	return uint32(d.uncertain)
}

// addEach makes the next class of a key of few values: its column has the entries
// that match, with their specificity.
func (d *dimension) addEach(entries []entry, match func(*entry) (uint32, bool)) {
	var column []term
	for i := range entries {
		if specificity, ok := match(&entries[i]); ok {
			column = append(column, term{int32(i), specificity})
		}
	}
	d.classes = append(d.classes, []int32{d.columns.add(column)})
}

// sweeper returns a function that tells the class of an interval.
func (d *dimension) sweeper() func(number, int32) uint32 {
	ids := map[int32]uint32{}
	return func(_ number, column int32) uint32 {
		id, ok := ids[column]
		if !ok {
			id = uint32(len(d.classes))
			ids[column] = id
			d.classes = append(d.classes, []int32{column})
		}
		return id
	}
}
