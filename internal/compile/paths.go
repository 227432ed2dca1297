package compile

import (
	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// paths are the patterns of one key whose values are paths.
type paths struct {
	*trie
	// all are the patterns that name the key, with the greatest specificity
	// that they can have.
	all []term
}

// newPaths returns no patterns, with room for so many.
func (c *compiler) newPaths(room int) *paths { return &paths{trie: newTrie(c.globs, c.places, room)} }

// addPaths adds the paths of a pattern. Those of a delegated policy are names alone: what they lead to here is not its
// business, and to be judged by its name too could refuse to others what they may.
func (p *paths) addPaths(pattern int, texts []string, delegated bool) error {
	for _, text := range texts {
		parsed, err := policy.ParsePathPattern(text)
		if err != nil {
			return err
		}
		t := term{int32(pattern), parsed.Specificity()}
		if delegated {
			at, below := p.add(0, parsed.Components, parsed.Tree)
			p.accept(at, t, below)
		} else {
			p.addPattern(parsed, t)
		}
		p.all = addTerm(p.all, t)
	}
	return nil
}

// finish makes the automaton over paths. moves says that what is below a directory
// that gets another name is asked about.
func (p *paths) finish(c *compiler, name policy.Operation, dimensionID uint32, kinds string, moves bool) (abi.State, dimension, error) {
	a := newAutomaton(string(name), p.trie, c.space)
	if moves {
		a.edgesOf = map[uint32][]abi.State{}
	}
	start := a.startState()
	if err := a.addAliases(dimensionID); err != nil {
		return start, dimension{}, err
	}
	if err := a.finish(); err != nil {
		return start, dimension{}, err
	}
	a.addBelow()
	d := dimension{columns: a.columns, classes: a.classes, kinds: kinds}
	d.addUnknown(p.all)
	return start, d, nil
}
