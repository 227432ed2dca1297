//go:build vm

package differential

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/policy"
)

// score counts what was compared.
type score struct {
	sets, failed, total int
	// decisions by operation and verdict, outcomes of calls by what was tried.
	decisions map[policy.Operation]map[string]int
	outcomes  map[string]map[string]int
}

func (s *score) done(elapsed time.Duration) bool {
	if *compareTime > 0 {
		return elapsed > *compareTime
	}
	return s.total >= *compareCount && (s.total >= 2**compareCount || len(s.rare()) == 0)
}

// rare returns what there were too few decisions of to tell.
func (s *score) rare() []string {
	var rare []string
	for _, o := range policy.Operations() {
		for _, v := range []policy.Verdict{policy.Allow, policy.Audit, policy.Deny, policy.Kill} {
			enough := 10
			if v == policy.Kill { // each costs a process
				enough = 2
			}
			if n := s.decisions[o][v.String()] + s.decisions[o][v.String()+" undecided"]; n < enough {
				rare = append(rare, fmt.Sprintf("%d decisions about %s to %v", n, o, v))
			}
		}
	}
	return rare
}

func (s *score) decision(operation policy.Operation, d policy.Decision) {
	s.total++
	if s.decisions[operation] == nil {
		s.decisions[operation] = map[string]int{}
	}
	what := d.Verdict.String()
	if d.Undecided {
		what += " undecided"
	}
	s.decisions[operation][what]++
}

func (s *score) outcome(what, outcome string) {
	if s.outcomes[what] == nil {
		s.outcomes[what] = map[string]int{}
	}
	s.outcomes[what][outcome]++
}

func (s *score) report(t *testing.T, elapsed time.Duration) {
	fmt.Printf("TestKernelAgreesWithDecide: %d decisions under %d policy sets compared in %.0f s\n", s.total, s.sets, elapsed.Seconds())
	for _, o := range policy.Operations() {
		fmt.Printf("  %-20s %v\n", o, s.decisions[o])
	}
	if testing.Verbose() {
		for _, what := range slices.Sorted(maps.Keys(s.outcomes)) {
			fmt.Printf("    %-20s %v\n", what, s.outcomes[what])
		}
	}
	if t.Failed() || s.total < 10_000 {
		return
	}
	if rare := s.rare(); len(rare) > 0 {
		t.Errorf("the random policies do not test enough: only %s", strings.Join(rare, ", "))
	}
}
