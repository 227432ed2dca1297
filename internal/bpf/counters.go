package bpf

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/ebpfguard/ebpfguard/internal/abi"
)

// CounterMap reads the counters of operations. Unlike its [Object] it may be used by
// several at once; not any more when the object is closed.
type CounterMap struct{ counters *ebpf.Map }

// CounterMap returns the counters of all operations.
func (o *Object) CounterMap() *CounterMap { return &CounterMap{o.maps[GuardMapCounters]} }

// Read returns the counters of an operation, summed over the processors.
func (m *CounterMap) Read(operation int) (abi.OperationCounters, error) {
	var each []abi.OperationCounters
	var sum abi.OperationCounters
	if err := m.counters.Lookup(uint32(operation), &each); err != nil {
		return sum, fmt.Errorf("reading counters: %w", err)
	}
	for _, c := range each {
		sum.Allowed += c.Allowed
		sum.Audited += c.Audited
		sum.Denied += c.Denied
		sum.Undecided += c.Undecided
		sum.Killed += c.Killed
		sum.Alerts += c.Alerts
		sum.AlertsLost += c.AlertsLost
		sum.AlertsLimited += c.AlertsLimited
	}
	return sum, nil
}

// ExecutionsLost returns how many executions the buffer had no room for.
func (m *CounterMap) ExecutionsLost() (uint64, error) {
	counters, err := m.Read(0)
	return counters.AlertsLost, err
}

// RuleCounterMap reads what the rules of one revision have counted. It may be used by
// several at once, also when another revision is in force, until it is closed.
type RuleCounterMap struct {
	tables *ebpf.Map
	first  uint32 // line
	rules  int
}

func newRuleCounterMap(tables *ebpf.Map, at uint32, rules int) *RuleCounterMap {
	return &RuleCounterMap{tables, at / abi.LineWords, rules}
}

// Read returns the counters by the index of the rule.
func (m *RuleCounterMap) Read() ([]abi.RuleCounters, error) {
	counters := make([]abi.RuleCounters, m.rules)
	for i := range counters {
		if err := m.tables.Lookup(m.first+uint32(i), &counters[i]); err != nil {
			return nil, fmt.Errorf("reading the counters of rules: %w", err)
		}
	}
	return counters, nil
}

// Close gives the tables back; the kernel keeps them while they are in force.
func (m *RuleCounterMap) Close() error { return m.tables.Close() }
