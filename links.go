package ebpfguard

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/policy"
)

// followed is where a path of the policies led when they were compiled: to itself, elsewhere
// by a symbolic link, or nowhere.
type followed struct{ path, canonical string }

// leadsElsewhere reports whether the path leads somewhere else now. One that leads nowhere
// does not: what the policies are about is still what it was. Nor does one at which a file was
// made, which policies know by its name.
func (f followed) leadsElsewhere(root *hostroot.Root) bool {
	now := canonicalOf(root, f.path)
	return now != "" && now != f.canonical && (f.canonical != "" || now != f.path)
}

// links are the paths of the policies in force.
type links struct {
	// linked are those that led elsewhere or nowhere, straight all others, of which Relinked
	// looks at some at a time.
	linked, straight []followed
	next             atomic.Int64
}

// recorder makes links of what is resolved while a set is compiled.
type recorder struct {
	root  *hostroot.Root
	paths []followed
}

func (r *recorder) resolve(path string) compile.Resolved {
	found := resolve(r.root, path)
	r.paths = append(r.paths, followed{path, found.Canonical})
	return found
}

func (r *recorder) links() *links {
	slices.SortFunc(r.paths, func(a, b followed) int { return strings.Compare(a.path, b.path) })
	// Compiling may have begun anew.
	paths := slices.CompactFunc(r.paths, func(a, b followed) bool { return a.path == b.path })
	l := &links{}
	for _, f := range paths {
		if f.path == f.canonical {
			l.straight = append(l.straight, f)
		} else {
			l.linked = append(l.linked, f)
		}
	}
	return l
}

// straightAtOnce is how many paths without links Relinked looks at, so that it takes a
// millisecond or two however many there are.
const straightAtOnce = 1000

// Relinked returns the paths of the policies in force that lead elsewhere than when they were
// applied, since a symbolic link was switched, or made where nothing or a directory was.
// Until they are applied again, the policies are about what the paths led to before.
// It is cheap: call it every second or so, and [Manager.Apply] with the same set when it
// returns any. Of paths that were no links it looks at 1,000 each time.
//
// A manager that took over what another process had applied does not know what that found. It
// returns all links, once.
func (m *Manager) Relinked() ([]string, error) {
	now := m.current.peek()
	switch {
	case now.closed:
		return nil, ErrClosed
	case now.revision == 0 || len(now.set) == 0:
		return nil, nil
	case now.links == nil:
		return m.linksAfterTakeover()
	}
	look := now.links.linked
	if n := len(now.links.straight); n > 0 {
		first := int(now.links.next.Add(straightAtOnce)-straightAtOnce) % n
		look = slices.Concat(look, now.links.straight[first:min(n, first+straightAtOnce)])
		if first+straightAtOnce >= n {
			now.links.next.Store(0)
		}
	}
	var moved []string
	for _, f := range look {
		if f.leadsElsewhere(m.root) {
			moved = append(moved, f.path)
		}
	}
	return moved, nil
}

// linksAfterTakeover finds out where the paths of the set in force lead now, and returns those
// that lead elsewhere.
func (m *Manager) linksAfterTakeover() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.current.peek()
	if now.closed || now.links != nil {
		return nil, nil
	}
	resolved, err := policy.ResolveNames(now.set, m.users, m.groups)
	if err != nil {
		return nil, err
	}
	_, found, err := m.compile(resolved, now.revision, maps.Clone(now.marks))
	if err != nil {
		return nil, err
	}
	m.current.change(func(s *state) { s.links = found })
	var elsewhere []string
	for _, f := range found.linked {
		if f.canonical != "" {
			elsewhere = append(elsewhere, f.path)
		}
	}
	return elsewhere, nil
}
