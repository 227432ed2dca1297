package ebpfguard

import (
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/policy"
)

// marks are the bits by which tasks remember that they descend from lists of binaries or
// from processes, by [compile.MarkKeys].
type marks map[string]uint

// mark returns the bit of a key, a free one if it has none.
func (m marks) mark(key string) (uint, bool) {
	if bit, ok := m[key]; ok {
		return bit, true
	}
	var taken [abi.MaxMarks]bool
	for _, bit := range m {
		taken[bit] = true
	}
	bit := slices.Index(taken[:], false)
	if bit < 0 {
		return 0, false
	}
	m[key] = uint(bit)
	return uint(bit), true
}

// forSets returns the marks without those that no policy of the sets has, and the bits of
// these, when there are too few bits for the sets. Until then tasks remember what they
// descend from, in case that a policy comes back.
func (m marks) forSets(sets ...[]policy.Policy) (kept marks, forgotten []uint) {
	used, fresh := map[string]bool{}, 0
	for _, p := range slices.Concat(sets...) {
		for _, key := range compile.MarkKeys(p.Subject) {
			if _, ok := m[key]; !ok && !used[key] {
				fresh++
			}
			used[key] = true
		}
	}
	if len(m)+fresh <= abi.MaxMarks {
		return m, nil
	}
	kept = marks{}
	for key, bit := range m {
		if used[key] {
			kept[key] = bit
		} else {
			forgotten = append(forgotten, bit)
		}
	}
	return kept, forgotten
}
