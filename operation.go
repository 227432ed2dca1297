package ebpfguard

import (
	"fmt"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/policy"
)

// operation describes an operation to the rest of the package. A new operation
// adds one to operations.
type operation struct {
	name policy.Operation
	// hooks cover the operation's effect between them. Each is the name of
	// an LSM hook and of the program for it, which operations may share.
	hooks []hook
	// open are the ways to the effect that no kernel lets anybody judge, or that
	// are left open on purpose.
	open []way
	// alert makes the operation's alert from a record of the kernel.
	alert func(AlertContext, record) Alert
}

// record is what the kernel tells of a decision.
type record struct {
	abi.Alert
	binary, parent, path, source string
	ancestors                    []abi.Ancestor
}

type hook struct {
	// name is that of the LSM hook, program that of the program for it if it
	// has another name.
	name, program, effect string
	// instead says why nothing is missing on a kernel without the hook: another
	// one is asked, or the kernel lacks what the hook guards.
	instead string
	// gap reports whether a pattern that denies is not enforced fully on a kernel
	// without the hook; since is the version in which Linux got it.
	gap   func(policy.Pattern) bool
	since string
	// exists reports whether this kernel has what the hook guards, where not each kernel with
	// the hook does; nil: it has.
	exists func() bool
	// revoke says that only rules with [policy.Rule.Revoke] need the hook:
	// it is attached while there are any.
	revoke bool
	// needed reports whether a rule for the operation needs the hook, which is attached
	// while there are such rules, with Options.AutoAttach; nil: each does.
	needed func(policy.Rule) bool
}

// isNeeded reports whether a rule for the operation needs the hook.
func (h hook) isNeeded(r policy.Rule) bool {
	return (!h.revoke || r.Revoke) && (h.needed == nil || h.needed(r))
}

// denies returns what is for hooks where only what a pattern denies matters, of which one
// of these can be denied. An allow alone restricts nothing.
func denies[P policy.Pattern](concerns func(P) bool) func(policy.Rule) bool {
	return func(r policy.Rule) bool {
		return slices.ContainsFunc(r.Deny, func(p policy.Pattern) bool {
			pattern, ok := p.(P)
			return !ok || concerns(pattern)
		})
	}
}

// way is a way to an operation's effect on which no hook is asked.
type way struct {
	effect string
	// reason says why, and what to do where something can be done.
	reason string
	// exists reports whether this kernel has the way at all; nil: each has it.
	exists func() bool
}

// optional reports whether the operation can be enforced without the hook, be it in
// part.
func (h hook) optional() bool { return h.instead != "" || h.gap != nil }

func (h hook) programName() string {
	if h.program != "" {
		return h.program
	}
	return h.name
}

// operations are all operations, in the order of [policy.Operations].
var operations = []*operation{&fileOpen, &bprmCheckSecurity, &sbMount, &sbRemount, &sbUmount, &taskFixSetuid, &socketBind, &socketConnect}

func operationByName(name policy.Operation) (*operation, error) {
	for _, o := range operations {
		if o.name == name {
			return o, nil
		}
	}
	return nil, fmt.Errorf("operation %q: %w by this version of ebpfguard; it enforces %v", name, ErrNotSupported, policy.Operations())
}

// id returns the operation's number in tables and alerts (bpf/abi.h).
func (o *operation) id() int { return abi.OperationID(string(o.name)) }

func operationByID(id uint32) *operation {
	for _, o := range operations {
		if string(o.name) == abi.OperationNames[id] {
			return o
		}
	}
	return nil
}

// available returns the hooks that this kernel has. It is an error when one is missing that
// the operation cannot do without.
func (o *operation) available() ([]hook, error) {
	var hooks []hook
	for _, h := range o.hooks {
		ok, err := bpf.HasHook(h.name)
		if err != nil {
			return nil, err
		}
		switch {
		case h.exists != nil && !h.exists():
		case !ok && !h.optional():
			return nil, fmt.Errorf("operation %s: %w: this kernel has no LSM hook %s; use a kernel built with CONFIG_SECURITY_NETWORK and CONFIG_SECURITY_PATH", o.name, ErrNotSupported, h.name)
		case ok:
			hooks = append(hooks, h)
		}
	}
	return hooks, nil
}

// basics returns the programs that are attached as long as the operation is: where hooks are
// attached as they are needed, those that every rule needs. To load a program takes long, so
// otherwise all are there that any rule needs, but one with revoke.
func (o *operation) basics(asNeeded bool) ([]string, error) {
	hooks, err := o.available()
	var programs []string
	for _, h := range hooks {
		if !h.revoke && (h.needed == nil || !asNeeded) {
			programs = append(programs, h.programName())
		}
	}
	return programs, err
}

// extras returns the programs that the rules of a policy set need.
func (o *operation) neededBy(set []policy.Policy) ([]string, error) {
	var rules []policy.Rule
	for _, p := range set {
		for _, r := range p.Rules {
			if r.Operation == o.name {
				rules = append(rules, r)
			}
		}
	}
	if len(rules) == 0 {
		return nil, nil
	}
	hooks, err := o.available()
	var programs []string
	for _, h := range hooks {
		if slices.ContainsFunc(rules, h.isNeeded) {
			programs = append(programs, h.programName())
		}
	}
	return programs, err
}

// gaps returns what this kernel cannot enforce of a policy set, each as a
// sentence. A hook that a kernel lacks because it lacks what the hook guards is
// no gap.
func gaps(set []policy.Policy) ([]string, error) {
	var all []string
	for _, op := range operations {
		for _, h := range op.hooks {
			if h.gap == nil {
				continue
			}
			ok, err := bpf.HasHook(h.name)
			if err != nil {
				return nil, err
			}
			if ok {
				continue
			}
			for _, p := range set {
				for i, r := range p.Rules {
					if r.Operation == op.name && slices.ContainsFunc(r.Deny, h.gap) {
						all = append(all, fmt.Sprintf("policy %q rule %d (%s): not covered on this kernel: %s, since it has no LSM hook %s", p.Name, i, op.name, h.effect, h.name))
					}
				}
			}
		}
	}
	return all, nil
}
