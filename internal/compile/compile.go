// Package compile turns a policy set into a revision of tables that the
// kernel programs read (bpf/abi.h). It is pure Go and decides nothing itself:
// every entry of the verdict tables comes from [policy.ResolveUnknown].
package compile

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// ErrTooLarge is wrapped by the error for a policy set that does not fit into
// the tables.
var ErrTooLarge = errors.New("the policy set is too large")

// maxWords bounds a revision: 256 MiB.
const maxWords = 1 << 26

// Rule names a rule of the policy set by its indices.
type Rule struct{ Policy, Rule int }

// Revision is a compiled policy set.
type Revision struct {
	Lines []abi.Line
	// Rules are the rules by the index that a [abi.Verdict] holds.
	Rules []Rule
	// Counters is where the counters of the rules begin, in words: a line for
	// each rule.
	Counters uint32
	// Containers are the lists of selectors of containers that policies have, by the index that
	// an [abi.ContainerClass] holds; zero for the host.
	Containers []policy.Inside
}

// SelectorsOf returns the indices of the lists of selectors that select a container; not known if that of one depends on
// what is not known of the container yet.
func SelectorsOf(lists []policy.Inside, c policy.Container) (of []uint16, known bool) {
	for id, list := range lists {
		switch {
		case list.IsZero():
		case list.Selects(c):
			of = append(of, uint16(id))
		case list.MaySelect(c):
			return nil, false
		}
	}
	return of, true
}

// Options are what a policy set is compiled for.
type Options struct {
	// Number is the number of the revision, at least 1.
	Number uint32
	Key    Key
	// Resolve finds what a path stands for. It is called at most once for a
	// path, after its directory and only if that exists and is no symbolic
	// link, so it need not look at more than the last component. Without it
	// nothing exists: names alone count.
	Resolve func(path string) Resolved
	// Mounts returns the mount points of this mount namespace, each with what
	// is on top there. It is called once.
	Mounts func() []Mount
	// Devices returns the device nodes of this system, each with what stands for its
	// device. It is called once.
	Devices func() []Mount
	// Mark returns the bit, less than [abi.MaxMarks], by which tasks remember
	// that they descend from binaries or processes with this key, see
	// [MarkKeys]. The same key has the same bit in every revision, since
	// tasks keep their marks. Without it the bits are counted up.
	Mark func(key string) (bit uint, ok bool)
}

// compiler is what the operations share.
type compiler struct {
	set      []policy.Policy
	first    []int // index of each policy's first rule
	globs    *globs
	places   *places
	subjects *subjects
	space    *space
	tables   tables
	header   abi.Revision
}

// prepare collects the patterns of an operation; the function that it returns goes
// on once the patterns of all operations are known.
type prepare func(*compiler, policy.Operation, []entry) (finish, error)

// preparers are those for patterns that are not just numbers, by their type.
var preparers = map[reflect.Type]prepare{
	reflect.TypeFor[policy.FilePattern]():    (*compiler).prepareFiles,
	reflect.TypeFor[policy.ProgramPattern](): (*compiler).preparePrograms,
	reflect.TypeFor[policy.MountPattern]():   (*compiler).prepareMounts,
	reflect.TypeFor[policy.SocketPattern]():  (*compiler).prepareSockets,
}

// preparer returns the one for an operation.
func preparer(o policy.Operation) prepare {
	all := policy.Everything(o)
	if _, ok := all.(policy.NumberPattern); ok {
		return (*compiler).prepareNumbers
	}
	return preparers[reflect.TypeOf(all)]
}

// finish makes the automata and intervals of the operation of that number.
type finish func(id uint32) (*operation, error)

