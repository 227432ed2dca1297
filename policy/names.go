package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// Names are the names of a file. Each is an absolute and clean path.
type Names struct {
	// Path is the name by which the file was reached, from the root of the
	// process's mount namespace. It is empty for what has no name there.
	Path string
	// Aliases are the names that the file's identity stands for: names in
	// policies of this file, or of a directory above it, reached by another
	// name.
	Aliases []string
	// Unknown says that the name could not be found out: patterns with
	// paths may match or not (docs/semantics.md, rule 6).
	Unknown bool
}

// match reports whether the patterns select the path; no patterns select any. It
// sets how specifically; if that is not certain, how specifically at most.
func (n Names) match(patterns []string, specificity *uint32) certainty {
	switch {
	case len(patterns) == 0:
		return yes
	case n.Unknown:
		*specificity = maxPathSpecificity(patterns)
		return maybe
	}
	*specificity = matchPaths(patterns, n.Path)
	if *specificity == 0 {
		return no
	}
	return yes
}

// all returns all names of the object, once each.
func (n Names) all() []string {
	var names []string
	seen := make(map[string]bool, 1+len(n.Aliases))
	for _, name := range append([]string{n.Path}, n.Aliases...) {
		if name != "" && !seen[name] {
			names = append(names, name)
		}
		seen[name] = true
	}
	return names
}

// String returns the names, the one by which the object was reached first.
func (n Names) String() string {
	names := n.all()
	text := "no path"
	switch {
	case n.Path != "":
		text, names = n.Path, names[1:]
	case n.Unknown:
		text = "an unknown path"
	}
	if len(names) > 0 {
		text += " (also " + strings.Join(names, ", ") + ")"
	}
	if n.Unknown && n.Path != "" {
		text += " (or another path)"
	}
	return text
}

// checkPaths returns what is wrong with each of the path patterns.
func checkPaths(what string, patterns []string) error {
	var errs []error
	for _, text := range patterns {
		_, err := parsePathPattern(what, text)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// pathPattern is a [Pattern] whose objects have names.
type pathPattern interface {
	// paths returns the patterns of names.
	paths() []string
}

// namedObject is an [Object] that has names.
type namedObject interface {
	Object
	names() Names
	// withNames returns the object with other names.
	withNames(Names) Object
}

// PathsOf returns the pattern's patterns of names; none if its objects have no names.
func PathsOf(pattern Pattern) []string {
	if p, ok := pattern.(pathPattern); ok {
		return p.paths()
	}
	return nil
}

// NamesOf returns the object's names, false if such objects have none.
func NamesOf(o Object) (Names, bool) {
	if named, ok := o.(namedObject); ok {
		return named.names(), true
	}
	return Names{}, false
}

// WithNames returns the object with other names, if such objects have names.
func WithNames(o Object, n Names) Object {
	if named, ok := o.(namedObject); ok {
		return named.withNames(n)
	}
	return o
}

// nameOf returns the name of an object with a single one.
func nameOf(o Object) string {
	n, _ := NamesOf(o)
	return n.Path
}

// names judges an object by each of its names that a path pattern selects.
func (j judge) names(o namedObject) judgement {
	n := o.names()
	var judged []Names
	for _, name := range n.all() {
		if j.named(name) {
			judged = append(judged, Names{Path: name})
		}
	}
	if n.Unknown {
		judged = append(judged, Names{Unknown: true})
	}
	if len(judged) == 0 {
		judged = append(judged, Names{})
	}
	result := j.literal(o.withNames(judged[0]))
	for _, name := range judged[1:] {
		result = stricter(result, j.literal(o.withNames(name)))
	}
	return result
}

// named reports whether any rule of the operation has a path that selects the
// name.
func (j judge) named(name string) bool {
	for _, patterns := range j.paths {
		if matchPaths(patterns, name) > 0 {
			return true
		}
	}
	return false
}

// nameNotes tells which of several names decided.
func nameNotes(from, to Names) []string {
	switch {
	case to.Unknown || from.Unknown && to.Path == "":
		return nil // noted as undecided
	case to.Path != "" && to.Path != from.Path:
		return []string{fmt.Sprintf("it is also %s, and that name decides", to.Path)}
	case to.Path == "" && len(from.all()) > 0:
		return []string{"no path of any rule selects it"}
	}
	return nil
}

// paths decodes a list of path patterns.
func (d *decoder) paths(set strictyaml.Fields, key, what string) []string {
	var paths []string
	for item, text := range d.Texts(set, key, "a "+what, wrong(ParsePathPattern)) {
		_, err := parsePathPattern(what, text)
		d.Check(item, err)
		paths = append(paths, text)
	}
	return paths
}

// The names that no pattern names: longer than any may be.
var (
	freshComponent = strings.Repeat("x", maxComponent+1)
	freshSource    = strings.Repeat("x", maxPath+1)
)

// nameRepresentatives returns names for all classes of names that the path
// patterns tell apart, nil if there are globs among them.
func nameRepresentatives(all []Pattern) []Names {
	names := []Names{{}, {Unknown: true}, {Path: "/" + freshComponent}}
	seen := map[string]bool{}
	add := func(path string) {
		if !seen[path] {
			names = append(names, Names{Path: path})
		}
		seen[path] = true
	}
	for _, pattern := range all {
		for _, text := range PathsOf(pattern) {
			switch {
			case isGlob(text) || len(names) > maxObjects:
				return nil
			case text == "/":
				add("/")
			case strings.HasSuffix(text, "/"):
				add(strings.TrimSuffix(text, "/"))
				add(text + freshComponent)
			default:
				add(text)
			}
		}
	}
	return names
}

// The flags of names. Which flag has the path depends on the kind of object.
var (
	flagAlias       = &Flag{Name: "alias", Usage: "file, program, mount: another `path` of the same file, or of the target (can be repeated)", Form: FlagRepeated}
	flagUnknownPath = &Flag{Name: "unknown-path", Usage: "file, program, mount: the path cannot be found out", Form: FlagSwitch}
)

// names returns the names that a flag for the path and those for other
// names describe.
func (d *Description) names(path *Flag, example string) (Names, error) {
	n := Names{Path: d.text(path), Aliases: d.list(flagAlias), Unknown: d.has(flagUnknownPath)}
	if err := CheckCleanPath(n.Path, example); err != nil {
		return n, fmt.Errorf("--%s %w", path.Name, err)
	}
	for _, alias := range n.Aliases {
		if err := CheckCleanPath(alias, exampleFile); err != nil {
			return n, fmt.Errorf("--%s %w", flagAlias.Name, err)
		}
	}
	return n, nil
}
