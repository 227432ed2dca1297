package compile

import (
	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// preparePrograms is for bprm_check_security: path and traits.
func (c *compiler) preparePrograms(name policy.Operation, entries []entry) (finish, error) {
	paths := c.newPaths(len(entries))
	for i := range entries {
		e := &entries[i]
		p := e.pattern.(policy.ProgramPattern)
		e.names(0, len(p.Paths) > 0)
		e.names(1, p.Fileless || p.NoArgs)
		if err := paths.addPaths(i, p.Paths, e.delegated); err != nil {
			return nil, err
		}
	}
	// What lies below /dev/shm counts as a memfd, and alerts say so whether a
	// rule asks for it or not.
	shm := policy.PathPattern{Kind: policy.PathDir, Components: []string{"dev", "shm"}, Tree: true}
	paths.addPath(shm, func(at int32, _ bool) { paths.nodes[at].shm = true })
	return func(id uint32) (*operation, error) {
		start, byPath, err := paths.finish(c, name, id, "paths", false)
		if err != nil {
			return nil, err
		}
		traits := newDimension("traits")
		for class := range 4 { // enum trait_flags
			program := policy.Program{Fileless: class&1 != 0, NoArgs: class&2 != 0}
			traits.addEach(entries, func(e *entry) (uint32, bool) {
				p := e.pattern.(policy.ProgramPattern)
				named := uint32(0)
				if p.Fileless {
					named++
				}
				if p.NoArgs {
					named++
				}
				return named, named > 0 && (!p.Fileless || program.Fileless) && (!p.NoArgs || program.NoArgs)
			})
		}
		return &operation{
			name: name, entries: entries, dimensions: []dimension{byPath, traits},
			header: abi.Operation{Automata: [3]abi.State{start}, Unknown: uint32(byPath.uncertain)},
		}, nil
	}, nil
}
