package ebpfguard

import (
	"fmt"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Gaps returns what this kernel cannot enforce of a policy set, each as a
// sentence that names the rule. [Manager.Apply] refuses a set with gaps unless
// [Options.AllowGaps] is set. The policies must be valid.
func Gaps(set []policy.Policy) ([]string, error) { return gaps(set) }

// support tells what this kernel offers for the operation.
func (o *operation) support(enforcing bool) OperationSupport {
	s := OperationSupport{Operation: o.name, Supported: enforcing}
	for _, h := range o.hooks {
		if h.exists != nil && !h.exists() {
			continue
		}
		ok, _ := bpf.HasHook(h.name) // without BTF none is known to exist
		hook := HookSupport{Name: h.name, Available: ok, Effect: h.effect}
		switch {
		case ok:
		case h.gap != nil:
			s.NotCovered = append(s.NotCovered, Uncovered{h.effect, fmt.Sprintf("this kernel has no LSM hook %s; Linux has it since %s", h.name, h.since)})
		case h.optional():
			hook.Detail = h.instead
		default:
			s.Supported = false
			s.Detail = fmt.Sprintf("the kernel has no LSM hook %s", h.name)
		}
		s.Hooks = append(s.Hooks, hook)
	}
	if !enforcing {
		s.Detail = "nothing can be enforced on this kernel as it is"
	}
	if s.Supported {
		for _, w := range o.open {
			if w.exists == nil || w.exists() {
				s.NotCovered = append(s.NotCovered, Uncovered{w.effect, w.reason})
			}
		}
	} else {
		s.NotCovered = nil
	}
	return s
}

// mountSetattr is a way to the effects of sb_mount and sb_remount.
var mountSetattr = way{
	"mount_setattr(2), which changes options and propagation of mounts",
	"no kernel has an LSM hook in it; it takes CAP_SYS_ADMIN in the user namespace of the mounts",
	offersMountSetattr,
}
