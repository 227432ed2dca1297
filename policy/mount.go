package policy

import (
	"errors"
	"fmt"
	"math/bits"
	"regexp"
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

// check returns what keeps a valid pattern from ever matching an object of the
// operation.
func (k mountKind) check(pattern Pattern) error {
	p := pattern.(MountPattern)
	var errs []error
	if wrong := p.Flags & AllMountFlags &^ k.possible; wrong != 0 {
		errs = append(errs, fmt.Errorf("%s has no flag %v; its flags are %v", k.operation, wrong, k.possible))
	}
	if k.operation == SbUmount && len(p.Sources) > 0 {
		errs = append(errs, errors.New("sources are not known when something is unmounted; name targets or types"))
	}
	return errors.Join(errs...)
}

var typePattern = regexp.MustCompile(`^[A-Za-z0-9_+-]{1,64}$`)

// checkType returns what is wrong with the type of a filesystem.
func checkType(t string) error {
	if main, _, ok := strings.Cut(t, "."); ok && typePattern.MatchString(main) {
		return fmt.Errorf("type %q has a subtype, which policies cannot match; write %s", shorten(t), main)
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

func (k mountKind) decode(d *decoder, set strictyaml.Fields) Pattern {
	var p MountPattern
	for item, text := range d.Texts(set, "sources", "a source") {
		_, err := ParseSourcePattern(text)
		d.Check(item, err)
		p.Sources = append(p.Sources, text)
	}
	p.Targets = d.paths(set, "targets", "target")
	for item, text := range d.Texts(set, "types", "a type") {
		d.Check(item, checkType(text))
		p.Types = append(p.Types, text)
	}
	for item, text := range d.Texts(set, "flags", "a flag") {
		flag, err := ParseMountFlag(text)
		if err == nil {
			err = k.check(MountPattern{Flags: flag})
		}
		d.Check(item, err)
		if p.Flags&flag != 0 {
			d.Fail(item, "flag %s is listed twice; remove one", text)
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

// mountKind is for sb_mount, sb_remount and sb_umount.
type mountKind struct {
	operation Operation
	// possible are the flags that the operation can have.
	possible MountFlags
}

func (mountKind) everything() Pattern { return MountPattern{All: true} }

func (mountKind) keys() []string { return []string{"targets", "sources", "types", "flags"} }

func (p MountPattern) paths() []string { return p.Targets }

func (m Mount) names() Names { return m.Target }

func (m Mount) withNames(n Names) Object {
	m.Target = n
	return m
}

// evasion tells how a denial by the text of a source is evaded.
func (p MountPattern) evasion() string {
	if !slices.ContainsFunc(p.Sources, func(s string) bool { return strings.HasPrefix(s, "/") }) {
		return ""
	}
	return "compares the source as the process writes it, so a symbolic link or another path to the same source evades it; deny targets or types, or deny all and allow sources"
}

func (mountKind) fields() ([]string, string) {
	return []string{"sources", "targets", "types", "flags"}, "sources: [...]"
}

func (k mountKind) judge(j judge, o Object) (judgement, bool) {
	m, ok := o.(Mount)
	if !ok || !m.valid() {
		return judgement{}, false
	}
	return j.names(m), true
}

func (mountKind) notes(from, to Object) []string {
	return nameNotes(from.(Mount).Target, to.(Mount).Target)
}

func (mountKind) representatives(all []Pattern) []Object { return mountObjects(all) }

// kindFlags tell what kind of mount it is; optionPairs are the options that a
// file system or mount has one of, the default first.
const kindFlags = MountNew | MountBind | MountMove | MountShared | MountPrivate | MountSlave | MountUnbindable | MountPivot

var optionPairs = [][2]MountFlags{
	{MountReadWrite, MountReadOnly}, {MountSUID, MountNoSUID}, {MountDev, MountNoDev}, {MountExec, MountNoExec},
}

var (
	flagSource = &Flag{Name: "source", Usage: "mount: the `device` or directory that is mounted, as the process names it"}
	flagTarget = &Flag{Name: "target", Usage: "mount: the `path` where it is mounted; an empty one for a mount that is nowhere yet"}
	flagType   = &Flag{Name: "type", Usage: "mount: the `type` of the file system; by default one that no policy names"}
	flagFlags  = &Flag{Name: "flags", Usage: "mount: its `flags`, such as bind or new,ro,nosuid; of what is new, rw, suid, dev and exec unless told otherwise", Form: FlagList, Words: mountFlagNames[:]}
)

func (k mountKind) flags() []*Flag {
	flags := []*Flag{flagTarget, flagType, flagFlags, flagAlias, flagUnknownPath}
	if k.operation == SbUmount {
		return flags
	}
	return append([]*Flag{flagSource}, flags...)
}

func (k mountKind) object(d *Description) (Object, error) {
	const example = "/mnt"
	if !d.has(flagTarget, flagAlias, flagUnknownPath) {
		return nil, missing(flagTarget, k.operation, example)
	}
	names, err := d.names(flagTarget, example)
	if err != nil {
		return nil, err
	}
	m := Mount{Source: d.text(flagSource), Target: names, Type: d.text(flagType)}
	possible := k.possible
	if k.operation == SbUmount {
		possible |= remountFlags // those that the mount has
	}
	for _, name := range d.list(flagFlags) {
		flag, err := ParseMountFlag(name)
		if err != nil {
			return nil, invalid(flagFlags, err)
		}
		if flag&possible == 0 {
			return nil, fmt.Errorf("--flags: %s has no flag %v; its flags are %v", k.operation, flag, possible)
		}
		m.Flags |= flag
	}
	if k.operation == SbMount && m.Flags&kindFlags == 0 {
		m.Flags |= MountNew
	}
	if k.operation == SbUmount || k.operation == SbMount && m.Flags&MountNew == 0 {
		return m, nil // has no options of its own
	}
	for _, pair := range optionPairs {
		if m.Flags&(pair[0]|pair[1]) == 0 {
			m.Flags |= pair[0]
		}
	}
	return m, nil
}

var (
	randomSources = []string{"/dev/sda1", "/dev/sdb", "/dev/disk/x", "tmpfs", "none", "//server/share", "host:/export/a"}
	randomTypes   = []string{"ext4", "tmpfs", "proc", "overlay"}
)

func (k mountKind) randomPattern(d Draws) Pattern {
	var p MountPattern
	if chance(d, 40) && k.operation != SbUmount {
		p.Sources = oneOrTwo(d, append([]string{"/dev/", "/dev/disk/", "//server/"}, randomSources...)...)
		if d.Globs() && chance(d, 40) {
			p.Sources = append(p.Sources, choose(d, "/dev/*", "/dev/sd?", "**a**", "host:/**", "*"))
		}
	}
	if chance(d, 50) {
		p.Targets = randomPaths(d)
	}
	if chance(d, 30) {
		p.Types = oneOrTwo(d, randomTypes...)
	}
	if chance(d, 30) {
		for range 1 + d.IntN(3) {
			p.Flags |= 1 << d.IntN(len(mountFlagNames)) & k.possible
		}
	}
	return p
}

func (k mountKind) randomObject(d Draws) Object {
	m := Mount{Target: d.Names(), Type: choose(d, append(randomTypes, "")...)}
	options := MountFlags(0)
	for _, pair := range optionPairs {
		options |= choose(d, pair[:]...)
	}
	switch k.operation {
	case SbMount:
		m.Source = choose(d, append(randomSources, "/dev", "")...)
		m.Flags = choose(d, MountNew, MountBind, MountBind|MountRecursive, MountMove, MountPrivate, MountPivot)
		if m.Flags == MountNew {
			m.Flags |= options
		} else {
			m.Type = ""
		}
	case SbRemount:
		m.Source, m.Flags = choose(d, append(randomSources, "")...), options
	case SbUmount:
		m.Flags = choose(d, 0, MountDetach, MountForce, MountDetach|MountForce)
	}
	return m
}
