package compile

import (
	"fmt"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// deadlinesOf returns when the policies of the set end and begin, sorted, after 0. Each one makes
// as many classes of processes again.
func deadlinesOf(set []policy.Policy) ([]uint64, error) {
	deadlines := []uint64{0}
	for _, p := range set {
		deadlines = append(deadlines, p.Until, p.From)
	}
	slices.Sort(deadlines)
	deadlines = slices.Compact(deadlines)
	if n := len(deadlines) - 1; n > abi.MaxDeadlines {
		return nil, fmt.Errorf("%w: the policies end or begin at %d different times; %d are possible, let several end at the same time and remove policies that have ended", ErrTooLarge, n, abi.MaxDeadlines)
	}
	return deadlines, nil
}

// projectTime tells which policies are in force at a time.
func (s *subjects) projectTime(time uint64, policies []int) []byte {
	seen := make([]byte, len(policies))
	for i, p := range policies {
		if one := s.set[p]; (one.Until == 0 || one.Until > time) && one.From <= time {
			seen[i] = 1
		}
	}
	return seen
}

// appendDeadlines adds the table of deadlines.
func (t *tables) appendDeadlines(deadlines []uint64) {
	words := make([]uint32, 0, 2*len(deadlines))
	for _, d := range deadlines {
		words = append(words, uint32(d>>32), uint32(d))
	}
	t.append(words)
}
