package compile

import (
	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// The kinds of access by their class.
var accesses = []policy.Access{policy.Read, policy.Write, policy.Exec}

// prepareFiles is for file_open: path and access.
func (c *compiler) prepareFiles(name policy.Operation, entries []entry) (finish, error) {
	paths := c.newPaths()
	for i := range entries {
		e := &entries[i]
		p := e.pattern.(policy.FilePattern)
		e.names(0, len(p.Paths) > 0)
		e.names(1, p.Access != 0)
		if err := paths.addPaths(i, p.Paths); err != nil {
			return nil, err
		}
	}
	return func(id uint32) (*operation, error) {
		start, byPath, err := paths.finish(c, name, id, "paths")
		if err != nil {
			return nil, err
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
