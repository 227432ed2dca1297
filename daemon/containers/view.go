package containers

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/ebpfguard/ebpfguard/policy"
)

// Known is a container that is known.
type Known struct {
	policy.Container
	// Cgroups are the paths of its control groups, Sources those that have it.
	Cgroups, Sources []string
	// Since is when it was heard of first.
	Since time.Time
}

// Known returns the containers that are known, in the order of their names and ids.
func (t *Table) Known() []Known {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Known, 0, len(t.known))
	for _, e := range t.known {
		var paths []string
		for _, g := range e.groups {
			paths = append(paths, g.path)
		}
		slices.Sort(paths)
		all = append(all, Known{e.Container, slices.Compact(paths), slices.Sorted(maps.Keys(e.holders)), e.since})
	}
	slices.SortFunc(all, func(a, b Known) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return all
}

// Count returns how many containers are known, in all and by the source that has them.
func (t *Table) Count() (all int, by map[string]int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	by = map[string]int{}
	for _, e := range t.known {
		for source := range e.holders {
			by[source]++
		}
	}
	return len(t.known), by
}

// Synced reports whether a source has told of all that it knows.
func (t *Table) Synced(source string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.synced[source]
}

// In returns the containers that a process is in whose control group has this path, the outermost
// first. Unidentified says that it is in one of which nothing is known.
func (t *Table) In(cgroup string) (in []policy.Container, unidentified bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := path.Clean("/" + cgroup); p != "/"; p = path.Dir(p) {
		if id, ok := t.paths[p]; ok {
			c := t.known[t.groups[id].container].Container
			if !slices.ContainsFunc(in, func(o policy.Container) bool { return o.ID == c.ID }) {
				in = append(in, c)
			}
		}
	}
	slices.Reverse(in)
	return in, len(in) == 0 && containerRoot(cgroup) != ""
}

// Tell tells of a container, as the hook does, with what sources know of it that have not told of its start
// yet.
func (r *Runner) Tell(source string, c Container) error {
	r.mu.Lock()
	sources := slices.Clone(r.sources)
	r.mu.Unlock()
	told := map[string]policy.Container{source: c.Container}
	for _, s := range sources {
		if describer, ok := s.Source.(Describer); ok {
			if known, ok := describer.Describe(c.ID); ok && known.ID == c.ID {
				told[s.name] = known
			}
		}
	}
	return r.table.start(told, c)
}

// Concern reports whether policies are about containers or pods, or about what is in none.
func Concern(set []policy.Policy) bool {
	return slices.ContainsFunc(set, func(p policy.Policy) bool { return !p.Subject.Inside().IsZero() || p.Subject.Host })
}

// Failures returns why containers could not be told of that run or should have started.
func (t *Table) Failures() []error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []error
	for _, id := range slices.Sorted(maps.Keys(t.failed)) {
		all = append(all, t.failed[id].err)
	}
	return all
}
