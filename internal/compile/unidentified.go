package compile

import (
	"slices"

	"github.com/ebpfguard/ebpfguard/policy"
)

// unidentifiedDenials are what is decided about a process in an unidentified container: where a rule may
// concern it, all denials count and no exceptions do (policy.ResolveUnknown).
type unidentifiedDenials struct {
	options []option
	first   root
	// may are the atoms of rules that may concern it; always if one does whatever runs there.
	may []int32
}

// denialsOf collects the denials of candidates. None of them is decided yet.
func (m *matrix) denialsOf(candidates []candidate) unidentifiedDenials {
	d := unidentifiedDenials{options: make([]option, 0, m.denialCount(candidates))}
	s := m.subjects
	for _, c := range candidates {
		p := m.entries[c.pattern].policy
		may := s.may[p]
		for _, a := range may {
			d.may = append(d.may, m.ofUnidentified(a.atom))
		}
		if m.entries[c.pattern].verdict == policy.Allow {
			continue
		}
		one, atoms := m.candidate(c), may
		if len(may) == 0 {
			atoms = s.of[p]
		}
		one.Unidentified = true // one that may concern it is there, whichever decides
		for _, a := range atoms {
			d.options = append(d.options, option{Candidate: one, atom: m.ofUnidentified(a.atom)})
		}
	}
	m.work += len(candidates) + len(d.options)
	return d
}

// denialCount is how many of the candidates deny.
func (m *matrix) denialCount(candidates []candidate) int {
	count := 0
	for _, c := range candidates {
		if m.entries[c.pattern].verdict != policy.Allow {
			count++
		}
	}
	return count
}

// ofUnidentified returns the atom where it is known already that the container is unidentified.
func (m *matrix) ofUnidentified(atom int32) int32 {
	if atom == m.subjects.unidentified {
		return always
	}
	return atom
}

// withUnidentified returns what is decided about a known process, of which the container may be
// unidentified: of candidates that name the object, and of others.
func (m *matrix) withUnidentified(known root, own, rest, base []candidate) root {
	others, ok := m.denials[string(m.key(rest))]
	if !ok {
		others = m.denialsOf(slices.Concat(rest, base))
		others.may = sortedSet(others.may)
		others.first = m.firstDenial(others.options, m.leaf(policy.NoRule()))
		m.denials[string(m.key(rest))] = others
	}
	mine := m.denialsOf(own)
	if len(mine.may)+len(others.may) == 0 {
		return known
	}
	decided := m.firstDenial(mine.options, others.first)
	return m.test(m.subjects.unidentified, m.anyOf(slices.Concat(mine.may, others.may), decided, known), known)
}
