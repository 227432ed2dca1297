package bpf

// The generated types by the names that the rest of the code uses.
type (
	Line         = GuardLine
	Revision     = GuardRevision
	Subjects     = GuardSubjects
	State        = GuardState
	Entry        = GuardEntry
	Operation    = GuardOperation
	Table        = GuardTable
	Tables       = GuardTables
	Interval     = GuardInterval
	Interval6    = GuardInterval6
	Counters     = GuardOperationCounters
	RuleCounters = GuardRuleCounters
	Socket       = GuardSocketObject
	Alert        = GuardAlert
	Ancestor     = GuardAncestor
	Execution    = GuardExecution
)

// Limits and special values of the tables; see bpf/abi.h.
const (
	LineWords     = int(GuardAbiSizesLINE_WORDS)
	Operations    = int(GuardAbiSizesOPERATIONS)
	MaxComponents = int(GuardAbiSizesMAX_COMPONENTS)
	MaxMasks      = int(GuardAbiSizesMAX_MASKS)
	MaxMarks      = int(GuardAbiSizesMAX_MARKS)
	MaxDeadlines  = int(GuardAbiSizesMAX_DEADLINES)
	NoPort        = uint32(GuardPortValuesNO_PORT)
	NoID          = uint32(GuardIdValuesNO_ID)
	NoClass       = uint32(GuardClassValuesNO_CLASS)
	RowAllowed    = uint32(GuardRowFlagsROW_ALLOWED)
	MarksFlag     = uint32(GuardSubjectsFlagsSUBJECTS_MARKS)
	ForceMarks    = uint64(GuardForceFlagsFORCE_MARKS)
	ForceTimed    = uint64(GuardForceFlagsFORCE_TIMED)

	OperationSocketBind        = int(GuardOperationIdOPERATION_SOCKET_BIND)
	OperationSocketConnect     = int(GuardOperationIdOPERATION_SOCKET_CONNECT)
	OperationFileOpen          = int(GuardOperationIdOPERATION_FILE_OPEN)
	OperationBprmCheckSecurity = int(GuardOperationIdOPERATION_BPRM_CHECK_SECURITY)
	OperationSbMount           = int(GuardOperationIdOPERATION_SB_MOUNT)
	OperationSbRemount         = int(GuardOperationIdOPERATION_SB_REMOUNT)
	OperationSbUmount          = int(GuardOperationIdOPERATION_SB_UMOUNT)
	OperationTaskFixSetuid     = int(GuardOperationIdOPERATION_TASK_FIX_SETUID)

	ClassMask  = uint32(GuardStateFlagsCLASS_MASK)
	StateStays = uint32(GuardStateFlagsSTATE_STAYS)
	StateWild  = uint32(GuardStateFlagsSTATE_WILD)
	StateGlobs = uint32(GuardStateFlagsSTATE_GLOBS)
	StateShm   = uint32(GuardStateFlagsSTATE_SHM)

	TagName   = uint64(GuardEntryTagsTAG_NAME)
	TagGlob   = uint64(GuardEntryTagsTAG_GLOB)
	TagFile   = uint64(GuardEntryTagsTAG_FILE)
	TagMarks  = uint64(GuardEntryTagsTAG_MARKS)
	TagCovers = uint64(GuardEntryTagsTAG_COVERS)
	// TagProcess is for the marks of a process.
	TagProcess = uint64(GuardEntryTagsTAG_PROCESS)

	// Indices into [Tables].
	TablePorts      = 0
	TableAddresses4 = 1
	TableAddresses6 = 2
	TableProtocols  = 3
	TableFromUIDs   = 0
	TableFromGIDs   = 1
	TableToUIDs     = 2
	TableToGIDs     = 3

	verdictShift    = uint32(GuardVerdictBitsVERDICT_SHIFT)
	ruleShift       = uint32(GuardVerdictBitsRULE_SHIFT)
	ruleMask        = uint32(GuardVerdictBitsRULE_MASK)
	noRule          = uint32(GuardVerdictBitsNO_RULE)
	flagAnyPort     = uint32(GuardVerdictBitsFLAG_ANY_PORT)
	flagUndecided   = uint32(GuardVerdictBitsFLAG_UNDECIDED)
	flagNamesObject = uint32(GuardVerdictBitsFLAG_NAMES_OBJECT)
	flagRevoke      = uint32(GuardVerdictBitsFLAG_REVOKE)

	// MaxRules is how many rules one revision can tell apart.
	MaxRules = int(noRule) - 1
)

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
}

// NewVerdict packs a verdict. rule is the index of the rule in its revision,
// -1 when no rule decided.
func NewVerdict(verdict uint8, rule int, flags VerdictFlags) Verdict {
	word := uint32(verdict)<<verdictShift | (noRule-uint32(rule+1))<<ruleShift
	for _, f := range []struct {
		set bool
		bit uint32
	}{
		{flags.AnyPort, flagAnyPort}, {flags.Undecided, flagUndecided},
		{flags.NamesObject, flagNamesObject}, {flags.Revoke, flagRevoke},
	} {
		if f.set {
			word |= f.bit
		}
	}
	return Verdict(word)
}

// Verdict returns the verdict as a number, the same as policy.Verdict.
func (v Verdict) Verdict() uint8 { return uint8(v >> Verdict(verdictShift)) }

// Rule returns the index of the rule in its revision, -1 for none.
func (v Verdict) Rule() int { return int(noRule-(uint32(v)>>ruleShift&ruleMask)) - 1 }

// NamesPort returns the verdict as one that names port 0 outright: the ports
// that the kernel may choose for it do not matter.
func (v Verdict) NamesPort() Verdict { return v &^ Verdict(flagAnyPort) }

// Undecided reports whether the guard could not decide.
func (v Verdict) Undecided() bool { return uint32(v)&flagUndecided != 0 }
