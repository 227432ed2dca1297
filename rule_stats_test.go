package ebpfguard

import (
	"slices"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/policy"
)

func examples(t *testing.T) []policy.Policy {
	t.Helper()
	set, err := policy.Load("examples")
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestHitsGoOn expects that hits are kept when a policy is read from another place, and
// when another process takes over what is in force; not when it says something else.
func TestHitsGoOn(t *testing.T) {
	before := examples(t)
	after := policy.Clone(before)
	for i := range after {
		after[i].Source = "moved.yaml:1:1"
		for j := range after[i].Rules {
			after[i].Rules[j].Source = "moved.yaml:2:1"
		}
	}
	after[0].Mode = policy.ModeAudit
	if before[0].Mode == policy.ModeAudit {
		after[0].Mode = policy.ModeEnforce
	}
	after = slices.Delete(after, 1, 2)
	counters := make([]abi.RuleCounters, len(compile.Rules(before)))
	for i := range counters {
		counters[i].Hits = 3
	}
	if c := compare(before, after); !slices.Equal(c.Changed, []string{before[0].Name}) || !slices.Equal(c.Removed, []string{before[1].Name}) || len(c.Added) > 0 {
		t.Errorf("changes %+v", c)
	}

	// As a process that takes over reads it.
	data, err := pinned{set: before}.encode()
	if err != nil {
		t.Fatal(err)
	}
	left, err := decodePinned(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, former := range [][]policy.Policy{before, left.set} {
		counts := ruleCounts(nil).after(former, after, counters)
		for i, p := range before {
			switch kept := counts[p.Name]; {
			case i < 2 && kept != nil:
				t.Errorf("the hits of %q are kept", p.Name)
			case i >= 2 && (len(kept) != len(p.Rules) || kept[0].Hits != 3):
				t.Errorf("the hits of %q are %+v", p.Name, kept)
			}
		}
	}
}
