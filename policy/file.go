package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// Access is a set of kinds of access to a file.
type Access uint8

// The kinds of access.
const (
	Read Access = 1 << iota
	// Write covers every change to the file: of what is in it, of its
	// attributes, of its name, and making or removing it.
	Write
	Exec
	AllAccess = Read | Write | Exec
)

// FilePattern selects accesses to files. The keys are ANDed, the values of one
// key ORed, an empty key matches everything. The zero value is refused; the
// pattern for everything is FilePattern{All: true}.
type FilePattern struct {
	All    bool     `json:"all,omitempty"`
	Paths  []string `json:"paths,omitempty"` // see [PathPattern]
	Access Access   `json:"access,omitempty"`
	// Kinds selects what has no name, see [FileKind]. Patterns without kinds do not
	// select pipes, memfds and sockets.
	Kinds FileKind `json:"kinds,omitempty"`
}

// File is the object of file_open.
type File struct {
	Names
	// Access is what the process wants to do: one kind or several, of which
	// each is judged.
	Access Access
	// Kind is what it is if it is no file of the system.
	Kind FileKind
	// Moved says that it gets another name: that is judged besides. With Write in
	// Access, the writes under both names are.
	Moved *Move
}

// The keys of the [Specificity] of files and programs.
const (
	pathKey   = 0
	accessKey = 1 // of a file
	traitsKey = 1 // of a program
)

// accesses lists the kinds of access that a policy can name, in their order.
var accesses = []struct {
	access Access
	name   string
}{{Read, "read"}, {Write, "write"}, {Exec, "exec"}}

// ParseAccess returns the kind of access that a policy calls so.
func ParseAccess(name string) (Access, error) {
	names := make([]string, len(accesses))
	for i, known := range accesses {
		if known.name == name {
			return known.access, nil
		}
		names[i] = known.name
	}
	if strings.EqualFold(name, "execute") {
		return 0, fmt.Errorf("unknown access %q; did you mean exec?", name)
	}
	return 0, fmt.Errorf("unknown access %q; %s", name, strictyaml.Suggest(name, names))
}

// names returns the names of the kinds of access.
func (a Access) names() []string {
	var names []string
	for _, known := range accesses {
		if a&known.access != 0 {
			names = append(names, known.name)
		}
	}
	if rest := a &^ AllAccess; rest != 0 {
		names = append(names, fmt.Sprintf("Access(%#x)", uint8(rest)))
	}
	return names
}

// String returns the kinds of access as YAML spells them.
func (a Access) String() string { return strings.Join(a.names(), ", ") }

// each returns the kinds of access of the set, each for itself.
func (a Access) each() []Access {
	var list []Access
	for _, known := range accesses {
		if a&known.access != 0 {
			list = append(list, known.access)
		}
	}
	return list
}

// valid reports whether the file is one that can be judged.
func (f File) valid() bool {
	return (f.Access != 0 || f.Moved != nil) && f.Access&^AllAccess == 0
}

// matches reports whether the pattern selects the file, of which only Path counts,
// not its aliases.
func (p FilePattern) matches(o Object) (Specificity, certainty) {
	var s Specificity
	file, ok := o.(File)
	if !ok {
		return s, no
	}
	if p.Kinds&file.Kind == 0 && p.Kinds != 0 {
		return s, no
	}
	if p.All {
		return s, yes
	}
	certain := file.Names.match(p.Paths, &s[pathKey])
	if p.Kinds != 0 {
		s[pathKey] = KindSpecificity
	}
	if p.Access != 0 {
		if p.Access&file.Access == 0 {
			return s, no
		}
		s[accessKey] = 1
	}
	return s, certain
}

// isZero reports whether the pattern names nothing.
func (p FilePattern) isZero() bool {
	return !p.All && len(p.Paths) == 0 && p.Access == 0 && p.Kinds == 0
}

