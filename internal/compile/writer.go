package compile

import (
	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// writer writes the verdicts of an operation, and the nodes for those that depend on who
// asks, as the kernel reads them.
type writer struct {
	matrix *matrix
	tables *tables
	first  []int
	words  []uint32
	nodes  []uint32
	// places are the words of tests that were written already, lists those of lists; deepest is
	// the most nodes that a verdict takes.
	places  [2][][2]placed // by anyPort and within
	lists   [][2]uint32
	deepest int
}

// placed is where something is; the depth of what is not is 0.
type placed struct {
	word  uint32
	depth int32
}

func indexOf(is bool) int {
	if is {
		return 1
	}
	return 0
}

// add appends a cell. anyPort says that the ports that the kernel may choose for port 0
// count as well, unless the decision names that.
func (w *writer) add(v verdict, anyPort bool) {
	known := w.place(v.known, anyPort, false)
	w.deepest = max(w.deepest, int(known.depth))
	w.words = append(w.words, known.word, w.unknown(v.unknown, anyPort))
}

func (w *writer) word(r root, anyPort bool) uint32 {
	d := w.matrix.decision(r)
	return word(d, w.first, anyPort && !d.has(flagNamesPort))
}

// node appends nodes and returns the number of the first; number 0 is none.
func (w *writer) node(words ...uint32) uint32 {
	if len(w.nodes) == 0 {
		w.nodes = make([]uint32, 4)
	}
	at := uint32(len(w.nodes) / 4)
	w.nodes = append(w.nodes, words...)
	return at
}

// manyTests is how many tests in a row are worth a look whether any of them holds.
const manyTests = 8

// place writes what a root stands for. within says that it comes after another test of
// the same word of atoms, so that it has been looked at whether any of them holds.
func (w *writer) place(r root, anyPort, within bool) placed {
	if r < 0 {
		return placed{word: w.word(r, anyPort)}
	}
	places := &w.places[indexOf(anyPort)]
	if len(*places) <= int(r) { // tests are added until everything is written
		if *places == nil {
			*places = make([][2]placed, 0, cap(w.matrix.tests))
		}
		*places = append(*places, make([][2]placed, len(w.matrix.tests)-len(*places))...)
	}
	if p := (*places)[r][indexOf(within)]; p.depth > 0 {
		return p
	}
	var p placed
	t := w.matrix.tests[r]
	if end, mask, length := w.row(r); !within && length >= manyTests {
		first, rest := w.place(r, anyPort, true), w.place(end, anyPort, false)
		p.word = w.node(
			abi.NodeAny|uint32(t.atom/64), first.word, rest.word, 0,
			0, uint32(mask), uint32(mask>>32), 0)
		p.depth = 1 + max(first.depth, rest.depth)
	} else {
		same := t.otherwise >= 0 && w.matrix.tests[t.otherwise].atom/64 == t.atom/64
		then, otherwise := w.place(t.then, anyPort, false), w.place(t.otherwise, anyPort, same)
		p.word = w.node(abi.NodeAtom|uint32(t.atom), then.word, otherwise.word, 0)
		p.depth = 1 + max(then.depth, otherwise.depth)
	}
	(*places)[r][indexOf(within)] = p
	return p
}

// row returns how many tests of atoms in the same word follow each other while none holds,
// their atoms, and what comes after.
func (w *writer) row(r root) (end root, mask uint64, length int) {
	word := w.matrix.tests[r].atom / 64
	for ; r >= 0 && w.matrix.tests[r].atom/64 == word; length++ {
		mask |= 1 << (w.matrix.tests[r].atom % 64)
		r = w.matrix.tests[r].otherwise
	}
	return r, mask, length
}

// unknown writes what is decided about an unknown process.
func (w *writer) unknown(r root, anyPort bool) uint32 {
	if r < 0 {
		return w.word(r, anyPort)
	}
	if len(w.lists) <= int(r) {
		w.lists = append(w.lists, make([][2]uint32, len(w.matrix.diagrams.lists)-len(w.lists))...)
	}
	at := &w.lists[r][indexOf(anyPort)]
	if *at != 0 { // the word of a node
		return *at
	}
	words := make([]uint32, 0, len(w.matrix.diagrams.lists[r]))
	for _, one := range w.matrix.diagrams.lists[r] {
		words = append(words, w.word(one, anyPort))
	}
	*at = w.node(abi.NodeUnknown, w.tables.append(words), 0, 0)
	return *at
}

// allows reports whether nothing that a cell leads to refuses or reports anything.
func (m *matrix) allows(v verdict) bool {
	if m.bound(v.known).verdict() != policy.Allow {
		return false
	}
	if v.unknown < 0 {
		return m.decision(v.unknown).verdict() == policy.Allow
	}
	for _, r := range m.diagrams.lists[v.unknown] {
		if m.decision(r).verdict() != policy.Allow {
			return false
		}
	}
	return true
}
