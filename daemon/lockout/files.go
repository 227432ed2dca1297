package lockout

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/policy"
)

// identity tells a file from all others of this machine.
type identity struct{ device, inode uint64 }

// files are those that the needs are about, with all directories above them. The guard knows files
// by what they are, so a name in a policy is one of a file's when it leads to the file, or to a
// directory above it: by a symbolic link, a hard link or a bind mount.
type files struct {
	paths map[string]bool
	ids   map[identity][]string
}

func newFiles() *files { return &files{paths: map[string]bool{}, ids: map[identity][]string{}} }

// add adds a clean path without symbolic links, and what is above it, below a root directory.
func (f *files) add(root *hostroot.Root, path string) {
	for !f.paths[path] {
		f.paths[path] = true
		if id, ok := identify(root, path); ok {
			f.ids[id] = append(f.ids[id], path)
		}
		path = filepath.Dir(path)
	}
}

// literal returns the part of a path pattern before its first wildcard, without what follows the
// last slash there unless the whole pattern is literal, and without that slash.
func literal(pattern string) string {
	i := strings.IndexAny(pattern, "*?[{")
	if i < 0 {
		i = len(pattern)
	} else {
		i = strings.LastIndexByte(pattern[:i], '/')
	}
	if path := strings.TrimRight(pattern[:i], "/"); path != "" {
		return path
	}
	return "/"
}

// reduce returns the policies without the paths that concern none of the files, so that a set of
// 100,000 rules takes no longer to judge than it has to, and a function that returns a file's other
// names.
func (f *files) reduce(set []policy.Policy) ([]policy.Policy, func(path string) []string) {
	// renamed are the names in policies of a file or directory, by its path.
	renamed := map[string][]string{}
	concerns := map[string]bool{}
	relevant := func(pattern string) bool {
		name := literal(pattern)
		known, seen := concerns[name]
		if seen {
			return known
		}
		known = f.paths[name]
		if id, ok := identify(hostroot.Host(), name); ok {
			for _, path := range f.ids[id] {
				known = true
				if path != name {
					renamed[path] = append(renamed[path], name)
				}
			}
		}
		concerns[name] = known
		return known
	}
	reduced := policy.Clone(set)
	for i := range reduced {
		for j := range reduced[i].Rules {
			r := &reduced[i].Rules[j]
			r.Allow, r.Deny = trim(r.Allow, relevant), trim(r.Deny, relevant)
		}
	}
	return reduced, func(path string) []string {
		var names []string
		for above := path; ; above = filepath.Dir(above) {
			for _, name := range renamed[above] {
				names = append(names, filepath.Join(name, path[len(strings.TrimRight(above, "/")):]))
			}
			if above == "/" || above == "." {
				return names
			}
		}
	}
}

// trim removes paths of which none is relevant.
func trim(patterns []policy.Pattern, relevant func(string) bool) []policy.Pattern {
	var kept []policy.Pattern
	for _, p := range patterns {
		keep := func(paths []string) ([]string, bool) {
			left := slices.DeleteFunc(slices.Clone(paths), func(path string) bool { return !relevant(path) })
			return left, len(left) > 0 || len(paths) == 0
		}
		ok := true
		switch pattern := p.(type) {
		case policy.FilePattern:
			pattern.Paths, ok = keep(pattern.Paths)
			p = pattern
		case policy.ProgramPattern:
			pattern.Paths, ok = keep(pattern.Paths)
			p = pattern
		}
		if ok {
			kept = append(kept, p)
		}
	}
	return kept
}

// nameSubjects adds to the subjects of policies the names that programs have here: a subject knows its
// programs as files, so that /sbin/init may be /usr/lib/systemd/systemd.
func (f *files) nameSubjects(set []policy.Policy) {
	for i := range set {
		s := &set[i].Subject
		var more []string
		for _, pattern := range s.Binaries {
			name := literal(pattern)
			if pattern == name {
				if id, ok := identify(hostroot.Host(), name); ok {
					more = append(more, f.ids[id]...)
				}
			} else if real, err := hostroot.Host().EvalSymlinks(name); err == nil && real != name {
				more = append(more, strings.TrimRight(real, "/")+strings.TrimPrefix(pattern, strings.TrimRight(name, "/")))
			}
		}
		s.Binaries = slices.Compact(slices.Sorted(slices.Values(slices.Concat(s.Binaries, more))))
	}
}
