package compile

import (
	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// The kinds of access by their class.
var accesses = []policy.Access{policy.Read, policy.Write, policy.Exec}

// prepareFiles is for file_open: path and access.
func (c *compiler) prepareFiles(name policy.Operation, entries []entry) (finish, error) {
	paths := c.newPaths(len(entries))
	for i := range entries {
		e := &entries[i]
		p := e.pattern.(policy.FilePattern)
		e.names(0, len(p.Paths) > 0 || p.Kinds != 0)
		e.names(1, p.Access != 0)
		if err := paths.addPaths(i, p.Paths, e.delegated); err != nil {
			return nil, err
		}
	}
	return func(id uint32) (*operation, error) {
		start, byPath, err := paths.finish(c, name, id, "paths", true)
		if err != nil {
			return nil, err
		}
		// What is of a kind (bpf/abi.h, enum file_kind): first a deleted file that no
		// path selects, then classes in which only patterns count that name the kind.
		addKind := func(kind policy.FileKind) {
			byPath.addEach(entries, func(e *entry) (uint32, bool) {
				return policy.KindSpecificity, e.pattern.(policy.FilePattern).Kinds&kind != 0
			})
		}
		addKind(policy.Deleted)
		byPath.own = len(byPath.classes)
		for _, kind := range policy.FileKinds() {
			addKind(kind)
		}
		byAccess := newDimension("access")
		for _, access := range accesses {
			byAccess.addEach(entries, func(e *entry) (uint32, bool) {
				return 1, e.pattern.(policy.FilePattern).Access&access != 0
			})
		}
		return &operation{
			name: name, entries: entries, dimensions: []dimension{byPath, byAccess},
			header: abi.Operation{Automata: [3]abi.State{start}, Unknown: uint32(byPath.uncertain)},
		}, nil
	}, nil
}
