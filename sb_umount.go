package ebpfguard

import (
	"github.com/ebpfguard/ebpfguard/policy"
)

// SbUmount is a policy for the operation sb_umount: a mount is removed.
// docs/hooks.md lists the ways to do so that are judged.
type SbUmount Rule[policy.MountPattern]

// SbUmountAlert tells that an unmount was denied or audited.
type SbUmountAlert struct {
	AlertContext
	MountObject // Target, Type, Flags
}

// WithContext returns the alert with another context.
func (a SbUmountAlert) WithContext(c AlertContext) Alert {
	a.AlertContext = c
	return a
}

// Object returns the MountObject.
func (a SbUmountAlert) Object() any { return a.MountObject }

// MarshalJSON returns the alert as docs/alerts.md describes it.
func (a SbUmountAlert) MarshalJSON() ([]byte, error) { return a.marshal(a.MountObject) }

// String returns the alert as a line of text.
func (a SbUmountAlert) String() string { return a.AlertContext.text(a.MountObject.text()) }

var sbUmount = operation{
	name: policy.SbUmount,
	hooks: []hook{
		{name: "sb_umount", effect: "umount2(2)"},
		{name: "path_rmdir", program: "detach_rmdir", effect: "rmdir(2) of what something is mounted on in another mount namespace"},
		{name: "path_unlink", program: "detach_unlink", effect: "unlink(2) of what something is mounted on in another mount namespace"},
		{name: "path_rename", program: "detach_rename", effect: "rename(2) over what something is mounted on in another mount namespace"},
	},
	open: []way{
		{effect: "a mount that goes along when one above it is unmounted, or a peer of it is", reason: "the kernel asks about the mount that is named; protect that one as well"},
		{effect: "a mount on a directory of FUSE or of a network filesystem, which goes when the server says that the directory is gone", reason: "the kernel asks no hook; mount on a filesystem that no other process serves"},
		{effect: "moving the mount away", reason: "that is a mount; forbid it with sb_mount and sources"},
	},
	alert: func(c AlertContext, r record) Alert { return SbUmountAlert{c, mountOf(r)} },
}

// AttachSbUmount loads and attaches what enforces sb_umount. Everything is allowed
// until a policy is added. If it is attached already, that and its policies stay as they are, and
// this returns another handle of it, see [Hook].
func (m *Manager) AttachSbUmount() (*Hook[SbUmount, SbUmountAlert], error) {
	return attach[SbUmount, SbUmountAlert](m, &sbUmount,
		func(p SbUmount) policy.Policy { return Rule[policy.MountPattern](p).policy(policy.SbUmount) },
		func(p policy.Policy, r policy.Rule) SbUmount { return SbUmount(ruleOf[policy.MountPattern](p, r)) })
}
