package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// FileKind is a set of kinds of things without a name in the filesystem that a process
// opens by its own descriptors (/proc/self/fd, /dev/stdout). 0 is a file of the system.
type FileKind uint8

// The kinds.
const (
	Pipe FileKind = 1 << iota
	// Memfd is memory: memfd_create(2), System V shared memory.
	Memfd
	SocketFile
	// Deleted is a file that has been removed, or never had a name (O_TMPFILE). It is
	// known by the last name that it had.
	Deleted
	// OtherKind is whatever else the kernel keeps to itself; no pattern names it.
	OtherKind
	allKinds = Pipe | Memfd | SocketFile | Deleted
)

// KindSpecificity is the specificity of a pattern that names kinds, in place of that of
// a path.
const KindSpecificity = 1

var fileKinds = []struct {
	kind FileKind
	name string
}{{Pipe, "pipe"}, {Memfd, "memfd"}, {SocketFile, "socket"}, {Deleted, "deleted"}}

// ParseFileKind returns the kind that a policy calls so.
func ParseFileKind(name string) (FileKind, error) {
	var names []string
	for _, known := range fileKinds {
		if known.name == name {
			return known.kind, nil
		}
		names = append(names, known.name)
	}
	return 0, fmt.Errorf("unknown kind %q; %s", name, strictyaml.Suggest(name, names))
}

// names returns the names of the kinds.
func (k FileKind) names() []string {
	var names []string
	for _, known := range fileKinds {
		if k&known.kind != 0 {
			names = append(names, known.name)
		}
	}
	if rest := k &^ allKinds; rest != 0 {
		names = append(names, fmt.Sprintf("FileKind(%#x)", uint8(rest)))
	}
	return names
}

// String returns the kinds as YAML spells them.
func (k FileKind) String() string { return strings.Join(k.names(), ", ") }

// FileKinds returns the kinds that an object can have, in the order of their classes.
func FileKinds() []FileKind { return []FileKind{Pipe, Memfd, SocketFile, Deleted, OtherKind} }

// kinds decodes a list of kinds.
func (d *decoder) kinds(set strictyaml.Fields) FileKind {
	var kinds FileKind
	for item, text := range d.Texts(set, "kinds", "a kind") {
		kind, err := ParseFileKind(text)
		d.Check(item, err)
		if kinds&kind != 0 {
			d.Fail(item, "kind %s is listed twice; remove one", text)
		}
		kinds |= kind
	}
	return kinds
}

// file judges a file for one kind of access. What is of a kind is judged by the rules
// that name the kind, and by the names that rules have for it. Without such a name a
// deleted file is one that no path selects; a pipe, a memfd and a socket are no files of
// the system, and a rule that does not name them is not about them. One whose name is
// unknown may have any, and is of its kind all the same.
func (j judge) file(f File) judgement {
	names := File{Names: f.Names, Access: f.Access}
	if f.Kind == 0 {
		return j.names(names)
	}
	own := j
	own.entries = nil
	for _, e := range j.entries {
		if p, ok := e.pattern.(FilePattern); ok && p.Kinds != 0 {
			own.entries = append(own.entries, e)
		}
	}
	nameless := File{Access: f.Access, Kind: f.Kind}
	if f.Unknown || slices.ContainsFunc(f.all(), j.named) {
		return stricter(j.names(names), own.literal(nameless))
	}
	if f.Kind == Deleted {
		return j.literal(nameless)
	}
	return own.literal(nameless)
}
