package ebpfguard

import (
	"math/bits"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/policy"
)

// mark returns the bit by which tasks remember that they descend from a list of
// binaries or processes.
func (m *Manager) mark(key string) (uint, bool) {
	if bit, ok := m.marks[key]; ok {
		return bit, true
	}
	taken := uint64(0)
	for _, bit := range m.marks {
		taken |= 1 << bit
	}
	bit := bits.TrailingZeros64(^taken)
	if bit >= bpf.MaxMarks {
		return 0, false
	}
	m.marks[key] = uint(bit)
	return uint(bit), true
}

// forgetMarks frees the bits of lists of binaries and processes of former sets when there are
// too few for the next one. Until then tasks remember what they descend from,
// in case that a policy comes back.
func (m *Manager) forgetMarks(next []policy.Policy) error {
	used, fresh := map[string]bool{}, 0
	for _, p := range slices.Concat(m.set, next) {
		for _, key := range compile.MarkKeys(p.Subject) {
			if _, ok := m.marks[key]; !ok && !used[key] {
				fresh++
			}
			used[key] = true
		}
	}
	if len(m.marks)+fresh <= bpf.MaxMarks {
		return nil
	}
	kept, forgotten := map[string]uint{}, uint64(0)
	for key, bit := range m.marks {
		if used[key] {
			kept[key] = bit
		} else {
			forgotten |= 1 << bit
		}
	}
	if err := m.object.ForgetMarks(forgotten); err != nil {
		return err
	}
	m.marks = kept
	return nil
}
