package compile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/policy"
)

// classEveryone is the class of the processes that no policy names.
const classEveryone = 0

// classes says which class a program's processes are in. A class is a set of
// policies: those that name the program. The class after the last is that of
// the processes that could not be identified.
type classes struct {
	// policies by class: the indices of the policies whose Binaries name it.
	policies [][]int
	// keys of programs, with their class.
	keys map[uint64]uint32
}

// unknown returns the class of a process that could not be identified. Without
// any policy that names binaries, everyone is known well enough.
func (c *classes) unknown() uint32 {
	if len(c.keys) == 0 {
		return classEveryone
	}
	return uint32(len(c.policies))
}

// classify finds the classes. Paths that lead to one file are one program,
// whichever of them a policy names.
func classify(set []policy.Policy, options Options) *classes {
	programs := map[uint64][]int{} // keys joined into a program share the slice's root
	roots := map[uint64]uint64{}
	var root func(uint64) uint64
	root = func(key uint64) uint64 {
		if r, ok := roots[key]; ok && r != key {
			roots[key] = root(r)
			return roots[key]
		}
		roots[key] = key
		return key
	}
	join := func(a, b uint64) {
		a, b = root(a), root(b)
		if a == b {
			return
		}
		roots[b] = a
		programs[a] = append(programs[a], programs[b]...)
		delete(programs, b)
	}
	resolved := map[string]uint64{}
	for i, p := range set {
		for _, path := range p.Subject.Binaries {
			key, ok := resolved[path]
			if !ok {
				program := options.Resolve(path)
				key = options.Key.Path(path)
				root(key)
				for _, other := range program.Paths {
					join(key, options.Key.Path(other))
				}
				if program.Identity != nil {
					join(key, options.Key.identity(*program.Identity))
				}
				resolved[path] = key
			}
			programs[root(key)] = append(programs[root(key)], i)
		}
	}
	c := &classes{policies: [][]int{nil}, keys: map[uint64]uint32{}}
	ids := map[string]uint32{}
	for key := range roots {
		policies := slices.Clone(programs[root(key)])
		slices.Sort(policies)
		policies = slices.Compact(policies)
		name := fmt.Sprint(policies)
		id, ok := ids[name]
		if !ok {
			id = uint32(len(c.policies))
			ids[name] = id
			c.policies = append(c.policies, policies)
		}
		c.keys[key] = id
	}
	return c
}

// entries returns the table of programs, sorted by key.
func (c *classes) entries() []any {
	keys := make([]uint64, 0, len(c.keys))
	for key := range c.keys {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	entries := make([]any, len(keys))
	for i, key := range keys {
		entries[i] = bpf.SubjectEntry{Key: [2]uint32{uint32(key >> 32), uint32(key)}, Class: c.keys[key]}
	}
	return entries
}

// row is what an operation's rules see of a class: the rank with which each
// policy's subject matches, 0 where it does not.
type row struct {
	ranks   []policy.SubjectRank
	unknown bool
}

// rows returns the distinct rows of the policies that have rules for an
// operation, and the row of each class.
func (c *classes) rows(set []policy.Policy, operation policy.Operation) (rows []row, byClass []uint32) {
	concerned := make([]bool, len(set))
	named := false
	for i, p := range set {
		for _, r := range p.Rules {
			concerned[i] = concerned[i] || r.Operation == operation
		}
		named = named || concerned[i] && !p.Subject.Everyone
	}
	ids := map[string]uint32{}
	add := func(r row) {
		var name strings.Builder
		fmt.Fprint(&name, r.unknown, r.ranks)
		id, ok := ids[name.String()]
		if !ok {
			id = uint32(len(rows))
			ids[name.String()] = id
			rows = append(rows, r)
		}
		byClass = append(byClass, id)
	}
	everyone := make([]policy.SubjectRank, len(set))
	anyone := make([]policy.SubjectRank, len(set))
	for i, p := range set {
		switch {
		case !concerned[i]:
		case p.Subject.Everyone:
			everyone[i], anyone[i] = policy.SubjectEveryone, policy.SubjectEveryone
		default:
			anyone[i] = policy.SubjectBinary
		}
	}
	for _, policies := range c.policies {
		ranks := slices.Clone(everyone)
		for _, i := range policies {
			if concerned[i] && ranks[i] == 0 {
				ranks[i] = policy.SubjectBinary
			}
		}
		add(row{ranks: ranks})
	}
	add(row{ranks: anyone, unknown: named})
	return rows, byClass
}
