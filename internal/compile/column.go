package compile

import (
	"encoding/binary"
)

// term is a pattern that matches, with its specificity in one key.
type term struct {
	pattern     int32
	specificity uint32
}

// maxTerms bounds the terms of the columns of one key: 256 MiB.
const maxTerms = 1 << 25

// columns numbers columns. A column is what the patterns see of a class of values
// of one key: the patterns that name the key and match, by their index. It holds
// only these, since a set can have 100,000 patterns of which each matches one
// value. Column 0 is the empty one.
type columns struct {
	terms [][]term
	// ids finds columns, single those of one term.
	ids    map[string]int32
	single map[term]int32
	// merged remembers columns that were merged.
	merged map[[2]int32]int32
	count  int
	// overflow says that the columns got too large; the result is useless then.
	overflow bool
	buffer   []byte
}

// newColumns returns the empty column, with room for so many.
func newColumns(room int) *columns {
	return &columns{terms: append(make([][]term, 0, room+1), nil), ids: map[string]int32{}, single: make(map[term]int32, room), merged: map[[2]int32]int32{}}
}

// key returns the text that stands for a column, valid until the next call.
func (c *columns) key(terms []term) []byte {
	b := c.buffer[:0]
	for _, t := range terms {
		b = binary.NativeEndian.AppendUint32(b, uint32(t.pattern))
		b = binary.NativeEndian.AppendUint32(b, t.specificity)
	}
	c.buffer = b
	return b
}

// find returns the number of a column, which is sorted by pattern, if it has one.
func (c *columns) find(terms []term) (int32, bool) {
	switch len(terms) {
	case 0:
		return 0, true
	case 1:
		id, ok := c.single[terms[0]]
		return id, ok
	}
	id, ok := c.ids[string(c.key(terms))]
	return id, ok
}

// add returns the number of a column, which is sorted by pattern. The terms are
// copied.
func (c *columns) add(terms []term) int32 {
	if id, ok := c.find(terms); ok {
		return id
	}
	if c.count += len(terms); c.count > maxTerms {
		c.overflow = true
		return 0
	}
	id := int32(len(c.terms))
	if len(terms) == 1 {
		c.single[terms[0]] = id
	} else {
		c.ids[string(c.buffer)] = id
	}
	c.terms = append(c.terms, append([]term(nil), terms...))
	return id
}

// merge returns the column of what two columns describe at once: the greater
// specificity of each pattern.
func (c *columns) merge(a, b int32) int32 {
	switch {
	case a == b || b == 0:
		return a
	case a == 0:
		return b
	case a > b:
		a, b = b, a
	}
	if id, ok := c.merged[[2]int32{a, b}]; ok {
		return id
	}
	id := c.add(mergeTerms(nil, c.terms[a], c.terms[b]))
	c.merged[[2]int32{a, b}] = id
	return id
}

// mergeTerms appends the union of two columns.
func mergeTerms(to, a, b []term) []term {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].pattern < b[0].pattern:
			to, a = append(to, a[0]), a[1:]
		case a[0].pattern > b[0].pattern:
			to, b = append(to, b[0]), b[1:]
		default:
			to = append(to, term{a[0].pattern, max(a[0].specificity, b[0].specificity)})
			a, b = a[1:], b[1:]
		}
	}
	return append(append(to, a...), b...)
}

// addTerm adds a term to a column that is made in the order of the patterns.
func addTerm(terms []term, t term) []term {
	if n := len(terms); n > 0 && terms[n-1].pattern == t.pattern {
		terms[n-1].specificity = max(terms[n-1].specificity, t.specificity)
		return terms
	}
	return append(terms, t)
}
