package compile

import (
	"cmp"
	"encoding/binary"
	"math"
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
	decisions []decision
	leaves    map[decision]root
	tests     []test
	ids       roots
	// bounds are the strictest and the laxest of all decisions that can be reached from a test.
	bounds []bounds
	// names says that decisions differ in whether they name what the kernel may choose.
	names bool
	// lists are decisions about unknown processes: one for each time and kind of user.
	lists [][]root
	// foremost is an atom that is asked for before all others, where it is; 0 for none.
	foremost int32
	listIDs  map[string]int32
	combined roots
	// undecided are roots of the same decisions, but that these are not certain.
	undecided map[root]root
	work      int
}

// newDiagrams returns none, with room for those of so many patterns.
func newDiagrams(patterns int) *diagrams {
	d := &diagrams{
		decisions: make([]decision, 0, patterns), tests: make([]test, 0, 4*patterns), bounds: make([]bounds, 0, 4*patterns),
		leaves: make(map[decision]root, patterns), listIDs: map[string]int32{}, undecided: map[root]root{},
	}
	d.ids.reserve(2 * patterns)
	return d
}

// bounds are the strictest and the laxest of some decisions. first is the laxest without what is
// decided where no atom is true.
type bounds struct{ strictest, laxest, first decision }

func (d *diagrams) leaf(decided policy.Decision) root { return d.leafOf(newDecision(decided)) }

func (d *diagrams) leafOf(decided decision) root {
	id, ok := d.leaves[decided]
	if !ok {
		id = ^root(len(d.decisions))
		d.decisions = append(d.decisions, decided)
		d.leaves[decided] = id
		d.names = d.names || decided.has(flagNamesPort|flagNamesAddress)
	}
	return id
}

func (d *diagrams) decision(r root) decision { return d.decisions[^r] }

// bounds returns those of the decisions to which a root can lead.
func (d *diagrams) boundsOf(r root) bounds {
	if r < 0 {
		decided := d.decision(r)
		return bounds{decided, decided, math.MaxUint64}
	}
	return d.bounds[r]
}

// bound is the strictest of the decisions to which a root can lead.
func (d *diagrams) bound(r root) decision { return d.boundsOf(r).strictest }

func (d *diagrams) test(atom int32, then, otherwise root) root {
	if then == otherwise {
		return then
	}
	key := rootKey{uint32(atom), uint32(then), uint32(otherwise)}
	id, fresh := d.ids.add(key, root(len(d.tests)))
	if fresh {
		d.tests = append(d.tests, test{atom, then, otherwise})
		a, b := d.boundsOf(then), d.boundsOf(otherwise)
		d.bounds = append(d.bounds, bounds{a.strictest.stricter(b.strictest), a.laxest.laxer(b.laxest), a.laxest.laxer(b.first)})
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
	// The stricter one, unless the first names port 0.
	stricterUnlessPortNamed
	// The stricter one, which names port 0, if the first does; else the first.
	stricterIfPortNamed
	// The stricter one, which names port 0 just as the first does.
	stricterNamedAlike
	// The stricter one, of all policies and of those that are not delegated: whether these are laxer.
	stricterOfTiers
	// The first one, unless the second is a stricter verdict or revokes as well: the denial that
	// stands for both (policy.Candidate.CompareDenial), of which the first names the object.
	denialFirst
	// The first one, which comes before the second in that order, and revokes if the second does.
	denialBefore
)

func (c combination) of(a, b decision) decision {
	if c == denialFirst || c == denialBefore {
		revokes := func(d decision) bool { return d.has(flagRevoke) && d.verdict() >= policy.Deny }
		if c == denialFirst && (b.verdict() > a.verdict() || b.verdict() == a.verdict() && revokes(b) && !revokes(a)) {
			a, b = b, a
		}
		return a&^flagRevoke | flagIf(revokes(a) || revokes(b), flagRevoke)
	}
	switch {
	case c == stricterUnlessNamed && a.has(flagNamesAddress), c == stricterUnlessPortNamed && a.has(flagNamesPort), c == stricterIfPortNamed && !a.has(flagNamesPort):
		return a
	case c == stricterIfPortNamed:
		return a.stricter(b) | flagNamesPort
	case c == stricterNamedAlike:
		return a.stricter(b)&^flagNamesPort | a&flagNamesPort
	case c == stricterOfTiers:
		return a.stricter(b) | flagIf(a.verdict() > b.verdict(), flagDelegated)
	}
	return a.stricter(b)
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
			return d.leafOf(result)
		}
	}
	if a < 0 { // what is stricter than all of the other's decisions stands
		one := d.decision(a)
		if how.of(one, d.bound(b)) == one && (how != stricterOfTiers || one.verdict() == d.bounds[b].laxest.verdict()) {
			return a
		}
		// ... and what is laxer than all of them changes none.
		if how == stricter && !d.names && !one.has(flagRevoke) && one.strictness() < d.bounds[b].laxest.strictness() {
			return b
		}
	}
	if b < 0 && how == stricter {
		return d.combineRoots(how, b, a)
	}
	key := rootKey{uint32(how), uint32(a), uint32(b)}
	result, ok := d.combined.find(key)
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
	case d.tests[b].atom == d.foremost && d.foremost != always || d.bounds[a].strictest.strictness() < d.bounds[b].strictest.strictness():
		first = b
	}
	atom := d.tests[first].atom
	thenA, otherwiseA := d.branches(a, atom)
	thenB, otherwiseB := d.branches(b, atom)
	result = d.test(atom, d.combineRoots(how, thenA, thenB), d.combineRoots(how, otherwiseA, otherwiseB))
	d.combined.add(key, result)
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
	result := make([]verdict, len(blocks[0]))
	known, unknown := make([]root, len(blocks)), make([]root, len(blocks))
	for i := range result {
		same := i > 0
		for n, block := range blocks {
			known[n], unknown[n] = block[i].known, block[i].unknown
			same = same && block[i] == block[i-1]
		}
		if same {
			result[i] = result[i-1]
			continue
		}
		result[i] = verdict{d.combineKnown(known), d.combineUnknown(unknown)}
	}
	return result
}

