package compile

import (
	"fmt"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/abi"
)

// automaton makes the deterministic automaton of a trie, as far as names can lead.
//
// A state of it is what a name, or several names of one file, can still become.
// Its number stands for that alone; whether something ends in it is part of the
// edge that leads there. So 100,000 files that are named exactly, each with a
// class of its own, share one state.
type automaton struct {
	*trie
	*space
	name string
	// union says that several names of one file are one thing that patterns
	// match if they match any of them; else each is a thing for itself.
	union bool

	lives   []live
	liveIDs map[string]int32
	// numbers are the states by the lives of their names.
	numbers map[string]numbered
	queue   []pending
	// classes are the columns of the names, by class; class 0 has none.
	classes  [][]int32
	classIDs map[string]uint32
	// classOf has the classes of one column.
	classOf map[int32]uint32
	buffer  []byte // for keys of maps
	// edgesOf has the edges of each state, for addBelow; nil where it is not asked.
	edgesOf map[uint32][]abi.State
	// byGlobs remembers which glob classes concern a set of globs.
	byGlobs map[string][]globChoice
}

// space is what the automata of a revision share.
type space struct {
	key        Key
	dictionary *dictionary
	filter     *filter
	states     uint32
}

// stateEnd is the state that nothing leaves.
const stateEnd = 1

func (s *space) number() uint32 {
	s.states = max(s.states, stateEnd) + 1
	return s.states
}

// live is what one name can still become: nodes with something behind them, and
// the column of the patterns that match everything below. Number 0 is nothing.
type live struct {
	below int32
	shm   bool
	nodes []int32
}

// config is the configuration of the automaton to which one name leads.
type config struct{ live, column int32 }

// numbered is the number of a state, and whether its edges are made or pending.
type numbered struct {
	number uint32
	edges  bool
}

// pending is a state whose edges are still to be made.
type pending struct {
	number uint32
	lives  []int32
}

// globChoice is a set of globs and the glob classes that amount to it.
type globChoice struct {
	globs   []int32
	classes []uint32
}

func newAutomaton(name string, t *trie, s *space) *automaton {
	t.seal()
	return &automaton{
		trie: t, space: s, name: name,
		lives: []live{{}}, liveIDs: map[string]int32{},
		numbers: map[string]numbered{},
		classes: [][]int32{nil}, classIDs: map[string]uint32{"": 0}, classOf: map[int32]uint32{},
		byGlobs: map[string][]globChoice{},
	}
}

func (a *automaton) live(l live) int32 {
	if l.below == 0 && !l.shm && len(l.nodes) == 0 {
		return 0
	}
	shm := int32(0)
	if l.shm {
		shm = 1
	}
	a.buffer = appendKey(append(a.buffer[:0], byte(shm)), []int32{l.below})
	a.buffer = appendKey(a.buffer, l.nodes)
	id, ok := a.liveIDs[string(a.buffer)]
	if !ok {
		id = int32(len(a.lives))
		a.liveIDs[string(a.buffer)] = id
		a.lives = append(a.lives, l)
	}
	return id
}

// start is where the name without components leads.
func (a *automaton) start() config { return a.arrive(live{}, []int32{0}) }

// step leaves a live set by a name, of which the globs are those that match it;
// the name is empty for one without an edge of its own.
func (a *automaton) step(from int32, name string, globs []int32) config {
	l := a.lives[from]
	var reached []int32
	for _, at := range l.nodes {
		n := &a.nodes[at]
		if n.loops {
			reached = append(reached, at)
		}
		if n.any != 0 {
			reached = append(reached, n.any)
		}
		for _, g := range n.globs {
			if slices.Contains(globs, g.glob) {
				reached = append(reached, g.to)
			}
		}
		if to := n.child(name); to != 0 && name != "" {
			reached = append(reached, to)
		}
	}
	return a.arrive(l, reached)
}

