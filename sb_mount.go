package ebpfguard

import (
	"encoding/json"
	"strings"

	"github.com/ebpfguard/ebpfguard/policy"
)

// SbMount is a policy for the operation sb_mount: something is mounted or moved, or
// its propagation changed.
// docs/hooks.md lists the ways to do so that are judged.
type SbMount Rule[policy.MountPattern]

// SbMountAlert tells that a mount was denied or audited.
type SbMountAlert struct {
	AlertContext
	MountObject // Source, Target, Type, Flags
}

// WithContext returns the alert with another context.
func (a SbMountAlert) WithContext(c AlertContext) Alert {
	a.AlertContext = c
	return a
}

// Object returns the MountObject.
func (a SbMountAlert) Object() any { return a.MountObject }

// MarshalJSON returns the alert as docs/alerts.md describes it.
func (a SbMountAlert) MarshalJSON() ([]byte, error) { return a.marshal(a.MountObject) }

// String returns the alert as a line of text.
func (a SbMountAlert) String() string { return a.AlertContext.text(a.MountObject.text()) }

var sbMount = operation{
	name: policy.SbMount,
	hooks: []hook{
		{name: "sb_mount", effect: "mount(2)"},
		{name: "sb_kern_mount", effect: "fsmount(2)"},
		{name: "move_mount", effect: "move_mount(2)"},
		{name: "sb_pivotroot", effect: "pivot_root(2)"},
		{name: "file_open", program: "mount_namespace", effect: "open_tree(2) and fsmount(2) that make a mount namespace", exists: offersTreeNamespaces},
	},
	open: []way{
		mountSetattr,
		{effect: "mounts that the kernel makes itself: automounts, propagation from a peer", reason: "the kernel asks no hook about them, only about the mount that is repeated"},
	},
	alert: func(c AlertContext, r record) Alert { return SbMountAlert{c, mountOf(r)} },
}

// AttachSbMount loads and attaches what enforces sb_mount. Everything is allowed
// until a policy is added. If it is attached already, that and its policies stay as they are, and
// this returns another handle of it, see [Hook].
func (m *Manager) AttachSbMount() (*Hook[SbMount, SbMountAlert], error) {
	return attach[SbMount, SbMountAlert](m, &sbMount,
		func(p SbMount) policy.Policy { return Rule[policy.MountPattern](p).policy(policy.SbMount) },
		func(p policy.Policy, r policy.Rule) SbMount { return SbMount(ruleOf[policy.MountPattern](p, r)) })
}

// MountObject is the object of an [SbMountAlert], [SbRemountAlert] and [SbUmountAlert]: a
// mount.
type MountObject struct {
	// Source is what is mounted, as the process named it; empty for an unmount.
	Source string
	// Target is where; empty for a mount that has no place yet.
	Target string
	// Type is the type of the filesystem, if known.
	Type string
	// Flags are what is done, and the options; see docs/semantics.md.
	Flags policy.MountFlags
}

// MarshalJSON writes the flags as a list.
func (o MountObject) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Source string   `json:"source,omitempty"`
		Target string   `json:"target,omitempty"`
		Type   string   `json:"type,omitempty"`
		Flags  []string `json:"flags"`
	}{o.Source, o.Target, o.Type, strings.Split(o.Flags.String(), ", ")})
}

func mountOf(r record) MountObject {
	return MountObject{r.source, r.path, cString(r.Type[:]), policy.MountFlags(r.Flags)}
}

func (o MountObject) text() string {
	var parts []string
	if o.Type != "" {
		parts = append(parts, o.Type)
	}
	if o.Source != "" {
		parts = append(parts, plain(o.Source))
	}
	if o.Target != "" {
		parts = append(parts, "at "+plain(o.Target))
	}
	return strings.Join(append(parts, "["+o.Flags.String()+"]"), " ")
}

// Mounts selects what is mounted at these targets, see [Files].
func Mounts(targets ...string) []policy.MountPattern {
	return []policy.MountPattern{{Targets: targets}}
}

// AllMounts selects every mount.
func AllMounts() []policy.MountPattern { return everything[policy.MountPattern](policy.SbMount) }
