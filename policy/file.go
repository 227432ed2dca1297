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
}

// File is the object of file_open.
type File struct {
	Names
	// Access is what the process wants to do: one kind or several, of which
	// each is judged.
	Access Access
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
func (f File) valid() bool { return f.Access != 0 && f.Access&^AllAccess == 0 }

// matches reports whether the pattern selects the file, of which only Path counts,
// not its aliases.
func (p FilePattern) matches(o Object) (Specificity, certainty) {
	var s Specificity
	file, ok := o.(File)
	if !ok {
		return s, no
	}
	if p.All {
		return s, yes
	}
	certain := file.Names.match(p.Paths, &s[pathKey])
	if p.Access != 0 {
		if p.Access&file.Access == 0 {
			return s, no
		}
		s[accessKey] = 1
	}
	return s, certain
}

// isZero reports whether the pattern names nothing.
func (p FilePattern) isZero() bool { return !p.All && len(p.Paths) == 0 && p.Access == 0 }

func (p FilePattern) validate() error {
	var errs []error
	if p.isZero() {
		errs = append(errs, errors.New("the pattern names nothing; write all to select every file"))
	}
	if p.All && (len(p.Paths) > 0 || p.Access != 0) {
		errs = append(errs, errors.New("all cannot be combined with paths or access; leave out one or the other"))
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
	return f.String()
}

// String returns the access and the names of the file.
func (f File) String() string { return f.Access.String() + " " + f.Names.String() }

// accesses judges a file for each kind of access.
func (j judge) accesses(f File) judgement {
	var result judgement
	for i, access := range f.Access.each() {
		one := j.names(File{f.Names, access})
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
	return p
}

// fileKind is for file_open.
type fileKind struct{}

func (fileKind) everything() Pattern { return FilePattern{All: true} }

func (fileKind) check(Pattern) error { return nil }

func (fileKind) keys() (names, kinds []string) { return []string{"paths"}, []string{"access"} }

func (p FilePattern) paths() []string { return p.Paths }

func (f File) names() Names { return f.Names }

func (f File) withNames(n Names) Object {
	f.Names = n
	return f
}

func (fileKind) fields() ([]string, string) { return []string{"paths", "access"}, "paths: [...]" }

func (fileKind) decode(d *decoder, set strictyaml.Fields) Pattern { return d.filePattern(set) }

func (fileKind) judge(j judge, o Object) (judgement, bool) {
	f, ok := o.(File)
	if !ok || !f.valid() {
		return judgement{}, false
	}
	return j.accesses(f), true
}

func (fileKind) notes(from, to Object) []string {
	var notes []string
	f, t := from.(File), to.(File)
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
			files = append(files, File{names[i], access})
		}
		return files
	})
}

const exampleFile = "/etc/shadow"

var (
	flagPath   = &Flag{Name: "path", Usage: "file, program: its `path`; an empty one for what has none"}
	flagAccess = &Flag{Name: "access", Usage: "file: the `kinds` of access: read, write, exec", Form: FlagList, Default: "read", Words: AllAccess.names()}
)

func (fileKind) flags() []*Flag {
	return []*Flag{flagPath, flagAlias, flagUnknownPath, flagAccess}
}

func (fileKind) object(d *Description) (Object, error) {
	if !d.has(flagPath, flagAlias, flagUnknownPath) {
		return nil, missing(flagPath, FileOpen, exampleFile)
	}
	names, err := d.names(flagPath, exampleFile)
	if err != nil {
		return nil, err
	}
	file := File{Names: names}
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
	return p
}

func (fileKind) randomObject(d Draws) Object { return File{Names: d.Names(), Access: randomAccess(d)} }

func randomAccess(d Draws) Access { return Access(1 + d.IntN(int(AllAccess))) }
