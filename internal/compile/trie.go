package compile

import (
	"strings"

	"github.com/ebpfguard/ebpfguard/policy"
)

// trie holds the patterns of one automaton. Patterns with the same beginning
// share nodes, wildcards included.
type trie struct {
	nodes   []node
	columns *columns
	globs   *globs
	places  *places // nil where names are not those of files
}

// node is what follows a beginning of patterns. Number 0 is the start, so it is
// nobody's child and stands for none.
type node struct {
	names []nameEdge
	// index finds names where there are many.
	index map[string]int32
	globs []nodeGlob
	// any is where every name leads: behind the component '*'.
	any int32
	// loop is behind the component '**': it is there without a name, too, and
	// stays with every name.
	loop  int32
	loops bool
	// here are the patterns that match what ends here, below those that match
	// everything below as well.
	here, below []term
	// hereColumn and belowColumn are these as columns, once all are there.
	hereColumn, belowColumn int32
	// shm says that everything from here on lies below /dev/shm.
	shm bool
	// parent and place belong to the nodes along literal paths without a
	// symbolic link.
	parent int32
	place  *place
}

type nameEdge struct {
	name string
	to   int32
}

// nodeGlob is where the names lead that a glob matches.
type nodeGlob struct{ glob, to int32 }

// manyNames is from how many names on a node has an index.
const manyNames = 8

// newTrie returns an empty trie, with room for so many patterns.
func newTrie(globs *globs, places *places, patterns int) *trie {
	t := &trie{columns: newColumns(patterns), globs: globs, places: places, nodes: make([]node, 0, patterns+patterns/8+8)}
	t.node()
	if places != nil {
		places.find(places.root)
		t.nodes[0].place = places.root
	}
	return t
}

func (t *trie) node() int32 {
	t.nodes = append(t.nodes, node{})
	return int32(len(t.nodes) - 1)
}

// child returns where a name leads, 0 for nowhere.
func (n *node) child(name string) int32 {
	if n.index != nil {
		return n.index[name]
	}
	for _, e := range n.names {
		if e.name == name {
			return e.to
		}
	}
	return 0
}

// name returns where a name leads, made if there is nothing yet.
func (t *trie) name(at int32, name string) int32 {
	if to := t.nodes[at].child(name); to != 0 {
		return to
	}
	to := t.node()
	n := &t.nodes[at]
	n.names = append(n.names, nameEdge{name, to})
	switch {
	case n.index != nil:
		n.index[name] = to
	case len(n.names) > manyNames:
		n.index = make(map[string]int32, 4*manyNames)
		for _, e := range n.names {
			n.index[e.name] = e.to
		}
	}
	t.nodes[to].parent = at
	return to
}

// glob returns where the names lead that a glob matches.
func (t *trie) glob(at int32, glob string) int32 {
	id := t.globs.add(glob)
	for _, g := range t.nodes[at].globs {
		if g.glob == id {
			return g.to
		}
	}
	to := t.node()
	t.nodes[at].globs = append(t.nodes[at].globs, nodeGlob{id, to})
	return to
}

func (t *trie) any(at int32) int32 {
	if t.nodes[at].any == 0 {
		to := t.node()
		t.nodes[at].any = to
	}
	return t.nodes[at].any
}

func (t *trie) loop(at int32) int32 {
	if t.nodes[at].loops {
		return at
	}
	if t.nodes[at].loop == 0 {
		to := t.node()
		t.nodes[at].loop = to
		t.nodes[to].loops = true
	}
	return t.nodes[at].loop
}

// accept says that a pattern matches in a node. Patterns come in their order.
func (t *trie) accept(at int32, term term, below bool) {
	n := &t.nodes[at]
	if below {
		n.below = addTerm(n.below, term)
	} else {
		n.here = addTerm(n.here, term)
	}
}

// add adds the components of a pattern from a node on. It returns the node where
// the pattern ends and whether everything below belongs to it.
func (t *trie) add(at int32, components []string, below bool) (int32, bool) {
	for i, c := range components {
		switch {
		case c == "**" && i == len(components)-1: // at least one name
			at, below = t.any(at), true
		case c == "**":
			at = t.loop(at)
		case c == "*":
			at = t.any(at)
		case strings.ContainsAny(c, "*?"):
			at = t.glob(at, c)
		default:
			at = t.name(at, c)
		}
	}
	return at, below
}

// addPath adds a pattern of paths and, where its literal beginning goes through
// symbolic links, the pattern with these resolved, since that is what the kernel
// finds. end is called with each node where the pattern ends.
func (t *trie) addPath(p policy.PathPattern, end func(at int32, below bool)) {
	literal := p.Literal()
	place, straight := t.places.follow(literal)
	end(t.add(t.addWay(literal[:straight]), p.Components[straight:], p.Tree))
	if straight < len(literal) {
		end(t.add(t.addPlaces(place.names()), p.Components[len(literal):], p.Tree))
	}
}

// addPattern adds a pattern of paths that matches with the term.
func (t *trie) addPattern(p policy.PathPattern, term term) {
	t.addPath(p, func(at int32, below bool) { t.accept(at, term, below) })
}

// addWay is addPlaces for the first names that were followed last.
func (t *trie) addWay(names []string) int32 {
	at := int32(0)
	for i, name := range names {
		at = t.name(at, name)
		t.nodes[at].place = t.places.way[i]
	}
	return at
}

// addPlaces adds the nodes of a path without links and returns the last.
func (t *trie) addPlaces(names []string) int32 {
	at, place := int32(0), t.places.root
	for _, name := range names {
		at, place = t.name(at, name), place.child(name)
		t.places.find(place)
		t.nodes[at].place = place
	}
	return at
}

// seal numbers the columns, once all patterns are there.
func (t *trie) seal() {
	for i := range t.nodes {
		n := &t.nodes[i]
		n.hereColumn, n.belowColumn = t.columns.add(n.here), t.columns.add(n.below)
	}
}
