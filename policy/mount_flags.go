package policy

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// MountFlags is a set of flags of a mount: MountNew to MountForce.
type MountFlags uint32

// The flags of a mount. Of the first nine, which tell what kind of operation it
// is, sb_mount has one of new, bind, move, the propagations and pivot, and rec
// beside it. The options come in pairs, so that a policy can name the absence
// of a restriction: a mount without nosuid has suid. See mount(8).
const (
	// MountNew mounts a filesystem that was not mounted before, or elsewhere.
	MountNew MountFlags = 1 << iota
	// MountBind shows a directory in another place.
	MountBind
	// MountRecursive includes the mounts below.
	MountRecursive
	// MountMove moves a mount.
	MountMove
	MountShared
	MountPrivate
	MountSlave
	MountUnbindable
	// MountPivot is pivot_root(2).
	MountPivot
	MountReadOnly
	MountReadWrite
	MountNoSUID
	MountSUID
	MountNoDev
	MountDev
	MountNoExec
	MountExec
	MountNoAtime
	MountSync
	// MountDetach is the flag MNT_DETACH of umount2(2), a lazy unmount.
	MountDetach
	// MountForce is the flag MNT_FORCE of umount2(2).
	MountForce

	// AllMountFlags are all of them.
	AllMountFlags = MountForce<<1 - 1
)

// mountFlagNames are the names of the flags by their bit.
var mountFlagNames = [...]string{
	"new", "bind", "rec", "move", "shared", "private", "slave", "unbindable", "pivot",
	"ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "sync", "detach", "force",
}

// Flags that an operation can have.
const (
	umountFlags  = MountDetach | MountForce
	optionFlags  = MountReadOnly | MountReadWrite | MountNoSUID | MountSUID | MountNoDev | MountDev | MountNoExec | MountExec | MountNoAtime | MountSync
	remountFlags = optionFlags | MountBind | MountRecursive
	mountFlags   = AllMountFlags &^ umountFlags
)

// MountFlagsOf returns the flags that the operation can have; none for one that
// is not about mounts.
func MountFlagsOf(o Operation) MountFlags {
	if known := find(o); known != nil {
		if k, ok := known.kind.(mountKind); ok {
			return k.possible
		}
	}
	return 0
}

// ParseMountFlag returns the flag that a policy calls so.
func ParseMountFlag(name string) (MountFlags, error) {
	if i := slices.Index(mountFlagNames[:], name); i >= 0 {
		return 1 << i, nil
	}
	for long, short := range map[string]string{
		"recursive": "rec", "rbind": "bind", "readonly": "ro", "readwrite": "rw", "lazy": "detach",
		"pivot_root": "pivot", "remount": "the operation sb_remount", "rprivate": "private", "rshared": "shared", "rslave": "slave",
	} {
		if strings.EqualFold(name, long) {
			return 0, fmt.Errorf("unknown flag %q; did you mean %s?", name, short)
		}
	}
	return 0, fmt.Errorf("unknown flag %q; %s", shorten(name), strictyaml.Suggest(name, mountFlagNames[:]))
}

// names returns the names of the flags.
func (f MountFlags) names() []string {
	var names []string
	for rest := f & AllMountFlags; rest != 0; rest &= rest - 1 {
		names = append(names, mountFlagNames[bits.TrailingZeros32(uint32(rest))])
	}
	if rest := f &^ AllMountFlags; rest != 0 {
		names = append(names, fmt.Sprintf("MountFlags(%#x)", uint32(rest)))
	}
	return names
}

// String returns the flags as YAML spells them.
func (f MountFlags) String() string { return strings.Join(f.names(), ", ") }

// kindFlags tell what kind of mount it is.
const kindFlags = MountNew | MountBind | MountMove | MountShared | MountPrivate | MountSlave | MountUnbindable | MountPivot
