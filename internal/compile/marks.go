package compile

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// markSets is how many sets of marks are told apart: every set of 12 marks, or, where
// the tables would be too large otherwise, of 8 marks, or each mark by itself.
var markSets = []int{1 << 12, 1 << 8, 0}

// marks are the bits by which tasks remember what they descend from. Each list
// of binaries whose descendants a policy selects has one, and each list of
// processes.
type marks struct {
	// bits by selector of binaries.
	bits map[int32]uint
	// chosen are the bits by selector of processes; processes has the bits of
	// each process.
	chosen    map[int32]uint
	processes map[policy.ProcessID]uint64
	all       uint64
	// sets are the sets of marks that are told apart; the first is empty.
	sets []uint64
}

// MarkKeys returns the texts that stand for what a subject selects the descendants
// of, for [Options.Mark]: binaries, processes, both or neither.
func MarkKeys(s policy.Subject) []string {
	var keys []string
	if s.Descendants {
		keys = append(keys, selectorKey(s.Binaries))
	}
	if len(s.Processes) > 0 {
		keys = append(keys, processesKey(s.Processes))
	}
	return keys
}

// processesKey returns a text that stands for a set of processes. No path begins so.
func processesKey(processes []policy.ProcessID) string {
	return "\x01" + selectorKey(processTexts(processes))
}

// processTexts returns texts that are the same for the same process.
func processTexts(processes []policy.ProcessID) []string {
	var texts []string
	for _, p := range processes {
		texts = append(texts, fmt.Sprintf("%d@%d", p.PID, p.Ticks()))
	}
	return texts
}

// add gives the binaries of a subject with descendants a mark.
func (m *marks) add(selector int32, s policy.Subject, options Options) error {
	if !s.Descendants || selector < 0 {
		return nil
	}
	if _, ok := m.bits[selector]; ok {
		return nil
	}
	bit, err := m.next(selectorKey(s.Binaries), options)
	if err != nil {
		return err
	}
	if m.bits == nil {
		m.bits = map[int32]uint{}
	}
	m.bits[selector] = bit
	return nil
}

// addProcesses gives the processes of a subject a mark, which they are given before
// the revision is in force.
func (m *marks) addProcesses(selector int32, s policy.Subject, options Options) error {
	bit, err := m.next(processesKey(s.Processes), options)
	if err != nil {
		return err
	}
	if m.chosen == nil {
		m.chosen, m.processes = map[int32]uint{}, map[policy.ProcessID]uint64{}
	}
	m.chosen[selector] = bit
	for _, p := range s.Processes {
		m.processes[policy.ProcessAt(p.PID, p.Ticks())] |= 1 << bit
	}
	return nil
}

// next returns the mark of a key.
func (m *marks) next(key string, options Options) (uint, error) {
	n := len(m.bits) + len(m.chosen)
	bit, ok := uint(n), n < abi.MaxMarks
	if options.Mark != nil {
		bit, ok = options.Mark(key)
	}
	if !ok || bit >= abi.MaxMarks {
		return 0, fmt.Errorf("%w: policies select the descendants of more than %d different lists of binaries and of processes; put several into one policy, and remove policies that have ended", ErrTooLarge, abi.MaxMarks)
	}
	if m.all>>bit&1 != 0 {
		return 0, fmt.Errorf("mark %d stands for two lists of binaries or processes; this is a defect of ebpfguard", bit)
	}
	m.all |= 1 << bit
	return bit, nil
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
// with another set is unknown. There are at most as many as wanted and as the limit, but
// each mark by itself is told apart if there is room at all.
func (m *marks) choose(room, wanted, limit int) bool {
	n := bits.OnesCount64(m.all)
	for size := n; size > 1; size-- {
		if limit := min(wanted, limit); subsets(n, size, limit) <= limit {
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