func (p FilePattern) validate() error {
	var errs []error
	if p.isZero() {
		errs = append(errs, errors.New("the pattern names nothing; write all to select every file"))
	}
	if p.All && (len(p.Paths) > 0 || p.Access != 0 || p.Kinds != 0) {
		errs = append(errs, errors.New("all cannot be combined with paths, access or kinds; leave out one or the other"))
	}
	if len(p.Paths) > 0 && p.Kinds != 0 {
		errs = append(errs, errors.New("paths and kinds cannot be combined, since what is of a kind has no path; write two patterns"))
	}
	if p.Kinds&^allKinds != 0 {
		errs = append(errs, fmt.Errorf("unknown kind %v; combine Pipe, Memfd, SocketFile and Deleted", p.Kinds&^allKinds))
	}
	errs = append(errs, checkEmpty("paths", p.Paths), checkPaths("path", p.Paths))
	if p.Access&^AllAccess != 0 {
		errs = append(errs, fmt.Errorf("unknown access %v; combine Read, Write and Exec", p.Access&^AllAccess))
	}
	return errors.Join(errs...)
}

// String returns the pattern as flow-style YAML.
func (p FilePattern) String() string {
	if p.All {
		return "all"
	}
	var f flow
	f.list("paths", quoted(p.Paths))
	f.list("access", p.Access.names())
	f.list("kinds", p.Kinds.names())
	return f.String()
}

// String returns the access and the names of the file.
func (f File) String() string {
	text := f.Access.String() + " " + f.Names.String()
	if f.Kind != 0 {
		text += ", " + f.Kind.String()
	}
	if f.Moved != nil {
		text = "renaming or linking " + f.Names.String() + " to " + f.Moved.To.String()
	}
	return text
}

// accesses judges a file for each kind of access.
func (j judge) accesses(f File) judgement {
	var result judgement
	for i, access := range f.Access.each() {
		one := j.file(File{Names: f.Names, Access: access, Kind: f.Kind})
		if i == 0 {
			result = one
		} else {
			result = stricter(result, one)
		}
	}
	return result
}

func (d *decoder) filePattern(set strictyaml.Fields) FilePattern {
	p := FilePattern{Paths: d.paths(set, "paths", "path")}
	for item, text := range d.Texts(set, "access", "an access", wrong(ParseAccess)) {
		access, err := ParseAccess(text)
		d.Check(item, err)
		if p.Access&access != 0 {
			d.Fail(item, "access %s is listed twice; remove one", text)
		}
		p.Access |= access
	}
	p.Kinds = d.kinds(set)
	return p
}

// fileKind is for file_open.
type fileKind struct{}

func (fileKind) everything() Pattern { return FilePattern{All: true} }

func (fileKind) check(Pattern) error { return nil }

func (fileKind) keys() (names, kinds []string) { return []string{"paths or kinds"}, []string{"access"} }

func (p FilePattern) paths() []string { return p.Paths }

func (f File) names() Names { return f.Names }

func (f File) withNames(n Names) Object {
	f.Names = n
	return f
}

func (fileKind) fields() ([]string, string) {
	return []string{"paths", "access", "kinds"}, "paths: [...]"
}

func (fileKind) decode(d *decoder, set strictyaml.Fields) Pattern { return d.filePattern(set) }

func (fileKind) judge(j judge, o Object) (judgement, bool) {
	f, ok := o.(File)
	if !ok || !f.valid() {
		return judgement{}, false
	}
	if f.Moved == nil {
		return j.accesses(f), true
	}
	result := j.move(f)
	if f.Access != 0 {
		result = stricter(j.accesses(f), result)
	}
	if f.Access&Write != 0 {
		result = stricter(result, j.names(File{Names: f.Moved.To, Access: Write}))
	}
	return result, true
}

func (fileKind) notes(from, to Object) []string {
	var notes []string
	f, t := from.(File), to.(File)
	if f.Moved != nil && t.Path != "" {
		return []string{fmt.Sprintf("of what moves, %v %s decides", t.Access, t.Path)}
	}
	if f.Access != t.Access {
		notes = append(notes, fmt.Sprintf("of %v, %v decides", f.Access, t.Access))
	}
	return append(notes, nameNotes(f.Names, t.Names)...)
}

