package ebpfguard

import (
	"reflect"

	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/policy"
)

// RuleStats counts the decisions of a rule.
type RuleStats struct {
	Policy    string
	Rule      int
	Operation policy.Operation
	// Hits are the operations that the rule denied or audited, since its
	// policy was applied as it is now.
	Hits uint64
}

// ruleHits are the hits of former generations, by policy and rule.
type ruleHits map[string][]uint64

// add adds the counters of a generation that is no longer in force, and forgets
// the policies that the new set lacks or changed.
func (h ruleHits) add(before, after []policy.Policy, rules []compile.Rule, counters []uint64) {
	for i, count := range counters {
		p := before[rules[i].Policy]
		if h[p.Name] == nil {
			h[p.Name] = make([]uint64, len(p.Rules))
		}
		h[p.Name][rules[i].Rule] += count
	}
	keep := map[string]bool{}
	for _, p := range after {
		for _, old := range before {
			keep[p.Name] = keep[p.Name] || old.Name == p.Name && reflect.DeepEqual(old, p)
		}
	}
	for name := range h {
		if !keep[name] {
			delete(h, name)
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
	var counters []uint64
	if m.object != nil {
		var err error
		if counters, err = m.object.Hits(); err != nil {
			return nil, err
		}
	}
	var all []RuleStats
	for _, p := range m.set {
		for i, r := range p.Rules {
			s := RuleStats{Policy: p.Name, Rule: i, Operation: r.Operation}
			if former := m.hits[p.Name]; former != nil {
				s.Hits = former[i]
			}
			if len(all) < len(counters) {
				s.Hits += counters[len(all)]
			}
			all = append(all, s)
		}
	}
	return all, nil
}
