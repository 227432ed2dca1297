package compile

import (
	"cmp"
	"net/netip"
	"slices"
)

// number is a port, an id or an address.
type number struct{ high, low uint64 }

func small(n uint32) number { return number{0, uint64(n)} }

func addressNumber(a netip.Addr) number {
	var n number
	for i, b := range a.AsSlice() {
		if a.Is4() || i >= 8 {
			n.low = n.low<<8 | uint64(b)
		} else {
			n.high = n.high<<8 | uint64(b)
		}
	}
	return n
}

func (n number) compare(other number) int {
	return cmp.Or(cmp.Compare(n.high, other.high), cmp.Compare(n.low, other.low))
}

// next returns the number after.
func (n number) next() number {
	n.low++
	if n.low == 0 {
		n.high++
	}
	return n
}

// spans are the ranges of numbers that patterns name.
type spans struct {
	edges []edge
	// greatest is the greatest number there is.
	greatest number
}

// edge is where a range begins, or the first number after it.
type edge struct {
	at   number
	term term
	end  bool
}

func (s *spans) add(first, last number, t term) {
	s.edges = append(s.edges, edge{first, t, false})
	if last.compare(s.greatest) < 0 {
		s.edges = append(s.edges, edge{last.next(), t, true})
	}
}

// intervals are sorted by start; the first starts at 0. Two in a row have
// different classes.
type intervals struct {
	starts  []number
	classes []uint32
}

// sweep cuts the numbers into intervals at the edges and at the given numbers.
// class returns the class of an interval by its start and its column.
func (s *spans) sweep(set *columns, class func(start number, column int32) uint32, cuts ...number) intervals {
	edges := s.edges
	for _, cut := range append(cuts, number{}) {
		edges = append(edges, edge{at: cut, term: term{pattern: -1}})
	}
	slices.SortFunc(edges, func(a, b edge) int { return a.at.compare(b.at) })
	var result intervals
	// active are the terms whose ranges contain the number, sorted, as often
	// as there are such ranges.
	var active, column []term
	order := func(a, b term) int {
		return cmp.Or(cmp.Compare(a.pattern, b.pattern), cmp.Compare(a.specificity, b.specificity))
	}
	for i, e := range edges {
		if e.term.pattern >= 0 {
			at, _ := slices.BinarySearchFunc(active, e.term, order)
			if e.end {
				active = slices.Delete(active, at, at+1)
			} else {
				active = slices.Insert(active, at, e.term)
			}
		}
		if i+1 < len(edges) && edges[i+1].at == e.at {
			continue
		}
		column = column[:0]
		for _, t := range active {
			column = addTerm(column, t)
		}
		c := class(e.at, set.add(column))
		if set.overflow {
			return intervals{}
		}
		if n := len(result.classes); n > 0 && result.classes[n-1] == c {
			continue // the interval before goes on
		}
		result.starts = append(result.starts, e.at)
		result.classes = append(result.classes, c)
	}
	return result
}

// previous returns the number before.
func (n number) previous() number {
	if n.low == 0 {
		n.high--
	}
	n.low--
	return n
}
