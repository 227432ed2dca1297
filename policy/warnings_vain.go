package policy

import (
	"fmt"
	"strings"
)

// vain warns about the allow patterns of a rule that lift no denial, and about the
// deny patterns that an allow lifts wherever they match: those that [warner.same]
// could not tell, which does not follow globs. It compares patterns two by two.
func (w *warner) vain(o Operation, i, j int, warned map[patternIndex]bool) {
	rule := w.set[i].Rules[j]
	for k, pattern := range rule.Allow {
		index := patternIndex{i, j, false, k}
		if warned[index] || pattern.String() == "all" && len(rule.Deny) > 0 {
			continue
		}
		if p, ok := pattern.(interface{ choosable() bool }); ok && o == SocketBind && p.choosable() {
			continue // it may lift denials of what the kernel chooses instead
		}
		if text := w.liftsNothing(o, i, pattern); text != "" {
			w.warn(i, j, fmt.Sprintf("allow %s has no effect: %s", abbreviate(pattern.String()), text))
		} else if len(rule.Deny) == 0 {
			w.beaten(o, i, j, pattern)
		}
	}
}

// beaten warns about a denial that an exception does not lift, although it matches
// something of what is denied: the denial always wins. It is about rules that only
// allow; beside a denial, an allow-list has its exceptions.
func (w *warner) beaten(o Operation, i, j int, allow Pattern) {
	var text string
	w.eachRule(o, func(d, k int) {
		rule := w.set[d].Rules[k]
		if d == i || w.set[d].denial(rule) == Audit || w.set[i].Subject.apart(w.set[d].Subject) {
			return
		}
		for _, deny := range rule.Deny {
			w.work++
			m, ok := meet(deny, allow)
			if !ok || m.apart || w.work > maxWarningWork {
				continue
			}
			if why := w.beats(o, m, &w.set[d], &w.set[i]); why != "" {
				r := referTo(w.set, d, k)
				text = fmt.Sprintf("does not lift deny %s of policy %q rule %d%s, which always wins where both match, since %s", abbreviate(deny.String()), r.Policy, r.Rule, at(r.Source), why)
			}
		}
	})
	if text != "" { // the first in the set
		w.warn(i, j, fmt.Sprintf("allow %s %s", abbreviate(allow.String()), text))
	}
}

// liftsNothing says why an allow pattern of a policy lifts no denial; empty if it may
// lift one.
func (w *warner) liftsNothing(o Operation, i int, allow Pattern) string {
	const remove = "no rule denies anything that it matches; remove it, or deny something"
	text := remove
	done := true
	w.eachRule(o, func(d, j int) {
		if !done || w.set[i].Subject.apart(w.set[d].Subject) {
			return
		}
		for _, deny := range w.set[d].Rules[j].Deny {
			w.work++
			m, ok := meet(deny, allow)
			switch {
			case !ok || w.work > maxWarningWork:
				done = false
			case m.apart:
				continue
			default:
				why := w.beats(o, m, &w.set[d], &w.set[i])
				if why == "" {
					done = false
				} else {
					r := referTo(w.set, d, j)
					text = fmt.Sprintf("where it matches, policy %q rule %d%s denies and always wins, since %s", r.Policy, r.Rule, at(r.Source), why)
				}
			}
			if !done {
				return
			}
		}
	})
	if !done {
		return ""
	}
	return text
}

// beats says why a denial always wins against an allow where both match; empty if it
// may lose.
func (w *warner) beats(o Operation, m meeting, denied, allowed *Policy) string {
	if allowed.Delegated && !denied.Delegated {
		return "the allow's policy is delegated, which lifts nothing of those that are not; ask for the exception to be made there"
	}
	names, kinds := find(o).keys()
	var more []string
	for key, name := range names {
		switch {
		case m.order[key] < 0:
			return ""
		case m.order[key] > 0:
			more = append(more, name)
		}
	}
	if len(more) > 0 {
		return fmt.Sprintf("it names the object more specifically (%s); name it at least as specifically", strings.Join(more, ", "))
	}
	switch denied.Subject.compareRank(allowed.Subject) {
	case -1:
		return ""
	case 1:
		return "its subject is more specific; name a subject that is more specific still"
	}
	for key := range kinds {
		if m.order[len(names)+key] < 0 {
			return ""
		}
		if m.order[len(names)+key] > 0 {
			more = append(more, kinds[key])
		}
	}
	if len(more) > 0 {
		return fmt.Sprintf("it names the kind more specifically (%s); name it too, or a more specific subject", strings.Join(more, ", "))
	}
	return "of rules that are equally specific the strictest wins; name the object or the subject more specifically"
}

// apart reports whether no process is selected by both subjects. Of most it cannot be
// told, since a process runs a script and its interpreter.
func (s Subject) apart(other Subject) bool {
	if len(s.Users.Ranges) == 0 || len(other.Users.Ranges) == 0 || len(s.Users.Names)+len(other.Users.Names) > 0 {
		return false
	}
	for _, a := range s.Users.Ranges {
		for _, b := range other.Users.Ranges {
			if a.First <= b.Last && b.First <= a.Last {
				return false
			}
		}
	}
	return true
}

// compareRank returns 1 if the subject is more specific than the other one for every
// process that both select, 0 if it is at least as specific, and -1 if it may be less.
func (s Subject) compareRank(other Subject) int {
	if s.String() == other.String() {
		return 0
	}
	least, _ := s.ranks()
	_, most := other.ranks()
	switch {
	case least > most:
		return 1
	case least == most:
		return 0
	}
	return -1
}

// ranks returns the least and the greatest rank that a match by the subject has.
func (s Subject) ranks() (least, most SubjectRank) {
	for _, state := range s.states() {
		switch {
		case state.certainty == no:
		case most == 0:
			least, most = state.rank, state.rank
		default:
			least, most = min(state.rank, least), max(state.rank, most)
		}
	}
	return least, most
}