func (fileKind) representatives(all []Pattern) []Object {
	names := nameRepresentatives(all)
	return product(len(names), func(i int) []Object {
		var files []Object
		for _, access := range AllAccess.each() {
			files = append(files, File{Names: names[i], Access: access})
			for _, kind := range FileKinds() {
				if i == 0 {
					files = append(files, File{Access: access, Kind: kind})
				}
			}
		}
		return files
	})
}

const exampleFile = "/etc/shadow"

var (
	flagPath     = &Flag{Name: "path", Usage: "file, program: its `path`; an empty one for what has none"}
	flagFileKind = &Flag{Name: "kind", Usage: "file: it has no name: `pipe`, memfd, socket or deleted", Words: allKinds.names()}
	flagMoveTo   = &Flag{Name: "move-to", Usage: "file: the `path` to which it is renamed or linked"}
	flagKnown    = &Flag{Name: "known", Usage: "file, with --move-to: a `path` of a rule that its identity stands for (can be repeated)", Form: FlagRepeated}
	flagDir      = &Flag{Name: "directory", Usage: "file, with --move-to: it is a directory, and what lies below moves along", Form: FlagSwitch}
	flagAccess   = &Flag{Name: "access", Usage: "file: the `kinds` of access: read, write, exec", Form: FlagList, Default: "read", Words: AllAccess.names()}
)

func (fileKind) flags() []*Flag {
	return []*Flag{flagPath, flagAlias, flagUnknownPath, flagAccess, flagFileKind, flagMoveTo, flagDir, flagKnown}
}

func (fileKind) object(d *Description) (Object, error) {
	if !d.has(flagPath, flagAlias, flagUnknownPath, flagFileKind) {
		return nil, missing(flagPath, FileOpen, exampleFile)
	}
	names, err := d.names(flagPath, exampleFile)
	if err != nil {
		return nil, err
	}
	file := File{Names: names}
	if d.has(flagFileKind) {
		if file.Kind, err = ParseFileKind(d.text(flagFileKind)); err != nil {
			return nil, invalid(flagFileKind, err)
		}
	}
	if d.has(flagMoveTo) {
		to := d.text(flagMoveTo)
		if err := CheckCleanPath(to, exampleFile); err != nil || to == "" {
			return nil, fmt.Errorf("--%s %q is not an absolute and clean path; write one such as %s", flagMoveTo.Name, to, exampleFile)
		}
		file.Access = Write
		file.Moved = &Move{To: Names{Path: to}, Known: d.list(flagKnown), Directory: d.has(flagDir)}
		return file, nil
	}
	if d.has(flagDir, flagKnown) {
		return nil, fmt.Errorf("--%s and --%s describe what is moved; add --%s", flagDir.Name, flagKnown.Name, flagMoveTo.Name)
	}
	for _, name := range d.list(flagAccess) {
		access, err := ParseAccess(name)
		if err != nil {
			return nil, invalid(flagAccess, err)
		}
		file.Access |= access
	}
	if file.Access == 0 {
		return nil, errors.New("--access names nothing; write read, write or exec")
	}
	return file, nil
}

func (fileKind) randomPattern(d Draws) Pattern {
	var p FilePattern
	if chance(d, 80) {
		p.Paths = randomPaths(d)
	}
	if chance(d, 30) {
		p.Access = randomAccess(d)
	}
	if len(p.Paths) == 0 && chance(d, 40) {
		p.Kinds = FileKind(1 + d.IntN(int(allKinds)))
	}
	return p
}

func (fileKind) randomObject(d Draws) Object {
	f := File{Names: d.Names(), Access: randomAccess(d)}
	if chance(d, 15) {
		f.Kind = FileKinds()[d.IntN(len(FileKinds()))]
	}
	return f
}

func randomAccess(d Draws) Access { return Access(1 + d.IntN(int(AllAccess))) }
