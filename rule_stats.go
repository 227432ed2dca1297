package ebpfguard

import (
	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// RuleStats counts the decisions of a rule, since its policy was applied as it is
// now: they go on when the policy is read from another place.
type RuleStats struct {
	Policy    string
	Rule      int
	Operation policy.Operation
	// Hits are the operations that the rule denied or audited.
	Hits uint64
	// AlertsLost are those of Hits whose alert did not fit into the kernel's
	// buffer, AlertsLimited those beyond the rule's AlertLimit. Of the others
	// there is an alert.
	AlertsLost, AlertsLimited uint64
}

func (s *RuleStats) add(c abi.RuleCounters) {
	s.Hits += c.Hits
	s.AlertsLost += c.AlertsLost
	s.AlertsLimited += c.AlertsLimited
}

// ruleCounts are the counters of former revisions, by policy and rule.
type ruleCounts map[string][]RuleStats

// after returns the counters with those of a revision that is no longer in force, without
// the policies that the new set lacks or changed.
func (c ruleCounts) after(before, after []policy.Policy, counters []abi.RuleCounters) ruleCounts {
	former := map[string]policy.Policy{}
	first, next := map[string]int{}, 0
	for _, p := range before {
		former[p.Name], first[p.Name] = p, next
		next += len(p.Rules)
	}
	counts := ruleCounts{}
	for _, p := range after {
		old, ok := former[p.Name]
		if !ok || !policy.Equal(old, p) {
			continue
		}
		sums := make([]RuleStats, len(old.Rules))
		copy(sums, c[p.Name])
		for i := range sums {
			if at := first[p.Name] + i; at < len(counters) {
				sums[i].add(counters[at])
			}
		}
		counts[p.Name] = sums
	}
	return counts
}

// RuleStats returns the counters of all rules of the policy set in force, in
// its order. It makes one system call for each rule: some milliseconds for thousands.
func (m *Manager) RuleStats() ([]RuleStats, error) {
	now := m.current.take()
	defer now.give()
	if now.closed {
		return nil, ErrClosed
	}
	var counters []abi.RuleCounters
	if now.kernel != nil {
		var err error
		if counters, err = now.kernel.rules.Read(); err != nil {
			return nil, err
		}
	}
	var all []RuleStats
	for _, p := range now.set {
		for i, r := range p.Rules {
			var s RuleStats
			if former := now.counted[p.Name]; former != nil {
				s = former[i]
			}
			if len(all) < len(counters) {
				s.add(counters[len(all)])
			}
			s.Policy, s.Rule, s.Operation = p.Name, i, r.Operation
			all = append(all, s)
		}
	}
	return all, nil
}
