package policy

import (
	"fmt"
	"net/netip"
)

// Warning is something in a valid policy that is probably not meant.
type Warning struct {
	// Source, Policy and Rule tell the place as in [Error].
	Source string
	Policy string
	Rule   int
	// Text says what is odd and what to do.
	Text string
}

// String returns the place, what is odd and what to do.
func (w Warning) String() string {
	return (&Error{Source: w.Source, Policy: w.Policy, Rule: w.Rule, Err: fmt.Errorf("warning: %s", w.Text)}).Error()
}

// These bound the matches that [Warnings] tries in all and for one rule or
// pattern, which keeps it below a few seconds.
const (
	maxWarningWork = 8_000_000
	maxRuleWork    = 2_000_000
)

// Warnings returns the patterns that are listed twice and the rules and
// patterns of the policies that have no effect: no decision about any process
// and any object that can be judged at all, and no alert, would be another one
// without them. An "allow: all" beside a denial is idiomatic and never warned
// about. In a set of very many
// patterns not all are checked; what is warned about is always true.
func Warnings(set []Policy) []Warning {
	w := warner{set: set, gone: make(map[patternIndex]bool)}
	for _, o := range Operations() {
		w.operation(o)
	}
	return w.warnings
}

// patternIndex says which pattern of a policy set is meant.
type patternIndex struct {
	policy, rule int
	deny         bool
	index        int
}

type warner struct {
	set      []Policy
	warnings []Warning
	// work counts the matches tried, limit is where to stop.
	work, limit int
	// gone holds the patterns that have no effect, also without each other.
	gone map[patternIndex]bool
}

func (w *warner) operation(o Operation) {
	denies := false
	w.eachRule(o, func(i, j int) {
		denies = denies || len(w.set[i].Rules[j].Deny) > 0
	})
	w.eachRule(o, func(i, j int) {
		rule := w.set[i].Rules[j]
		switch {
		case !denies && len(rule.Allow) > 0:
			w.warn(i, j, "the rule has no effect: no rule denies "+string(o)+", so there is nothing that it could lift; add a denial or remove the rule")
		case denies && w.rule(o, i, j):
			w.warn(i, j, "the rule has no effect: whatever it selects is decided in the same way without it; remove it or make its patterns more specific")
		case denies:
			w.patterns(o, i, j)
		}
	})
}

// eachRule calls f for each rule of the operation, last first, so that of two
// alike the later is warned about.
func (w *warner) eachRule(o Operation, f func(i, j int)) {
	for i := len(w.set) - 1; i >= 0; i-- {
		for j := len(w.set[i].Rules) - 1; j >= 0; j-- {
			if w.set[i].Rules[j].Operation == o {
				f(i, j)
			}
		}
	}
}

func (w *warner) warn(i, j int, text string) {
	reference := referTo(w.set, i, j)
	w.warnings = append([]Warning{{Source: reference.Source, Policy: reference.Policy, Rule: j, Text: text}}, w.warnings...)
}

// rule tells whether the whole rule has no effect.
func (w *warner) rule(o Operation, i, j int) bool {
	rule := w.set[i].Rules[j]
	var all []patternIndex
	for k := range rule.Allow {
		all = append(all, patternIndex{i, j, false, k})
	}
	for k := range rule.Deny {
		all = append(all, patternIndex{i, j, true, k})
	}
	return w.idle(o, all)
}

// patterns warns about the single patterns of a rule that have no effect.
func (w *warner) patterns(o Operation, i, j int) {
	rule := w.set[i].Rules[j]
	for _, list := range []struct {
		name     string
		deny     bool
		patterns []Pattern
	}{{"deny", true, rule.Deny}, {"allow", false, rule.Allow}} {
		for k := len(list.patterns) - 1; k >= 0; k-- {
			text := list.patterns[k].String()
			if text == "all" && !list.deny && len(rule.Deny) > 0 {
				continue
			}
			twice := false
			for _, earlier := range list.patterns[:k] {
				twice = twice || earlier.String() == text
			}
			idle := w.idle(o, []patternIndex{{i, j, list.deny, k}})
			switch {
			case twice:
				w.warn(i, j, fmt.Sprintf("%s lists %s twice; remove one", list.name, text))
			case idle:
				w.warn(i, j, fmt.Sprintf("%s %s has no effect: whatever it selects is decided in the same way without it; remove it or make it more specific", list.name, text))
			}
		}
	}
}

