package compile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// prepareMounts is for sb_mount, sb_remount and sb_umount: target, source, type
// and flags. Source and type are one name each, whatever bytes it has.
func (c *compiler) prepareMounts(name policy.Operation, entries []entry) (finish, error) {
	targets := c.newPaths(len(entries))
	sources, types := newTrie(c.globs, nil, 0), newTrie(c.globs, nil, 0)
	var allSources []term
	var masks []uint32
	for i := range entries {
		e := &entries[i]
		p := e.pattern.(policy.MountPattern)
		for key, named := range []bool{len(p.Targets) > 0, len(p.Sources) > 0, len(p.Types) > 0, p.Flags != 0} {
			e.names(key, named)
		}
		if err := targets.addPaths(i, p.Targets, e.delegated); err != nil {
			return nil, err
		}
		for _, text := range p.Sources {
			parsed, err := policy.ParseSourcePattern(text)
			if err != nil {
				return nil, err
			}
			t := term{int32(i), parsed.Specificity()}
			sources.addSource(parsed, t)
			allSources = addTerm(allSources, t)
		}
		for _, t := range p.Types {
			types.accept(types.name(0, t), term{int32(i), 1}, false)
		}
		if p.Flags != 0 && !slices.Contains(masks, uint32(p.Flags)) {
			masks = append(masks, uint32(p.Flags))
		}
	}
	if len(masks) > abi.MaxMasks {
		return nil, fmt.Errorf("%w: the rules for %s name %d different sets of flags; %d are possible, name the same sets in several rules", ErrTooLarge, name, len(masks), abi.MaxMasks)
	}
	return func(id uint32) (*operation, error) {
		start, byTarget, err := targets.finish(c, name, id, "targets", false)
		if err != nil {
			return nil, err
		}
		sourceStart, bySource, err := c.finishName(name, sources, "sources")
		if err != nil {
			return nil, err
		}
		typeStart, byType, err := c.finishName(name, types, "types")
		if err != nil {
			return nil, err
		}
		unknownSource := bySource.addUnknown(allSources)
		byFlags := newDimension("flags")
		for class := range 1 << len(masks) {
			byFlags.addEach(entries, func(e *entry) (uint32, bool) {
				flags := uint32(e.pattern.(policy.MountPattern).Flags)
				return 1, flags != 0 && class>>slices.Index(masks, flags)&1 != 0
			})
		}
		return &operation{
			name: name, entries: entries, dimensions: []dimension{byTarget, bySource, byType, byFlags},
			header: abi.Operation{
				Automata: [3]abi.State{start, sourceStart, typeStart},
				Unknown:  uint32(byTarget.uncertain), UnknownSource: unknownSource,
				Masks: c.tables.append(masks), MaskCount: uint32(len(masks)),
			},
		}, nil
	}, nil
}

// addSource adds a pattern of sources.
func (t *trie) addSource(p policy.SourcePattern, term term) {
	text := p.String()
	switch p.Kind() {
	case policy.PathExact:
		t.accept(t.name(0, text), term, false)
	case policy.PathDir:
		if bare := strings.TrimSuffix(text, "/"); bare != "" {
			t.accept(t.name(0, bare), term, false)
		}
		t.accept(t.glob(0, text+"**"), term, false)
	case policy.PathGlob:
		t.accept(t.glob(0, text), term, false)
	}
}

// finishName makes an automaton over a single name.
func (c *compiler) finishName(name policy.Operation, t *trie, kinds string) (abi.State, dimension, error) {
	a := newAutomaton(string(name), t, c.space)
	start := a.startState()
	if err := a.finish(); err != nil {
		return start, dimension{}, err
	}
	return start, dimension{columns: a.columns, classes: a.classes, uncertain: -1, kinds: kinds}, nil
}
