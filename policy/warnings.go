package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
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
// pattern, which keeps it below a few seconds, and what it returns.
const (
	maxWarningWork = 8_000_000
	maxRuleWork    = 2_000_000
	maxWarnings    = 1000
)

// Warnings returns the patterns that are listed twice, those that are easily
// evaded, and the rules and patterns of the policies that have no effect: no
// decision about any process and any object that can be judged at all, and no
// alert, would be another one without them. An "allow: all" beside a denial is
// idiomatic and never warned about. In a set of very many patterns, and where
// globs or names of users overlap in ways that are hard to follow, not all are
// checked; what is warned about is always true.
func Warnings(set []Policy) []Warning {
	w := warner{set: set, gone: make(map[patternIndex]bool)}
	for _, o := range Operations() {
		w.operation(o)
	}
	// They were found last first.
	slices.Reverse(w.warnings)
	slices.SortStableFunc(w.warnings, func(a, b foundWarning) int {
		return cmp.Or(cmp.Compare(a.policy, b.policy), cmp.Compare(a.Rule, b.Rule))
	})
	if len(w.warnings) > maxWarnings {
		w.warnings = w.warnings[:maxWarnings]
	}
	warnings := make([]Warning, len(w.warnings))
	for i, found := range w.warnings {
		warnings[i] = found.Warning
	}
	return warnings
}

// foundWarning is a warning about the policy with an index.
type foundWarning struct {
	Warning
	policy int
}

// patternIndex says which pattern of a policy set is meant.
type patternIndex struct {
	policy, rule int
	deny         bool
	index        int
}

// ruleIndex says which rule of a policy set is meant.
type ruleIndex struct{ policy, rule int }

type warner struct {
	set      []Policy
	warnings []foundWarning
	// work counts the matches tried, limit is where to stop.
	work, limit int
	// instead counts how much of what the patterns last compared select each
	// rule decides without them.
	instead map[ruleIndex]int
	// gone holds the patterns that have no effect, also without each other.
	gone map[patternIndex]bool
	// subjects and objects stand for all processes and objects of the
	// operation being looked at; nil if there are too many to try.
	subjects []subjects
	objects  []Object
}

func (w *warner) operation(o Operation) {
	denies := false
	patterns := 0
	w.eachRule(o, func(i, j int) {
		rule := w.set[i].Rules[j]
		denies = denies || len(rule.Deny) > 0
		patterns += len(rule.Deny) + len(rule.Allow)
	})
	if patterns == 0 {
		return
	}
	w.subjects, w.objects = subjectsFor(w.set, o), objectsFor(w.set, o)
	w.eachRule(o, func(i, j int) {
		rule := w.set[i].Rules[j]
		switch {
		case w.contradictory(i, j):
		case !denies && len(rule.Allow) > 0:
			w.warn(i, j, "the rule has no effect: no rule denies "+string(o)+", so this allow lifts nothing; add a denial or remove the rule")
		case denies && w.rule(o, i, j):
			w.warn(i, j, fmt.Sprintf("the rule has no effect: everything that it matches gets the same verdict without it%s; remove it or make its patterns more specific", w.because(i, j)))
		case denies:
			w.vain(o, i, j, w.patterns(o, i, j))
			w.evadable(i, j)
			w.holding(i, j)
		}
	})
}

// evadable warns about a denial that is easily evaded.
func (w *warner) evadable(i, j int) {
	for _, pattern := range w.set[i].Rules[j].Deny {
		if p, ok := pattern.(interface{ evasion() string }); ok && p.evasion() != "" {
			w.warn(i, j, fmt.Sprintf("deny %s %s", abbreviate(pattern.String()), p.evasion()))
			return
		}
	}
}

// contradictory warns about patterns whose keys hardly any object can match at once,
// and reports whether the rule has no others.
func (w *warner) contradictory(i, j int) bool {
	rule := w.set[i].Rules[j]
	found := 0
	patterns := slices.Concat(rule.Deny, rule.Allow)
	for k, pattern := range patterns {
		list := "deny"
		if k >= len(rule.Deny) {
			list = "allow"
		}
		if p, ok := pattern.(interface{ contradiction(Operation) string }); ok && p.contradiction(rule.Operation) != "" {
			w.warn(i, j, fmt.Sprintf("%s %s %s", list, abbreviate(pattern.String()), p.contradiction(rule.Operation)))
			found++
		}
	}
	return found > 0 && found == len(patterns)
}

