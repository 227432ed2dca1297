package policy

import (
	"fmt"
	"slices"
	"strings"
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
	// Either are the options that it may have or not, of a pair both names; Flags has
	// none of them. See [Mount.WithData].
	Either MountFlags
}

// The keys of a mount's [Specificity].
const (
	targetKey = iota
	sourceKey
	typeKey
	flagsKey
)

// mountKind is for sb_mount, sb_remount and sb_umount.
type mountKind struct {
	operation Operation
	// possible are the flags that the operation can have.
	possible MountFlags
}

func (mountKind) everything() Pattern { return MountPattern{All: true} }

func (mountKind) keys() (names, kinds []string) {
	return []string{"targets", "sources"}, []string{"types", "flags"}
}

func (p MountPattern) paths() []string { return p.Targets }

func (m Mount) names() Names { return m.Target }

func (m Mount) withNames(n Names) Object {
	m.Target = n
	return m
}

// valid reports whether the mount is one that can be judged.
func (m Mount) valid() bool { return m.Flags&^AllMountFlags == 0 && m.Either&^optionFlags == 0 }

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
	if m.Either != 0 {
		parts = append(parts, "(or not: "+m.Either.String()+")")
	}
	return strings.Join(parts, " ")
}

func (k mountKind) judge(j judge, o Object) (judgement, bool) {
	m, ok := o.(Mount)
	if !ok || !m.valid() {
		return judgement{}, false
	}
	return j.choices(m), true
}

func (mountKind) notes(from, to Object) []string {
	a, b := from.(Mount), to.(Mount)
	return append(nameNotes(a.Target, b.Target), choiceNotes(a, b)...)
}

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

// contradiction tells why no mount matches all keys: a bind mount, a move, a change of
// propagation and pivot_root have no type, and the last two no source.
func (p MountPattern) contradiction(o Operation) string {
	const text = "matches nothing: all keys of a pattern must match, and what has these flags has no %s; leave one of them out"
	const propagation = MountShared | MountPrivate | MountSlave | MountUnbindable | MountPivot
	switch {
	case o != SbMount || p.Flags == 0:
	case len(p.Types) > 0 && p.Flags&^(propagation|MountBind|MountMove) == 0:
		return fmt.Sprintf(text, "type")
	case len(p.Sources) > 0 && p.Flags&^propagation == 0:
		return fmt.Sprintf(text, "source")
	}
	return ""
}
