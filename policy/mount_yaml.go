package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

func (mountKind) fields() ([]string, string) {
	return []string{"sources", "targets", "types", "flags"}, "sources: [...]"
}

func (k mountKind) decode(d *decoder, set strictyaml.Fields) Pattern {
	var p MountPattern
	for item, text := range d.Texts(set, "sources", "a source", wrong(ParseSourcePattern)) {
		_, err := ParseSourcePattern(text)
		d.Check(item, err)
		p.Sources = append(p.Sources, text)
	}
	p.Targets = d.paths(set, "targets", "target")
	for item, text := range d.Texts(set, "types", "a type", checkType) {
		d.Check(item, checkType(text))
		p.Types = append(p.Types, text)
	}
	for item, text := range d.Texts(set, "flags", "a flag", wrong(ParseMountFlag)) {
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

// evasion tells how a denial by the text of a source is evaded.
func (p MountPattern) evasion() string {
	if !slices.ContainsFunc(p.Sources, func(s string) bool { return strings.HasPrefix(s, "/") }) {
		return ""
	}
	return "compares the source as the process writes it, so a symbolic link or another path to the same source evades it; deny targets or types, or deny all and allow sources"
}