// stepName is step for a name whose globs are not known yet.
func (a *automaton) stepName(from int32, name string) config {
	return a.step(from, name, a.globs.classes[a.globs.class(name)])
}

// arrive returns the config of the nodes that were reached from a live set.
func (a *automaton) arrive(from live, reached []int32) config {
	for i := 0; i < len(reached); i++ {
		if loop := a.nodes[reached[i]].loop; loop != 0 {
			reached = append(reached, loop)
		}
	}
	slices.Sort(reached)
	reached = slices.Compact(reached)
	to := live{below: from.below, shm: from.shm}
	for _, at := range reached {
		n := &a.nodes[at]
		to.below = a.columns.merge(to.below, n.belowColumn)
		to.shm = to.shm || n.shm
		if len(n.names) > 0 || len(n.globs) > 0 || n.any != 0 || n.loops {
			to.nodes = append(to.nodes, at)
		}
	}
	column := to.below
	for _, at := range reached {
		column = a.columns.merge(column, a.nodes[at].hereColumn)
	}
	return config{a.live(to), column}
}

// unite makes one config of several where names do not count by themselves.
func (a *automaton) unite(configs []config) []config {
	if !a.union || len(configs) < 2 {
		return configs
	}
	var all live
	column := int32(0)
	for _, s := range configs {
		l := a.lives[s.live]
		all.below = a.columns.merge(all.below, l.below)
		all.shm = all.shm || l.shm
		all.nodes = append(all.nodes, l.nodes...)
		column = a.columns.merge(column, s.column)
	}
	slices.Sort(all.nodes)
	all.nodes = slices.Compact(all.nodes)
	return []config{{a.live(all), column}}
}

// dead is the state that no pattern can match in any more.
var dead = abi.State{Accept: abi.StateAbsorbing}

// state returns the state of a file with names that lead to the configs.
func (a *automaton) state(configs ...config) abi.State {
	var lives, columns []int32
	for _, s := range a.unite(configs) {
		if s.live != 0 {
			lives = append(lives, s.live)
		}
		if s.column != 0 {
			columns = append(columns, s.column)
		}
	}
	lives, columns = sortedSet(lives), sortedSet(columns)
	class := a.class(columns)
	switch {
	case len(lives) == 0 && class == 0:
		return dead
	case len(lives) == 0:
		return abi.State{Number: stateEnd, Accept: class}
	}
	flags := uint32(0)
	moves := false
	var below []int32
	for _, id := range lives {
		l := a.lives[id]
		moves = moves || len(l.nodes) > 0
		if l.below != 0 {
			below = append(below, l.below)
		}
		if l.below != 0 || l.shm {
			flags |= abi.StateWild
		}
		if l.shm {
			flags |= abi.StateShm
		}
		for _, at := range l.nodes {
			n := &a.nodes[at]
			if n.any != 0 || n.loops || len(n.globs) > 0 {
				flags |= abi.StateWild
			}
			if len(n.globs) > 0 {
				flags |= abi.StateGlobs
			}
		}
	}
	absorbing := !moves && class == a.class(sortedSet(below))
	if absorbing {
		flags = flags&abi.StateShm | abi.StateAbsorbing
	}
	to := abi.State{Number: a.numberOf(lives, !absorbing), Accept: class | flags}
	if absorbing && a.edgesOf != nil {
		a.edgesOf[to.Number] = []abi.State{to}
	}
	return to
}

// numberOf returns the number of a state. Its edges are needed unless it is absorbing.
func (a *automaton) numberOf(lives []int32, edges bool) uint32 {
	a.buffer = appendKey(a.buffer[:0], lives)
	n, ok := a.numbers[string(a.buffer)]
	if ok && (n.edges || !edges) {
		return n.number
	}
	if !ok {
		n.number = a.space.number()
	}
	if edges {
		n.edges = true
		a.queue = append(a.queue, pending{n.number, lives})
	}
	a.numbers[string(a.buffer)] = n
	return n.number
}

