package compile

import (
	"fmt"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// deadlinesOf returns when the policies of the set end and begin, sorted, after 0.
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

// appendDeadlines adds the table of deadlines.
func (t *tables) appendDeadlines(deadlines []uint64) {
	words := make([]uint32, 0, 2*len(deadlines))
	for _, d := range deadlines {
		words = append(words, uint32(d>>32), uint32(d))
	}
	t.append(words)
}
