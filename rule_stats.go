package ebpfguard

import (
	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/compile"
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

// add adds the counters of a revision that is no longer in force, and forgets
// the policies that the new set lacks or changed.
func (c ruleCounts) add(before, after []policy.Policy, rules []compile.Rule, counters []abi.RuleCounters) {
	for i, counted := range counters {
		p := before[rules[i].Policy]
		if c[p.Name] == nil {
			c[p.Name] = make([]RuleStats, len(p.Rules))
		}
		c[p.Name][rules[i].Rule].add(counted)
	}
	former := map[string]policy.Policy{}
	for _, p := range before {
		former[p.Name] = p
	}
	keep := map[string]bool{}
	for _, p := range after {
		old, ok := former[p.Name]
		keep[p.Name] = ok && policy.Equal(old, p)
	}
	for name := range c {
		if !keep[name] {
			delete(c, name)
		}
	}
}

// RuleStats returns the counters of all rules of the policy set in force, in
// its order.
func (m *Manager) RuleStats() ([]RuleStats, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	var counters []abi.RuleCounters
	if m.object != nil {
		var err error
		if counters, err = m.object.RuleCounters(); err != nil {
			return nil, err
		}
	}
	var all []RuleStats
	for _, p := range m.set {
		for i, r := range p.Rules {
			var s RuleStats
			if former := m.counted[p.Name]; former != nil {
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
