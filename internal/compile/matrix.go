package compile

import (
	"cmp"
	"encoding/binary"
	"maps"
	"math/bits"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// maxWork bounds how many candidates are looked at for one operation.
const maxWork = 1 << 30

// matrix fills the verdict table of an operation. It goes through the classes of
// the first key, of the second, and so on, and keeps the patterns that match so
// far. A pattern that names none of the keys matches always and a pattern that
// names one key matches by that alone; both are looked at once, not in every
// cell.
type matrix struct {
	*diagrams
	subjects *subjects
	entries  []entry
	// names is how many of the keys name the object.
	names      int
	dimensions []dimension
	// lists are the candidates of the keys after the first, by key and class.
	lists [][]*list
	// tier is whose candidates count now: all, or, where there are some that are delegated, those of the others.
	// Both do in turn unless single is set.
	*tier
	all, others *tier
	// moves says that the operation judges moves too.
	moves  bool
	single bool
	// apart says that the patterns that name nothing do not count.
	apart bool
	// empty is the block of a column without patterns, blocks are those of others, where blocks
	// are small.
	empty  []verdict
	blocks map[int32][]verdict
	// scratch and scratchKey are used for each cell again.
	own        []candidate
	scratch    []option
	scratchKey []byte
	// finish, if set, completes the decisions' candidates. What it depends on is part.
	finish func(policy.Candidate) policy.Candidate
	part   uint32
	// cells remember what was decided for candidates.
	cells map[string]verdict
}

// candidate is a pattern that matches in the keys so far.
type candidate struct {
	pattern     int32
	uncertain   bool
	specificity policy.Specificity
}

// list is what a column adds to the candidates.
type list struct {
	// done are those that name no later key, reduced; open those that do,
	// sorted by pattern.
	done, open []candidate
}

func (s *subjects) newMatrix(o *operation) *matrix {
	m := &matrix{
		diagrams: newDiagrams(len(o.entries)), subjects: s, entries: o.entries, names: o.name.NameKeys(), dimensions: o.dimensions,
		moves: o.name == policy.FileOpen,
		lists: make([][]*list, len(o.dimensions)), cells: make(map[string]verdict, len(o.entries)),
	}
	m.foremost = s.unidentified
	for i, d := range m.dimensions {
		if i > 0 {
			m.lists[i] = make([]*list, len(d.classes))
		}
	}
	var base []candidate
	delegated := 0
	for i, e := range m.entries {
		if e.named == 0 && s.selects(e.policy) {
			base = append(base, candidate{pattern: int32(i)})
		}
		if e.delegated {
			delegated++
		}
	}
	m.work += len(m.entries)
	base = m.reduce(base)
	m.all = m.newTier(base)
	if delegated > 0 && delegated < len(m.entries) {
		m.others = m.newTier(m.withoutDelegated(base))
	}
	m.tier = m.all
	return m
}

// list returns the patterns of a column whose first key this is.
func (m *matrix) list(key int, column int32, uncertain bool) *list {
	l := &list{}
	terms := m.dimensions[key].terms[column]
	if len(terms) > 0 {
		l.done = make([]candidate, 0, len(terms))
	}
	for _, t := range terms {
		e := &m.entries[t.pattern]
		if bits.TrailingZeros8(e.named) != key || !m.subjects.selects(e.policy) {
			continue
		}
		c := candidate{pattern: t.pattern, uncertain: uncertain}
		c.specificity[key] = t.specificity
		if e.named>>(key+1) == 0 {
			l.done = append(l.done, c)
		} else {
			l.open = append(l.open, c)
		}
	}
	m.work += len(terms)
	l.done = m.reduce(l.done)
	return l
}

// narrow appends those of the open candidates that match in a key's column, or do
// not name the key, to done or open.
func (m *matrix) narrow(to *list, open []candidate, key int, column int32, uncertain bool) {
	terms := m.dimensions[key].terms[column]
	m.work += len(open)
	for _, c := range open {
		named := m.entries[c.pattern].named
		if named>>key&1 != 0 {
			at, found := slices.BinarySearchFunc(terms, c.pattern, func(t term, p int32) int { return int(t.pattern - p) })
			if !found {
				continue
			}
			c.specificity[key] = terms[at].specificity
			c.uncertain = c.uncertain || uncertain
		}
		if named>>(key+1) == 0 {
			to.done = append(to.done, c)
		} else {
			to.open = append(to.open, c)
		}
	}
}

// block returns the decisions about a class of the first key, by the classes of
// the others.
func (m *matrix) block(class int) []verdict {
	d := &m.dimensions[0]
	columns := d.classes[class]
	if len(columns) == 0 { // no name that a pattern selects
		columns = []int32{0}
	}
	if d.own > 0 && class >= d.own {
		return m.ownBlock(columns[0])
	}
	blocks := make([][]verdict, 0, len(columns))
	for _, column := range columns {
		blocks = append(blocks, m.columnBlock(column, class == d.uncertain))
	}
	return slices.Clone(m.combineAll(blocks))
}

// keptBlock is how many cells a block has at most that is kept for another class with the same name.
const keptBlock = 16

// forget drops what depends on [matrix.finish].
func (m *matrix) forget() { m.empty, m.blocks = nil, nil }

// columnBlock is block for one name.
func (m *matrix) columnBlock(column int32, uncertain bool) []verdict {
	if uncertain || m.blockSize() > keptBlock {
		return m.makeBlock(column, uncertain)
	}
	block, ok := m.blocks[column]
	if !ok {
		block = m.makeBlock(column, false)
		if m.blocks == nil {
			m.blocks = make(map[int32][]verdict, len(m.dimensions[0].terms))
		}
		m.blocks[column] = block
	}
	return block
}

func (m *matrix) makeBlock(column int32, uncertain bool) []verdict {
	first := m.list(0, column, uncertain)
	if len(first.done) == 0 && len(first.open) == 0 {
		if m.empty == nil {
			m.empty = m.fill(nil, 1, nil, nil)
		}
		return m.empty
	}
	return m.fill(make([]verdict, 0, m.blockSize()), 1, first.done, first.open)
}

// blockSize is how many cells a block has.
func (m *matrix) blockSize() int {
	size := 1
	for _, d := range m.dimensions[1:] {
		size *= len(d.classes)
	}
	return size
}

// ownBlock is block for a class in which only patterns count that name the first key.
func (m *matrix) ownBlock(column int32) []verdict {
	lists := m.lists
	m.lists = make([][]*list, len(lists))
	for i := range lists {
		m.lists[i] = make([]*list, len(lists[i]))
		for class := range m.lists[i] {
			m.lists[i][class] = &list{} // whose first key this is
		}
	}
	m.apart = true
	first := m.list(0, column, false)
	result := m.fill(nil, 1, first.done, first.open)
	m.lists, m.apart = lists, false
	return result
}

// fill appends the decisions for all classes of the keys from one on.
func (m *matrix) fill(to []verdict, key int, done, open []candidate) []verdict {
	if key == len(m.dimensions) {
		return append(to, m.resolve(done))
	}
	d := &m.dimensions[key]
	// What is decided where a class of the key makes no difference, and how
	// much that is.
	plain, size := -1, 0
	for class, columns := range d.classes {
		column := int32(0)
		if len(columns) > 0 {
			column = columns[0]
		}
		uncertain := class == d.uncertain
		fresh := m.lists[key][class]
		if fresh == nil {
			fresh = m.list(key, column, uncertain)
			m.lists[key][class] = fresh
		}
		var narrowed list
		m.narrow(&narrowed, open, key, column, uncertain)
		if len(fresh.done)+len(fresh.open)+len(narrowed.done)+len(narrowed.open) > 0 {
			to = m.fill(to, key+1, concat(done, fresh.done, m.reduce(narrowed.done)), concat(fresh.open, narrowed.open))
			continue
		}
		if plain < 0 {
			plain = len(to)
			to = m.fill(to, key+1, done, nil)
			size = len(to) - plain
			continue
		}
		to = append(to, to[plain:plain+size]...)
	}
	return to
}

// concat is [slices.Concat], which copies a list that is the only one too.
func concat(lists ...[]candidate) []candidate {
	var only []candidate
	for _, l := range lists {
		if len(l) > 0 && len(only) > 0 {
			return slices.Concat(lists...)
		}
		if len(l) > 0 {
			only = l
		}
	}
	return only
}

// reduce drops candidates that never matter, because another one differs from
// them only in coming earlier.
func (m *matrix) reduce(candidates []candidate) []candidate {
	if len(candidates) < 2 {
		return candidates
	}
	m.work += len(candidates)
	type kind struct {
		policy.Specificity
		policy.Verdict
		subject                                   int32
		uncertain, revoke, namesObject, delegated bool
	}
	first := make(map[kind]int, min(len(candidates), 1<<13))
	kept := make([]candidate, 0, min(len(candidates), 1<<13))
	for _, c := range candidates {
		e := &m.entries[c.pattern]
		k := kind{c.specificity, e.verdict, m.subjects.same[e.policy], c.uncertain, e.revoke, e.namesObject, e.delegated}
		if i, ok := first[k]; !ok {
			first[k] = len(kept)
			kept = append(kept, c)
		} else if c.pattern < kept[i].pattern {
			kept[i] = c
		}
	}
	return kept
}

// candidate returns a candidate as [policy.Resolve] takes it, but for its subject.
func (m *matrix) candidate(c candidate) policy.Candidate {
	e := &m.entries[c.pattern]
	object, kind := c.specificity.Split(m.names)
	one := policy.Candidate{
		Object: object, Kind: kind, Verdict: e.verdict, Policy: e.policy, Rule: e.rule,
		Uncertain: c.uncertain, NamesObject: e.namesObject, Revoke: e.revoke,
	}
	if e.verdict == policy.Allow && e.named == 0 {
		// What `allow: all` allows is what no rule concerns: the kernel need not count it.
		one.Policy, one.Rule = -1, -1
	}
	if m.finish != nil {
		one = m.finish(one)
	}
	return one
}

// resolve decides between candidates and those of the patterns that name nothing.
func (m *matrix) resolve(done []candidate) verdict {
	v, ok := m.cells[string(m.key(done))]
	if !ok {
		v = m.resolveTiers(done)
		m.cells[string(m.key(done))] = v
	}
	return v
}

// key returns a text that stands for candidates, valid until the next call.
func (m *matrix) key(candidates []candidate) []byte {
	key := m.scratchKey[:0]
	key = binary.NativeEndian.AppendUint32(key, m.part)
	flag := func(is bool) {
		b := byte(0)
		if is {
			b = 1
		}
		key = append(key, b)
	}
	flag(m.apart)
	flag(m.single)
	flag(m.tier == m.all)
	for _, c := range candidates {
		key = binary.NativeEndian.AppendUint32(key, uint32(c.pattern))
		for _, s := range c.specificity {
			key = binary.NativeEndian.AppendUint32(key, s)
		}
		flag(c.uncertain)
	}
	m.scratchKey = key
	return key
}

// options returns the candidates for a process that is known.
func (m *matrix) options(to []option, candidates []candidate) []option {
	to = slices.Grow(to, len(candidates))
	for _, c := range candidates {
		one := m.candidate(c)
		for _, a := range m.subjects.of[m.entries[c.pattern].policy] {
			one.Subject = a.rank
			to = append(to, option{Candidate: one, atom: a.atom})
		}
	}
	return to
}

// resolveKnown decides about a process that is known. Where candidates may concern an
// unidentified container, that it is in one is asked first: then the others need not look for it.
func (m *matrix) resolveKnown(done []candidate) root {
	var base []candidate
	if !m.apart {
		base = m.base
	}
	// Those that name no object are overridden by any that does, and the same for many
	// objects.
	own, rest := m.own[:0], []candidate(nil)
	for _, c := range done {
		if object, _ := c.specificity.Split(m.names); object != (policy.Specificity{}) {
			own = append(own, c)
		} else {
			rest = append(rest, c)
		}
	}
	m.own = own
	known := m.resolveIdentified(done, own, rest, base)
	if m.subjects.unidentified == 0 {
		return known
	}
	return m.withUnidentified(known, own, rest, base)
}

func (m *matrix) resolveIdentified(done, own, rest, base []candidate) root {
	if len(rest) == 0 && m.baseAllows && m.names == 1 {
		base = nil // whichever of them decides, the decision is that of no rule
	}
	if slices.ContainsFunc(done, func(c candidate) bool { return c.uncertain }) {
		options := m.options(m.options(nil, done), base)
		if m.names == 1 {
			return m.chooseUndecided(options)
		}
		return m.chooseUncertain(options)
	}
	tail, ok := m.rests[string(m.key(rest))]
	if !ok {
		tail = m.choose(m.options(m.options(nil, rest), base), m.leaf(policy.NoRule()))
		m.rests[string(m.key(rest))] = tail
	}
	m.scratch = m.options(m.scratch[:0], own)
	return m.choose(m.scratch, tail)
}

// condition is what a user must be and when, for candidates to count where a process could not
// be identified.
type condition struct {
	users       int32
	from, until uint64
	candidates  []policy.Candidate
}

// conditions groups the candidates for an unknown process.
func (m *matrix) conditions(candidates []candidate) []condition {
	type kind struct {
		condition int
		policy.Candidate
	}
	if len(candidates) == 0 {
		return nil
	}
	var conditions []condition
	index := make(map[condition3]int, 1)
	first := make(map[kind]int, 1)
	for _, c := range candidates {
		p := m.entries[c.pattern].policy
		one := m.candidate(c)
		one.Subject = m.subjects.unknownRank(p)
		one.Uncertain = one.Uncertain || m.subjects.hidden(p)
		of := &m.subjects.set[p]
		when := condition3{m.subjects.users.of[p], of.From, of.Until}
		if len(candidates) == 1 {
			return []condition{{when.users, when.from, when.until, []policy.Candidate{one}}}
		}
		at, ok := index[when]
		if !ok {
			at = len(conditions)
			index[when] = at
			conditions = append(conditions, condition{users: when.users, from: when.from, until: when.until})
		}
		k := kind{at, one}
		k.Policy, k.Rule = 0, 0
		if i, ok := first[k]; !ok {
			first[k] = len(conditions[at].candidates)
			conditions[at].candidates = append(conditions[at].candidates, one)
		} else if other := &conditions[at].candidates[i]; cmp.Or(cmp.Compare(one.Policy, other.Policy), cmp.Compare(one.Rule, other.Rule)) < 0 {
			*other = one
		}
	}
	return conditions
}

type condition3 struct {
	users       int32
	from, until uint64
}

// restricts reports whether any of the candidates that name no object refuses or reports something.
func restricts(conditions []condition) bool {
	return slices.ContainsFunc(conditions, func(c condition) bool {
		return slices.ContainsFunc(c.candidates, func(one policy.Candidate) bool {
			return one.Verdict != policy.Allow && one.Object == policy.Specificity{}
		})
	})
}

func (m *matrix) resolveUnknown(done []candidate) root {
	all := m.conditions(done)
	if !m.apart && (m.unknownRestricts || restricts(all)) {
		all = slices.Concat(m.unknown, all)
	} // else what names nothing allows, and there is nothing of the kind that it could lift
	m.work += len(all)
	if !slices.ContainsFunc(all, func(c condition) bool { return c.users >= 0 || c.from != 0 || c.until != 0 }) {
		every := make([]int32, len(all))
		for i := range every {
			every[i] = int32(i)
		}
		return m.decideAll(all, every)
	}
	s := m.subjects
	n := len(s.userClasses)
	// Most conditions are about users of whom most others are not: what concerns a class of users is gathered
	// from the conditions, not asked of each.
	var anybody []int32
	of := map[int32][]int32{}
	for i, c := range all {
		if c.users < 0 {
			anybody = append(anybody, int32(i))
			continue
		}
		for _, class := range s.classesOf[c.users] {
			of[class] = append(of[class], int32(i))
		}
	}
	classes := slices.Sorted(maps.Keys(of))
	roots := make([]root, 0, len(s.deadlines)*n)
	var holding []int32
	var key []byte
	for _, time := range s.deadlines {
		known := map[string]root{}
		decide := func(own []int32) root {
			holding, key = holding[:0], key[:0]
			for _, i := range own {
				if all[i].holds(time) {
					holding = append(holding, i)
					key = binary.NativeEndian.AppendUint32(key, uint32(i))
				}
			}
			m.work += len(own)
			at, ok := known[string(key)]
			if !ok {
				for _, i := range anybody {
					if all[i].holds(time) {
						holding = append(holding, i)
					}
				}
				slices.Sort(holding)
				m.work += len(holding)
				at = m.decideAll(all, holding)
				known[string(key)] = at
			}
			return at
		}
		// Mostly the users are none of these.
		other := decide(nil)
		from := len(roots)
		roots = roots[:from+n]
		for i := range n {
			roots[from+i] = other
		}
		for _, class := range classes {
			roots[from+int(class)] = decide(of[class])
		}
	}
	m.work += len(roots)
	return m.diagrams.list(roots)
}

// holds reports whether candidates count at a time.
func (c *condition) holds(time uint64) bool {
	return c.from <= time && (c.until == 0 || c.until > time)
}

// decideAll decides by the candidates of some of the conditions.
func (m *matrix) decideAll(all []condition, some []int32) root {
	var candidates []policy.Candidate
	for _, i := range some {
		candidates = append(candidates, all[i].candidates...)
	}
	m.work += len(candidates)
	return m.leaf(policy.ResolveUnknown(candidates))
}

// sizes returns how many classes each key has; 1 for those that there are not.
func (m *matrix) sizes() [4]uint32 {
	sizes := [4]uint32{1, 1, 1, 1}
	for i, d := range m.dimensions {
		sizes[i] = uint32(len(d.classes))
	}
	return sizes
}

// word returns a decision as the kernel reads it. anyPort says that the ports that
// the kernel may choose for port 0 count as well.
func word(d decision, first []int, anyPort bool) uint32 {
	of := d.rule()
	rule := -1
	if of.Rule >= 0 {
		rule = first[of.Policy] + of.Rule
	}
	return uint32(abi.NewVerdict(uint8(d.verdict()), rule, abi.VerdictFlags{
		AnyPort: anyPort, Undecided: d.has(flagUndecided), NamesObject: d.has(flagNamesObject), Revoke: d.has(flagRevoke),
		Delegated: d.has(flagDelegated),
	}))
}