// holding warns about a denial that keeps more in its place than it seems to.
func (w *warner) holding(i, j int) {
	for _, pattern := range w.set[i].Rules[j].Deny {
		p, ok := pattern.(FilePattern)
		if !ok {
			continue
		}
		if above := p.holds(); above != "" {
			w.warn(i, j, fmt.Sprintf("deny %s also refuses to move any directory below %s elsewhere, since it could hold such a file; name the directories (/dir/) if that is too much", abbreviate(pattern.String()), above))
			return
		}
	}
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
	w.warnings = append(w.warnings, foundWarning{Warning{Source: reference.Source, Policy: reference.Policy, Rule: j, Text: text}, i})
}

// rule reports whether the whole rule has no effect.
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

// patterns warns about the single patterns of a rule that have no effect, and
// returns which it warned about.
func (w *warner) patterns(o Operation, i, j int) map[patternIndex]bool {
	rule := w.set[i].Rules[j]
	warned := make(map[patternIndex]bool)
	for _, list := range []struct {
		name     string
		deny     bool
		patterns []Pattern
	}{{"deny", true, rule.Deny}, {"allow", false, rule.Allow}} {
		texts := make([]string, len(list.patterns))
		count := make(map[string]int, len(list.patterns))
		for k, pattern := range list.patterns {
			texts[k] = pattern.String()
			count[texts[k]]++
		}
		for k := len(list.patterns) - 1; k >= 0; k-- {
			text := texts[k]
			if text == "all" && !list.deny && len(rule.Deny) > 0 {
				continue
			}
			twice := count[text] > 1
			count[text]--
			index := patternIndex{i, j, list.deny, k}
			idle := w.idle(o, []patternIndex{index})
			warned[index] = twice || idle
			switch {
			case twice:
				w.warn(i, j, fmt.Sprintf("%s lists %s twice; remove one", list.name, abbreviate(text)))
			case idle:
				w.warn(i, j, fmt.Sprintf("%s %s has no effect: everything that it matches gets the same verdict without it%s; remove it or make it more specific", list.name, abbreviate(text), w.because(i, j)))
			}
		}
	}
	return warned
}

// because names the rule that decides without patterns of a rule, which were just
// found to have no effect: of several the one that decides most. It is empty where
// none does.
func (w *warner) because(i, j int) string {
	rules := slices.SortedFunc(maps.Keys(w.instead), func(a, b ruleIndex) int {
		return cmp.Or(cmp.Compare(w.instead[b], w.instead[a]), cmp.Compare(a.policy, b.policy), cmp.Compare(a.rule, b.rule))
	})
	others := slices.DeleteFunc(slices.Clone(rules), func(r ruleIndex) bool { return r == ruleIndex{i, j} })
	switch {
	case len(rules) == 0:
		return ""
	case len(others) == 0:
		return ", because of another pattern of this rule"
	}
	r := referTo(w.set, others[0].policy, others[0].rule)
	text := fmt.Sprintf(", because of policy %q rule %d", r.Policy, r.Rule)
	if r.Source != "" {
		text += " (" + r.Source + ")"
	}
	switch n := len(others) - 1; n {
	case 0:
	case 1:
		text += " and another rule"
	default:
		text += fmt.Sprintf(" and %d other rules", n)
	}
	return text
}

