package compile

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/policy"
)

// columnSet numbers columns: equal ones get one number, a class.
type columnSet struct {
	columns []column
	// matching are the patterns that match, by class.
	matching []bitset
	ids      map[string]uint32
}

// add returns the class of a column. Columns with different marks are kept
// apart even if they are equal.
func (c *columnSet) add(col column, mark string) uint32 {
	if c.ids == nil {
		c.ids = map[string]uint32{}
	}
	name := fmt.Sprint(mark, col)
	id, ok := c.ids[name]
	if !ok {
		id = uint32(len(c.columns))
		c.ids[name] = id
		c.columns = append(c.columns, col)
		matching := newBitset(len(col))
		for i, s := range col {
			if s != noMatch {
				matching.set(i)
			}
		}
		c.matching = append(c.matching, matching)
	}
	return id
}

// portClasses are the intervals of ports and what has no ports.
type portClasses struct {
	columnSet
	starts  []uint32
	classes []uint32
}

func portColumns(patterns []socketPattern) *portClasses {
	boundaries := map[uint32]bool{0: true, 1: true, bpf.NoPort: true}
	for _, p := range patterns {
		for _, r := range p.Ports {
			boundaries[uint32(r.First)] = true
			boundaries[uint32(r.Last)+1] = true
		}
	}
	c := &portClasses{}
	for _, start := range slices.Sorted(maps.Keys(boundaries)) {
		col := make(column, len(patterns))
		for i, p := range patterns {
			col[i] = portSpecificity(p.Ports, start)
		}
		class := c.add(col, "")
		if n := len(c.classes); n > 0 && c.classes[n-1] == class {
			continue // the interval before goes on
		}
		c.starts = append(c.starts, start)
		c.classes = append(c.classes, class)
	}
	return c
}

func portSpecificity(ranges []policy.PortRange, port uint32) uint32 {
	if len(ranges) == 0 {
		return 0
	}
	best := noMatch
	for _, r := range ranges {
		if uint32(r.First) <= port && port <= uint32(r.Last) {
			if s := policy.PortSpecificity(r); best == noMatch || s > best {
				best = s
			}
		}
	}
	return best
}

func (c *portClasses) entries() []any { return intervals(c.starts, c.classes) }

func intervals(starts, classes []uint32) []any {
	entries := make([]any, len(starts))
	for i := range starts {
		entries[i] = bpf.Interval{Start: starts[i], Class: classes[i]}
	}
	return entries
}

// everyAddress is what the class of an unspecified address stands for.
type everyAddress struct {
	// family is the set of the classes of the family's addresses.
	family map[uint32]bool
	// named is the specificity of a pattern that names just this address.
	named uint32
}

// addressClasses are the intervals of IPv4 and of IPv6 addresses.
type addressClasses struct {
	columnSet
	starts4, starts6   []netip.Addr
	classes4, classes6 []uint32
	unspecified        map[int]everyAddress
}

func addressColumns(patterns []socketPattern) *addressClasses {
	c := &addressClasses{unspecified: map[int]everyAddress{}}
	c.starts4, c.classes4 = c.family(patterns, netip.IPv4Unspecified())
	c.starts6, c.classes6 = c.family(patterns, netip.IPv6Unspecified())
	return c
}

// placed is a prefix of one of the patterns.
type placed struct {
	netip.Prefix
	pattern int
}

// family finds the intervals of one family by a sweep over its prefixes, which
// lie one in another or apart, so those around an address form a stack.
func (c *addressClasses) family(patterns []socketPattern, unspecified netip.Addr) (starts []netip.Addr, classes []uint32) {
	base := make(column, len(patterns)) // outside of every prefix
	var prefixes []placed
	for i, p := range patterns {
		if len(p.Addresses) > 0 {
			base[i] = noMatch
		}
		for _, prefix := range p.Addresses {
			if prefix.Addr().BitLen() == unspecified.BitLen() {
				prefixes = append(prefixes, placed{prefix, i})
			}
		}
	}
	// The unspecified address has an interval and a class of its own.
	const nobody = -1
	prefixes = append(prefixes, placed{netip.PrefixFrom(unspecified, unspecified.BitLen()), nobody})
	slices.SortFunc(prefixes, func(a, b placed) int {
		if order := a.Addr().Compare(b.Addr()); order != 0 {
			return order
		}
		return a.Bits() - b.Bits()
	})

	var stack []placed
	emit := func(start netip.Addr) {
		col := slices.Clone(base)
		for _, p := range stack { // the innermost, most specific, last
			if p.pattern != nobody {
				col[p.pattern] = policy.AddressSpecificity(p.Prefix)
			}
		}
		mark := ""
		if start == unspecified {
			mark = unspecified.String()
		}
		class := c.add(col, mark)
		if n := len(classes); n > 0 && classes[n-1] == class {
			return // the interval before goes on
		}
		starts = append(starts, start)
		classes = append(classes, class)
	}
	// closeUntil ends the prefixes that end before an address; an invalid
	// address ends all.
	closeUntil := func(next netip.Addr) {
		for len(stack) > 0 {
			after := last(stack[len(stack)-1].Prefix).Next()
			if next.IsValid() && (!after.IsValid() || next.Less(after)) {
				return
			}
			for len(stack) > 0 && last(stack[len(stack)-1].Prefix).Next() == after {
				stack = stack[:len(stack)-1]
			}
			if after.IsValid() && after != next {
				emit(after)
			}
		}
	}
	for i, p := range prefixes {
		closeUntil(p.Addr())
		stack = append(stack, p)
		if i+1 == len(prefixes) || prefixes[i+1].Addr() != p.Addr() {
			emit(p.Addr()) // all that start here make one interval
		}
	}
	closeUntil(netip.Addr{})

	every := everyAddress{
		family: map[uint32]bool{},
		named:  policy.AddressSpecificity(netip.PrefixFrom(unspecified, unspecified.BitLen())),
	}
	for i := 1; i < len(starts); i++ {
		// A v4-mapped address is judged as IPv4, never as IPv6.
		if mapped := i+1 < len(starts) && starts[i].Is4In6() && starts[i+1].Prev().Is4In6(); !mapped {
			every.family[classes[i]] = true
		}
	}
	c.unspecified[int(classes[0])] = every
	return starts, classes
}

// last returns the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}

func (c *addressClasses) entries4() []any {
	starts := make([]uint32, len(c.starts4))
	for i, a := range c.starts4 {
		starts[i] = word(a.AsSlice())
	}
	return intervals(starts, c.classes4)
}

func (c *addressClasses) entries6() []any {
	entries := make([]any, len(c.starts6))
	for i, a := range c.starts6 {
		b := a.AsSlice()
		entries[i] = bpf.Interval6{
			Start: [4]uint32{word(b), word(b[4:]), word(b[8:]), word(b[12:])},
			Class: c.classes6[i],
		}
	}
	return entries
}

func word(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// protocolClasses are the classes of the protocols, and of no protocol at 0.
type protocolClasses struct {
	columnSet
	byProtocol []uint32
}

func protocolColumns(patterns []socketPattern) *protocolClasses {
	c := &protocolClasses{}
	for protocol := policy.Protocol(0); protocol <= policy.OtherProtocol; protocol++ {
		col := make(column, len(patterns))
		for i, p := range patterns {
			switch {
			case len(p.Protocols) == 0:
			case slices.Contains(p.Protocols, protocol):
				col[i] = 1
			default:
				col[i] = noMatch
			}
		}
		c.byProtocol = append(c.byProtocol, c.add(col, ""))
	}
	return c
}
