package compile

import (
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Limits of the classes of processes.
const (
	maxProcessClasses = 1 << 20
	// optionalClasses is up to how many classes many marks at once are told
	// apart, which could be unknown as well.
	optionalClasses = 1 << 19
	// maxPrograms bounds the programs that policies tell apart.
	maxPrograms = 1 << 10
	// fewPrograms is up to how many named programs any number of them at once are
	// told apart, and not only two.
	fewPrograms = 6
)

// How a program matches the binaries of a policy: the specificity of a term.
const (
	byPattern = 1
	byName    = 2
)

// subjects are the classes of processes (abi.h, struct subjects). Each kind of
// selector tells processes apart by itself; a class is one class of each kind.
type subjects struct {
	set      []policy.Policy
	binaries selectors
	cgroups  selectors
	users    selectors
	chosen   selectors // processes
	marks    marks
	// deadlines are when policies end, after 0.
	deadlines []uint64
	// compiled are the lists of binaries that name programs of machine code only.
	compiled map[int32]bool
	// best is how a program matches the binaries of a policy at most.
	best []byte

	programTrie, cgroupTrie *trie
	userColumns             *columns
	userIntervals           intervals
	// programs, userClasses and cgroupClasses are the columns by class.
	programs, userClasses, cgroupClasses []int32
	programColumns, cgroupColumns        *columns
	unions                               []uint32
	programStart, cgroupStart            abi.State
}

// selectors are the different lists of values of one kind of selector. Policies
// that name the same share one.
type selectors struct {
	ids map[string]int32
	// of has the selector of each policy, -1 for none.
	of []int32
}

func (s *selectors) add(values []string) (id int32, fresh bool) {
	if len(values) == 0 {
		s.of = append(s.of, -1)
		return -1, false
	}
	key := selectorKey(values)
	id, ok := s.ids[key]
	if !ok {
		if s.ids == nil {
			s.ids = map[string]int32{}
		}
		id = int32(len(s.ids))
		s.ids[key] = id
	}
	s.of = append(s.of, id)
	return id, !ok
}

// selectorKey returns a text that stands for a set of values.
func selectorKey(values []string) string {
	values = slices.Clone(values)
	slices.Sort(values)
	return strings.Join(slices.Compact(values), "\x00")
}

// newSubjects collects the selectors of the set.
func newSubjects(set []policy.Policy, options Options, globs *globs, places *places) (*subjects, error) {
	s := &subjects{set: set}
	s.programTrie, s.cgroupTrie = newTrie(globs, places), newTrie(globs, nil)
	users := spans{greatest: small(math.MaxUint32)}
	best := map[int32]byte{}
	var err error
	if s.deadlines, err = deadlinesOf(set); err != nil {
		return nil, err
	}
	for i, p := range set {
		if id, fresh := s.binaries.add(p.Subject.Binaries); fresh {
			if options.Compiled != nil && !slices.ContainsFunc(p.Subject.Binaries, func(text string) bool { return !isExact(text) || !options.Compiled(text) }) {
				if s.compiled == nil {
					s.compiled = map[int32]bool{}
				}
				s.compiled[id] = true
			}
			for _, text := range p.Subject.Binaries {
				pattern, err := policy.ParsePathPattern(text)
				if err != nil {
					return nil, fmt.Errorf("policy %q: %w", p.Name, err)
				}
				how := uint32(byPattern)
				if pattern.Kind == policy.PathExact {
					how = byName
				}
				s.programTrie.addPattern(pattern, term{id, how})
				best[id] = max(best[id], byte(how))
			}
		}
		s.best = append(s.best, best[s.binaries.of[i]])
		if err := s.marks.add(s.binaries.of[i], p.Subject, options); err != nil {
			return nil, err
		}
		if id, fresh := s.chosen.add(processTexts(p.Subject.Processes)); fresh {
			if err := s.marks.addProcesses(id, p.Subject, options); err != nil {
				return nil, err
			}
		}
		if id, fresh := s.cgroups.add(p.Subject.Cgroups); fresh {
			for _, text := range p.Subject.Cgroups {
				pattern, err := policy.ParseCgroupPattern(text)
				if err != nil {
					return nil, fmt.Errorf("policy %q: %w", p.Name, err)
				}
				at, below := s.cgroupTrie.add(0, pattern.Components, true)
				s.cgroupTrie.accept(at, term{id, 1}, below)
			}
		}
		var ranges []string
		for _, r := range p.Subject.Users.Ranges {
			ranges = append(ranges, r.String())
		}
		if id, fresh := s.users.add(ranges); fresh {
			for _, r := range p.Subject.Users.Ranges {
				users.add(small(r.First), small(r.Last), term{id, 1})
			}
		}
	}
	byUser := newDimension("users")
	s.userColumns = byUser.columns
	s.userIntervals = users.sweep(byUser.columns, byUser.sweeper())
	if byUser.overflow {
		return nil, fmt.Errorf("%w: the subjects' users overlap too much; put several subjects into one policy", ErrTooLarge)
	}
	s.userClasses = singles(byUser.classes)
	return s, nil
}

// isExact reports whether a pattern of paths names just one.
func isExact(text string) bool {
	p, err := policy.ParsePathPattern(text)
	return err == nil && p.Kind == policy.PathExact
}

// mayBeScript reports whether a program of a column may be a script.
func (s *subjects) mayBeScript(column int32) bool {
	return !slices.ContainsFunc(s.programColumns.terms[column], func(t term) bool {
		return t.specificity == byName && s.compiled[t.pattern]
	})
}

// finish makes the automata and decides which classes there are.
func (s *subjects) finish(space *space, markSets int) error {
	programs, cgroups := newAutomaton("subjects", s.programTrie, space), newAutomaton("cgroups", s.cgroupTrie, space)
	programs.union = true
	s.programStart, s.cgroupStart = programs.startState(), cgroups.startState()
	if err := programs.addAliases(0); err != nil {
		return err
	}
	for _, a := range []*automaton{programs, cgroups} {
		if err := a.finish(); err != nil {
			return err
		}
	}
	s.programColumns, s.cgroupColumns = programs.columns, cgroups.columns
	s.programs, s.cgroupClasses = singles(programs.classes), singles(cgroups.classes)
	others := len(s.userClasses) * len(s.cgroupClasses) * len(s.deadlines)
	named := len(s.programs)
	if named > maxPrograms {
		return fmt.Errorf("%w: the policies' binaries tell apart %d kinds of programs; %d are possible, put binaries into one policy or name directories", ErrTooLarge, named, maxPrograms)
	}
	s.unite(maxProcessClasses / others)
	room := maxProcessClasses / others
	if s.programColumns.overflow || len(s.programs) > room || !s.marks.choose(room/len(s.programs), optionalClasses/others/len(s.programs), markSets) {
		return fmt.Errorf("%w: the subjects tell apart %d kinds of programs (any two of %d, since one may be a script and the other its interpreter), %d of descendants, %d of users and %d of cgroups, at %d times; together %d are possible, put several subjects into one policy",
			ErrTooLarge, 1+named*(named-1)/2, named-1, 1+bits.OnesCount64(s.marks.all), len(s.userClasses), len(s.cgroupClasses), len(s.deadlines), maxProcessClasses)
	}
	for i, set := range s.marks.sets {
		space.dictionary.add(space.key.marks(set), abi.State{Number: uint32(i)})
	}
	for _, p := range slices.SortedFunc(maps.Keys(s.marks.processes), policy.ProcessID.Compare) {
		marks := s.marks.processes[p]
		space.dictionary.add(space.key.process(p), abi.State{Number: uint32(marks), Accept: uint32(marks >> 32)})
	}
	return nil
}

// singles returns the columns of classes that have one each.
func singles(classes [][]int32) []int32 {
	list := make([]int32, len(classes))
	for i, columns := range classes {
		if len(columns) > 0 {
			list[i] = columns[0]
		}
	}
	return list
}

// unite makes the classes of what is two of the named programs at once, such as a
// script and its interpreter, and of more than two while these are few. There are at
// most room and one.
func (s *subjects) unite(room int) {
	c := s.programColumns
	named := len(s.programs)
	ids := make(map[int32]uint32, len(s.programs))
	for i, column := range s.programs {
		ids[column] = uint32(i)
	}
	add := func(a, b int32) {
		column := c.merge(a, b)
		if _, ok := ids[column]; !ok {
			ids[column] = uint32(len(s.programs))
			s.programs = append(s.programs, column)
		}
	}
	united := named
	scripts := make([]bool, named)
	for i := range scripts {
		scripts[i] = s.mayBeScript(s.programs[i])
	}
	for a := 1; a < named && len(s.programs) <= room; a++ {
		for b := a + 1; b < named && len(s.programs) <= room; b++ {
			if scripts[a] || scripts[b] {
				add(s.programs[a], s.programs[b])
			}
		}
	}
	if named-1 <= fewPrograms {
		for a := named; a < len(s.programs) && len(s.programs) <= room; a++ {
			for b := 1; b < named; b++ {
				add(s.programs[a], s.programs[b])
			}
		}
		united = len(s.programs)
	}
	s.unions = append(make([]uint32, 0, 1+united*united), uint32(united))
	var both []term
	for _, a := range s.programs[:united] {
		for _, b := range s.programs[:united] {
			both = mergeTerms(both[:0], c.terms[a], c.terms[b])
			class := uint32(abi.NoClass)
			if column, ok := c.find(both); ok {
				if id, ok := ids[column]; ok {
					class = id
				}
			}
			s.unions = append(s.unions, class)
		}
	}
}

// count returns the number of classes of known processes.
func (s *subjects) count() int {
	return len(s.programs) * len(s.marks.sets) * len(s.deadlines) * len(s.userClasses) * len(s.cgroupClasses)
}

// classes returns the number of classes of all processes.
func (s *subjects) classes() int {
	if s.hidden() {
		return s.count() + len(s.deadlines)*len(s.userClasses)
	}
	return s.count()
}

// hidden reports whether any policy selects processes by what an unknown process
// hides.
func (s *subjects) hidden() bool { return len(s.binaries.ids)+len(s.cgroups.ids)+len(s.chosen.ids) > 0 }

// appendTo writes the tables.
func (s *subjects) appendTo(t *tables) uint32 {
	words := make([]uint32, 0, 2*len(s.programs))
	for _, column := range s.programs {
		set := s.marks.of(s.programColumns.terms[column])
		words = append(words, uint32(set), uint32(set>>32))
	}
	header := abi.Subjects{
		Programs: s.programStart, Cgroups: s.cgroupStart,
		ProgramClasses: uint32(len(s.programs)), Unions: t.append(s.unions), ProgramMarks: t.append(words),
		MarkSets: uint32(len(s.marks.sets)),
		Users:    t.appendIntervals(s.userIntervals), UserClasses: uint32(len(s.userClasses)),
		CgroupClasses: uint32(len(s.cgroupClasses)),
		Times:         uint16(len(s.deadlines)),
		Marks:         [2]uint32{uint32(s.marks.all), uint32(s.marks.all >> 32)},
	}
	if s.marks.all != 0 {
		header.Flags |= abi.SubjectsMarks
	}
	if s.hidden() {
		header.Unknown = uint32(s.count())
	}
	at := t.append(encode(header))
	t.appendDeadlines(s.deadlines) // in the lines that follow
	return at
}