// abbreviate returns a pattern as a warning shows it.
func abbreviate(text string) string {
	if len(text) > 200 {
		return strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}

// idle reports whether the patterns have no effect in the set, neither as it is
// nor without those that have been found to have none. It adds them to those.
func (w *warner) idle(o Operation, some []patternIndex) bool {
	if len(some) == 0 || w.work > maxWarningWork || w.subjects == nil || w.objects == nil {
		return false
	}
	without := maps.Clone(w.gone)
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

// same reports whether the set without some patterns and the set without others
// decide every operation that the patterns in question select in the same way.
// It says no when that is too much work to find out.
//
// It compares the decisions about literal objects only: what is decided about
// unspecified addresses and ports, several names and several kinds of access
// follows from those and from which names are judged at all.
func (w *warner) same(o Operation, about []patternIndex, without, others map[patternIndex]bool) bool {
	reduced := [2][]Policy{w.reduce(o, without), w.reduce(o, others)}
	var judges [2]judge
	for i := range judges {
		judges[i] = judge{operation: o, paths: pathsOf(reduced[i], o)}
	}
	dropped := w.dropped(judges)
	w.instead = make(map[ruleIndex]int)
	// What the patterns select concerns the processes of their policy, which
	// is one; names that just one of the sets has paths for concern all.
	var selected, named []Object
	for _, object := range w.objects {
		if dropped[nameOf(object)] {
			named = append(named, object)
		} else if slices.ContainsFunc(about, func(index patternIndex) bool {
			_, certain := w.pattern(index).matches(object)
			return certain != no
		}) {
			selected = append(selected, object)
		}
	}
	w.work += len(w.objects) * len(about)
	for _, s := range w.subjects {
		for i := range judges {
			judges[i].entries = entriesFor(reduced[i], o, s.match)
			w.work += len(w.set) + len(judges[i].entries)
		}
		objects := named
		_, certain := s.match(about[0].policy)
		if certain != no {
			objects = slices.Concat(named, selected)
		}
		for _, object := range objects {
			w.work += len(judges[0].entries) + len(judges[1].entries)
			if w.work > w.limit {
				return false
			}
			effect, left := judges[0].literal(object).effect(), judges[1].literal(object)
			if certain == yes && left.Policy >= 0 && !left.Undecided {
				w.instead[ruleIndex{left.Policy, left.Rule}]++
			}
			if effect != left.effect() || judges[0].othersEffect(object) != judges[1].othersEffect(object) || dropped[nameOf(object)] && effect.Verdict != Allow {
				return false
			}
		}
	}
	return w.work <= w.limit
}

// dropped returns the names that just one of the judges has a path for. That one
// judges by them, the other drops them beside names that it has a path for; it is
// the same only as long as they are allowed.
func (w *warner) dropped(judges [2]judge) map[string]bool {
	dropped := make(map[string]bool)
	seen := make(map[string]bool)
	for _, object := range w.objects {
		name := nameOf(object)
		if name == "" || seen[name] || w.work > w.limit {
			continue
		}
		seen[name] = true
		w.work += len(judges[0].paths) + len(judges[1].paths)
		if judges[0].named(name) != judges[1].named(name) {
			dropped[name] = true
		}
	}
	return dropped
}

// effect returns the decision without what nobody notices: which rule allowed.
func (j judgement) effect() Decision {
	d := j.Decision
	if d.Verdict == Allow {
		d.Policy, d.Rule, d.NamesObject, d.Revoke = -1, -1, false, false
	}
	return d
}

// othersEffect is what the policies decide that are not delegated, which counts by itself where a delegated one names
// what the kernel may choose.
func (j judge) othersEffect(o Object) Decision {
	others, ok := j.others()
	if !ok {
		return NoRule()
	}
	return others.alone(o).effect()
}

func (w *warner) pattern(index patternIndex) Pattern {
	rule := w.set[index.policy].Rules[index.rule]
	if index.deny {
		return rule.Deny[index.index]
	}
	return rule.Allow[index.index]
}

// reduce returns the set without the given patterns and without the rules of
// other operations.
func (w *warner) reduce(o Operation, without map[patternIndex]bool) []Policy {
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
			if rule.Operation != o {
				continue
			}
			w.work += 1 + len(rule.Allow) + len(rule.Deny)
			rule.Allow = keep(rule.Allow, i, j, false)
			rule.Deny = keep(rule.Deny, i, j, true)
			rules[j] = rule
		}
		p.Rules = rules
		reduced[i] = p
	}
	return reduced
}
