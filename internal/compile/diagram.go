package compile

import (
	"encoding/binary"
	"slices"

	"github.com/ebpfguard/ebpfguard/policy"
)

// root is where the verdicts of an object begin: a node of a diagram, or, less than 0, the
// complement of a decision's number.
type root int32

// test leads to one of two roots by whether an atom is true of the process.
type test struct {
	atom            int32
	then, otherwise root
}

// diagrams are how verdicts depend on who asks, for all objects of an operation. What is the
// same is there once.
type diagrams struct {
	decisions []policy.Decision
	leaves    map[policy.Decision]root
	tests     []test
	ids       map[test]root
	// strictest is that of all decisions that can be reached from a test, laxest the least strict.
	strictest, laxest []policy.Decision
	// names says that decisions differ in whether they name what the kernel may choose.
	names bool
	// lists are decisions about unknown processes: one for each time and kind of user.
	lists [][]root
	// foremost is an atom that is asked for before all others, where it is; 0 for none.
	foremost int32
	listIDs  map[string]int32
	combined map[combined]root
	// undecided are roots of the same decisions, but that these are not certain.
	undecided map[root]root
	work      int
}

func newDiagrams() *diagrams {
	return &diagrams{
		leaves: map[policy.Decision]root{}, ids: map[test]root{},
		listIDs: map[string]int32{}, combined: map[combined]root{}, undecided: map[root]root{},
	}
}

func (d *diagrams) leaf(decision policy.Decision) root {
	id, ok := d.leaves[decision]
	if !ok {
		id = ^root(len(d.decisions))
		d.decisions = append(d.decisions, decision)
		d.leaves[decision] = id
		d.names = d.names || decision.NamesPort || decision.NamesAddress
	}
	return id
}

func (d *diagrams) decision(r root) policy.Decision { return d.decisions[^r] }

// bound is the strictest of the decisions to which a root can lead.
func (d *diagrams) bound(r root) policy.Decision {
	if r < 0 {
		return d.decision(r)
	}
	return d.strictest[r]
}

// lower is the laxest of the decisions to which a root can lead.
func (d *diagrams) lower(r root) policy.Decision {
	if r < 0 {
		return d.decision(r)
	}
	return d.laxest[r]
}

func (d *diagrams) test(atom int32, then, otherwise root) root {
	if then == otherwise {
		return then
	}
	t := test{atom, then, otherwise}
	id, ok := d.ids[t]
	if !ok {
		id = root(len(d.tests))
		d.tests = append(d.tests, t)
		d.strictest = append(d.strictest, policy.Stricter(d.bound(then), d.bound(otherwise)))
		laxest := d.lower(then)
		if other := d.lower(otherwise); policy.CompareStrictness(other, laxest) < 0 {
			laxest = other
		}
		d.laxest = append(d.laxest, laxest)
		d.ids[t] = id
	}
	return id
}

// How two decisions become one.
type combination uint8

const (
	// The stricter one.
	stricter combination = iota
	// The stricter one, unless the first names the unspecified address.
	stricterUnlessNamed
	// The first one, unless the second is a stricter verdict or revokes as well: the denial that
	// stands for both (policy.Candidate.CompareDenial), of which the first names the object.
	denialFirst
)

func (c combination) of(a, b policy.Decision) policy.Decision {
	if c == denialFirst {
		revokes := func(d policy.Decision) bool { return d.Revoke && d.Verdict >= policy.Deny }
		if b.Verdict > a.Verdict || b.Verdict == a.Verdict && revokes(b) && !revokes(a) {
			a, b = b, a
		}
		a.Revoke = revokes(a) || revokes(b)
		return a
	}
	if c == stricterUnlessNamed && a.NamesAddress {
		return a
	}
	return policy.Stricter(a, b)
}

type combined struct {
	how  combination
	a, b root
}

