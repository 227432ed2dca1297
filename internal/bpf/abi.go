package bpf

// The generated types by the names that the rest of the code uses.
type (
	Line         = GuardLine
	Generation   = GuardGeneration
	SubjectEntry = GuardSubjectEntry
	Operation    = GuardOperation
	Interval     = GuardInterval
	Interval6    = GuardInterval6
	Counters     = GuardOperationCounters
	Socket       = GuardSocketObject
	Alert        = GuardAlert
)

// Limits and special values of the tables; see bpf/abi.h.
const (
	LineWords     = int(GuardAbiSizesLINE_WORDS)
	Operations    = int(GuardAbiSizesOPERATIONS)
	MaxComponents = int(GuardAbiSizesMAX_COMPONENTS)
	NoPort        = uint32(GuardPortValuesNO_PORT)

	OperationSocketBind = int(GuardOperationIdOPERATION_SOCKET_BIND)

	verdictShift  = uint32(GuardVerdictBitsVERDICT_SHIFT)
	ruleShift     = uint32(GuardVerdictBitsRULE_SHIFT)
	ruleMask      = uint32(GuardVerdictBitsRULE_MASK)
	noRule        = uint32(GuardVerdictBitsNO_RULE)
	flagAnyPort   = uint32(GuardVerdictBitsFLAG_ANY_PORT)
	flagUndecided = uint32(GuardVerdictBitsFLAG_UNDECIDED)

	// MaxRules is how many rules one generation can tell apart.
	MaxRules = int(noRule) - 1
)

// Verdict is one word of the verdict table. Its layout makes the stricter of
// two verdicts the greater number.
type Verdict uint32

// NewVerdict packs a verdict. rule is the index of the rule in its generation,
// -1 when no rule decided; anyPort tells that the rule does not name port 0
// outright.
func NewVerdict(verdict uint8, rule int, anyPort, undecided bool) Verdict {
	word := uint32(verdict)<<verdictShift | (noRule-uint32(rule+1))<<ruleShift
	if anyPort {
		word |= flagAnyPort
	}
	if undecided {
		word |= flagUndecided
	}
	return Verdict(word)
}

// Verdict returns the verdict as a number, the same as policy.Verdict.
func (v Verdict) Verdict() uint8 { return uint8(v >> Verdict(verdictShift)) }

// Rule returns the index of the rule in its generation, -1 for none.
func (v Verdict) Rule() int { return int(noRule-(uint32(v)>>ruleShift&ruleMask)) - 1 }

// NamesPort returns the verdict as one that names port 0 outright: the ports
// that the kernel may choose for it do not matter.
func (v Verdict) NamesPort() Verdict { return v &^ Verdict(flagAnyPort) }

// Undecided tells whether the guard could not decide.
func (v Verdict) Undecided() bool { return uint32(v)&flagUndecided != 0 }
