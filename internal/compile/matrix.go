package compile

import (
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
	entries []entry
	// names is how many of the keys name the object.
	names      int
	dimensions []dimension
	row        *row
	// lists are the row's candidates of the keys after the first, by key and
	// class.
	lists [][]*list
	// base are the candidates of the patterns that name nothing.
	base []candidate
	// empty is the block of a column without patterns of the row.
	empty []policy.Decision
	work  int
	// finish, if set, completes the decisions' candidates.
	finish func(*policy.Candidate)
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

// start prepares the matrix for a row.
func (m *matrix) start(r *row) {
	m.row = r
	m.empty = nil
	m.lists = make([][]*list, len(m.dimensions))
	for i, d := range m.dimensions {
		if i > 0 {
			m.lists[i] = make([]*list, len(d.classes))
		}
	}
	m.base = nil
	for i, e := range m.entries {
		if e.named == 0 && r.ranks[e.policy] != 0 {
			m.base = append(m.base, candidate{pattern: int32(i), uncertain: r.uncertain[e.policy]})
		}
	}
	m.work += len(m.entries)
	m.base = m.reduce(m.base)
}

// list returns the patterns of a column whose first key this is.
func (m *matrix) list(key int, column int32, uncertain bool) *list {
	l := &list{}
	for _, t := range m.dimensions[key].terms[column] {
		e := &m.entries[t.pattern]
		if bits.TrailingZeros8(e.named) != key || m.row.ranks[e.policy] == 0 {
			continue
		}
		c := candidate{pattern: t.pattern, uncertain: uncertain || m.row.uncertain[e.policy]}
		c.specificity[key] = t.specificity
		if e.named>>(key+1) == 0 {
			l.done = append(l.done, c)
		} else {
			l.open = append(l.open, c)
		}
	}
	m.work += len(m.dimensions[key].terms[column])
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
func (m *matrix) block(class int) []policy.Decision {
	d := &m.dimensions[0]
	columns := d.classes[class]
	if len(columns) == 0 { // no name that a pattern selects
		columns = []int32{0}
	}
	if d.own > 0 && class >= d.own {
		return m.ownBlock(columns[0])
	}
	var result []policy.Decision
	for i, column := range columns {
		one := m.columnBlock(column, class == d.uncertain)
		if i == 0 {
			result = slices.Clone(one)
			continue
		}
		for n := range result {
			result[n] = policy.Stricter(result[n], one[n])
		}
	}
	return result
}

// columnBlock is block for one name; the result is valid until the next call.
func (m *matrix) columnBlock(column int32, uncertain bool) []policy.Decision {
	first := m.list(0, column, uncertain)
	if len(first.done) == 0 && len(first.open) == 0 {
		if m.empty == nil {
			m.empty = m.fill(nil, 1, m.base, nil)
		}
		return m.empty
	}
	return m.fill(nil, 1, slices.Concat(m.base, first.done), first.open)
}

// ownBlock is block for a class in which only patterns count that name the first key.
func (m *matrix) ownBlock(column int32) []policy.Decision {
	lists := m.lists
	m.lists = make([][]*list, len(lists))
	for i := range lists {
		m.lists[i] = make([]*list, len(lists[i]))
		for class := range m.lists[i] {
			m.lists[i][class] = &list{} // whose first key this is
		}
	}
	first := m.list(0, column, false)
	result := m.fill(nil, 1, first.done, first.open)
	m.lists = lists
	return result
}

// fill appends the decisions for all classes of the keys from one on.
func (m *matrix) fill(to []policy.Decision, key int, done, open []candidate) []policy.Decision {
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
			to = m.fill(to, key+1, slices.Concat(done, fresh.done, m.reduce(narrowed.done)), slices.Concat(fresh.open, narrowed.open))
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

// reduce drops candidates that never matter, because another one differs from
// them only in coming earlier.
func (m *matrix) reduce(candidates []candidate) []candidate {
	if len(candidates) < 2 {
		return candidates
	}
	m.work += len(candidates)
	type kind struct {
		policy.Specificity
		policy.SubjectRank
		policy.Verdict
		uncertain, revoke, namesObject bool
	}
	first := make(map[kind]int, min(len(candidates), 16))
	kept := candidates[:0:0]
	for _, c := range candidates {
		e := &m.entries[c.pattern]
		k := kind{c.specificity, m.row.ranks[e.policy], e.verdict, c.uncertain, e.revoke, e.namesObject}
		if i, ok := first[k]; !ok {
			first[k] = len(kept)
			kept = append(kept, c)
		} else if c.pattern < kept[i].pattern {
			kept[i] = c
		}
	}
	return kept
}

// resolve decides between candidates.
func (m *matrix) resolve(candidates []candidate) policy.Decision {
	if len(candidates) == 0 {
		return policy.NoRule()
	}
	m.work += len(candidates)
	list := make([]policy.Candidate, len(candidates))
	for i, c := range candidates {
		e := &m.entries[c.pattern]
		object, kind := c.specificity.Split(m.names)
		list[i] = policy.Candidate{
			Object: object, Kind: kind, Subject: m.row.ranks[e.policy], Verdict: e.verdict,
			Policy: e.policy, Rule: e.rule, Uncertain: c.uncertain,
			NamesObject: e.namesObject, Revoke: e.revoke,
		}
		if m.finish != nil {
			m.finish(&list[i])
		}
	}
	return policy.ResolveUnknown(list)
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
func word(d policy.Decision, first []int, anyPort bool) uint32 {
	rule := -1
	if d.Rule >= 0 {
		rule = first[d.Policy] + d.Rule
	}
	return uint32(abi.NewVerdict(uint8(d.Verdict), rule, abi.VerdictFlags{
		AnyPort: anyPort, Undecided: d.Undecided, NamesObject: d.NamesObject, Revoke: d.Revoke,
	}))
}