// combineRoots returns the root that leads to a combination of two decisions.
func (d *diagrams) combineRoots(how combination, a, b root) root {
	if a == b {
		return a
	}
	if a < 0 && b < 0 {
		switch result := how.of(d.decision(a), d.decision(b)); result { // mostly one of the two, which needs no search
		case d.decision(a):
			return a
		case d.decision(b):
			return b
		default:
			return d.leaf(result)
		}
	}
	if a < 0 { // what is stricter than all of the other's decisions stands
		one := d.decision(a)
		if how.of(one, d.bound(b)) == one {
			return a
		}
		// ... and what is laxer than all of them changes none.
		if how == stricter && !d.names && !one.Revoke && policy.CompareStrictness(one, d.lower(b)) < 0 {
			return b
		}
	}
	if b < 0 && how == stricter {
		return d.combineRoots(how, b, a)
	}
	result, ok := d.combined[combined{how, a, b}]
	if ok || d.work > maxWork {
		return result
	}
	d.work++
	// What may lead to the stricter decision is asked for first: that ends the search.
	first := a
	switch {
	case a < 0:
		first = b
	case b < 0 || d.tests[a].atom == d.foremost && d.foremost != always:
	case d.tests[b].atom == d.foremost && d.foremost != always || policy.CompareStrictness(d.bound(a), d.bound(b)) < 0:
		first = b
	}
	atom := d.tests[first].atom
	thenA, otherwiseA := d.branches(a, atom)
	thenB, otherwiseB := d.branches(b, atom)
	result = d.test(atom, d.combineRoots(how, thenA, thenB), d.combineRoots(how, otherwiseA, otherwiseB))
	d.combined[combined{how, a, b}] = result
	return result
}

// branches returns where a root leads if an atom is true, and if not. What asks for it further on may
// ask again.
func (d *diagrams) branches(r root, atom int32) (then, otherwise root) {
	if r < 0 || d.tests[r].atom != atom {
		return r, r
	}
	return d.tests[r].then, d.tests[r].otherwise
}

// verdict is a cell of the table: what is decided about a process, and about one that could
// not be identified.
type verdict struct {
	known root
	// unknown is a decision, or the number of a list of them.
	unknown root
}

// list returns decisions by time and kind of user, as one where they are the same.
func (d *diagrams) list(roots []root) root {
	if !slices.ContainsFunc(roots, func(r root) bool { return r != roots[0] }) {
		return roots[0]
	}
	key := make([]byte, 0, 4*len(roots))
	for _, r := range roots {
		key = binary.NativeEndian.AppendUint32(key, uint32(r))
	}
	id, ok := d.listIDs[string(key)]
	if !ok {
		id = int32(len(d.lists))
		d.lists = append(d.lists, slices.Clone(roots))
		d.listIDs[string(key)] = id
	}
	return root(id)
}

// at returns the decision of a list for one time and kind of user.
func (d *diagrams) at(unknown root, i int) root {
	if unknown < 0 {
		return unknown
	}
	return d.lists[unknown][i]
}

// combine combines two cells.
func (d *diagrams) combine(how combination, a, b verdict) verdict {
	result := verdict{known: d.combineRoots(how, a.known, b.known)}
	if a.unknown < 0 && b.unknown < 0 {
		result.unknown = d.combineRoots(how, a.unknown, b.unknown)
		return result
	}
	n := len(d.lists[max(a.unknown, b.unknown)])
	roots := make([]root, n)
	for i := range roots {
		roots[i] = d.combineRoots(how, d.at(a.unknown, i), d.at(b.unknown, i))
	}
	d.work += n
	result.unknown = d.list(roots)
	return result
}

// combineAll combines blocks of cells, of which there is at least one, to the strictest of each.
func (d *diagrams) combineAll(blocks [][]verdict) []verdict {
	if len(blocks) == 1 {
		return blocks[0]
	}
	// Halves, so that what is combined is small for as long as possible.
	a, b := d.combineAll(blocks[:len(blocks)/2]), d.combineAll(blocks[len(blocks)/2:])
	result := make([]verdict, len(a))
	for i := range a {
		result[i] = d.combine(stricter, a[i], b[i])
	}
	return result
}

// markUndecided returns the root that leads to the same decisions, but that denials are not certain.
func (d *diagrams) markUndecided(r root) root {
	if marked, ok := d.undecided[r]; ok {
		return marked
	}
	var marked root
	if r < 0 {
		decision := d.decision(r)
		decision.Undecided = decision.Undecided || decision.Verdict != policy.Allow
		marked = d.leaf(decision)
	} else {
		t := d.tests[r]
		marked = d.test(t.atom, d.markUndecided(t.then), d.markUndecided(t.otherwise))
	}
	d.undecided[r] = marked
	d.work++
	return marked
}