// combineKnown combines roots to the strictest.
func (d *diagrams) combineKnown(all []root) root {
	if len(all) == 1 {
		return all[0]
	}
	if d.foremost != always && slices.ContainsFunc(all, func(r root) bool { return r >= 0 && d.tests[r].atom == d.foremost }) {
		then, otherwise := make([]root, len(all)), make([]root, len(all))
		for i, r := range all {
			then[i], otherwise[i] = d.branches(r, d.foremost)
		}
		return d.test(d.foremost, d.combineSorted(then), d.combineSorted(otherwise))
	}
	return d.combineSorted(slices.Clone(all))
}

// combineSorted combines roots, which it sorts. What decides more strictly than all that comes
// after it is put before that, which takes no look at the rest.
func (d *diagrams) combineSorted(all []root) root {
	d.work += len(all)
	slices.SortStableFunc(all, func(a, b root) int { return cmp.Compare(d.boundsOf(b).first, d.boundsOf(a).first) })
	all = slices.Compact(all)
	at := all[len(all)-1]
	if all[0] < 0 { // what is the same for everybody
		decided := d.decision(all[0])
		for len(all) > 0 && all[0] < 0 {
			decided = decided.stricter(d.decision(all[0]))
			all = all[1:]
		}
		at = d.leafOf(decided)
	} else {
		all = all[:len(all)-1]
	}
	var rows []root
	for _, r := range slices.Backward(all) {
		if after := d.bound(at); d.names || after.has(flagRevoke) || d.bounds[r].first.strictness() <= after.strictness() {
			rows = append(rows, at)
			at = r
			continue
		}
		at = d.combineRoots(stricter, r, at)
	}
	rows = append(rows, at)
	slices.Reverse(rows)
	return d.combineHalves(rows)
}

// combineHalves combines roots in halves, so that they are small for as long as possible.
func (d *diagrams) combineHalves(all []root) root {
	if len(all) == 1 {
		return all[0]
	}
	return d.combineRoots(stricter, d.combineHalves(all[:len(all)/2]), d.combineHalves(all[len(all)/2:]))
}

// combineUnknown combines decisions, or lists of them, to the strictest.
func (d *diagrams) combineUnknown(all []root) root {
	var one decision
	var list []decision
	for _, r := range all {
		switch {
		case r < 0 && one == 0: // no decision is 0
			one = d.decision(r)
		case r < 0:
			one = one.stricter(d.decision(r))
		case list == nil:
			for _, of := range d.lists[r] {
				list = append(list, d.decision(of))
			}
			d.work += len(list)
		default:
			for i, of := range d.lists[r] {
				list[i] = list[i].stricter(d.decision(of))
			}
			d.work += len(list)
		}
	}
	if list == nil {
		return d.leafOf(one)
	}
	roots := make([]root, len(list))
	for i, of := range list {
		if one != 0 {
			of = of.stricter(one)
		}
		roots[i] = d.leafOf(of)
	}
	return d.list(roots)
}

// markUndecided returns the root that leads to the same decisions, but that denials are not certain.
func (d *diagrams) markUndecided(r root) root {
	if marked, ok := d.undecided[r]; ok {
		return marked
	}
	var marked root
	if r < 0 {
		decided := d.decision(r)
		marked = d.leafOf(decided | flagIf(decided.verdict() != policy.Allow, flagUndecided))
	} else {
		t := d.tests[r]
		marked = d.test(t.atom, d.markUndecided(t.then), d.markUndecided(t.otherwise))
	}
	d.undecided[r] = marked
	d.work++
	return marked
}
