package ebpfguard

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

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
		ok, _ := bpf.HasHook(h.name) // without BTF none is known to exist
		hook := HookSupport{Name: h.name, Available: ok, Effect: h.effect}
		switch {
		case ok:
		case h.gap != nil:
			s.NotCovered = append(s.NotCovered, Uncovered{h.effect, fmt.Sprintf("this kernel has no LSM hook %s%s", h.name, since(h.name))})
		case h.optional:
			hook.Detail = withoutHook[h.name]
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
		s.NotCovered = append(s.NotCovered, uncovered(o.name)...)
	} else {
		s.NotCovered = nil
	}
	return s
}

// withoutHook says of hooks that a kernel may lack why nothing is missing then.
var withoutHook = map[string]string{
	"file_truncate":      "path_truncate is asked instead",
	"file_ioctl_compat":  "file_ioctl is asked instead",
	"path_chown":         "inode_setattr is asked instead",
	"inode_set_acl":      "inode_setxattr is asked instead",
	"inode_remove_acl":   "inode_removexattr is asked instead",
	"inode_file_setattr": "the kernel has no file_setattr(2)",
	"sctp_bind_connect":  "the kernel has no SCTP",
}

// since tells in which version a hook came whose lack is a gap.
func since(hook string) string {
	switch hook {
	case "task_fix_setgroups":
		return "; Linux has it since 6.0"
	case "userns_create":
		return "; Linux has it since 6.1"
	}
	return ""
}

// uncovered returns what no kernel lets anybody judge, as far as this kernel can
// do it at all, and what is left open on purpose.
func uncovered(o policy.Operation) []Uncovered {
	setattr := Uncovered{
		"mount_setattr(2), which changes options and propagation of mounts",
		"no kernel has an LSM hook in it; it takes CAP_SYS_ADMIN in the user namespace of the mounts",
	}
	switch o {
	case policy.FileOpen:
		return []Uncovered{
			{"what was opened or mapped before the policy came", "a rule with revoke: true refuses the use of such descriptors; pages that are mapped stay"},
			{"a hard link from before the policy to a file that only a directory or glob names", "the file is known by that name and its directories; name the file itself"},
		}
	case policy.BprmCheckSecurity:
		return []Uncovered{
			{"no_args", "the kernel itself gives such a program an empty argument, since 5.18 and in stable versions before: nothing is left to refuse"},
			{"a script that is given to its interpreter (sh SCRIPT)", "the interpreter reads it as any file; forbid file_open of it"},
			{"a copy of a program", "it is another file; name what may run and deny all"},
		}
	case policy.SbMount:
		list := []Uncovered{{"mounts that the kernel makes itself: automounts, propagation from a peer", "nobody is asked about them, but about the mount that is repeated"}}
		if offersMountSetattr() {
			list = append([]Uncovered{setattr}, list...)
		}
		return list
	case policy.SbRemount:
		if offersMountSetattr() {
			return []Uncovered{setattr}
		}
	case policy.SbUmount:
		return []Uncovered{
			{"a mount that goes along when one above it is unmounted, or a peer of it is", "the kernel asks about the mount that is named; protect that one as well"},
			{"moving the mount away", "that is a mount; forbid it with sb_mount and sources"},
		}
	case policy.TaskFixSetuid:
		return []Uncovered{
			{"entering a user namespace that exists (setns)", "no kernel has an LSM hook for it; whoever may enter it owns it already"},
			{"keeping capabilities over execve(2)", "what a process has already is not gained"},
		}
	case policy.SocketBind:
		return []Uncovered{{"the port that a socket gets which connects or sends without bind", "no kernel has an LSM hook for it; socket_connect judges the sending"}}
	case policy.SocketConnect:
		return []Uncovered{
			{"what is sent on a connection from before the policy", "a rule with revoke: true refuses to send and receive on it"},
			{"addresses in packets that a raw or packet socket writes itself", "nobody looks into packets; it takes CAP_NET_RAW"},
			{"further paths that MPTCP opens by itself", "the kernel makes them without asking"},
		}
	}
	return nil
}

// offersMountSetattr reports whether the kernel has mount_setattr(2), since 5.12.
// The call cannot succeed.
func offersMountSetattr() bool {
	_, _, errno := unix.Syscall6(unix.SYS_MOUNT_SETATTR, ^uintptr(0), 0, 0, 0, 0, 0)
	return !errors.Is(errno, unix.ENOSYS)
}
