package compile

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/policy"
)

// maxMarkSets is how many sets of marks are told apart: every set of 12 marks.
const maxMarkSets = 1 << 12

// marks are the bits by which tasks remember what they descend from. Each list
// of binaries whose descendants a policy selects has one.
type marks struct {
	// bits by selector of binaries.
	bits map[int32]uint
	all  uint64
	// sets are the sets of marks that are told apart; the first is empty.
	sets []uint64
}

// MarkKey returns the text that stands for the binaries of a subject with
// descendants, for [Options.Mark].
func MarkKey(s policy.Subject) string { return selectorKey(s.Binaries) }

// add gives the binaries of a subject with descendants a mark.
func (m *marks) add(selector int32, s policy.Subject, options Options) error {
	if !s.Descendants || selector < 0 {
		return nil
	}
	if _, ok := m.bits[selector]; ok {
		return nil
	}
	bit, ok := uint(len(m.bits)), len(m.bits) < bpf.MaxMarks
	if options.Mark != nil {
		bit, ok = options.Mark(MarkKey(s))
	}
	if !ok || bit >= uint(bpf.MaxMarks) {
		return fmt.Errorf("%w: policies select the descendants of more than %d different lists of binaries; put several into one policy", ErrTooLarge, bpf.MaxMarks)
	}
	if m.all>>bit&1 != 0 {
		return fmt.Errorf("mark %d stands for two lists of binaries; this is a defect of ebpfguard", bit)
	}
	if m.bits == nil {
		m.bits = map[int32]uint{}
	}
	m.bits[selector] = bit
	m.all |= 1 << bit
	return nil
}

// of returns the marks of a class of programs.
func (m *marks) of(column []term) uint64 {
	set := uint64(0)
	for _, t := range column {
		if bit, ok := m.bits[t.pattern]; ok {
			set |= 1 << bit
		}
	}
	return set
}

// choose decides which sets are told apart: all, or those of a few marks. A task
// with another set is unknown. There are at most as many as wanted, but each mark
// by itself is told apart if there is room at all.
func (m *marks) choose(room, wanted int) bool {
	n := bits.OnesCount64(m.all)
	for size := n; size > 1; size-- {
		if limit := min(wanted, maxMarkSets); subsets(n, size, limit) <= limit {
			m.sets = m.list(size)
			return true
		}
	}
	m.sets = m.list(min(n, 1))
	return len(m.sets) <= room
}

// subsets returns how many sets of at most size out of n there are, or more than
// the limit.
func subsets(n, size, limit int) int {
	count, binomial := 1, 1
	for k := 1; k <= size && count <= limit; k++ {
		binomial = binomial * (n - k + 1) / k
		count += binomial
	}
	return count
}

// list returns the sets of at most size of the marks, smaller ones first.
func (m *marks) list(size int) []uint64 {
	sets := []uint64{0}
	last := sets
	for range size {
		var larger []uint64
		for _, set := range last {
			// Only marks above the highest, so that no set comes twice.
			for rest := m.all &^ (1<<bits.Len64(set) - 1); rest != 0; rest &= rest - 1 {
				larger = append(larger, set|rest&-rest)
			}
		}
		sets = append(sets, larger...)
		last = larger
	}
	return slices.Clip(sets)
}
