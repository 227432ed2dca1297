package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
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
	if !s.Inside().IsZero() || s.Host {
		in := s.matchContainers(p)
		if in == no {
			return 0, no
		}
		certain = min(certain, in)
		rank += SubjectContainer
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
	return !s.Everyone && len(s.Binaries) == 0 && len(s.Cgroups) == 0 && s.Inside().IsZero() && !s.Host && len(s.Processes) == 0 && s.Users.isZero()
}

// matchContainers tells whether the process is in a container that is selected or, for the
// host, in none.
func (s Subject) matchContainers(p Process) certainty {
	switch {
	case p.Unknown:
		return maybe
	case s.Host:
		if len(p.Containers) == 0 && !p.Unidentified {
			return yes
		}
		return no
	}
	in := s.Inside()
	if p.inUnidentified() && !in.Identified {
		if in.IsAny() {
			return yes
		}
		return maybe
	}
	if slices.ContainsFunc(p.Containers, func(c Container) bool { return !c.IsPartial() && in.Selects(c) }) {
		return yes
	}
	return no
}

// inUnidentified reports whether the process, which is settled, is in a container of which nothing is known, or not enough.
func (p Process) inUnidentified() bool {
	return p.Unidentified || slices.ContainsFunc(p.Containers, Container.IsPartial)
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
