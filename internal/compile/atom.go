package compile

import (
	"fmt"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// always is the atom that is true of every process.
const always = 0

// atom is one way in which a subject matches a process (abi.h, struct subjects). A process
// that is selected by the name of its program is selected by a pattern and as a descendant
// of itself as well: these count less, so they change nothing.
type atom struct {
	rank policy.SubjectRank
	// binaries, cgroups, users, containers and chosen are selectors, -1 for none.
	binaries, cgroups, users, containers, chosen int32
	// by is how the binaries select: byName, byPattern or byDescent.
	by          byte
	from, until uint64
}

// byDescent is for what descends from binaries.
const byDescent = 3

// unidentified is the selector of containers of which nothing is known.
const unidentified = -2

// inUnidentified is the atom of an unidentified container, whatever it runs.
var inUnidentified = atom{
	rank: policy.SubjectEveryone + policy.SubjectContainer, binaries: -1, cgroups: -1, users: -1, containers: unidentified, chosen: -1,
}

// ranked is an atom of a policy with the rank of that match.
type ranked struct {
	atom int32
	rank policy.SubjectRank
}

// addAtoms finds the atoms of all policies. They are numbered by policy: those that are asked
// for one after the other mostly lie together (writer.place).
func (s *subjects) addAtoms() error {
	everyone := atom{rank: policy.SubjectEveryone, binaries: -1, cgroups: -1, users: -1, containers: -1, chosen: -1}
	number := make(map[atom]int32, len(s.set)+1)
	number[everyone] = always
	list := []atom{everyone}
	var room []ranked // for the lists of some policies
	enter := func(atoms ...atom) []ranked {
		if cap(room)-len(room) < len(atoms) {
			room = make([]ranked, 0, 1024)
		}
		from := len(room)
		for _, a := range atoms {
			n, ok := number[a]
			if !ok {
				n = int32(len(list))
				number[a] = n
				list = append(list, a)
			}
			room = append(room, ranked{n, a.rank})
		}
		return room[from:len(room):len(room)]
	}
	s.of, s.may, s.same = make([][]ranked, len(s.set)), make([][]ranked, len(s.set)), make([]int32, len(s.set))
	var buffer []atom
	for i := range s.set {
		buffer = s.appendAtoms(buffer[:0], i, s.containers.of[i])
		s.of[i] = enter(buffer...)
		if s.maySelectUnidentified(i) {
			buffer = s.appendAtoms(buffer[:0], i, unidentified)
			s.may[i] = enter(buffer...)
			enter(inUnidentified)
		}
	}
	s.unidentified = number[inUnidentified]
	if n := len(list); n > 64*abi.AtomWords {
		return fmt.Errorf("%w: the policies have %d different subjects, where a list of binaries counts once for exact names, once for patterns and once with descendants; %d are possible, put several subjects into one policy", ErrTooLarge, n-1, 64*abi.AtomWords-1)
	}
	s.atoms = list
	same := make(map[string]int32, len(s.set))
	var numbers []int32
	var key []byte
	for i := range s.set {
		numbers = numbers[:0]
		for _, a := range s.of[i] {
			numbers = append(numbers, a.atom)
		}
		key = appendKey(key[:0], numbers)
		id, ok := same[string(key)]
		if !ok {
			id = int32(len(same))
			same[string(key)] = id
		}
		s.same[i] = id
	}
	return nil
}

// maySelectUnidentified reports whether it is uncertain that a policy selects a container of which
// nothing is known.
func (s *subjects) maySelectUnidentified(i int) bool {
	id := s.containers.of[i]
	return id >= 0 && !s.containerLists[id].IsZero() && !s.containerLists[id].IsAny() && !s.containerLists[id].Identified
}

// appendAtoms appends the atoms of a policy with a selector of containers.
func (s *subjects) appendAtoms(to []atom, i int, containers int32) []atom {
	p := &s.set[i]
	if !s.selects(i) {
		return to
	}
	a := atom{
		rank: policy.SubjectEveryone, binaries: s.binaries.of[i], cgroups: s.cgroups.of[i], users: s.users.of[i], containers: containers, chosen: s.chosen.of[i],
		from: p.From, until: p.Until,
	}
	if a.users >= 0 {
		a.rank += policy.SubjectUser
	}
	if a.cgroups >= 0 {
		a.rank += policy.SubjectCgroup
	}
	if a.containers != -1 {
		a.rank += policy.SubjectContainer
	}
	if a.chosen >= 0 {
		a.rank += policy.SubjectProcess
	}
	if a.binaries < 0 {
		return append(to, a)
	}
	add := func(by byte, rank policy.SubjectRank) {
		one := a
		one.by, one.rank = by, a.rank+rank
		to = append(to, one)
	}
	if s.best[i]&byName != 0 {
		add(byName, policy.SubjectBinary)
	}
	if s.best[i]&byPattern != 0 {
		add(byPattern, policy.SubjectBinaryPattern)
	}
	if p.Subject.Descendants {
		add(byDescent, policy.SubjectDescendant)
	}
	return to
}

// selects reports whether a policy has a subject at all.
func (s *subjects) selects(p int) bool {
	return s.set[p].Subject.Everyone || s.binaries.of[p] >= 0 || s.cgroups.of[p] >= 0 || s.users.of[p] >= 0 || s.containers.of[p] >= 0 || s.chosen.of[p] >= 0
}

// unknownRank returns the greatest rank by which a policy could select a process, 0 for one
// without a subject.
func (s *subjects) unknownRank(p int) policy.SubjectRank {
	rank := policy.SubjectRank(0)
	for _, a := range s.of[p] {
		rank = max(rank, a.rank)
	}
	return rank
}

// atomSet is a set of atoms as the kernel reads it.
type atomSet []uint64

func (s *subjects) newSet() atomSet { return make(atomSet, s.lines()*abi.LineWords/2) }

// lines is how many lines a set of atoms takes.
func (s *subjects) lines() int { return (len(s.atoms) + 32*abi.LineWords - 1) / (32 * abi.LineWords) }

func (a atomSet) add(atom int32) { a[atom/64] |= 1 << (atom % 64) }

// where returns the atoms for which a condition holds.
func (s *subjects) where(holds func(a *atom) bool) atomSet {
	set := s.newSet()
	for i := range s.atoms {
		if holds(&s.atoms[i]) {
			set.add(int32(i))
		}
	}
	return set
}

// atomLists are the lists of the classes of one kind of selector.
type atomLists struct {
	// of has the atoms of each list of values, by how they ask for it.
	of    [][3][]int32
	lists []uint32 // struct atom_word
	index []uint32 // struct table
	ids   map[string]abi.Table
	key   []byte
	// single are those of one atom.
	single []abi.Table
}

// listsOf collects the atoms that ask for the values of a kind of selector.
func (s *subjects) listsOf(of *selectors, selector func(a *atom) (id int32, by byte)) *atomLists {
	l := &atomLists{of: make([][3][]int32, of.count()), ids: map[string]abi.Table{}, single: make([]abi.Table, len(s.atoms))}
	one := make([]int32, len(s.atoms)) // room for a list of one, of each atom
	for i := range s.atoms {
		id, by := selector(&s.atoms[i])
		if id < 0 {
			continue
		}
		one[i] = int32(i)
		if list := &l.of[id][by]; *list == nil {
			*list = one[i : i+1 : i+1]
		} else {
			*list = append(*list, int32(i))
		}
	}
	return l
}

// add appends the list of a class, to which these atoms belong. Classes share lists.
func (l *atomLists) add(atoms []int32) {
	if len(atoms) == 1 && l.single[atoms[0]].Count > 0 {
		table := l.single[atoms[0]]
		l.index = append(l.index, table.At, table.Count)
		return
	}
	slices.Sort(atoms)
	l.key = appendKey(l.key[:0], atoms)
	table, ok := l.ids[string(l.key)]
	if !ok {
		table.At = uint32(len(l.lists))
		for i := 0; i < len(atoms); {
			word, mask := atoms[i]/64, uint64(0)
			for ; i < len(atoms) && atoms[i]/64 == word; i++ {
				mask |= 1 << (atoms[i] % 64)
			}
			l.lists = append(l.lists, uint32(word), 0, uint32(mask), uint32(mask>>32))
			table.Count++
		}
		if len(atoms) == 1 {
			l.single[atoms[0]] = table
		} else {
			l.ids[string(l.key)] = table
		}
	}
	l.index = append(l.index, table.At, table.Count)
}

// appendTo writes the lists and returns where their index is.
func (l *atomLists) appendTo(t *tables) uint32 {
	at := t.append(l.lists)
	for i := 0; i < len(l.index); i += 2 {
		l.index[i] += at
	}
	return t.append(l.index)
}

// addColumns adds the lists of classes that are columns.
func (l *atomLists) addColumns(c *columns, classes []int32) {
	var atoms []int32
	for _, column := range classes {
		atoms = atoms[:0]
		for _, t := range c.terms[column] {
			of := l.of[t.pattern]
			atoms = append(atoms, of[byPattern]...)
			if t.specificity == byName {
				atoms = append(atoms, of[byName]...)
			}
		}
		l.add(atoms)
	}
}

// appendTo writes the tables.
func (s *subjects) appendTo(t *tables, operations map[int]*operation) uint32 {
	byProgram := s.listsOf(&s.binaries, func(a *atom) (int32, byte) {
		if a.by == byDescent {
			return -1, 0
		}
		return a.binaries, a.by
	})
	byCgroup := s.listsOf(&s.cgroups, func(a *atom) (int32, byte) { return a.cgroups, byPattern })
	byUser := s.listsOf(&s.users, func(a *atom) (int32, byte) { return a.users, byPattern })
	byProgram.addColumns(s.programColumns, s.programs)
	byCgroup.addColumns(s.cgroupColumns, s.cgroupClasses)
	byUser.addColumns(s.userColumns, s.userClasses)
	var marks []uint32
	for _, column := range s.programs {
		list := t.appendMarks(s.marks.of(s.programColumns.terms[column]))
		marks = append(marks, list.At, list.Count)
	}
	header := abi.Subjects{
		Programs: s.programStart, Cgroups: s.cgroupStart,
		ProgramAtoms: byProgram.appendTo(t), CgroupAtoms: byCgroup.appendTo(t), UserAtoms: byUser.appendTo(t),
		MarkAtoms: s.marksLists().appendTo(t), ProgramMarks: t.append(marks), Planes: t.append(s.planes(operations)),
		Users: t.appendIntervals(s.userIntervals), UserClasses: uint16(len(s.userClasses)),
		Lines: uint16(s.lines()), Times: uint16(len(s.deadlines)),
		Marks: uint32(s.marks.count), ContainerAtoms: s.containerAtoms().appendTo(t),
	}
	if len(s.containerLists) > 0 {
		header.Flags |= abi.SubjectsContainers
	}
	if s.marks.count != 0 {
		header.Flags |= abi.SubjectsMarks
	}
	at := t.append(encode(header))
	t.appendDeadlines(s.deadlines) // in the lines that follow
	return at
}

// containerAtoms returns the lists of atoms by enum container_list: of the host, of what is in an
// unidentified container, and by selector.
func (s *subjects) containerAtoms() *atomLists {
	l := s.listsOf(&s.containers, func(a *atom) (int32, byte) {
		if a.containers < 0 {
			return -1, 0
		}
		return a.containers, byPattern
	})
	var host, none []int32
	for id, list := range s.containerLists {
		atoms := l.of[int32(id)][byPattern]
		if list.IsZero() {
			host = append(host, atoms...)
		} else if list.IsAny() {
			none = append(none, atoms...)
		}
	}
	for i := range s.atoms {
		if s.atoms[i].containers == unidentified {
			none = append(none, int32(i))
		}
	}
	l.add(host)
	l.add(none)
	for id := range s.containerLists {
		l.add(slices.Clone(l.of[int32(id)][byPattern]))
	}
	return l
}

// marksLists returns the lists of atoms by mark, first those for descendants, then those for
// processes.
func (s *subjects) marksLists() *atomLists {
	descent := s.listsOf(&s.binaries, func(a *atom) (int32, byte) {
		if a.by != byDescent {
			return -1, 0
		}
		return a.binaries, 0
	})
	chosen := s.listsOf(&s.chosen, func(a *atom) (int32, byte) { return a.chosen, 0 })
	list := func(of [][3][]int32, bits map[int32]uint, bit uint) {
		var atoms []int32
		for selector, b := range bits {
			if b == bit {
				atoms = append(atoms, of[selector][0]...)
			}
		}
		descent.add(atoms)
	}
	for bit := range s.marks.count {
		list(descent.of, s.marks.bits, bit)
	}
	for bit := range s.marks.count {
		list(chosen.of, s.marks.chosen, bit)
	}
	return descent
}

// planes returns the sets of atoms by enum plane.
func (s *subjects) planes(operations map[int]*operation) []uint32 {
	sets := []atomSet{
		abi.PlaneProgram:   s.where(func(a *atom) bool { return a.binaries < 0 || a.by == byDescent }),
		abi.PlaneCgroup:    s.where(func(a *atom) bool { return a.cgroups < 0 }),
		abi.PlaneUser:      s.where(func(a *atom) bool { return a.users < 0 }),
		abi.PlaneDescent:   s.where(func(a *atom) bool { return a.by != byDescent }),
		abi.PlaneProcess:   s.where(func(a *atom) bool { return a.chosen < 0 }),
		abi.PlaneContainer: s.where(func(a *atom) bool { return a.containers == -1 }),
	}
	for id := range abi.Operations {
		used, restricting := s.newSet(), s.newSet()
		if o, ok := operations[id]; ok {
			for _, e := range o.entries {
				if len(s.may[e.policy]) > 0 {
					used.add(s.unidentified)
				}
				for _, a := range slices.Concat(s.of[e.policy], s.may[e.policy]) {
					used.add(a.atom)
					if e.verdict != policy.Allow {
						restricting.add(a.atom)
					}
				}
			}
		}
		sets = append(sets, used, restricting)
	}
	for _, time := range s.deadlines {
		sets = append(sets, s.where(func(a *atom) bool { return (a.until == 0 || a.until > time) && a.from <= time }))
	}
	var words []uint32
	for _, set := range sets {
		for _, w := range set {
			words = append(words, uint32(w), uint32(w>>32))
		}
	}
	return words
}