// idle tells whether the patterns have no effect in the set, neither as it is
// nor without those that have been found to have none. It adds them to those.
func (w *warner) idle(o Operation, some []patternIndex) bool {
	if len(some) == 0 || w.work > maxWarningWork {
		return false
	}
	without := make(map[patternIndex]bool, len(w.gone)+len(some))
	for index := range w.gone {
		without[index] = true
	}
	w.limit = min(w.work+maxRuleWork, maxWarningWork)
	only := make(map[patternIndex]bool, len(some))
	for _, index := range some {
		without[index] = true
		only[index] = true
	}
	if !w.same(o, some, nil, only) || !w.same(o, some, w.gone, without) {
		return false
	}
	w.gone = without
	return true
}

// same tells whether the set without some patterns and the set without others
// decide every operation that the patterns in question select in the same way.
// It says no when that is too much work to find out.
func (w *warner) same(o Operation, about []patternIndex, without, others map[patternIndex]bool) bool {
	reduced := [2][]Policy{w.reduce(without), w.reduce(others)}
	for _, process := range w.processes() {
		// All patterns in question are of one policy.
		if _, ok := w.set[about[0].policy].Subject.matches(process); !ok {
			continue
		}
		if w.work > w.limit {
			return false
		}
		judges := [2]judge{}
		for i := range judges {
			judges[i] = newJudge(reduced[i], Request{Process: process, Operation: o})
			w.work += len(w.set) + len(judges[i].entries)
		}
		for _, index := range about {
			pattern, ok := w.pattern(index).(SocketPattern)
			if !ok {
				return false
			}
			if !w.sameSockets(pattern, judges) {
				return false
			}
		}
	}
	return true
}

// sameSockets tells whether both judges decide in the same way about each
// socket that the pattern selects, taken literally. Then they do so about
// every socket: what is decided about unspecified addresses and ports follows
// from the literal ones.
func (w *warner) sameSockets(pattern SocketPattern, judges [2]judge) bool {
	var patterns []Pattern
	for _, j := range judges {
		patterns = append(patterns, j.patterns()...)
	}
	addresses := append(addressRepresentatives(patterns, true), addressRepresentatives(patterns, false)...)
	// The first addresses stand for themselves and for those after them.
	addresses = append(addresses, netip.IPv4Unspecified().Next(), netip.IPv6Unspecified().Next())
	ports := append(portRepresentatives(patterns, PortRange{1, 65535}), 0)
	for _, protocol := range protocolRepresentatives(patterns) {
		for _, address := range addresses {
			if _, ok := (SocketPattern{Addresses: pattern.Addresses, All: len(pattern.Addresses) == 0}).matches(Socket{Address: address}); !ok {
				continue
			}
			for _, port := range ports {
				if port != 0 && !protocol.HasPorts() {
					continue
				}
				socket := Socket{Address: address, Port: port, Protocol: protocol}
				if _, ok := pattern.matches(socket); !ok {
					continue
				}
				w.work += len(patterns)
				if w.work > w.limit || judges[0].literal(socket).effect() != judges[1].literal(socket).effect() {
					return false
				}
			}
		}
	}
	return true
}

// effect returns the decision without what nobody notices: which rule allowed.
func (j judgement) effect() Decision {
	d := j.Decision
	if d.Verdict == Allow {
		d.Policy, d.Rule = -1, -1
	}
	return d
}

// processes returns a process for each class that the subjects tell apart.
func (w *warner) processes() []Process {
	processes := []Process{{}, {Unknown: true}}
	seen := make(map[string]bool)
	for _, p := range w.set {
		for _, binary := range p.Subject.Binaries {
			if !seen[binary] {
				processes = append(processes, Process{Binary: binary})
			}
			seen[binary] = true
		}
	}
	return processes
}

func (w *warner) pattern(index patternIndex) Pattern {
	rule := w.set[index.policy].Rules[index.rule]
	if index.deny {
		return rule.Deny[index.index]
	}
	return rule.Allow[index.index]
}

// reduce returns the set without the given patterns.
func (w *warner) reduce(without map[patternIndex]bool) []Policy {
	keep := func(patterns []Pattern, i, j int, deny bool) []Pattern {
		var kept []Pattern
		for k, pattern := range patterns {
			if !without[patternIndex{i, j, deny, k}] {
				kept = append(kept, pattern)
			}
		}
		return kept
	}
	reduced := make([]Policy, len(w.set))
	for i, p := range w.set {
		rules := make([]Rule, len(p.Rules))
		for j, rule := range p.Rules {
			rule.Allow = keep(rule.Allow, i, j, false)
			rule.Deny = keep(rule.Deny, i, j, true)
			rules[j] = rule
		}
		p.Rules = rules
		reduced[i] = p
	}
	return reduced
}
