package policy

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// meeting says how two patterns of an operation compare on the objects that both
// select.
type meeting struct {
	// apart says that no object is selected by both.
	apart bool
	// order compares how specific they are, by key: 1 or 0 if the first is always
	// more specific, or always at least as specific, -1 if it may be less so.
	order [len(Specificity{})]int
}

// addKey adds a key with the values of both patterns. overlap says that one object can
// have both values; where it cannot be told it says yes.
func addKey[A, B any](m *meeting, key int, first []A, second []B, overlap func(A, B) bool, of func(A) uint32, than func(B) uint32) {
	switch {
	case len(first) == 0 && len(second) == 0:
		return
	case len(first) == 0:
		m.order[key] = -1
		return
	case len(second) == 0:
		m.order[key] = 1
		return
	case len(first)*len(second) > maxMeetings:
		m.order[key] = -1
		return
	}
	least, met := 1, false
	for _, a := range first {
		for _, b := range second {
			if overlap(a, b) {
				met = true
				least = min(least, cmp.Compare(of(a), than(b)))
			}
		}
	}
	m.order[key] = least
	m.apart = m.apart || !met
}

// maxMeetings bounds the pairs of values that are compared for one key.
const maxMeetings = 10_000

// meetingPattern is a [Pattern] that can be compared with others of its type.
type meetingPattern interface {
	meet(other Pattern) meeting
}

// meet compares two patterns of an operation, false if they cannot be compared.
func meet(first, second Pattern) (meeting, bool) {
	for _, pattern := range []Pattern{first, second} {
		if p, ok := pattern.(interface{ unresolved() bool }); ok && p.unresolved() {
			return meeting{}, false // nobody knows which ids they are
		}
	}
	if numbers, ok := first.(NumberPattern); ok {
		return meetNumbers(numbers.Numbers(), second.(NumberPattern).Numbers()), true
	}
	p, ok := first.(meetingPattern)
	if !ok {
		return meeting{}, false
	}
	return p.meet(second), true
}

func meetNumbers(first, second []NumberKey) meeting {
	var m meeting
	overlap := func(a, b IDRange) bool { return a.First <= b.Last && b.First <= a.Last }
	for i := range first {
		addKey(&m, i, first[i].Ranges, second[i].Ranges, overlap, IDSpecificity, IDSpecificity)
	}
	return m
}

func (p FilePattern) meet(other Pattern) meeting {
	var m meeting
	q := other.(FilePattern)
	if p.Kinds|q.Kinds == 0 {
		m.paths(pathKey, p.Paths, q.Paths)
	} else {
		m.kinds(p, q)
	}
	m.bits(accessKey, uint32(p.Access), uint32(q.Access))
	return m
}

func (p ProgramPattern) meet(other Pattern) meeting {
	var m meeting
	q := other.(ProgramPattern)
	m.paths(pathKey, p.Paths, q.Paths)
	traits := func(p ProgramPattern) int {
		return len(slices.DeleteFunc([]bool{p.Fileless, p.NoArgs}, func(named bool) bool { return !named }))
	}
	m.order[traitsKey] = cmp.Compare(traits(p), traits(q))
	return m
}

func (p MountPattern) meet(other Pattern) meeting {
	var m meeting
	q := other.(MountPattern)
	m.paths(targetKey, p.Targets, q.Targets)
	source := func(text string) uint32 { return splitSourcePattern(text).Specificity() }
	addKey(&m, sourceKey, p.Sources, q.Sources, sourcesOverlap, source, source)
	one := func(string) uint32 { return 1 }
	addKey(&m, typeKey, p.Types, q.Types, func(a, b string) bool { return a == b }, one, one)
	// A mount has several flags, so two patterns with different ones can meet.
	m.order[flagsKey] = cmp.Compare(min(p.Flags, 1), min(q.Flags, 1))
	return m
}

func (p SocketPattern) meet(other Pattern) meeting {
	var m meeting
	q := other.(SocketPattern)
	addKey(&m, addressKey, slices.Concat(p.Addresses, p.Listed), slices.Concat(q.Addresses, q.Listed), netip.Prefix.Overlaps, AddressSpecificity, AddressSpecificity)
	m.apart = m.apart || p.contradiction("") != "" || q.contradiction("") != ""
	ports := func(a, b PortRange) bool { return a.First <= b.Last && b.First <= a.Last }
	addKey(&m, portKey, p.Ports, q.Ports, ports, PortSpecificity, PortSpecificity)
	one := func(Protocol) uint32 { return 1 }
	addKey(&m, protocolKey, p.Protocols, q.Protocols, func(a, b Protocol) bool { return a == b }, one, one)
	return m
}

// kinds compares patterns of which one or both name kinds. A path and a kind are judged
// one beside the other, so neither is more specific.
func (m *meeting) kinds(p, q FilePattern) {
	switch {
	case len(p.Paths)+len(q.Paths) > 0 || p.Kinds == 0:
		m.order[pathKey] = -1
	case q.Kinds == 0:
		m.order[pathKey] = 1
	default:
		m.apart = p.Kinds&q.Kinds == 0
	}
}

// choosable reports whether the pattern selects values that stand for others when
// a socket is bound.
func (p SocketPattern) choosable() bool {
	return slices.ContainsFunc(p.Ports, func(r PortRange) bool { return r.First == 0 }) ||
		p.matchAddress(netip.IPv4Unspecified()) > 0 || p.matchAddress(netip.IPv6Unspecified()) > 0
}

func (m *meeting) paths(key int, first, second []string) {
	specificity := func(text string) uint32 { return splitPathPattern(text).Specificity() }
	addKey(m, key, first, second, pathsOverlap, specificity, specificity)
}

func (m *meeting) bits(key int, first, second uint32) {
	m.order[key] = cmp.Compare(min(first, 1), min(second, 1))
	m.apart = m.apart || first != 0 && second != 0 && first&second == 0
}

// pathsOverlap reports whether one path may be selected by both patterns.
func pathsOverlap(a, b string) bool {
	p, q := splitPathPattern(a), splitPathPattern(b)
	for i := range max(len(p.Components), len(q.Components)) {
		if i == len(p.Components) || i == len(q.Components) {
			shorter := p
			if i == len(q.Components) {
				shorter = q
			}
			return shorter.Tree // what follows selects at least one component
		}
		one, other := p.Components[i], q.Components[i]
		switch {
		case one == "**" || other == "**":
			return true
		case isGlob(one) && isGlob(other): // cannot be told
		case isGlob(one) && !MatchComponent(one, other), isGlob(other) && !MatchComponent(other, one),
			!isGlob(one) && !isGlob(other) && one != other:
			return false
		}
	}
	return true
}

// sourcesOverlap reports whether one source may be selected by both patterns.
func sourcesOverlap(a, b string) bool {
	p, q := splitSourcePattern(a), splitSourcePattern(b)
	switch {
	case p.kind == PathExact:
		return q.Match(a)
	case q.kind == PathExact:
		return p.Match(b)
	case p.kind == PathDir && q.kind == PathDir:
		return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
	}
	return true
}
