package policy

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// ProgramPattern selects programs that are started. The keys are ANDed, the values
// of one key ORed, an empty key matches everything. The zero value is refused;
// the pattern for everything is ProgramPattern{All: true}.
type ProgramPattern struct {
	All   bool     `json:"all,omitempty"`
	Paths []string `json:"paths,omitempty"` // see [PathPattern]
	// Fileless selects programs that no file of the system holds: memfd,
	// deleted files and what lies below /dev/shm.
	Fileless bool `json:"fileless,omitempty"`
	// NoArgs selects programs started without even an argv[0].
	NoArgs bool `json:"no_args,omitempty"`
}

// Program is the object of bprm_check_security: a program, the script that is
// started, or the interpreter that runs it.
type Program struct {
	Names
	Fileless, NoArgs bool
}

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

// trait decodes what a pattern names by true. Since false would name nothing,
// rather than the opposite, it is refused.
func (d *decoder) trait(set strictyaml.Fields, key string) bool {
	n, ok := set[key]
	if !ok {
		return false
	}
	value, ok := d.Boolean(n, key)
	if ok && !value {
		d.Fail(n, "%s can only be true; leave it out to select programs with and without it", key)
	}
	return value
}

// programKind is for bprm_check_security.
type programKind struct{}

func (programKind) everything() Pattern { return ProgramPattern{All: true} }

func (programKind) check(Pattern) error { return nil }

// Both traits say which program is meant, so an exception for a path does not lift a
// denial of what is fileless.
func (programKind) keys() (names, kinds []string) {
	return []string{"paths", "fileless and no_args"}, nil
}

func (p ProgramPattern) paths() []string { return p.Paths }

func (p ProgramPattern) namesObject() bool { return p.Fileless || len(p.Paths) > 0 }

// contradiction tells why hardly any program matches all keys: fileless is what no
// path leads to, but for what lies below /dev/shm.
func (p ProgramPattern) contradiction(Operation) string {
	if !p.Fileless || len(p.Paths) == 0 || slices.ContainsFunc(p.Paths, func(text string) bool { return pathsOverlap(text, "/dev/shm/") }) {
		return ""
	}
	alone := p
	alone.Fileless = false
	return fmt.Sprintf("matches nothing: all keys of a pattern must match, and a program that no file of the system holds has no path; write two patterns: [{fileless: true}, %v]", alone)
}

func (p Program) names() Names { return p.Names }

func (p Program) withNames(n Names) Object {
	p.Names = n
	return p
}

func (programKind) fields() ([]string, string) {
	return []string{"paths", "fileless", "no_args"}, "paths: [...]"
}

func (programKind) decode(d *decoder, set strictyaml.Fields) Pattern {
	return ProgramPattern{Paths: d.paths(set, "paths", "path"), Fileless: d.trait(set, "fileless"), NoArgs: d.trait(set, "no_args")}
}

func (programKind) judge(j judge, o Object) (judgement, bool) {
	p, ok := o.(Program)
	if !ok {
		return judgement{}, false
	}
	return j.names(p), true
}

func (programKind) notes(from, to Object) []string {
	return nameNotes(from.(Program).Names, to.(Program).Names)
}

func (programKind) representatives(all []Pattern) []Object {
	names := nameRepresentatives(all)
	return product(len(names), func(i int) []Object {
		var programs []Object
		for _, fileless := range []bool{false, true} {
			for _, noArgs := range []bool{false, true} {
				programs = append(programs, Program{names[i], fileless, noArgs})
			}
		}
		return programs
	})
}

var (
	flagFileless = &Flag{Name: "fileless", Usage: "program: no file of the system holds it", Form: FlagSwitch}
	flagNoArgs   = &Flag{Name: "no-args", Usage: "program: it is started without even an argv[0]", Form: FlagSwitch}
)

func (programKind) flags() []*Flag {
	return []*Flag{flagPath, flagAlias, flagUnknownPath, flagFileless, flagNoArgs}
}

func (programKind) object(d *Description) (Object, error) {
	if !d.has(flagPath, flagAlias, flagUnknownPath, flagFileless) {
		return nil, missing(flagPath, BprmCheckSecurity, "/usr/bin/bash, or --fileless")
	}
	names, err := d.names(flagPath, exampleFile)
	return Program{Names: names, Fileless: d.has(flagFileless), NoArgs: d.has(flagNoArgs)}, err
}

func (programKind) randomPattern(d Draws) Pattern {
	p := ProgramPattern{Fileless: chance(d, 15), NoArgs: chance(d, 15)}
	if chance(d, 70) {
		p.Paths = randomPaths(d)
	}
	return p
}

func (programKind) randomObject(d Draws) Object {
	return Program{Names: d.Names(), Fileless: chance(d, 20), NoArgs: chance(d, 20)}
}
