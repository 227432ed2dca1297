package compile

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/abi"
)

// Limits of the automaton over the bytes of a name.
const (
	maxGlobWords = 1 << 22 // 16 MiB
	maxGlobWork  = 1 << 28
)

// globs are the patterns of one name with '*', '?' or, for the source of a mount,
// '**', of all rules and subjects together. The kernel finds out which of them a
// name matches, its glob class, by one automaton over its bytes.
//
// Patterns with the same beginning share states: 10,000 patterns *.ext have just
// one '*' that every byte goes through.
type globs struct {
	nodes []globNode
	// texts are the globs by number.
	texts []string
	ids   map[string]int32

	// What build makes: see bpf/abi.h, struct revision.
	classOf [256]uint8
	width   int
	next    []uint32
	accept  []uint32
	// classes are the globs that match, by glob class; none for class 0.
	classes [][]int32
}

// globNode is a position in patterns.
type globNode struct {
	bytes []globEdge
	// any is where any byte but '/' leads; -1 for nowhere.
	any int32
	// star and stars are positions behind '*' and '**'; -1 for none. They are
	// there without a byte.
	star, stars int32
	// loops and loopsAll say that the position stays, with any byte but '/' or
	// with any byte.
	loops, loopsAll bool
	// ends are the globs that end here.
	ends []int32
}

type globEdge struct {
	b  byte
	to int32
}

func newGlobs() *globs {
	g := &globs{ids: map[string]int32{}}
	g.node()
	return g
}

func (g *globs) node() int32 {
	g.nodes = append(g.nodes, globNode{any: -1, star: -1, stars: -1})
	return int32(len(g.nodes) - 1)
}

// add returns the number of a glob.
func (g *globs) add(glob string) int32 {
	if id, ok := g.ids[glob]; ok {
		return id
	}
	id := int32(len(g.texts))
	g.ids[glob] = id
	g.texts = append(g.texts, glob)
	at := int32(0)
	for i := 0; i < len(glob); i++ {
		switch {
		case strings.HasPrefix(glob[i:], "**"):
			i++
			at = g.follow(at, func(n *globNode) *int32 { return &n.stars }, func(n *globNode) { n.loopsAll = true })
		case glob[i] == '*':
			at = g.follow(at, func(n *globNode) *int32 { return &n.star }, func(n *globNode) { n.loops = true })
		case glob[i] == '?':
			at = g.follow(at, func(n *globNode) *int32 { return &n.any }, nil)
		default:
			at = g.followByte(at, glob[i])
		}
	}
	g.nodes[at].ends = append(g.nodes[at].ends, id)
	return id
}

// follow returns the position to which a field leads, made if there is none.
func (g *globs) follow(at int32, field func(*globNode) *int32, made func(*globNode)) int32 {
	if to := *field(&g.nodes[at]); to >= 0 {
		return to
	}
	to := g.node()
	*field(&g.nodes[at]) = to
	if made != nil {
		made(&g.nodes[to])
	}
	return to
}

func (g *globs) followByte(at int32, b byte) int32 {
	for _, e := range g.nodes[at].bytes {
		if e.b == b {
			return e.to
		}
	}
	to := g.node()
	g.nodes[at].bytes = append(g.nodes[at].bytes, globEdge{b, to})
	return to
}

// build makes the automaton. All globs are there by then.
func (g *globs) build() error {
	// Bytes that no glob names are all alike; '/' is unlike them since not
	// every wildcard takes it.
	special := map[byte]bool{'/': true}
	for _, n := range g.nodes {
		for _, e := range n.bytes {
			special[e.b] = true
		}
	}
	representatives := []int{-1}
	for b := range 256 {
		if special[byte(b)] {
			g.classOf[b] = uint8(len(representatives))
			representatives = append(representatives, b)
		} else {
			representatives[0] = b
		}
	}
	if representatives[0] < 0 { // every byte is named
		representatives = representatives[1:]
		for b := range g.classOf {
			g.classOf[b]--
		}
	}
	g.width = len(representatives)
	g.classes = [][]int32{nil}
	classIDs := map[string]uint32{"": 0}
	stateIDs := map[string]uint32{}
	var states [][]int32
	work := 0
	add := func(set []int32) uint32 {
		set = g.close(set)
		key := setKey(set)
		id, ok := stateIDs[key]
		if !ok {
			id = uint32(len(states))
			stateIDs[key] = id
			states = append(states, set)
			var ends []int32
			for _, n := range set {
				ends = append(ends, g.nodes[n].ends...)
			}
			slices.Sort(ends)
			class, ok := classIDs[setKey(ends)]
			if !ok {
				class = uint32(len(g.classes))
				classIDs[setKey(ends)] = class
				g.classes = append(g.classes, ends)
			}
			g.accept = append(g.accept, class)
		}
		return id
	}
	add([]int32{0})
	var to []int32
	for i := 0; i < len(states); i++ {
		for _, b := range representatives {
			to = g.step(to[:0], states[i], byte(b))
			work += len(states[i]) + len(to)
			g.next = append(g.next, add(to))
		}
		if len(g.next) > maxGlobWords || work > maxGlobWork {
			return fmt.Errorf("%w: the %d names with * or ? cannot be told apart by an automaton of %d states; name fewer that have several *, such as %s, or name directories",
				ErrTooLarge, len(g.texts), maxGlobWords/g.width, g.worst())
		}
	}
	return nil
}

// worst returns the glob with the most '*', which makes for many states.
func (g *globs) worst() string {
	worst := ""
	for _, text := range g.texts {
		if worst == "" || strings.Count(text, "*") > strings.Count(worst, "*") {
			worst = text
		}
	}
	return worst
}

// step appends the positions after a byte.
func (g *globs) step(to, from []int32, b byte) []int32 {
	for _, at := range from {
		n := &g.nodes[at]
		if n.loopsAll || n.loops && b != '/' {
			to = append(to, at)
		}
		if n.any >= 0 && b != '/' {
			to = append(to, n.any)
		}
		for _, e := range n.bytes {
			if e.b == b {
				to = append(to, e.to)
			}
		}
	}
	return to
}

// close returns the positions with those that are reached without a byte, sorted.
func (g *globs) close(set []int32) []int32 {
	set = slices.Clone(set)
	for i := 0; i < len(set); i++ {
		for _, to := range []int32{g.nodes[set[i]].star, g.nodes[set[i]].stars} {
			if to >= 0 {
				set = append(set, to)
			}
		}
	}
	slices.Sort(set)
	return slices.Compact(set)
}

// class returns the glob class of a name.
func (g *globs) class(name string) uint32 {
	state := uint32(0)
	for i := range len(name) {
		state = g.next[int(state)*g.width+int(g.classOf[name[i]])]
	}
	return g.accept[state]
}

// appendTo writes the automaton.
func (g *globs) appendTo(t *tables, to *abi.Revision) {
	bytes := make([]uint32, 64)
	for b, class := range g.classOf {
		bytes[b/4] |= uint32(class) << (b % 4 * 8)
	}
	to.GlobBytes = t.append(bytes)
	to.GlobNext = t.append(g.next)
	to.GlobColumns = uint32(g.width)
	to.GlobAccept = t.append(g.accept)
}

// setKey returns a text that stands for a sorted set of numbers.
func setKey(set []int32) string { return string(appendKey(nil, set)) }

// appendKey appends the text of setKey.
func appendKey(b []byte, set []int32) []byte {
	for _, n := range set {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return b
}
