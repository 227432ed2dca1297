package ebpfguard

import (
	"maps"
	"slices"
	"sync"

	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/policy"
)

// keptRevisions is how many revisions alerts may lag behind and still name their
// policy.
const keptRevisions = 256

// keptRules bounds the rules of those revisions, but for the last two.
const keptRules = 100_000

// history has the policy sets that alerts may still be about, by their revisions. It has
// a lock of its own: alerts are decoded while a policy set is replaced.
type history struct {
	mu        sync.Mutex
	revisions map[uint32]revision
}

// revision is what alerts need to know of a policy set.
type revision struct {
	set   []policy.Policy
	rules []compile.Rule
}

// add adds a policy set under a number greater than those before.
func (h *history) add(number uint32, set []policy.Policy) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.revisions == nil {
		h.revisions = map[uint32]revision{}
	}
	h.revisions[number] = revision{set, compile.Rules(set)}
	delete(h.revisions, number-keptRevisions)
	numbers, rules := slices.Sorted(maps.Keys(h.revisions)), 0
	for i, n := range slices.Backward(numbers) {
		if rules += len(h.revisions[n].rules); rules > keptRules && i < len(numbers)-2 {
			delete(h.revisions, n)
		}
	}
}

// rule returns the policy of an alert, and the index of the rule in it; false when they
// are not known any more.
func (h *history) rule(number uint32, index int) (policy.Policy, int, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, ok := h.revisions[number]
	if !ok || index < 0 || index >= len(r.rules) {
		return policy.Policy{}, 0, false
	}
	rule := r.rules[index]
	return r.set[rule.Policy], rule.Rule, true
}
