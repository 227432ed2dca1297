package compile

import (
	"fmt"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// row is what an operation's rules see of a class of processes.
type row struct {
	// ranks by policy: how specifically its subject matches, 0 if it does not.
	ranks []policy.SubjectRank
	// uncertain by policy: whether the subject may match or not.
	uncertain []bool
}

// rows are the different rows of an operation. Those in which nothing is
// restricted have no place in the verdict table.
type rows struct {
	// concerned are the policies with rules for the operation.
	concerned []int
	// list has rank and uncertainty for each of these policies.
	list []string
	// byClass has the row by class of processes, or abi.RowAllowed.
	byClass []uint32
	ids     map[string]uint32
}

// maxRowWork bounds how many matches of a policy and a class are looked at.
const maxRowWork = 1 << 29

// rows returns the rows for an operation, of which the entries are.
func (s *subjects) rows(entries []entry, operation policy.Operation) (*rows, error) {
	r := &rows{ids: map[string]uint32{}}
	restricts := make([]bool, len(s.set))
	for _, e := range entries {
		if n := len(r.concerned); n == 0 || r.concerned[n-1] != e.policy {
			r.concerned = append(r.concerned, e.policy)
		}
		restricts[e.policy] = restricts[e.policy] || e.verdict != policy.Allow
	}
	concerned := r.concerned
	programs := project(s.programs, func(column int32) []byte { return s.projectPrograms(column, concerned) })
	sets := project(s.marks.sets, func(set uint64) []byte { return s.projectMarks(set, concerned) })
	times := project(s.deadlines, func(time uint64) []byte { return s.projectTime(time, concerned) })
	users := project(s.userClasses, func(column int32) []byte { return projectColumn(s.userColumns.terms[column], s.users.of, concerned) })
	cgroups := project(s.cgroupClasses, func(column int32) []byte {
		return projectColumn(s.cgroupColumns.terms[column], s.cgroups.of, concerned)
	})
	if work := len(programs.seen) * len(sets.seen) * len(times.seen) * len(users.seen) * len(cgroups.seen) * (1 + len(concerned)); work > maxRowWork {
		return nil, fmt.Errorf("%w: the subjects of %d policies with rules for %s tell apart too many processes; put several subjects into one policy", ErrTooLarge, len(concerned), operation)
	}
	key := make([]byte, 2*len(concerned))
	add := func(rank func(i, policy int) (policy.SubjectRank, bool)) uint32 {
		restricted := false
		for i, p := range concerned {
			r, uncertain := rank(i, p)
			restricted = restricted || r != 0 && restricts[p]
			key[2*i], key[2*i+1] = byte(r), 0
			if uncertain {
				key[2*i+1] = 1
			}
		}
		if !restricted {
			return abi.RowAllowed
		}
		return r.add(key)
	}
	// The rows by what the operation's policies see of each kind of selector.
	seen := make([]uint32, 0, len(programs.seen)*len(sets.seen)*len(times.seen)*len(users.seen)*len(cgroups.seen))
	for _, program := range programs.seen {
		for _, set := range sets.seen {
			for _, time := range times.seen {
				for _, user := range users.seen {
					for _, cgroup := range cgroups.seen {
						seen = append(seen, add(func(i, p int) (policy.SubjectRank, bool) {
							if time[i] == 0 {
								return 0, false
							}
							return s.rank(p, program[i], set[i], user[i], cgroup[i]), false
						}))
					}
				}
			}
		}
	}
	for _, program := range programs.of {
		for _, set := range sets.of {
			for _, time := range times.of {
				for _, user := range users.of {
					at := (((program*len(sets.seen)+set)*len(times.seen)+time)*len(users.seen) + user) * len(cgroups.seen)
					for _, cgroup := range cgroups.of {
						r.byClass = append(r.byClass, seen[at+cgroup])
					}
				}
			}
		}
	}
	if s.hidden() {
		for _, time := range times.of {
			for _, user := range users.of {
				r.byClass = append(r.byClass, add(func(i, p int) (policy.SubjectRank, bool) {
					if times.seen[time][i] == 0 {
						return 0, false
					}
					return s.unknownRank(p, users.seen[user][i])
				}))
			}
		}
	}
	return r, nil
}

// add returns the index of a row.
func (r *rows) add(key []byte) uint32 {
	id, ok := r.ids[string(key)]
	if !ok {
		id = uint32(len(r.list))
		r.list = append(r.list, string(key))
		r.ids[r.list[id]] = id
	}
	return id
}

// row returns a row, of as many policies.
func (r *rows) row(i, policies int) *row {
	row := &row{ranks: make([]policy.SubjectRank, policies), uncertain: make([]bool, policies)}
	for n, p := range r.concerned {
		row.ranks[p], row.uncertain[p] = policy.SubjectRank(r.list[i][2*n]), r.list[i][2*n+1] != 0
	}
	return row
}

// projection is what the policies of an operation see of the classes of one kind
// of selector.
type projection struct {
	// seen has a byte for each policy; 0 if the class does not match.
	seen [][]byte
	// of has the index in seen by class.
	of []int
}

func project[T any](classes []T, see func(T) []byte) projection {
	var p projection
	ids := map[string]int{}
	for _, class := range classes {
		seen := see(class)
		id, ok := ids[string(seen)]
		if !ok {
			id = len(p.seen)
			ids[string(seen)] = id
			p.seen = append(p.seen, seen)
		}
		p.of = append(p.of, id)
	}
	return p
}

// projectColumn tells how a column matches the policies' selectors; 1 where a
// policy has none.
func projectColumn(column []term, of []int32, policies []int) []byte {
	seen := make([]byte, len(policies))
	for i, p := range policies {
		if of[p] < 0 {
			seen[i] = 1
			continue
		}
		at, found := slices.BinarySearchFunc(column, of[p], func(t term, selector int32) int { return int(t.pattern - selector) })
		if found {
			seen[i] = byte(column[at].specificity)
		}
	}
	return seen
}

func (s *subjects) projectPrograms(column int32, policies []int) []byte {
	return projectColumn(s.programColumns.terms[column], s.binaries.of, policies)
}

// What marks select by, for a policy: bits.
const (
	byDescent = 1 << iota
	byProcess
)

// projectMarks tells which policies select by one of the marks, and how.
func (s *subjects) projectMarks(set uint64, policies []int) []byte {
	seen := make([]byte, len(policies))
	for i, p := range policies {
		if bit, ok := s.marks.bits[s.binaries.of[p]]; ok && s.set[p].Subject.Descendants && set>>bit&1 != 0 {
			seen[i] |= byDescent
		}
		if bit, ok := s.marks.chosen[s.chosen.of[p]]; ok && set>>bit&1 != 0 {
			seen[i] |= byProcess
		}
	}
	return seen
}

// rank returns how specifically a policy's subject matches, 0 if it does not.
func (s *subjects) rank(p int, program, set, user, cgroup byte) policy.SubjectRank {
	rank := policy.SubjectEveryone
	if s.users.of[p] >= 0 {
		rank += policy.SubjectUser
	}
	if s.cgroups.of[p] >= 0 {
		rank += policy.SubjectCgroup
	}
	if user == 0 || cgroup == 0 || !s.selects(p) {
		return 0
	}
	if s.chosen.of[p] >= 0 {
		if set&byProcess == 0 {
			return 0
		}
		rank += policy.SubjectProcess
	}
	if s.binaries.of[p] < 0 {
		return rank
	}
	switch {
	case program == byName:
		return rank + policy.SubjectBinary
	case program == byPattern:
		return rank + policy.SubjectBinaryPattern
	case set&byDescent != 0:
		return rank + policy.SubjectDescendant
	}
	return 0
}

// selects reports whether a policy has a subject at all.
func (s *subjects) selects(p int) bool {
	return s.set[p].Subject.Everyone || s.binaries.of[p] >= 0 || s.cgroups.of[p] >= 0 || s.users.of[p] >= 0 || s.chosen.of[p] >= 0
}

// unknownRank is rank for a process that could not be identified: the greatest
// that it could have.
func (s *subjects) unknownRank(p int, user byte) (policy.SubjectRank, bool) {
	rank := s.rank(p, s.best[p], byProcess, user, 1)
	return rank, rank != 0 && (s.binaries.of[p] >= 0 || s.cgroups.of[p] >= 0 || s.chosen.of[p] >= 0)
}