// class returns the class of a file whose names have these columns.
func (a *automaton) class(columns []int32) uint32 {
	if len(columns) == 1 { // mostly
		id, ok := a.classOf[columns[0]]
		if !ok {
			id = uint32(len(a.classes))
			a.classOf[columns[0]] = id
			a.classes = append(a.classes, columns)
		}
		return id
	}
	a.buffer = appendKey(a.buffer[:0], columns)
	id, ok := a.classIDs[string(a.buffer)]
	if !ok {
		id = uint32(len(a.classes))
		a.classIDs[string(a.buffer)] = id
		a.classes = append(a.classes, columns)
	}
	return id
}

func sortedSet(set []int32) []int32 {
	slices.Sort(set)
	return slices.Compact(set)
}

// finish makes the edges of all states that can be reached.
func (a *automaton) finish() error {
	for len(a.queue) > 0 {
		p := a.queue[0]
		a.queue = a.queue[1:]
		a.edges(p)
		if a.columns.overflow || len(a.dictionary.keys) > maxEntries || len(a.classes) > abi.ClassMask {
			return a.tooLarge()
		}
	}
	return nil
}

func (a *automaton) tooLarge() error {
	return fmt.Errorf("%w: the paths that the rules for %s name lead to more than %d states and edges; name directories in place of ** with further names behind it, and fewer files",
		ErrTooLarge, a.name, maxEntries)
}

// edges makes the edges of a state.
func (a *automaton) edges(p pending) {
	var names []string
	var globs []int32
	wild, sources := false, 0
	for _, id := range p.lives {
		l := a.lives[id]
		wild = wild || l.below != 0 || l.shm
		for _, at := range l.nodes {
			n := &a.nodes[at]
			wild = wild || n.any != 0 || n.loops || len(n.globs) > 0
			if len(n.names) > 0 {
				sources++
			}
			for _, e := range n.names {
				names = append(names, e.name)
			}
			for _, g := range n.globs {
				globs = append(globs, g.glob)
			}
		}
	}
	if sources > 1 {
		slices.Sort(names)
		names = slices.Compact(names)
	}
	globs = sortedSet(globs)
	configs := make([]config, len(p.lives))
	step := func(key uint64, name string, globs []int32) {
		for i, id := range p.lives {
			configs[i] = a.step(id, name, globs)
		}
		if to := a.state(configs...); to != dead {
			a.dictionary.add(key, to)
			if a.edgesOf != nil {
				a.edgesOf[p.number] = append(a.edgesOf[p.number], to)
			}
		}
	}
	for _, name := range names {
		var matching []int32
		if len(globs) > 0 {
			matching = a.globs.classes[a.globs.class(name)]
		}
		step(a.key.name(p.number, name), name, matching)
	}
	if !wild {
		return
	}
	step(a.key.glob(p.number, 0), "", nil)
	for _, choice := range a.choices(globs) {
		for _, class := range choice.classes {
			step(a.key.glob(p.number, class), "", choice.globs)
		}
	}
}

// choices returns which of the globs names can match at the same time.
func (a *automaton) choices(globs []int32) []globChoice {
	if len(globs) == 0 {
		return nil
	}
	key := setKey(globs)
	choices, ok := a.byGlobs[key]
	if ok {
		return choices
	}
	index := map[string]int{}
	for class, matching := range a.globs.classes {
		var both []int32
		for _, g := range matching {
			if _, found := slices.BinarySearch(globs, g); found {
				both = append(both, g)
			}
		}
		if len(both) == 0 {
			continue // as class 0
		}
		i, ok := index[setKey(both)]
		if !ok {
			i = len(choices)
			index[setKey(both)] = i
			choices = append(choices, globChoice{globs: both})
		}
		choices[i].classes = append(choices[i].classes, uint32(class))
	}
	a.byGlobs[key] = choices
	return choices
}