// Compile compiles a valid policy set (see [policy.Validate]) whose names are
// resolved (see [policy.ResolveNames]).
func Compile(set []policy.Policy, options Options) (*Revision, error) {
	rules, first := index(set)
	if len(rules) > abi.MaxRules {
		return nil, fmt.Errorf("%w: %d rules; %d are possible, put the patterns of several rules into one", ErrTooLarge, len(rules), abi.MaxRules)
	}
	c := &compiler{
		set: set, first: first, globs: newGlobs(), places: newPlaces(options),
		space:  &space{key: options.Key, dictionary: &dictionary{}, filter: &filter{}},
		header: abi.Revision{Number: options.Number},
	}
	// Line 0 describes the revision, lines 2n and 2n+1 operation n.
	c.tables.words = make([]uint32, 2*abi.Operations*abi.LineWords, (2*abi.Operations+4*len(rules))*abi.LineWords)
	if err := c.compile(options); err != nil {
		return nil, err
	}
	if c.subjects.marks.count != 0 {
		c.header.Concerned |= abi.ActiveMarks
	}
	if len(c.subjects.deadlines) > 1 {
		c.header.Concerned |= abi.ActiveTimed
	}
	if c.subjects.users.count() > 0 {
		c.header.Concerned |= abi.ActiveUsers
	}
	c.globs.appendTo(&c.tables, &c.header)
	if err := c.appendDictionary(&c.header); err != nil {
		return nil, err
	}
	c.appendCounters(rules)
	c.tables.set(0, c.header)
	if n := len(c.tables.words); n > maxWords {
		return nil, fmt.Errorf("%w: its tables take %d MiB; %d are possible, remove rules", ErrTooLarge, n>>18, maxWords>>18)
	}
	return &Revision{Lines: c.tables.lines(), Rules: rules, Counters: c.header.Rules, Containers: c.subjects.containerLists}, nil
}

// compile makes the tables of the subjects and operations.
func (c *compiler) compile(options Options) (err error) {
	if c.subjects, err = newSubjects(c.set, options, c.globs, c.places); err != nil {
		return err
	}
	finishes := map[int]finish{}
	all := entriesOf(c.set)
	for id := range abi.Operations {
		name := policy.Operation(abi.OperationNames[uint32(id)])
		entries := all[name]
		if len(entries) == 0 {
			continue
		}
		if finishes[id], err = preparer(name)(c, name, entries); err != nil {
			return err
		}
	}
	if err := c.globs.build(); err != nil {
		return err
	}
	if err := c.subjects.finish(c.space, &c.tables); err != nil {
		return err
	}
	finished := map[int]*operation{}
	for _, id := range slices.Sorted(maps.Keys(finishes)) {
		if finished[id], err = finishes[id](uint32(id)); err != nil {
			return err
		}
	}
	if err := c.decide(finished); err != nil {
		return err
	}
	c.header.Subjects = c.subjects.appendTo(&c.tables, finished)
	return nil
}

func (c *compiler) appendDictionary(header *abi.Revision) error {
	words, err := c.space.dictionary.lines()
	if err != nil {
		return err
	}
	header.Dictionary = c.tables.append(words)
	header.DictionaryLines = uint32(len(words) / abi.LineWords)
	numbers, identities := c.space.filter.words()
	header.Filter, header.Identities = c.tables.append(numbers), c.tables.append(identities)
	header.FilterBits = uint32(len(numbers) * 32)
	return nil
}

// appendCounters makes room for what the kernel counts of each rule, with the
// limit of its alerts.
func (c *compiler) appendCounters(rules []Rule) {
	of := map[uint32][]uint32{} // by the limit of alerts
	c.tables.words = slices.Grow(c.tables.words, len(rules)*abi.LineWords)
	c.header.Rules = uint32(len(c.tables.words))
	for _, r := range rules {
		limit := c.set[r.Policy].Rules[r.Rule].AlertLimit
		words, ok := of[limit]
		if !ok {
			words = encode(abi.RuleCounters{AlertLimit: limit})
			of[limit] = words
		}
		c.tables.append(words)
	}
}

// index lists the rules of the set, and the index of each policy's first one.
func index(set []policy.Policy) (rules []Rule, first []int) {
	first = make([]int, 0, len(set))
	for i := range set {
		first = append(first, len(rules))
		for j := range set[i].Rules {
			rules = append(rules, Rule{i, j})
		}
	}
	return rules, first
}
