package policy

import "errors"

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
func (d *decoder) trait(set fields, key string) bool {
	n, ok := set[key]
	if !ok {
		return false
	}
	value, ok := d.boolean(n, key)
	if ok && !value {
		d.fail(n, "%s can only be true; leave it out to select programs with and without it", key)
	}
	return value
}
