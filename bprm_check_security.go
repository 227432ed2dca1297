package ebpfguard

import (
	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// BprmCheckSecurity is a policy for the operation bprm_check_security: a program is
// started.
// docs/hooks.md lists the ways to do so that are judged.
type BprmCheckSecurity Rule[policy.ProgramPattern]

// BprmCheckSecurityAlert tells that the start of a program was denied or audited.
type BprmCheckSecurityAlert struct {
	AlertContext
	ProgramObject // Path, Fileless, NoArgs
}

// WithContext returns the alert with another context.
func (a BprmCheckSecurityAlert) WithContext(c AlertContext) Alert {
	a.AlertContext = c
	return a
}

// Object returns the ProgramObject.
func (a BprmCheckSecurityAlert) Object() any { return a.ProgramObject }

// MarshalJSON returns the alert as docs/alerts.md describes it.
func (a BprmCheckSecurityAlert) MarshalJSON() ([]byte, error) { return a.marshal(a.ProgramObject) }

// String returns the alert as a line of text.
func (a BprmCheckSecurityAlert) String() string { return a.AlertContext.text(a.ProgramObject.text()) }

// deniesLoading is for the hooks where a file is loaded, which only rules judge that name it
// (docs/semantics.md).
var deniesLoading = denies(func(p policy.ProgramPattern) bool { return policy.NamesObject(p) })

var bprmCheckSecurity = operation{
	name: policy.BprmCheckSecurity,
	hooks: []hook{
		{name: "bprm_check_security", effect: "execve(2), execveat(2), scripts and their interpreters"},
		{name: "bprm_creds_for_exec", program: "bprm_execve_check", effect: "execveat(2) with AT_EXECVE_CHECK (since 6.14)"},
		{name: "file_open", effect: "exec of a file below overlayfs"},
		{name: "mmap_file", effect: "ld.so PROGRAM, mapping to be executed", needed: deniesLoading},
		{name: "file_mprotect", effect: "making a mapping executable", needed: deniesLoading},
		{name: "mmap_backing_file", effect: "mapping a file through overlayfs to be executed", instead: "file_open judges that when overlayfs opens the file below", needed: deniesLoading},
	},
	open: []way{
		{effect: "no_args", reason: "the kernel itself gives such a program an empty argument, since 5.18 and in stable versions before: nothing is left to refuse"},
		{effect: "a script that is given to its interpreter (sh SCRIPT)", reason: "the interpreter reads it like any file; forbid file_open of it"},
		{effect: "programs that the kernel starts by itself (core_pattern, modprobe, binfmt_misc)", reason: "they descend from nobody; forbid writing the files that name them, as examples/kernel-helpers.yaml does"},
		{effect: "a copy of a program", reason: "it is another file; name what may run and deny all"},
	},
	alert: func(c AlertContext, r record) Alert { return BprmCheckSecurityAlert{c, programOf(r)} },
}

// AttachBprmCheckSecurity loads and attaches what enforces bprm_check_security. Everything is allowed
// until a policy is added. If it is attached already, that and its policies stay as they are, and
// this returns another handle of it, see [Hook].
func (m *Manager) AttachBprmCheckSecurity() (*Hook[BprmCheckSecurity, BprmCheckSecurityAlert], error) {
	return attach[BprmCheckSecurity, BprmCheckSecurityAlert](m, &bprmCheckSecurity,
		func(p BprmCheckSecurity) policy.Policy {
			return Rule[policy.ProgramPattern](p).policy(policy.BprmCheckSecurity)
		},
		func(p policy.Policy, r policy.Rule) BprmCheckSecurity {
			return BprmCheckSecurity(ruleOf[policy.ProgramPattern](p, r))
		})
}

// ProgramObject is the object of a [BprmCheckSecurityAlert]: a program.
type ProgramObject struct {
	// Path is the program's, or that of the script or interpreter.
	Path string `json:"path"`
	// Fileless: no file of the system holds it (memfd, deleted, /dev/shm).
	Fileless bool `json:"fileless,omitempty"`
	// NoArgs: started without even an argv[0].
	NoArgs bool `json:"no_args,omitempty"`
}

func programOf(r record) ProgramObject {
	return ProgramObject{
		r.path, r.Flags&abi.TraitFileless != 0, r.Flags&abi.TraitNoArgs != 0,
	}
}

func (o ProgramObject) text() string {
	text := location(o.Path)
	if o.Fileless {
		text += " (fileless)"
	}
	if o.NoArgs {
		text += " (without arguments)"
	}
	return text
}

// Programs selects the programs and scripts at these paths, see [Files].
func Programs(paths ...string) []policy.ProgramPattern {
	return []policy.ProgramPattern{{Paths: paths}}
}

// AllPrograms selects every program.
func AllPrograms() []policy.ProgramPattern {
	return everything[policy.ProgramPattern](policy.BprmCheckSecurity)
}
