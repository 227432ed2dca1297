package ebpfguard

import (
	"fmt"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// TaskFixSetuid is a policy for the operation task_fix_setuid: a process changes its
// identity.
// docs/hooks.md lists the ways to do so that are judged.
type TaskFixSetuid Rule[policy.CredentialsPattern]

// TaskFixSetuidAlert tells that a change of identity was denied or audited.
type TaskFixSetuidAlert struct {
	AlertContext
	CredentialsObject // FromUID, FromGID, To, Method
}

// WithContext returns the alert with another context.
func (a TaskFixSetuidAlert) WithContext(c AlertContext) Alert {
	a.AlertContext = c
	return a
}

// Object returns the CredentialsObject.
func (a TaskFixSetuidAlert) Object() any { return a.CredentialsObject }

// MarshalJSON returns the alert as docs/alerts.md describes it.
func (a TaskFixSetuidAlert) MarshalJSON() ([]byte, error) { return a.marshal(a.CredentialsObject) }

// String returns the alert as a line of text.
func (a TaskFixSetuidAlert) String() string { return a.AlertContext.text(a.CredentialsObject.text()) }

var taskFixSetuid = operation{
	name: policy.TaskFixSetuid,
	hooks: []hook{
		{name: "task_fix_setuid", effect: "setuid(2), setreuid(2), setresuid(2), setfsuid(2)"},
		{name: "task_fix_setgid", effect: "setgid(2), setregid(2), setresgid(2), setfsgid(2)"},
		{name: "task_fix_setgroups", effect: "setgroups(2)", since: "6.0", gap: namesGroups},
		{name: "bprm_creds_from_file", effect: "set-user-ID and set-group-ID programs, file capabilities"},
		{name: "capset", effect: "raising capabilities"},
		{name: "userns_create", effect: "making a user namespace", since: "6.1", gap: namesRoot},
	},
	open: []way{
		{effect: "entering a user namespace that exists (setns)", reason: "no kernel has an LSM hook for it; a process that may enter it owns it already"},
		{effect: "keeping capabilities over execve(2)", reason: "the process does not gain what it has already"},
	},
	alert: func(c AlertContext, r record) Alert { return TaskFixSetuidAlert{c, credentialsOf(r)} },
}

// AttachTaskFixSetuid loads and attaches what enforces task_fix_setuid. Everything is allowed
// until a policy is added. If it is attached already, that and its policies stay as they are, and
// this returns another handle of it, see [Hook].
func (m *Manager) AttachTaskFixSetuid() (*Hook[TaskFixSetuid, TaskFixSetuidAlert], error) {
	return attach[TaskFixSetuid, TaskFixSetuidAlert](m, &taskFixSetuid,
		func(p TaskFixSetuid) policy.Policy {
			return Rule[policy.CredentialsPattern](p).policy(policy.TaskFixSetuid)
		},
		func(p policy.Policy, r policy.Rule) TaskFixSetuid {
			return TaskFixSetuid(ruleOf[policy.CredentialsPattern](p, r))
		})
}

// CredentialsObject is the object of a [TaskFixSetuidAlert]: an id that changes.
type CredentialsObject struct {
	// FromUID and FromGID are the effective ids before, of the initial user
	// namespace.
	FromUID uint32 `json:"from_uid"`
	FromGID uint32 `json:"from_gid"`
	// To is the new id: a group's for the methods setgid, setgroups and
	// setgid_exec, else a user's.
	To uint32 `json:"to"`
	// Method is how: setuid, setgid, setgroups, setuid_exec, setgid_exec,
	// file_capabilities, capset or user_namespace.
	Method string `json:"method"`
}

// method is a way to change an identity.
type method struct {
	// word is for programs, text for people.
	word, text string
	// group says that the id that changes is a group's.
	group bool
}

// methods are the ways by enum method_id (bpf/abi.h).
var methods = map[uint32]method{
	abi.MethodSetuid:           {"setuid", "setuid", false},
	abi.MethodSetgid:           {"setgid", "setgid", true},
	abi.MethodSetgroups:        {"setgroups", "setgroups", true},
	abi.MethodSetuidProgram:    {"setuid_exec", "set-user-ID program", false},
	abi.MethodSetgidProgram:    {"setgid_exec", "set-group-ID program", true},
	abi.MethodFileCapabilities: {"file_capabilities", "file capabilities", false},
	abi.MethodCapset:           {"capset", "capset", false},
	abi.MethodUserNamespace:    {"user_namespace", "user namespace", false},
}

func credentialsOf(r record) CredentialsObject {
	return CredentialsObject{r.FromUid, r.FromGid, r.To, methods[r.Method].word}
}

func (o CredentialsObject) text() string {
	how, kind := o.Method, "user"
	for _, m := range methods {
		if m.word == o.Method {
			how = m.text
			if m.group {
				kind = "group"
			}
		}
	}
	return fmt.Sprintf("by %s from user %d group %d to %s %d", how, o.FromUID, o.FromGID, kind, o.To)
}

// ToRoot selects what makes a process root: any change to user 0, and gaining
// root's powers by capabilities or in a user namespace.
func ToRoot() []policy.CredentialsPattern {
	return []policy.CredentialsPattern{{To: policy.Identity{UIDs: policy.IDs{Ranges: []policy.IDRange{{}}}}}}
}

// AllCredentials selects every change of identity.
func AllCredentials() []policy.CredentialsPattern {
	return everything[policy.CredentialsPattern](policy.TaskFixSetuid)
}

// namesGroups reports whether a pattern concerns changes of groups.
func namesGroups(p policy.Pattern) bool {
	c := p.(policy.CredentialsPattern)
	return c.All || isEmpty(c.To.UIDs)
}

// namesRoot reports whether a pattern concerns becoming root.
func namesRoot(p policy.Pattern) bool {
	c := p.(policy.CredentialsPattern)
	root := func(r policy.IDRange) bool { return r.Contains(0) }
	return c.All || isEmpty(c.To.UIDs) && isEmpty(c.To.GIDs) ||
		slices.ContainsFunc(c.To.UIDs.Ranges, root) || slices.Contains(c.To.UIDs.Names, "root")
}

func isEmpty(ids policy.IDs) bool { return len(ids.Ranges) == 0 && len(ids.Names) == 0 }
