package compile

import "strings"

// Resolved is what a path of this system stands for.
type Resolved struct {
	// Canonical is the path with every symbolic link resolved; empty for what
	// does not exist. It is the path itself where no link is on the way.
	Canonical string
	// Identity is what the path leads to, links followed; nil if that cannot
	// be told for sure: then it is known by its path alone.
	Identity *Identity
	// Device is what stands for the device of a device node, whichever node it is.
	Device *Identity
}

// Mount is a mount point of the guard's mount namespace.
type Mount struct {
	Path string
	// Identity is the directory or file that is mounted there.
	Identity Identity
}

// places are the files and directories along the literal beginnings of the path
// patterns, of all operations and subjects. Each path is resolved once, its
// directory before it, and nothing below what does not exist.
type places struct {
	root    *place
	resolve func(path string) Resolved
	mounts  []Mount
	devices []Mount
	// way are the places to which the names led that were followed last, but for links.
	way []*place
}

type place struct {
	name     string
	parent   *place
	children map[string]*place
	state    placeState
	identity *Identity
	device   *Identity
	// target is where a symbolic link leads.
	target *place
	// mountpoint says that something is mounted here: the place is not in the
	// directory above, but what it covers is.
	mountpoint bool
}

type placeState uint8

const (
	placeUnresolved placeState = iota
	placeAbsent
	// placeThere exists, and its path has no link.
	placeThere
	placeLink
)

func newPlaces(options Options) *places {
	p := &places{root: &place{}, resolve: options.Resolve}
	if options.Mounts != nil {
		p.mounts = options.Mounts()
	}
	if options.Devices != nil {
		p.devices = options.Devices()
	}
	for _, m := range p.mounts {
		p.at(m.Path).mountpoint = true
	}
	return p
}

// at returns the place at a clean absolute path.
func (p *places) at(path string) *place {
	at := p.root
	for _, name := range pathNames(path) {
		at = at.child(name)
	}
	return at
}

// pathNames returns the components of a clean absolute path.
func pathNames(path string) []string {
	path = strings.Trim(path, "/")
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

func (at *place) child(name string) *place {
	child, ok := at.children[name]
	if !ok {
		child = &place{name: name, parent: at}
		if at.children == nil {
			at.children = map[string]*place{}
		}
		at.children[name] = child
	}
	return child
}

// names returns the components of the place's path.
func (at *place) names() []string {
	var names []string
	if at.parent != nil {
		names = append(at.parent.names(), at.name)
	}
	return names
}

func (at *place) path() string { return "/" + strings.Join(at.names(), "/") }

// find resolves a place whose parent is resolved and no link.
func (p *places) find(at *place) {
	switch {
	case at.state != placeUnresolved:
		return
	case p.resolve == nil || at.parent != nil && at.parent.state == placeAbsent:
		at.state = placeAbsent
		return
	}
	path := at.path()
	found := p.resolve(path)
	switch found.Canonical {
	case "":
		at.state = placeAbsent
	case path:
		at.state, at.identity, at.device = placeThere, found.Identity, found.Device
	default:
		at.state, at.target = placeLink, p.at(found.Canonical)
		// The directories above are real ones; they are resolved for
		// their identities when a pattern is followed through them.
		if at.target.state == placeUnresolved {
			at.target.state, at.target.identity, at.target.device = placeThere, found.Identity, found.Device
		}
	}
}

// follow walks the names of a literal path from the root. It returns the place
// where the path leads when links are followed, and how many of the names come
// before the first link; all if there is none.
func (p *places) follow(names []string) (at *place, straight int) {
	at, straight = p.root, -1
	p.find(at)
	p.way = p.way[:0]
	for i, name := range names {
		if len(name) == 0 {
			p.way = append(p.way, at)
			continue
		}
		next := at.child(name)
		p.find(next)
		if next.state == placeLink {
			next = next.target
			if straight < 0 {
				straight = i
			}
		}
		at = next
		p.way = append(p.way, at)
	}
	if straight < 0 {
		straight = len(names)
	}
	return at, straight
}
