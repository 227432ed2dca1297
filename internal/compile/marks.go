package compile

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// marks are the bits by which tasks remember what they descend from. Each list
// of binaries whose descendants a policy selects has one, and each list of
// processes.
type marks struct {
	// bits by selector of binaries.
	bits map[int32]uint
	// chosen are the bits by selector of processes; processes has the bits of
	// each process.
	chosen    map[int32]uint
	processes map[policy.ProcessID][]uint
	taken     map[uint]bool
	// count is one more than the highest.
	count uint
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
		m.chosen, m.processes = map[int32]uint{}, map[policy.ProcessID][]uint{}
	}
	m.chosen[selector] = bit
	for _, p := range s.Processes {
		id := policy.ProcessAt(p.PID, p.Ticks())
		if !slices.Contains(m.processes[id], bit) { // a list may name it twice
			m.processes[id] = append(m.processes[id], bit)
		}
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
	if m.taken[bit] {
		return 0, fmt.Errorf("mark %d stands for two lists of binaries or processes; this is a defect of ebpfguard", bit)
	}
	if m.taken == nil {
		m.taken = map[uint]bool{}
	}
	m.taken[bit] = true
	m.count = max(m.count, bit+1)
	return bit, nil
}

// of returns the marks of a class of programs.
func (m *marks) of(column []term) []uint {
	var bits []uint
	for _, t := range column {
		if bit, ok := m.bits[t.pattern]; ok {
			bits = append(bits, bit)
		}
	}
	return bits
}

// appendMarks writes a list of marks, and returns where it is and how many entries it has.
func (t *tables) appendMarks(bits []uint) abi.Table {
	if len(bits) == 0 {
		return abi.Table{}
	}
	words := map[uint]uint64{}
	for _, bit := range bits {
		words[bit/64] |= 1 << (bit % 64)
	}
	var list []uint32
	for _, word := range slices.Sorted(maps.Keys(words)) {
		list = append(list, encode(abi.AtomWord{Word: uint32(word), Lower: uint32(words[word]), Upper: uint32(words[word] >> 32)})...)
	}
	return abi.Table{At: t.append(list), Count: uint32(len(words))}
}
