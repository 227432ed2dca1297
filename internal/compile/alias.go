package compile

import (
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/abi"
)

// aliases finds the names that an automaton knows of files by what they are, so
// that the kernel finds them behind hard links, bind mounts and in other mount
// namespaces.
//
// A file has the name of each place where it is, and a name in each name of the
// directory that it is in. A directory can have several names as well, when it is
// mounted twice. Names that no pattern can match are left out, and names from
// which patterns see the same are one, so there are finitely many even where a
// directory is mounted below itself.
type aliases struct {
	*automaton
	dimension uint32
	ids       map[Identity]int
	files     []alias
	// queue holds the configs whose files' entries are still to get them.
	queue []aliasSpot
	// subsumed holds the pairs of states of addSubsumed.
	subsumed map[[2]abi.State]bool
}

type alias struct {
	identity Identity
	configs  []config
	entries  []aliasEntry
}

// aliasEntry is a name in a directory.
type aliasEntry struct {
	name string
	file int
}

type aliasSpot struct {
	file   int
	config config
}

// addAliases adds the files to the dictionary.
func (a *automaton) addAliases(dimension uint32) error {
	l := &aliases{automaton: a, dimension: dimension, ids: map[Identity]int{}, subsumed: map[[2]abi.State]bool{}}
	l.collect()
	for len(l.queue) > 0 {
		next := l.queue[0]
		l.queue = l.queue[1:]
		for _, e := range l.files[next.file].entries {
			l.addConfig(e.file, a.stepName(next.config.live, e.name))
		}
		if a.columns.overflow || len(l.queue) > maxEntries || len(a.lives) > maxEntries {
			return a.tooLarge()
		}
	}
	for _, f := range l.files {
		if state := a.state(f.configs...); state != dead {
			a.dictionary.add(a.key.file(dimension, f.identity), state)
			a.filter.files = append(a.filter.files, f.identity)
			l.addSubsumed(state, f.configs)
		}
	}
	return nil
}

// maxSubsumed is of how many names each selection is told apart from the others;
// of more names, each by itself.
const maxSubsumed = 3

// addSubsumed says of a state of several names that it stands for each of them as
// well: the kernel may come to one of them by the path, to another by the place
// in the filesystem and to all of them by what the file is, and follows two.
func (l *aliases) addSubsumed(all abi.State, configs []config) {
	if len(configs) < 2 {
		return
	}
	add := func(some ...config) {
		state := l.state(some...)
		if pair := [2]abi.State{all, state}; state != dead && state != all && !l.subsumed[pair] {
			l.subsumed[pair] = true
			l.dictionary.add(l.key.subsumes(all, state), abi.State{Number: 1})
		}
	}
	for i, s := range configs {
		add(s)
		if len(configs) == maxSubsumed {
			add(configs[(i+1)%maxSubsumed], configs[(i+2)%maxSubsumed])
		}
	}
}

// collect finds the files that are named by their places.
func (l *aliases) collect() {
	configs := make([]config, len(l.nodes))
	configs[0] = l.start()
	for i := range l.nodes { // a node comes after its parent
		n := &l.nodes[i]
		if n.place == nil {
			continue
		}
		if i > 0 {
			configs[i] = l.stepName(configs[n.parent].live, n.place.name)
		}
		if n.place.state == placeThere && n.place.device != nil {
			l.addConfig(l.file(*n.place.device), configs[i])
		}
		if n.place.state != placeThere || n.place.identity == nil {
			continue
		}
		file := l.file(*n.place.identity)
		l.addConfig(file, configs[i])
		above := n.place.parent
		if above == nil || n.place.mountpoint || above.state != placeThere || above.identity == nil {
			continue
		}
		directory := l.file(*above.identity)
		l.files[directory].entries = append(l.files[directory].entries, aliasEntry{n.place.name, file})
	}
	for _, m := range slices.Concat(l.places.mounts, l.places.devices) {
		at := l.start()
		for _, name := range pathNames(m.Path) {
			at = l.stepName(at.live, name)
		}
		l.addConfig(l.file(m.Identity), at)
	}
}

func (l *aliases) file(i Identity) int {
	id, ok := l.ids[i]
	if !ok {
		id = len(l.files)
		l.ids[i] = id
		l.files = append(l.files, alias{identity: i})
	}
	return id
}

// addConfig says that a file has a name that leads to the config.
func (l *aliases) addConfig(file int, s config) {
	f := &l.files[file]
	if s == (config{}) || slices.Contains(f.configs, s) {
		return
	}
	f.configs = append(f.configs, s)
	l.queue = append(l.queue, aliasSpot{file, s})
}

// startState returns the state in which the automaton starts.
func (a *automaton) startState() abi.State { return a.state(a.start()) }
