package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Move says that a file or directory gets another name: it is renamed or linked.
type Move struct {
	// To are the names that it gets.
	To Names
	// Known are the names that its own identity stands for, whatever its name.
	Known []string
	// Directory says that what lies below moves along.
	Directory bool
}

// maxMoved bounds the names below a directory that are tried.
const maxMoved = 1 << 12

// move judges a change of names. Under the names that go away, every access to the
// file and to whatever rules name below a directory counts, unless the file is known
// by the name anyway, or the new one leads to the same rules: else it could be moved
// away from a rule that only its name was good for. What a directory brings along to
// where globs name something is judged as a write.
func (j judge) move(f File) judgement {
	m := f.Moved
	none := judgement{Decision: NoRule(), object: f}
	if f.Unknown || m.To.Unknown {
		return j.accesses(File{Names: Names{Unknown: true}, Access: AllAccess})
	}
	p := newPlacer(j.paths)
	from, to, known := p.all(f.Names.all()), p.all(m.To.all()), p.all(m.Known)
	result := none
	for i, name := range f.Names.all() {
		if from[i] == "" || slices.Contains(to, from[i]) || slices.Contains(known, from[i]) {
			continue
		}
		if j.named(name) {
			for _, access := range []Access{Read, Exec} {
				one := j.literal(File{Names: Names{Path: name}, Access: access})
				there := j.names(File{Names: m.To, Access: access})
				if !m.Directory && there.Verdict >= one.Verdict && !there.Delegated {
					continue // forbidden there as well, and not by delegated policies alone
				}
				result = stricter(result, one)
			}
		}
		if m.Directory {
			result = stricter(result, j.below(p, name, AllAccess, 0))
		}
	}
	for i, name := range m.To.all() {
		if m.Directory && to[i] != "" && !slices.Contains(from, to[i]) && !slices.Contains(known, to[i]) {
			result = stricter(result, j.below(p, name, Write, DirSpecificity))
		}
	}
	return result
}

// below returns the strictest judgement on the accesses to what rules name below a
// directory; with a limit only to what they name less specifically.
func (j judge) below(p *placer, directory string, access Access, limit uint32) judgement {
	type spot struct {
		name string
		at   positions
	}
	result := judgement{Decision: NoRule(), object: File{Names: Names{Path: directory}, Access: access}}
	start := p.at(directory)
	seen := map[string]bool{}
	queue := []spot{{directory, start}}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for _, component := range p.components(s.at) {
			next := spot{strings.TrimSuffix(s.name, "/") + "/" + component, p.step(s.at, component)}
			key := p.key(next.at)
			if key == "" || seen[key] {
				continue
			}
			seen[key] = true
			if len(seen) > maxMoved {
				return j.unidentified(result.object)
			}
			if j.namedBelow(next.name, limit) {
				result = stricter(result, j.accesses(File{Names: Names{Path: next.name}, Access: access}))
			}
			queue = append(queue, next)
		}
	}
	return result
}

// namedBelow reports whether the path of any rule selects the name, with a limit less
// specifically than that.
func (j judge) namedBelow(name string, limit uint32) bool {
	return slices.ContainsFunc(j.paths, func(patterns []string) bool {
		specificity := matchPaths(patterns, name)
		return specificity > 0 && (limit == 0 || specificity < limit)
	})
}

// holds returns the directory below which none may move elsewhere, since any could hold
// a file that the pattern selects; empty if there is none. In /proc and /sys nothing can.
func (p FilePattern) holds() string {
	for _, text := range p.Paths {
		path := splitPathPattern(text)
		at := slices.Index(path.Components, "**")
		if at > 0 && at < len(path.Components)-1 && path.Components[0] != "proc" && path.Components[0] != "sys" {
			return "/" + strings.Join(path.Components[:at], "/")
		}
	}
	return ""
}

// placer finds out what names can still become for the paths of an operation's rules.
type placer struct {
	// paths are all of them; pattern says of each to which pattern it belongs.
	paths   []PathPattern
	pattern []int
}

// positions say how many components of each path a name has passed, in all ways.
type positions [][]int

func newPlacer(lists [][]string) *placer {
	p := &placer{}
	for pattern, list := range lists {
		for _, text := range list {
			path := splitPathPattern(text)
			if n := len(path.Components); n > 0 && path.Components[n-1] == "**" { // one name and all below
				path.Components, path.Tree = append(slices.Clone(path.Components[:n-1]), "*"), true
			}
			p.paths, p.pattern = append(p.paths, path), append(p.pattern, pattern)
		}
	}
	return p
}

