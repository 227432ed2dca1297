package abi

// MaxRules is how many rules one revision can tell apart.
const MaxRules = NoRule - 1

// Verdict is one word of the verdict table. Its layout makes the stricter of
// two verdicts the greater number.
type Verdict uint32

// VerdictFlags say what else is known of a verdict.
type VerdictFlags struct {
	// AnyPort: the rule does not name port 0 outright.
	AnyPort bool
	// Undecided: the guard could not decide.
	Undecided bool
	// NamesObject: the rule names the object.
	NamesObject bool
	// Revoke: the rule refuses the use of open descriptors.
	Revoke bool
	// Delegated: only delegated policies are so strict.
	Delegated bool
}

// NewVerdict packs a verdict. rule is the index of the rule in its revision,
// -1 when no rule decided.
func NewVerdict(verdict uint8, rule int, flags VerdictFlags) Verdict {
	word := uint32(verdict)<<VerdictShift | (NoRule-uint32(rule+1))<<RuleShift
	for _, f := range []struct {
		set bool
		bit uint32
	}{
		{flags.AnyPort, FlagAnyPort}, {flags.Undecided, FlagUndecided},
		{flags.NamesObject, FlagNamesObject}, {flags.Revoke, FlagRevoke},
		{flags.Delegated, FlagDelegated},
	} {
		if f.set {
			word |= f.bit
		}
	}
	return Verdict(word)
}

// Verdict returns the verdict as a number, the same as policy.Verdict.
func (v Verdict) Verdict() uint8 { return uint8(v >> Verdict(VerdictShift)) }

// Rule returns the index of the rule in its revision, -1 for none.
func (v Verdict) Rule() int { return int(NoRule-(uint32(v)>>RuleShift&RuleMask)) - 1 }

// NamesPort returns the verdict as one that names port 0 outright: the ports
// that the kernel may choose for it do not matter.
func (v Verdict) NamesPort() Verdict { return v &^ Verdict(FlagAnyPort) }

// Undecided reports whether the guard could not decide.
func (v Verdict) Undecided() bool { return uint32(v)&FlagUndecided != 0 }
