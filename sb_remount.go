package ebpfguard

import (
	"github.com/ebpfguard/ebpfguard/policy"
)

// SbRemount is a policy for the operation sb_remount: the options of a mount or
// filesystem are changed.
// docs/hooks.md lists the ways to do so that are judged.
type SbRemount Rule[policy.MountPattern]

// SbRemountAlert tells that a remount was denied or audited.
type SbRemountAlert struct {
	AlertContext
	MountObject // Source, Target, Type, Flags
}

// WithContext returns the alert with another context.
func (a SbRemountAlert) WithContext(c AlertContext) Alert {
	a.AlertContext = c
	return a
}

// Object returns the MountObject.
func (a SbRemountAlert) Object() any { return a.MountObject }

// MarshalJSON returns the alert as docs/alerts.md describes it.
func (a SbRemountAlert) MarshalJSON() ([]byte, error) { return a.marshal(a.MountObject) }

// String returns the alert as a line of text.
func (a SbRemountAlert) String() string { return a.AlertContext.text(a.MountObject.text()) }

var sbRemount = operation{
	name: policy.SbRemount,
	hooks: []hook{
		{name: "sb_mount", program: "remount_call", effect: "mount(2) with MS_REMOUNT"},
		{name: "sb_remount", effect: "fsconfig(2) reconfigure"},
		{name: "file_ioctl", program: "shutdown_ioctl", effect: "ioctl(2) that switches a filesystem off: FS_IOC_SHUTDOWN"},
		{name: "file_ioctl_compat", program: "shutdown_compat", effect: "the same of 32-bit processes", instead: "file_ioctl is asked instead"},
	},
	open: []way{
		mountSetattr,
		{effect: "options that a filesystem has under names of its own, such as abort and errors=remount-ro of ext4", reason: "they are not told apart; forbid remounts by targets and types"},
	},
	alert: func(c AlertContext, r record) Alert { return SbRemountAlert{c, mountOf(r)} },
}

// AttachSbRemount loads and attaches what enforces sb_remount. Everything is allowed
// until a policy is added. If it is attached already, that and its policies stay as they are, and
// this returns another handle of it, see [Hook].
func (m *Manager) AttachSbRemount() (*Hook[SbRemount, SbRemountAlert], error) {
	return attach[SbRemount, SbRemountAlert](m, &sbRemount,
		func(p SbRemount) policy.Policy { return Rule[policy.MountPattern](p).policy(policy.SbRemount) },
		func(p policy.Policy, r policy.Rule) SbRemount { return SbRemount(ruleOf[policy.MountPattern](p, r)) })
}
