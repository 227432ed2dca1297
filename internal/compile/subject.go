package compile

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// How a program matches the binaries of a policy: the specificity of a term.
const (
	byPattern = 1
	byName    = 2
)

// subjects are the atoms that subjects of policies consist of (abi.h, struct subjects),
// and what makes each of them true of a process.
type subjects struct {
	set      []policy.Policy
	binaries selectors
	cgroups  selectors
	users    selectors
	// containers are those of containers and pods, and of the host; containerLists has their values, zero
	// for the host.
	containers     selectors
	containerLists []policy.Inside
	chosen         selectors // processes
	marks          marks
	// deadlines are when policies end, after 0.
	deadlines []uint64
	// best is how a program can match the binaries of a policy.
	best []byte
	// atoms by their number; of has those of each policy.
	atoms []atom
	of    [][]ranked
	// may are the atoms by which it is uncertain that a policy selects an unidentified container;
	// unidentified is the one that is true of all these, 0 if there are none.
	may          [][]ranked
	unidentified int32
	// same has a number for each policy: of two with the same subject, the same one.
	same []int32

	programTrie, cgroupTrie *trie
	userColumns             *columns
	userIntervals           intervals
	// classesOf are the classes of each selector of users.
	classesOf [][]int32
	// programs, userClasses and cgroupClasses are the columns by class.
	programs, userClasses, cgroupClasses []int32
	programColumns, cgroupColumns        *columns
	programStart, cgroupStart            abi.State
}

// selectors are the different lists of values of one kind of selector. Policies
// that name the same share one.
type selectors struct {
	ids map[string]int32
	// of has the selector of each policy, -1 for none.
	of []int32
}

// count is how many different lists there are.
func (s *selectors) count() int { return len(s.ids) }

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
	if len(values) == 1 {
		return values[0]
	}
	values = slices.Clone(values)
	slices.Sort(values)
	return strings.Join(slices.Compact(values), "\x00")
}

// addContainers adds the selector of containers that a subject has, if any.
func (s *subjects) addContainers(of policy.Subject) {
	if _, fresh := s.containers.add(containerTexts(of)); fresh {
		s.containerLists = append(s.containerLists, of.Inside())
	}
}

// ContainerLists returns the [Revision.Containers] of a policy set.
func ContainerLists(set []policy.Policy) []policy.Inside {
	var s subjects
	for _, p := range set {
		s.addContainers(p.Subject)
	}
	return s.containerLists
}

// containerTexts returns texts that stand for what a subject says of containers.
func containerTexts(s policy.Subject) []string {
	if s.Host {
		return []string{"host"}
	}
	var texts []string
	for _, c := range s.Containers {
		texts = append(texts, c.String())
	}
	for _, p := range s.Pods {
		texts = append(texts, "pod "+p.String())
	}
	if s.Identified {
		texts = append(texts, "identified")
	}
	return texts
}

// newSubjects collects the selectors of the set.
func newSubjects(set []policy.Policy, options Options, globs *globs, places *places) (*subjects, error) {
	s := &subjects{set: set, best: make([]byte, 0, len(set))}
	s.binaries = selectors{make(map[string]int32, len(set)), make([]int32, 0, len(set))}
	s.programTrie, s.cgroupTrie = newTrie(globs, places, len(set)), newTrie(globs, nil, 0)
	users := spans{greatest: small(math.MaxUint32)}
	best := map[int32]byte{}
	var err error
	if s.deadlines, err = deadlinesOf(set); err != nil {
		return nil, err
	}
	for i := range set {
		p := &set[i]
		if id, fresh := s.binaries.add(p.Subject.Binaries); fresh {
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
				best[id] |= byte(how)
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
		s.addContainers(p.Subject)
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
	s.classesOf = make([][]int32, s.users.count())
	for class, column := range s.userClasses {
		for _, t := range s.userColumns.terms[column] {
			s.classesOf[t.pattern] = append(s.classesOf[t.pattern], int32(class))
		}
	}
	return s, s.addAtoms()
}

// finish makes the automata over the names of programs and cgroups.
func (s *subjects) finish(space *space, t *tables) error {
	programs, cgroups := newAutomaton("subjects", s.programTrie, space), newAutomaton("cgroups", s.cgroupTrie, space)
	programs.union = true
	s.programStart, s.cgroupStart = programs.startState(), cgroups.startState()
	if err := programs.addAliases(abi.DimensionSubjects); err != nil {
		return err
	}
	for _, a := range []*automaton{programs, cgroups} {
		if err := a.finish(); err != nil {
			return err
		}
	}
	s.programColumns, s.cgroupColumns = programs.columns, cgroups.columns
	s.programs, s.cgroupClasses = singles(programs.classes), singles(cgroups.classes)
	if n := len(s.userClasses); n > math.MaxUint16 || n*len(s.deadlines) > abi.NodeMask {
		return fmt.Errorf("%w: the subjects tell apart %d kinds of users, at %d times; name the same users in several policies", ErrTooLarge, n, len(s.deadlines))
	}
	for _, p := range slices.SortedFunc(maps.Keys(s.marks.processes), policy.ProcessID.Compare) {
		list := t.appendMarks(s.marks.processes[p])
		space.dictionary.add(space.key.process(p), abi.State{Number: list.At, Accept: list.Count})
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

// hidden reports whether an unknown process may match a policy without being certain to.
func (s *subjects) hidden(policy int) bool {
	return s.binaries.of[policy] >= 0 || s.cgroups.of[policy] >= 0 || s.containers.of[policy] >= 0 || s.chosen.of[policy] >= 0
}
