package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// SubjectRank says how specific a subject's match is; a greater rank is more
// specific. It is SubjectEveryone plus the bits of the selectors that match, so
// that of two ranks the most specific selector decides first.
type SubjectRank uint8

// SubjectEveryone is the rank of a subject that selects every process.
const SubjectEveryone SubjectRank = 1

// The bits of the selectors, of which a subject's binaries contribute just one:
// the greatest that one of them matches by.
const (
	// SubjectUser is for users.
	SubjectUser SubjectRank = 1 << iota
	// SubjectCgroup is for cgroups.
	SubjectCgroup
	// SubjectContainer is reserved for containers.
	SubjectContainer
	// SubjectDescendant is for a process that descends from one of binaries,
	// but runs none of them.
	SubjectDescendant
	// SubjectBinaryPattern is for a binary selected by a directory or glob.
	SubjectBinaryPattern
	// SubjectBinary is for a binary named exactly.
	SubjectBinary
	// SubjectProcess is for processes.
	SubjectProcess
)

// certainty says whether something matches.
type certainty uint8

const (
	no certainty = iota
	// maybe is for a process or object that could not be identified.
	maybe
	yes
)

// Match reports whether the subject selects the process and how specifically. For
// a process that could not be identified a match may be uncertain; the rank is
// the greatest that it could have then. The subject must be valid and its names
// resolved (see [ResolveNames]).
func (s Subject) Match(p Process) (rank SubjectRank, uncertain, ok bool) {
	rank, certain := s.match(p)
	return rank, certain == maybe, certain != no
}

func (s Subject) match(p Process) (SubjectRank, certainty) {
	rank, certain := SubjectEveryone, yes
	if s.Everyone {
		return rank, certain
	}
	if s.selectsNobody() {
		return 0, no
	}
	if !s.Users.isZero() {
		specificity := uint32(0)
		if !s.Users.match(p.UID, &specificity) {
			return 0, no
		}
		rank += SubjectUser
	}
	if len(s.Cgroups) > 0 {
		in := func(pattern string) bool { return matchCgroup(pattern, p.Cgroup) }
		switch {
		case p.Unknown:
			certain = maybe
		case !slices.ContainsFunc(s.Cgroups, in):
			return 0, no
		}
		rank += SubjectCgroup
	}
	if len(s.Binaries) > 0 {
		bit := s.matchBinaries(p)
		if p.Unknown {
			certain, bit = maybe, binaryBit(maxPathSpecificity(s.Binaries))
		}
		if bit == 0 {
			return 0, no
		}
		rank += bit
	}
	if len(s.Processes) > 0 {
		switch {
		case p.Unknown:
			certain = maybe
		case !s.selectsProcess(p):
			return 0, no
		}
		rank += SubjectProcess
	}
	return rank, certain
}

// selectsNobody reports whether the subject is the zero value.
func (s Subject) selectsNobody() bool {
	return !s.Everyone && len(s.Binaries) == 0 && len(s.Cgroups) == 0 && len(s.Processes) == 0 && s.Users.isZero()
}

// matchBinaries returns the bit for how the binaries select the known process,
// 0 if they do not.
func (s Subject) matchBinaries(p Process) SubjectRank {
	bit := binaryBit(max(matchPaths(s.Binaries, p.Binary), matchPaths(s.Binaries, p.Script)))
	if bit != 0 || !s.Descendants {
		return bit
	}
	for _, ancestor := range p.Ancestors {
		if matchPaths(s.Binaries, ancestor) > 0 {
			return SubjectDescendant
		}
	}
	return 0
}

// binaryBit returns the bit for a binary that is matched so specifically.
func binaryBit(specificity uint32) SubjectRank {
	switch {
	case specificity >= exactSpecificity:
		return SubjectBinary
	case specificity > 0:
		return SubjectBinaryPattern
	}
	return 0
}

