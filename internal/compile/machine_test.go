package compile

import (
	"net/netip"
	"slices"
	"strings"
	"unsafe"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// machine reads a revision as the kernel programs do (bpf/tables.h, bpf/run.h,
// bpf/class.h), so that the tables can be tested without a kernel. The
// programs themselves are compared with policy.Decide in real kernels.
type machine struct {
	key        Key
	words      []uint32
	containers []policy.Inside
}

func newMachine(g *Revision, key Key) machine {
	m := machine{key: key, containers: g.Containers}
	for _, l := range g.Lines {
		m.words = append(m.words, l.Words[:]...)
	}
	return m
}

func structAt[T any](m machine, at uint32) *T { return (*T)(unsafe.Pointer(&m.words[at])) }

func (m machine) revision() *abi.Revision { return structAt[abi.Revision](m, 0) }

func (m machine) subjects() *abi.Subjects { return structAt[abi.Subjects](m, m.revision().Subjects) }

func (m machine) operation(id int) *abi.Operation {
	return structAt[abi.Operation](m, uint32(2*id*abi.LineWords))
}

func (m machine) table(id, table int) abi.Table {
	return structAt[abi.Tables](m, uint32((2*id+1)*abi.LineWords)).Tables[table]
}

// find looks a key up in the dictionary.
func (m machine) find(key uint64) (abi.State, bool) {
	g := m.revision()
	mask := uint64(g.DictionaryLines - 1)
	for _, line := range []uint64{key & mask, key >> 32 & mask} {
		for slot := range uint32(slots) {
			e := structAt[abi.Entry](m, g.Dictionary+uint32(line)*abi.LineWords+slot*4)
			if uint64(e.Key[0])<<32|uint64(e.Key[1]) == key {
				return e.Value, e.Value != abi.State{}
			}
		}
	}
	return abi.State{}, false
}

func (m machine) globClass(name string) uint32 {
	g := m.revision()
	state := uint32(0)
	for i := range len(name) {
		b := uint32(name[i])
		class := m.words[g.GlobBytes+b/4] >> (b % 4 * 8) & 0xff
		state = m.words[g.GlobNext+state*g.GlobColumns+class]
	}
	return m.words[g.GlobAccept+state]
}

func (m machine) step(s abi.State, name string) abi.State {
	if s.Accept&abi.StateAbsorbing != 0 {
		return s
	}
	if to, ok := m.find(m.key.name(s.Number, name)); ok {
		return to
	}
	if s.Accept&abi.StateWild == 0 {
		return dead
	}
	class := uint32(0)
	if s.Accept&abi.StateGlobs != 0 {
		class = m.globClass(name)
	}
	to, ok := m.find(m.key.glob(s.Number, class))
	if !ok && class != 0 {
		to, ok = m.find(m.key.glob(s.Number, 0))
	}
	if !ok {
		return dead
	}
	return to
}

func (m machine) run(s abi.State, path string) abi.State {
	for _, name := range pathNames(path) {
		s = m.step(s, name)
	}
	return s
}

// namedFile returns the state of a file that policies name.
func (m machine) namedFile(dimension uint32, i Identity) abi.State {
	g := m.revision()
	bit := uint32(i.Inode) & (g.FilterBits - 1)
	if m.words[g.Filter+bit/32]>>(bit%32)&1 == 0 {
		return dead
	}
	if s, ok := m.find(m.key.file(dimension, i)); ok {
		return s
	}
	return dead
}

// names are the states of an object's names.
type names struct {
	path, file abi.State
	ambiguous  bool
	subsumes   func(all, some abi.State) bool
}

// join is that of bpf/run.h. States are the same only if number and class are: exact
// files share a number.
func (n *names) join(other abi.State) {
	switch {
	case other.Number == 0 || other == n.file:
	case n.file.Number == 0 || n.file == n.path:
		n.file = other
	case n.path.Number == 0:
		n.path, n.file = n.file, other
	case other == n.path || n.subsumes(n.file, other) || n.subsumes(n.path, other):
	case n.subsumes(other, n.file) || n.subsumes(n.path, n.file):
		n.file = other
	case n.subsumes(other, n.path) || n.subsumes(n.file, n.path):
		n.path = other
	default:
		n.ambiguous = true
	}
}

// walk runs over a path, of whose files identity tells what they are; bare over its
// names alone at the last one.
func (m machine) walk(dimension uint32, start abi.State, path string, identity func(path string) *Identity, bare bool) names {
	n := names{path: start, file: dead, subsumes: func(all, some abi.State) bool {
		_, ok := m.find(m.key.subsumes(all, some))
		return ok
	}}
	at := ""
	pass := func(path string) {
		if i := identity(path); i != nil {
			n.join(m.namedFile(dimension, *i))
		}
	}
	pass("/")
	for _, name := range pathNames(path) {
		n.path, n.file = m.step(n.path, name), m.step(n.file, name)
		at += "/" + name
		if !bare || at != path {
			pass(at)
		}
	}
	return n
}

// process is what a process is in a revision: the atoms that are true of it.
type process struct {
	atoms []uint64
	// unknown says that it could not be identified, and index which of the decisions about
	// such processes counts.
	unknown bool
	index   uint32
}

// plane returns one of the sets of atoms.
func (m machine) plane(number uint32) []uint64 {
	s := m.subjects()
	n := uint32(s.Lines) * abi.LineWords
	set := make([]uint64, n/2)
	for i := range set {
		at := s.Planes + number*n + uint32(2*i)
		set[i] = uint64(m.words[at]) | uint64(m.words[at+1])<<32
	}
	return set
}

// addAtoms adds the atoms of a class.
func (m machine) addAtoms(set []uint64, index, class uint32) {
	list := structAt[abi.Table](m, index+2*class)
	for i := range list.Count {
		one := structAt[abi.AtomWord](m, list.At+4*i)
		set[one.Word] |= uint64(one.Lower) | uint64(one.Upper)<<32
	}
}

// classify returns what a process is at a time.
func (m machine) classify(p policy.Process, now uint64) process {
	s := m.subjects()
	deadlines := abi.Table{At: m.revision().Subjects + abi.LineWords, Count: uint32(s.Times)}
	time := uint32(m.search(deadlines, 2, uint32(now>>32), uint32(now)))
	user := m.interval(s.Users, p.UID)
	result := process{atoms: m.plane(abi.PlaneTimes + time), unknown: p.Unknown, index: time*uint32(s.UserClasses) + user}
	take := func(number uint32, add func(plane []uint64)) {
		plane := m.plane(number)
		add(plane)
		for i := range plane {
			result.atoms[i] &= plane[i]
		}
	}
	take(abi.PlaneUser, func(plane []uint64) { m.addAtoms(plane, s.UserAtoms, user) })
	if p.Unknown {
		return result
	}
	program := func(path string) uint32 {
		if !strings.HasPrefix(path, "/") {
			return 0
		}
		return m.run(s.Programs, path).Accept & abi.ClassMask
	}
	var marks [abi.MarkWords]uint64
	addMarks := func(list abi.Table) {
		for i := range list.Count {
			one := structAt[abi.AtomWord](m, list.At+4*i)
			marks[one.Word] |= uint64(one.Lower) | uint64(one.Upper)<<32
		}
	}
	addMarksOf := func(class uint32) { addMarks(*structAt[abi.Table](m, s.ProgramMarks+2*class)) }
	take(abi.PlaneProgram, func(plane []uint64) {
		for _, path := range []string{p.Binary, p.Script} {
			class := program(path)
			m.addAtoms(plane, s.ProgramAtoms, class)
			addMarksOf(class)
		}
	})
	if uint32(s.Flags)&abi.SubjectsContainers != 0 {
		take(abi.PlaneContainer, func(plane []uint64) {
			unidentified := p.Unidentified
			for _, c := range p.Containers {
				of, known := SelectorsOf(m.containers, c)
				unidentified = unidentified || !known
				for _, id := range of {
					m.addAtoms(plane, s.ContainerAtoms, abi.ContainerListSelectors+uint32(id))
				}
			}
			switch {
			case unidentified:
				m.addAtoms(plane, s.ContainerAtoms, abi.ContainerListUnidentified)
			case len(p.Containers) == 0:
				m.addAtoms(plane, s.ContainerAtoms, abi.ContainerListHost)
			}
		})
	}
	take(abi.PlaneCgroup, func(plane []uint64) {
		m.addAtoms(plane, s.CgroupAtoms, m.run(s.Cgroups, p.Cgroup).Accept&abi.ClassMask)
	})
	for _, a := range p.Ancestors {
		addMarksOf(program(a))
	}
	for _, id := range p.IDs {
		if found, ok := m.find(m.key.process(id)); ok {
			addMarks(abi.Table{At: found.Number, Count: found.Accept})
		}
	}
	if uint32(s.Flags)&abi.SubjectsMarks == 0 {
		return result
	}
	for number, first := range map[uint32]uint32{abi.PlaneDescent: 0, abi.PlaneProcess: s.Marks} {
		take(number, func(plane []uint64) {
			for bit := range s.Marks {
				if marks[bit/64]>>(bit%64)&1 != 0 {
					m.addAtoms(plane, s.MarkAtoms, first+bit)
				}
			}
		})
	}
	return result
}

// interval returns the class of a number.
func (m machine) interval(t abi.Table, key uint32) uint32 {
	i := m.search(t, 2, key)
	return m.words[t.At+uint32(i)*2+1]
}

// search returns the index of the last entry that is not greater than the key.
func (m machine) search(t abi.Table, size uint32, key ...uint32) int {
	low, high := 0, int(t.Count)
	for low < high {
		middle := (low + high) / 2
		at := t.At + uint32(middle)*size
		if slices.Compare(m.words[at:at+uint32(len(key))], key) <= 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low - 1
}

// concerns reports whether any rule concerns an operation.
func (m machine) concerns(id int) bool { return m.revision().Concerned>>id&1 != 0 }

// begin returns the operation; false when nothing is judged.
func (m machine) begin(id int, p process) (*abi.Operation, bool) {
	restricted := false
	for i, atoms := range m.plane(abi.PlaneOperations + 2*uint32(id) + 1) {
		restricted = restricted || atoms&p.atoms[i] != 0
	}
	if restricted && !m.concerns(id) {
		panic("atoms of an operation that no rule concerns")
	}
	return m.operation(id), restricted
}

func (m machine) cell(o *abi.Operation, p process, classes ...uint32) abi.Verdict {
	at := uint32(0)
	for i, size := range o.Classes {
		class := uint32(0)
		if i < len(classes) {
			class = classes[i]
		}
		if class >= size {
			panic("class out of range")
		}
		at = at*size + class
	}
	at = o.Verdicts + 2*at
	if p.unknown {
		at++
	}
	word := m.words[at]
	for passed := 0; word>>abi.VerdictShift == 0; passed++ {
		if word == 0 || o.Nodes == 0 || passed > abi.MaxNodes {
			panic("a node that is none, or too many of them")
		}
		n := structAt[abi.Node](m, o.Nodes+4*word)
		number, holds := n.What&abi.NodeMask, false
		switch n.What &^ abi.NodeMask {
		case abi.NodeAtom:
			holds = p.atoms[number/64]>>(number%64)&1 != 0
		case abi.NodeAny:
			mask := structAt[abi.Node](m, o.Nodes+4*(word+1))
			holds = p.atoms[number]&(uint64(mask.Otherwise)<<32|uint64(mask.Then)) != 0
		case abi.NodeUnknown:
			if !p.unknown {
				panic("a known process is judged as an unknown one")
			}
			return abi.Verdict(m.words[n.Then+p.index])
		default:
			panic("no kind of node")
		}
		word = n.Otherwise
		if holds {
			word = n.Then
		}
	}
	return abi.Verdict(word)
}

// stricterWord is stricter() of bpf/judge.h.
func stricterWord(a, b abi.Verdict) abi.Verdict {
	if a.Verdict() == b.Verdict() || min(a, b).Verdict() >= uint8(policy.Deny) {
		revoke := (a | b) & abi.Verdict(abi.FlagRevoke)
		return max(a, b) | revoke
	}
	return max(a, b)
}

// judgeNames judges an object by the classes of its names.
func (m machine) judgeNames(o *abi.Operation, p process, n names, unknown bool, rest ...uint32) abi.Verdict {
	cell := func(class uint32) abi.Verdict { return m.cell(o, p, append([]uint32{class}, rest...)...) }
	if unknown || n.ambiguous {
		return cell(o.Unknown)
	}
	first, second := n.path.Accept&abi.ClassMask, n.file.Accept&abi.ClassMask
	if first == 0 {
		first, second = second, 0
	}
	v := cell(first)
	if second != 0 {
		v = stricterWord(v, cell(second))
	}
	return v
}

// move judges a file that gets another name, as bpf/move.h does.
func (m machine) move(id int, o *abi.Operation, p process, f policy.File, identity func(string) *Identity) abi.Verdict {
	from := m.walk(uint32(id), o.Automata[0], f.Path, identity, true)
	to := m.walk(uint32(id), o.Automata[0], f.Moved.To.Path, identity, true)
	v := abi.NewVerdict(uint8(policy.Allow), -1, abi.VerdictFlags{})
	if from.ambiguous || to.ambiguous {
		for access := range accesses {
			v = stricterWord(v, m.cell(o, p, o.Unknown, uint32(access)))
		}
		return v
	}
	known := dead
	if i := identity(f.Path); i != nil {
		known = m.namedFile(uint32(id), *i)
	}
	stays := func(s abi.State, other names) bool {
		return s.Number == 0 || s == other.path || s == other.file || known.Number != 0 && (s == known || from.subsumes(known, s))
	}
	below := func(s abi.State, access int, globs bool) {
		found, _ := m.find(m.key.below(s.Number, globs))
		if class := found.Accept & abi.ClassMask; class != 0 && f.Moved.Directory {
			v = stricterWord(v, m.cell(o, p, class, uint32(access)))
		}
	}
	for _, s := range []abi.State{from.path, from.file} {
		if stays(s, to) {
			continue
		}
		for access := range accesses {
			if class := s.Accept & abi.ClassMask; class != 0 && access != 1 {
				one, there := m.cell(o, p, class, uint32(access)), m.judgeNames(o, p, to, false, uint32(access))
				if f.Moved.Directory || there.Verdict() < one.Verdict() || there&abi.Verdict(abi.FlagDelegated) != 0 {
					v = stricterWord(v, one)
				}
			}
			below(s, access, false)
		}
	}
	for _, s := range []abi.State{to.path, to.file} {
		if !stays(s, from) {
			below(s, 1, true)
		}
	}
	return v
}

// judgeKind judges a file for an access, as uses_verdict in bpf/file.h does.
func (m machine) judgeKind(o *abi.Operation, p process, n names, f policy.File, access uint32) abi.Verdict {
	v := m.judgeNames(o, p, n, f.Unknown, access)
	kind := uint32(slices.Index(policy.FileKinds(), f.Kind) + 1)
	if kind == 0 {
		return v
	}
	own := m.cell(o, p, o.Unknown+1+kind, access)
	switch {
	case f.Unknown || n.ambiguous || (n.path.Accept|n.file.Accept)&abi.ClassMask != 0:
		return stricterWord(v, own)
	case kind == abi.FileDeleted:
		return m.cell(o, p, o.Unknown+1, access)
	}
	return own
}

// judge decides about an object; identity tells what its path leads to.
func (m machine) judge(id int, p process, object policy.Object, identity func(string) *Identity) abi.Verdict {
	o, judged := m.begin(id, p)
	if !judged {
		return abi.NewVerdict(uint8(policy.Allow), -1, abi.VerdictFlags{})
	}
	walk := func(n policy.Names) names {
		if n.Path == "" {
			return names{path: dead, file: dead}
		}
		return m.walk(uint32(id), o.Automata[0], n.Path, identity, false)
	}
	one := func(start abi.State, name string) uint32 {
		if name == "" {
			return start.Accept & abi.ClassMask
		}
		return m.step(start, name).Accept & abi.ClassMask
	}
	switch object := object.(type) {
	case policy.File:
		n := walk(object.Names)
		if object.Moved != nil {
			return m.move(id, o, p, object, identity)
		}
		var v abi.Verdict
		for class, access := range accesses {
			if object.Access&access != 0 {
				v = stricterWord(v, m.judgeKind(o, p, n, object, uint32(class)))
			}
		}
		return v
	case policy.Program:
		n := walk(object.Names)
		traits := uint32(0)
		if object.Fileless || (n.path.Accept|n.file.Accept)&abi.StateShm != 0 {
			traits |= 1
		}
		if object.NoArgs {
			traits |= 2
		}
		return m.judgeNames(o, p, n, object.Unknown, traits)
	case policy.Mount:
		target, source, kind := walk(object.Target), one(o.Automata[1], object.Source), one(o.Automata[2], object.Type)
		var v abi.Verdict
		for _, choice := range object.Choices() {
			flags := uint32(0)
			for i := range o.MaskCount {
				if m.words[o.Masks+i]&uint32(choice) != 0 {
					flags |= 1 << i
				}
			}
			v = stricterWord(v, m.judgeNames(o, p, target, object.Target.Unknown, source, kind, flags))
		}
		return v
	case policy.NumberObject:
		var classes []uint32
		for key, number := range object.Numbers() {
			classes = append(classes, m.interval(m.table(id, key), number))
		}
		return m.cell(o, p, classes...)
	case policy.Socket:
		return m.socket(id, o, p, object)
	}
	panic("unknown object")
}

func (m machine) socket(id int, o *abi.Operation, p process, s policy.Socket) abi.Verdict {
	port := uint32(abi.NoPort)
	if s.Protocol.HasPorts() {
		port = uint32(s.Port)
	}
	protocol := m.words[m.table(id, abi.TableProtocols).At+uint32(s.Protocol)]
	ports := m.table(id, abi.TablePorts)
	judge := func(address uint32) abi.Verdict {
		v := m.cell(o, p, address, m.interval(ports, port), protocol)
		if port != 0 || v == v.NamesPort() {
			return v
		}
		for i := m.search(ports, 2, uint32(s.Automatic.First)); i < int(ports.Count); i++ {
			start, class := m.words[ports.At+uint32(i)*2], m.words[ports.At+uint32(i)*2+1]
			if start > uint32(s.Automatic.Last) {
				break
			}
			v = stricterWord(v, m.cell(o, p, address, class, protocol))
		}
		return v
	}
	judge4 := func(a netip.Addr) abi.Verdict {
		return judge(m.interval(m.table(id, abi.TableAddresses4), beWord(a.AsSlice())))
	}
	address := s.Address.Unmap()
	if id == abi.OperationSocketConnect && address.IsUnspecified() { // as the kernel does
		if address.Is4() {
			address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		} else {
			address = netip.IPv6Loopback()
		}
	}
	if address.Is4() {
		return judge4(address)
	}
	b := address.AsSlice()
	t := m.table(id, abi.TableAddresses6)
	i := m.search(t, 8, beWord(b), beWord(b[4:]), beWord(b[8:]), beWord(b[12:]))
	v := judge(m.words[t.At+uint32(i)*8+4])
	if s.DualStack && address.IsUnspecified() && id == abi.OperationSocketBind {
		v = stricterWord(v, judge4(netip.IPv4Unspecified()))
	}
	return v
}

func beWord(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