// at returns the positions of a name.
func (p *placer) at(name string) positions {
	at := make(positions, len(p.paths))
	for i, path := range p.paths {
		at[i] = path.arrive([]int{0})
	}
	for _, component := range components(name) {
		at = p.step(at, component)
	}
	return at
}

// arrive passes each ** that is reached; step stays behind it.
func (p PathPattern) arrive(at []int) []int {
	for i, n := range at {
		if n < len(p.Components) && p.Components[n] == "**" {
			at[i]++
		}
	}
	slices.Sort(at)
	return slices.Compact(at)
}

func (p *placer) step(from positions, component string) positions {
	to := make(positions, len(from))
	for i, at := range from {
		path := p.paths[i]
		var reached []int
		for _, n := range at {
			if n > 0 && path.Components[n-1] == "**" || n == len(path.Components) && path.Tree {
				reached = append(reached, n)
			}
			if n < len(path.Components) && MatchComponent(path.Components[n], component) {
				reached = append(reached, n+1)
			}
		}
		to[i] = path.arrive(reached)
	}
	return to
}

// key returns a text that is the same for positions from which all names lead to the
// same patterns; empty where none can.
func (p *placer) key(at positions) string {
	var parts []string
	here := map[int]uint32{}
	below := map[int]uint32{}
	for i, reached := range at {
		path := p.paths[i]
		for _, n := range reached {
			switch {
			case n < len(path.Components):
				parts = append(parts, fmt.Sprintf("%q", path.Components[:n]))
				continue
			case path.Tree:
				below[p.pattern[i]] = max(below[p.pattern[i]], path.Specificity())
			}
			here[p.pattern[i]] = max(here[p.pattern[i]], path.Specificity())
		}
	}
	for name, column := range map[string]map[int]uint32{"here": here, "below": below} {
		for pattern, specificity := range column {
			parts = append(parts, fmt.Sprint(name, pattern, specificity))
		}
	}
	slices.Sort(parts)
	return strings.Join(slices.Compact(parts), " ")
}

// all returns the keys of names.
func (p *placer) all(names []string) []string {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = p.key(p.at(name))
	}
	return keys
}

// components returns names such that each name leads from the positions to where one
// of them does.
func (p *placer) components(at positions) []string {
	var literals, globs []string
	for i, reached := range at {
		for _, n := range reached {
			if n < len(p.paths[i].Components) {
				if c := p.paths[i].Components[n]; isGlob(c) {
					globs = append(globs, c)
				} else {
					literals = append(literals, c)
				}
			}
		}
	}
	slices.Sort(globs)
	return append(sample(slices.Compact(globs), literals), literals...)
}

// sample returns a name for each selection of the globs that a name can match, none of
// the literals where it can be another.
func sample(globs, literals []string) []string {
	const fresh = 1
	alphabet := []byte{fresh}
	for _, g := range globs {
		for _, b := range []byte(g) {
			if b != '*' && b != '?' && !slices.Contains(alphabet, b) {
				alphabet = append(alphabet, b)
			}
		}
	}
	found := map[string]string{}
	seen := map[string]bool{}
	for queue := first(alphabet); len(queue) > 0 && len(seen) < maxMoved; queue = queue[1:] {
		name := queue[0]
		var state, matches strings.Builder
		for _, g := range globs {
			fmt.Fprint(&state, globPositions(g, name), " ")
			fmt.Fprint(&matches, MatchComponent(g, name), " ")
		}
		if other, ok := found[matches.String()]; !ok || slices.Contains(literals, other) {
			found[matches.String()] = name
		}
		if seen[state.String()] {
			continue
		}
		seen[state.String()] = true
		for _, b := range alphabet {
			queue = append(queue, name+string([]byte{b}))
		}
	}
	names := make([]string, 0, len(found))
	for _, name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// first returns the names of one byte.
func first(alphabet []byte) []string {
	var names []string
	for _, b := range alphabet {
		names = append(names, string([]byte{b}))
	}
	return names
}

// globPositions returns the places in a glob that a name reaches.
func globPositions(glob, name string) []int {
	at := []int{0}
	for _, b := range []byte(name) {
		var next []int
		for _, n := range starred(glob, at) {
			switch {
			case n == len(glob):
			case glob[n] == '*':
				next = append(next, n)
			case glob[n] == '?' || glob[n] == b:
				next = append(next, n+1)
			}
		}
		slices.Sort(next)
		at = slices.Compact(next)
	}
	return starred(glob, at)
}

// starred adds the places after a star.
func starred(glob string, at []int) []int {
	for i := 0; i < len(at); i++ {
		if at[i] < len(glob) && glob[at[i]] == '*' && !slices.Contains(at, at[i]+1) {
			at = append(at, at[i]+1)
		}
	}
	slices.Sort(at)
	return at
}
