package policy

import (
	"fmt"
	"slices"
	"strings"
)

// maxSubjects bounds the processes that stand for all others.
const maxSubjects = 4096

// subjects says which subjects of a policy set select a process.
type subjects struct {
	set    []Policy
	states map[string]subjectState
	// now is when: some policies may have ended.
	now uint64
}

type subjectState struct {
	rank SubjectRank
	certainty
}

// match returns how the subject of the policy with the index selects the
// process.
func (s subjects) match(i int) (SubjectRank, certainty) {
	if s.set[i].over(s.now) {
		return 0, no
	}
	state := s.states[s.set[i].Subject.String()]
	return state.rank, state.certainty
}

// subjectsFor returns all ways in which the subjects of the policies with rules
// for the operation may select a process, and possibly some in which none can.
// It returns nil if that is too many.
func subjectsFor(set []Policy, o Operation) []subjects {
	programs, others := map[string]Subject{}, map[string]Subject{}
	for _, p := range set {
		if !slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Operation == o }) {
			continue
		}
		if p.Subject.namesPrograms() {
			programs[p.Subject.String()] = p.Subject
		} else {
			others[p.Subject.String()] = p.Subject
		}
	}
	// Known processes.
	all := []map[string]subjectState{{}}
	for text, s := range others {
		all = multiply(all, text, s.states())
	}
	all = withPrograms(all, programs)
	if all == nil {
		return nil
	}
	// Processes that could not be identified.
	unknown := []map[string]subjectState{{}}
	for _, group := range []map[string]Subject{others, programs} {
		for text, s := range group {
			unknown = multiply(unknown, text, s.unknownStates())
		}
	}
	if unknown == nil {
		return nil
	}
	times := timesOf(set)
	if (len(all)+len(unknown))*len(times) > 2*maxSubjects {
		return nil
	}
	result := make([]subjects, 0, (len(all)+len(unknown))*len(times))
	for _, states := range append(all, unknown...) {
		for _, now := range times {
			result = append(result, subjects{set, states, now})
		}
	}
	return result
}

// timesOf returns the times that stand for all others: before any policy ends or begins, and
// when each does.
func timesOf(set []Policy) []uint64 {
	times := []uint64{0}
	for _, p := range set {
		times = append(times, p.Until, p.From)
	}
	slices.Sort(times)
	return slices.Compact(times)
}

// namesPrograms reports whether the subject names exact binaries and nothing else.
func (s Subject) namesPrograms() bool {
	return !s.Everyone && len(s.Binaries) > 0 && !s.Descendants && s.Users.isZero() && len(s.Cgroups) == 0 && s.Inside().IsZero() && !s.Host && len(s.Processes) == 0 &&
		!slices.ContainsFunc(s.Binaries, func(b string) bool { return isGlob(b) || strings.HasSuffix(b, "/") })
}

// multiply returns the combinations with each state of one more subject, nil if
// they become too many.
func multiply(all []map[string]subjectState, text string, states []subjectState) []map[string]subjectState {
	if len(all)*len(states) > maxSubjects {
		return nil
	}
	var result []map[string]subjectState
	for _, one := range all {
		for _, state := range states {
			result = append(result, with(one, map[string]subjectState{text: state}))
		}
	}
	return result
}

// with returns the union of both.
func with(a, b map[string]subjectState) map[string]subjectState {
	union := make(map[string]subjectState, len(a)+len(b))
	for _, m := range []map[string]subjectState{a, b} {
		for k, v := range m {
			union[k] = v
		}
	}
	return union
}

// withPrograms returns the combinations with those of the subjects that name
// exact binaries. A process runs at most two: a program and a script.
func withPrograms(all []map[string]subjectState, programs map[string]Subject) []map[string]subjectState {
	if all == nil {
		return nil
	}
	by := map[string]map[string]subjectState{"": {}}
	for text, s := range programs {
		for _, binary := range s.Binaries {
			if by[binary] == nil {
				by[binary] = map[string]subjectState{}
			}
			by[binary][text] = subjectState{SubjectEveryone + SubjectBinary, yes}
		}
	}
	// Binaries in the same subjects are alike.
	distinct := map[string]map[string]subjectState{}
	for _, states := range by {
		distinct[fmt.Sprint(states)] = states
	}
	if len(all)*len(distinct)*len(distinct) > maxSubjects {
		return nil
	}
	pairs := map[string]map[string]subjectState{}
	for _, a := range distinct {
		for _, b := range distinct {
			pair := with(a, b)
			pairs[fmt.Sprint(pair)] = pair
		}
	}
	var result []map[string]subjectState
	for _, one := range all {
		for _, pair := range pairs {
			result = append(result, with(one, pair))
		}
	}
	return result
}

// states returns how the subject may select a known process.
func (s Subject) states() []subjectState {
	rank := SubjectEveryone
	if s.Everyone {
		return []subjectState{{rank, yes}}
	}
	if !s.Users.isZero() {
		rank += SubjectUser
	}
	if len(s.Cgroups) > 0 {
		rank += SubjectCgroup
	}
	if len(s.Processes) > 0 {
		rank += SubjectProcess
	}
	certainties := []certainty{yes}
	if !s.Inside().IsZero() || s.Host {
		rank += SubjectContainer
		certainties = append(certainties, maybe) // of a container that could not be identified
	}
	states := []subjectState{{}}
	if len(s.Binaries) == 0 {
		for _, certain := range certainties {
			states = append(states, subjectState{rank, certain})
		}
		return states
	}
	bits := map[SubjectRank]bool{}
	for _, b := range s.Binaries {
		bits[binaryBit(splitPathPattern(b).Specificity())] = true
	}
	if s.Descendants {
		bits[SubjectDescendant] = true
	}
	for bit := range bits {
		for _, certain := range certainties {
			states = append(states, subjectState{rank + bit, certain})
		}
	}
	return states
}

// unknownStates returns how the subject may select a process that could not be
// identified, of which just the user is known.
func (s Subject) unknownStates() []subjectState {
	if s.Everyone {
		return s.states()
	}
	rank, certain := SubjectEveryone, yes
	if !s.Users.isZero() {
		rank += SubjectUser
	}
	if len(s.Cgroups) > 0 {
		rank, certain = rank+SubjectCgroup, maybe
	}
	if len(s.Binaries) > 0 {
		rank, certain = rank+binaryBit(maxPathSpecificity(s.Binaries)), maybe
	}
	if len(s.Processes) > 0 {
		rank, certain = rank+SubjectProcess, maybe
	}
	if !s.Inside().IsZero() || s.Host {
		rank, certain = rank+SubjectContainer, maybe
	}
	states := []subjectState{{rank, certain}}
	if !s.Users.isZero() {
		states = append(states, subjectState{})
	}
	return states
}
