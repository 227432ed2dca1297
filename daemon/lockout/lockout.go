// Package lockout finds out whether a set of policies would lock out those who have to change it:
// whether what the guard's own programs, process 1, and the ways to log in need would be refused.
// It asks [policy.Decide] about the files and processes of this machine, so it does not matter how a
// policy is written.
//
// It checks what is needed to get back: to start the guard's command, systemctl, a shell or a login,
// with the libraries that they load; to become the user who logged in, and root; the guard's own
// files (socket, pins, state); and the connection of the caller. It does not check that anything
// else still works.
package lockout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Refusal is something needed that a set of policies would refuse.
type Refusal struct {
	// Who needs it, and What it is, for people.
	Who, What string
	Operation policy.Operation
	Verdict   policy.Verdict
	// Policy and Rule would refuse it; Source is where the rule was read.
	Policy string
	Rule   int
	Source string
	// Fatal says that it would kill process 1 or the guard, so no time limit helps.
	Fatal bool
}

// need is what somebody has to be able to do.
type need struct {
	actor     actor
	what      string
	operation policy.Operation
	object    policy.Object
	// named counts only rules that name the file: others are not about libraries (docs/hooks.md).
	named bool
	// killOnly counts only a verdict that kills, revokeOnly one that cuts what is open.
	killOnly, revokeOnly bool
	// or is another process as which it may be judged: it is refused when it is as both.
	or *actor
}

// actor is a process, one that runs or one that will.
type actor struct {
	name    string
	process policy.Process
	// root is the root directory of the process; nil for that of this one.
	root *hostroot.Root
	// vital says that killing it cannot be mended.
	vital bool
}

// Situation is who must not be locked out of this machine, as it was when it was looked at.
type Situation struct {
	needs []need
	// files are what the needs are about, by path.
	files *files
}

// Refused returns what the policies would refuse that is needed, and that the former ones do not
// refuse already. Expired policies do not count.
func (s *Situation) Refused(former, next []policy.Policy) ([]Refusal, error) {
	before, err := s.judge(former)
	if err != nil {
		before = map[int]Refusal{} // users that are no more; then everything is new
	}
	after, err := s.judge(next)
	if err != nil {
		return nil, err
	}
	var all []Refusal
	for i := range s.needs {
		r, refused := after[i]
		if was, already := before[i]; refused && (!already || r.Fatal && !was.Fatal) {
			all = append(all, r)
		}
	}
	return all, nil
}

// judge returns the needs that a set refuses, by their indices.
func (s *Situation) judge(set []policy.Policy) (map[int]Refusal, error) {
	refused := map[int]Refusal{}
	if len(set) == 0 {
		return refused, nil
	}
	users, groups := hostroot.Host().Names()
	resolved, err := policy.ResolveNames(set, users, groups)
	if err != nil {
		return nil, err
	}
	now, err := procfs.BootTime()
	if err != nil {
		return nil, err
	}
	reduced, aliases := s.files.reduce(resolved)
	s.files.nameSubjects(reduced)
	for i, n := range s.needs {
		object := n.object
		if names, ok := policy.NamesOf(object); ok {
			names.Aliases = aliases(names.Path)
			object = policy.WithNames(object, names)
		}
		decide := func(a actor) policy.Decision {
			return policy.Decide(reduced, policy.Request{Process: a.process, Operation: n.operation, Object: object, Now: now})
		}
		d := decide(n.actor)
		if n.or != nil && counts(n, d) {
			d = decide(*n.or)
		}
		if !counts(n, d) {
			continue
		}
		p := set[d.Policy]
		refused[i] = Refusal{
			Who: n.actor.name, What: n.what, Operation: n.operation, Verdict: d.Verdict, Policy: p.Name, Rule: d.Rule,
			Source: cmp.Or(p.Rules[d.Rule].Source, p.Source), Fatal: d.Verdict == policy.Kill && n.actor.vital,
		}
	}
	return refused, nil
}

// counts reports whether a decision takes away what is needed.
func counts(n need, d policy.Decision) bool {
	switch {
	case d.Verdict != policy.Deny && d.Verdict != policy.Kill, d.Policy < 0:
		return false
	case n.named && !d.NamesObject, n.killOnly && d.Verdict != policy.Kill, n.revokeOnly && !d.Revoke:
		return false
	}
	return true
}

// Fatal reports whether one of the refusals would kill what nothing can bring back.
func Fatal(all []Refusal) bool {
	return slices.ContainsFunc(all, func(r Refusal) bool { return r.Fatal })
}

// shown is how many refusals of one rule [Describe] names.
const shown = 3

// Describe says in one line what would be refused, for which need, by which rules.
func Describe(all []Refusal) string {
	type rule struct {
		policy string
		rule   int
	}
	var order []rule
	groups := map[rule][]Refusal{}
	for _, r := range all {
		key := rule{r.Policy, r.Rule}
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], r)
	}
	var parts []string
	for _, key := range order {
		group := groups[key]
		at := ""
		if group[0].Source != "" {
			at = " (" + group[0].Source + ")"
		}
		var what []string
		for _, r := range group {
			text := r.Who + ": " + r.What
			if r.Verdict == policy.Kill {
				text = r.Who + " would be killed: " + r.What
			}
			if !slices.Contains(what, text) {
				what = append(what, text)
			}
		}
		more := ""
		if n := len(what) - shown; n > 0 {
			what, more = what[:shown], fmt.Sprintf(", and %d more", n)
		}
		parts = append(parts, fmt.Sprintf("policy %q rule %d%s would refuse %s%s", key.policy, key.rule, at, strings.Join(what, "; "), more))
	}
	return strings.Join(parts, "; ")
}

// Check returns what policies would refuse that is needed, and that the former ones do not refuse
// already.
func Check(o Options, former, next []policy.Policy) ([]Refusal, error) {
	if !slices.ContainsFunc(next, o.mayRefuse) {
		return nil, nil
	}
	s, err := Look(o)
	if err != nil {
		return nil, err
	}
	return s.Refused(former, next)
}

// mayRefuse reports whether a policy could refuse anything that is looked at.
func (o Options) mayRefuse(p policy.Policy) bool {
	return p.Mode != policy.ModeAudit && slices.ContainsFunc(p.Rules, func(r policy.Rule) bool {
		switch {
		case len(r.Deny) == 0 || r.Verdict == policy.Audit:
			return false
		case r.Operation == policy.SocketBind || r.Operation == policy.SocketConnect:
			return r.Revoke || r.Operation == policy.SocketConnect && len(o.Servers) > 0
		}
		return slices.Contains([]policy.Operation{policy.FileOpen, policy.BprmCheckSecurity, policy.TaskFixSetuid}, r.Operation)
	})
}