// ParseCgroupPattern returns the pattern that a policy writes so: the path of a
// control group from the root of the cgroup v2 hierarchy, as in /proc/PID/cgroup,
// possibly with '*' and '?' within components. It selects the group with all
// below it, whence Tree is set; "/" selects every group.
func ParseCgroupPattern(text string) (PathPattern, error) {
	if text == "" {
		return PathPattern{}, errors.New("cgroup \"\" is empty; write its path such as /system.slice/nginx.service")
	}
	if !strings.HasPrefix(text, "/") {
		return PathPattern{}, fmt.Errorf("cgroup %q is not absolute; write its path from the root of the hierarchy such as /system.slice/nginx.service", shorten(text))
	}
	if rest, ok := strings.CutPrefix(text, "/sys/fs/cgroup/"); ok && rest != "" {
		return PathPattern{}, fmt.Errorf("cgroup %q begins with the mount point of the hierarchy; write /%s", shorten(text), shorten(strings.TrimSuffix(rest, "/")))
	}
	if len(text) > 1 && strings.HasSuffix(text, "/") {
		return PathPattern{}, fmt.Errorf("cgroup %q ends in a slash; remove it, what is below a group is always included", shorten(text))
	}
	p, err := parsePathPattern("cgroup", text)
	if err != nil {
		return PathPattern{}, err
	}
	if slices.Contains(p.Components, "**") {
		return PathPattern{}, fmt.Errorf("cgroup %q: ** is not possible here; write * for each level, what is below a group is always included", shorten(text))
	}
	return p.tree(), nil
}

// tree returns the pattern with all below.
func (p PathPattern) tree() PathPattern {
	p.Tree = true
	if p.Kind == PathExact {
		p.Kind = PathDir
	}
	return p
}

// matchCgroup reports whether a valid pattern selects the group.
func matchCgroup(pattern, cgroup string) bool { return splitPathPattern(pattern).tree().Match(cgroup) }

func (s Subject) validate() error {
	var errs []error
	for _, selector := range []struct {
		name        string
		given, none bool
	}{
		{"binaries", len(s.Binaries) > 0, s.Binaries != nil && len(s.Binaries) == 0},
		{"users", !s.Users.isZero(), s.Users.isZero() && (s.Users.Ranges != nil || s.Users.Names != nil)},
		{"cgroups", len(s.Cgroups) > 0, s.Cgroups != nil && len(s.Cgroups) == 0},
		{"processes", len(s.Processes) > 0, s.Processes != nil && len(s.Processes) == 0},
	} {
		switch {
		case s.Everyone && selector.given:
			errs = append(errs, fmt.Errorf("the subject is everyone and %s at the same time; leave out one of them", selector.name))
		case selector.none && !s.Everyone:
			errs = append(errs, fmt.Errorf("the subject's %s are empty, which selects no process; name at least one or select everyone", selector.name))
		}
	}
	switch {
	case len(errs) > 0:
		return errors.Join(errs...)
	case s.Descendants && s.Everyone:
		return errors.New("the subject is everyone, which includes all descendants; leave out descendants")
	case s.Descendants && len(s.Binaries) == 0:
		return errors.New("the subject has descendants, but no binaries; name the binaries whose descendants are meant")
	case s.selectsNobody():
		return errors.New("the policy has no subject; select everyone or name binaries, users, cgroups or processes")
	}
	errs = append(errs, checkList("binary", s.Binaries, checkBinary), s.Users.validate("users"), checkList("cgroup", s.Cgroups, checkCgroup), checkProcesses(s.Processes))
	return errors.Join(errs...)
}

func checkBinary(text string) error {
	_, err := parsePathPattern("binary", text)
	return err
}

func checkCgroup(text string) error {
	_, err := ParseCgroupPattern(text)
	return err
}

// checkList checks each value and that none is there twice.
func checkList(what string, values []string, check func(string) error) error {
	var errs []error
	seen := make(map[string]bool, len(values))
	for _, value := range values {
		if err := check(value); err != nil {
			errs = append(errs, err)
		} else if seen[value] {
			errs = append(errs, fmt.Errorf("%s %q is listed twice; remove one", what, shorten(value)))
		}
		seen[value] = true
	}
	return errors.Join(errs...)
}

// String returns the subject as flow-style YAML.
func (s Subject) String() string {
	var f flow
	f.list("binaries", quoted(s.Binaries))
	f.flag("descendants", s.Descendants)
	f.list("users", s.Users.values())
	f.list("cgroups", quoted(s.Cgroups))
	f.list("processes", processTexts(s.Processes))
	return f.String()
}
