package compile

import (
	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// decision is a [policy.Decision] as one number, which is copied, compared and searched for
// much faster: the verdict, the policy and the rule such that the earlier is the greater, then
// the flags.
type decision uint64

const (
	flagRevoke decision = 1 << iota
	flagNamesObject
	flagNamesAddress
	flagNamesPort
	flagUndecided
	flagDelegated

	ruleShift    = 6
	policyShift  = 32
	verdictShift = 60

	mostRules    = 1<<(policyShift-ruleShift) - 1
	mostPolicies = 1<<(verdictShift-policyShift) - 1
)

// A policy has fewer rules than a decision can tell apart.
const _ = uint(mostRules - 1 - abi.MaxRules)

func flagIf(is bool, flag decision) decision {
	if is {
		return flag
	}
	return 0
}

func newDecision(d policy.Decision) decision {
	return decision(d.Verdict)<<verdictShift | decision(mostPolicies-1-d.Policy)<<policyShift | decision(mostRules-1-d.Rule)<<ruleShift |
		flagIf(d.Revoke, flagRevoke) | flagIf(d.NamesObject, flagNamesObject) | flagIf(d.NamesAddress, flagNamesAddress) |
		flagIf(d.NamesPort, flagNamesPort) | flagIf(d.Undecided, flagUndecided) | flagIf(d.Delegated, flagDelegated)
}

func (d decision) verdict() policy.Verdict { return policy.Verdict(d >> verdictShift) }

// rule returns the indices of the rule that decided, -1 for none.
func (d decision) rule() Rule {
	return Rule{mostPolicies - 1 - int(d>>policyShift&mostPolicies), mostRules - 1 - int(d>>ruleShift&mostRules)}
}

func (d decision) has(flag decision) bool { return d&flag != 0 }

// strictness is what decisions are ordered by, see [policy.CompareStrictness].
func (d decision) strictness() decision { return d &^ (flagUndecided - 1) }

// laxer returns the less strict one of two.
func (d decision) laxer(other decision) decision {
	if other.strictness() < d.strictness() {
		return other
	}
	return d
}

// stricter is [policy.Stricter].
func (d decision) stricter(other decision) decision {
	if d.strictness() < other.strictness() {
		d, other = other, d
	}
	const both = flagNamesPort | flagNamesAddress
	result := d&^both | d&other&both
	if d.strictness() == other.strictness() {
		result |= other & flagNamesObject
	}
	if other.verdict() == d.verdict() || other.verdict() >= policy.Deny {
		result |= other & flagRevoke
	}
	return result
}
