package policy

import (
	"errors"
	"fmt"
	"strings"
)

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
	return 0, fmt.Errorf("unknown access %q; %s", name, suggest(name, names))
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

// matches reports whether the pattern selects the program, of which only Path
// counts, not its aliases.
func (p ProgramPattern) matches(o Object) (Specificity, certainty) {
	var s Specificity
	program, ok := o.(Program)
	if !ok || p.Fileless && !program.Fileless || p.NoArgs && !program.NoArgs {
		return s, no
	}
	if p.All {
		return s, yes
	}
	certain := program.Names.match(p.Paths, &s[pathKey])
	for _, named := range []bool{p.Fileless, p.NoArgs} {
		if named {
			s[traitsKey]++
		}
	}
	return s, certain
}

func (p ProgramPattern) isZero() bool {
	return !p.All && len(p.Paths) == 0 && !p.Fileless && !p.NoArgs
}

func (p ProgramPattern) validate() error {
	var errs []error
	if p.isZero() {
		errs = append(errs, errors.New("the pattern names nothing; write all to select every program"))
	}
	if p.All && (len(p.Paths) > 0 || p.Fileless || p.NoArgs) {
		errs = append(errs, errors.New("all cannot be combined with paths, fileless or no_args; leave out one or the other"))
	}
	errs = append(errs, checkEmpty("paths", p.Paths), checkPaths("path", p.Paths))
	return errors.Join(errs...)
}

// String returns the pattern as flow-style YAML.
func (p ProgramPattern) String() string {
	if p.All {
		return "all"
	}
	var f flow
	f.list("paths", quoted(p.Paths))
	f.flag("fileless", p.Fileless)
	f.flag("no_args", p.NoArgs)
	return f.String()
}

// String returns the names of the program and what is odd about it.
func (p Program) String() string {
	text := p.Names.String()
	if p.Fileless {
		text += ", fileless"
	}
	if p.NoArgs {
		text += ", without arguments"
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

// checkEmpty returns an error for a list that is empty without being nil. An
// empty list matches everything; one that was made on purpose and came out
// empty must not.
func checkEmpty[T any](key string, list []T) error {
	if list == nil || len(list) > 0 {
		return nil
	}
	return fmt.Errorf("%s is an empty list; name at least one value or leave it out (nil), which selects all", key)
}
