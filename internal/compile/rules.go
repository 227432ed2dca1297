package compile

import "github.com/ebpfguard/ebpfguard/policy"

// Rules lists the rules of a set by the index that verdicts and counters of its revision
// have: in the order of the set.
func Rules(set []policy.Policy) []Rule {
	rules, _ := index(set)
	return rules
}
