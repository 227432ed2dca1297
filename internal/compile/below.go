package compile

import (
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// maxBelow bounds the columns of the sets that addBelow makes, in all.
const maxBelow = 1 << 20

// addBelow says of each state what rules name below it: the columns of all names
// that a file can have there, as those of one file. The kernel looks at it when a
// directory gets another name, and with it everything below.
func (a *automaton) addBelow() {
	below := map[uint32][]int32{}
	// States are numbered before those that they lead to, except where a ** leads
	// back.
	states := make([]uint32, 0, len(a.edgesOf))
	for number := range a.edgesOf {
		states = append(states, number)
	}
	slices.Sort(states)
	total := 0
	for changed := true; changed && total <= maxBelow; {
		changed = false
		for _, number := range slices.Backward(states) {
			before := len(below[number])
			set := slices.Clone(below[number])
			for _, to := range a.edgesOf[number] {
				set = append(set, a.classes[to.Accept&abi.ClassMask]...)
				if to.Number != number {
					set = append(set, below[to.Number]...)
				}
			}
			if set = sortedSet(set); len(set) == before {
				continue
			}
			below[number] = set
			changed = true
			if total += len(set) - before; total > maxBelow {
				break
			}
		}
	}
	all := make([]int32, len(a.columns.terms)) // where there are too many
	for column := range all {
		all[column] = int32(column)
	}
	for _, number := range states {
		set := below[number]
		if total > maxBelow {
			set = all
		}
		set = slices.DeleteFunc(slices.Clone(set), func(column int32) bool { return column == 0 })
		if len(set) == 0 {
			continue
		}
		a.dictionary.add(a.key.below(number, false), abi.State{Number: 1, Accept: a.class(set)})
		// What exists at a literal name is known by its identity, so only these
		// are names that a directory can bring along.
		if set = slices.DeleteFunc(slices.Clone(set), func(column int32) bool { return !a.hasGlob(column) }); len(set) > 0 {
			a.dictionary.add(a.key.below(number, true), abi.State{Number: 1, Accept: a.class(set)})
		}
	}
}

// hasGlob reports whether a column has a pattern that matches by a glob.
func (a *automaton) hasGlob(column int32) bool {
	return slices.ContainsFunc(a.columns.terms[column], func(t term) bool { return t.specificity < policy.DirSpecificity })
}
