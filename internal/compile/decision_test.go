package compile

import (
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
)

// TestDecisionsAreThoseOfPolicy: as numbers they are compared and combined as policy does it.
func TestDecisionsAreThoseOfPolicy(t *testing.T) {
	var all []policy.Decision
	for _, verdict := range []policy.Verdict{policy.Allow, policy.Audit, policy.Deny, policy.Kill} {
		for _, rule := range []Rule{{-1, -1}, {0, 0}, {0, 1}, {1, 0}, {1 << 24, 1 << 24}} {
			for flags := range 32 {
				all = append(all, policy.Decision{
					Verdict: verdict, Policy: rule.Policy, Rule: rule.Rule, Undecided: flags&1 != 0, NamesPort: flags&2 != 0,
					NamesAddress: flags&4 != 0, NamesObject: flags&8 != 0, Revoke: flags&16 != 0,
				})
			}
		}
	}
	for _, a := range all {
		for _, b := range all {
			one, other := newDecision(a), newDecision(b)
			if got, want := one.stricter(other), newDecision(policy.Stricter(a, b)); got != want {
				t.Fatalf("%+v and %+v: %#x, want %#x", a, b, got, want)
			}
			if got, want := one.strictness() < other.strictness(), policy.CompareStrictness(a, b) < 0; got != want {
				t.Fatalf("%+v is laxer than %+v: %v", a, b, got)
			}
		}
		if d := newDecision(a); d.verdict() != a.Verdict || d.rule() != (Rule{a.Policy, a.Rule}) || d.has(flagUndecided) != a.Undecided ||
			d.has(flagNamesPort) != a.NamesPort || d.has(flagNamesAddress) != a.NamesAddress || d.has(flagNamesObject) != a.NamesObject || d.has(flagRevoke) != a.Revoke {
			t.Fatalf("%+v is %#x", a, d)
		}
	}
}
