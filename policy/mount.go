package policy

import (
	"errors"
	"fmt"
	"math/bits"
	"regexp"
	"slices"
	"strings"
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

// MountPattern selects operations on mounts. The keys are ANDed, the values of one
// key ORed, an empty key matches everything: a pattern with flags matches when
// the operation has any of them. The zero value is refused; the pattern for
// everything is MountPattern{All: true}.
type MountPattern struct {
	All     bool     `json:"all,omitempty"`
	Sources []string `json:"sources,omitempty"` // see [SourcePattern]; not for sb_umount
	Targets []string `json:"targets,omitempty"` // see [PathPattern]
	// Types are names of types of filesystems, without a subtype.
	Types []string `json:"types,omitempty"`
	// Flags are some of those that the operation can have, see [MountFlagsOf].
	Flags MountFlags `json:"flags,omitempty"`
}

// Mount is the object of sb_mount, sb_remount and sb_umount.
type Mount struct {
	// Source is the device or directory as the process named it; empty
	// where there is none.
	Source string
	// Target are the names of where it is mounted.
	Target Names
	// Type is the type of the filesystem; empty for a bind mount, a move or
	// a change of propagation.
	Type  string
	Flags MountFlags
}

// The keys of a mount's [Specificity].
const (
	targetKey = iota
	sourceKey
	typeKey
	flagsKey
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
	switch o {
	case SbMount:
		return mountFlags
	case SbRemount:
		return remountFlags
	case SbUmount:
		return umountFlags
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
	return 0, fmt.Errorf("unknown flag %q; %s", shorten(name), suggest(name, mountFlagNames[:]))
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

// valid reports whether the mount is one that can be judged.
func (m Mount) valid() bool { return m.Flags&^AllMountFlags == 0 }

// matches reports whether the pattern selects the mount, of whose target only Path
// counts, not its aliases.
func (p MountPattern) matches(o Object) (Specificity, certainty) {
	var s Specificity
	mount, ok := o.(Mount)
	if !ok {
		return s, no
	}
	if p.All {
		return s, yes
	}
	certain := mount.Target.match(p.Targets, &s[targetKey])
	if len(p.Sources) > 0 {
		s[sourceKey] = matchSources(p.Sources, mount.Source)
		if s[sourceKey] == 0 {
			return s, no
		}
	}
	if len(p.Types) > 0 {
		if !slices.Contains(p.Types, mount.Type) {
			return s, no
		}
		s[typeKey] = 1
	}
	if p.Flags != 0 {
		if p.Flags&mount.Flags == 0 {
			return s, no
		}
		s[flagsKey] = 1
	}
	return s, certain
}

func (p MountPattern) isZero() bool {
	return !p.All && len(p.Sources) == 0 && len(p.Targets) == 0 && len(p.Types) == 0 && p.Flags == 0
}

func (p MountPattern) validate() error {
	var errs []error
	if p.isZero() {
		errs = append(errs, errors.New("the pattern names nothing; write all to select every mount"))
	}
	if p.All && (len(p.Sources) > 0 || len(p.Targets) > 0 || len(p.Types) > 0 || p.Flags != 0) {
		errs = append(errs, errors.New("all cannot be combined with sources, targets, types or flags; leave out one or the other"))
	}
	errs = append(errs, checkEmpty("sources", p.Sources))
	for _, source := range p.Sources {
		_, err := ParseSourcePattern(source)
		errs = append(errs, err)
	}
	errs = append(errs, checkEmpty("targets", p.Targets), checkPaths("target", p.Targets), checkEmpty("types", p.Types))
	for _, t := range p.Types {
		errs = append(errs, checkType(t))
	}
	if rest := p.Flags &^ AllMountFlags; rest != 0 {
		errs = append(errs, fmt.Errorf("unknown flags %v; combine MountNew to MountForce", rest))
	}
	return errors.Join(errs...)
}

// validateFor returns what keeps a valid pattern from ever matching an object
// of the operation.
func (p MountPattern) validateFor(o Operation) error {
	var errs []error
	if wrong := p.Flags & AllMountFlags &^ MountFlagsOf(o); wrong != 0 {
		errs = append(errs, fmt.Errorf("%s has no flag %v; its flags are %v", o, wrong, MountFlagsOf(o)))
	}
	if o == SbUmount && len(p.Sources) > 0 {
		errs = append(errs, errors.New("sources are not known when something is unmounted; name targets or types"))
	}
	return errors.Join(errs...)
}

var typePattern = regexp.MustCompile(`^[A-Za-z0-9_+-]{1,64}$`)

// checkType returns what is wrong with the type of a filesystem.
func checkType(t string) error {
	if main, _, ok := strings.Cut(t, "."); ok && typePattern.MatchString(main) {
		return fmt.Errorf("type %q has a subtype, which the kernel does not tell apart; write %s", shorten(t), main)
	}
	if !typePattern.MatchString(t) {
		return fmt.Errorf("%q is no type of filesystem; write one such as ext4, or a line of /proc/filesystems", shorten(t))
	}
	return nil
}

// String returns the pattern as flow-style YAML.
func (p MountPattern) String() string {
	if p.All {
		return "all"
	}
	var f flow
	f.list("sources", quoted(p.Sources))
	f.list("targets", quoted(p.Targets))
	f.list("types", quoted(p.Types))
	f.list("flags", p.Flags.names())
	return f.String()
}

// String returns type, source, target and flags of the mount.
func (m Mount) String() string {
	var parts []string
	if m.Type != "" {
		parts = append(parts, m.Type)
	}
	if m.Source != "" {
		parts = append(parts, m.Source)
	}
	parts = append(parts, "on "+m.Target.String())
	if m.Flags != 0 {
		parts = append(parts, "("+m.Flags.String()+")")
	}
	return strings.Join(parts, " ")
}

func (d *decoder) mountPattern(set fields, o Operation) MountPattern {
	var p MountPattern
	for item, text := range d.texts(set, "sources", "a source") {
		_, err := ParseSourcePattern(text)
		d.check(item, err)
		p.Sources = append(p.Sources, text)
	}
	p.Targets = d.paths(set, "targets", "target")
	for item, text := range d.texts(set, "types", "a type") {
		d.check(item, checkType(text))
		p.Types = append(p.Types, text)
	}
	for item, text := range d.texts(set, "flags", "a flag") {
		flag, err := ParseMountFlag(text)
		if err == nil {
			err = MountPattern{Flags: flag}.validateFor(o)
		}
		d.check(item, err)
		if p.Flags&flag != 0 {
			d.fail(item, "flag %s is listed twice; remove one", text)
		}
		p.Flags |= flag
	}
	return p
}

func mountObjects(all []Pattern) []Object {
	targets := nameRepresentatives(all)
	sources, types := []string{"", freshSource}, []string{"", "."}
	flags := MountFlags(0)
	for _, pattern := range all {
		p, ok := pattern.(MountPattern)
		if !ok {
			continue
		}
		for _, text := range p.Sources {
			switch splitSourcePattern(text).kind {
			case PathGlob:
				return nil
			case PathDir:
				sources = append(sources, strings.TrimSuffix(text, "/"), text+freshSource)
			default:
				sources = append(sources, text)
			}
		}
		types = append(types, p.Types...)
		flags |= p.Flags
	}
	sets := flagSets(flags)
	slices.Sort(sources)
	sources = slices.Compact(sources)
	slices.Sort(types)
	types = slices.Compact(types)
	if len(targets)*len(sources)*len(types)*len(sets) > maxObjects {
		return nil
	}
	return product(len(targets), func(i int) []Object {
		var mounts []Object
		for _, source := range sources {
			for _, t := range types {
				for _, f := range sets {
					mounts = append(mounts, Mount{Source: source, Target: targets[i], Type: t, Flags: f})
				}
			}
		}
		return mounts
	})
}

// flagSets returns all subsets of the flags, nil if there are too many.
func flagSets(flags MountFlags) []MountFlags {
	if len(flags.names()) > 8 {
		return nil
	}
	sets := []MountFlags{flags}
	for s := flags; s != 0; {
		s = (s - 1) & flags
		sets = append(sets, s)
	}
	return sets
}
