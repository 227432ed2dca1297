package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Explanation says how a decision came about. Its fields have stable JSON keys.
type Explanation struct {
	Operation Operation `json:"operation"`
	// Binary and Script are empty when the process is unknown.
	Binary  string `json:"binary,omitempty"`
	Script  string `json:"script,omitempty"`
	Cgroup  string `json:"cgroup,omitempty"`
	Unknown bool   `json:"unknown,omitempty"`
	Object  string `json:"object"`
	Verdict string `json:"verdict"`
	// Decision is what [Decide] returns.
	Decision Decision `json:"-"`
	// Winner is the rule that decided; nil when no rule did.
	Winner *RuleReference `json:"winner"`
	// Notes tell what is not obvious: which of the values that the kernel
	// may choose decided, and that the process or object is not known.
	Notes []string `json:"notes,omitempty"`
	// Candidates are all patterns that match, in the order of the set.
	Candidates []ExplainedCandidate `json:"candidates"`
}

// RuleReference tells a person which rule is meant.
type RuleReference struct {
	Policy   string   `json:"policy"`
	Rule     int      `json:"rule"`
	Source   string   `json:"source,omitempty"`
	Message  string   `json:"message,omitempty"`
	Severity Severity `json:"severity,omitempty"`
	Tags     []string `json:"tags,omitempty"`
}

// ExplainedCandidate is a pattern that matches the object and what became of it.
type ExplainedCandidate struct {
	Candidate Candidate `json:"-"`
	Policy    string    `json:"policy"`
	Rule      int       `json:"rule"`
	Source    string    `json:"source,omitempty"`
	Verdict   string    `json:"verdict"`
	Pattern   string    `json:"pattern"`
	Won       bool      `json:"won"`
	// Reason says why the candidate won or lost.
	Reason string `json:"reason"`
}

// Explain returns the decision of [Decide] with all that led to it.
func Explain(set []Policy, r Request) Explanation {
	j := newJudge(set, r)
	result := j.judge(r.Object)
	e := Explanation{
		Operation:  r.Operation,
		Binary:     r.Process.Binary,
		Script:     r.Process.Script,
		Cgroup:     r.Process.Cgroup,
		Unknown:    r.Process.Unknown,
		Object:     fmt.Sprint(r.Object),
		Verdict:    result.Verdict.String(),
		Decision:   result.Decision,
		Candidates: []ExplainedCandidate{},
	}
	if r.Process.Unknown {
		e.Binary, e.Script, e.Cgroup = "", "", ""
	}
	if d := result.Decision; d.Policy >= 0 {
		reference := referTo(set, d.Policy, d.Rule)
		e.Winner = &reference
	}
	e.Notes = notes(r, result)
	if result.unidentified {
		return e
	}
	c := comparison{set: set, decision: result.Decision, candidates: j.candidates(result.object)}
	all := len(c.candidates)
	if others, ok := j.others(); ok && CompareStrictness(ResolveUnknown(c.candidates), result.Decision) < 0 {
		// Of what is not delegated a denial stands that was lifted: what is delegated had no say.
		c.candidates = others.candidates(result.object)
	}
	c.findWinner()
	i := 0
	for _, entry := range j.entries {
		candidate, ok := entry.candidate(result.object)
		if !ok {
			continue
		}
		reference := referTo(set, candidate.Policy, candidate.Rule)
		explained := ExplainedCandidate{
			Candidate: candidate,
			Policy:    reference.Policy,
			Rule:      reference.Rule,
			Source:    reference.Source,
			Verdict:   candidate.Verdict.String(),
			Pattern:   entry.pattern.String(),
		}
		if len(c.candidates) < all && entry.delegated {
			explained.Reason = "its policy is delegated, so it lifts nothing of those that are not"
		} else {
			explained.Candidate = c.candidates[i]
			explained.Won, explained.Reason = i == c.winner, c.reason(i)
			i++
		}
		e.Candidates = append(e.Candidates, explained)
	}
	return e
}

func referTo(set []Policy, policy, rule int) RuleReference {
	p := set[policy]
	r := p.Rules[rule]
	source := r.Source
	if source == "" {
		source = p.Source
	}
	return RuleReference{
		Policy: p.Name, Rule: rule, Source: source,
		Message: r.Message, Severity: r.Severity, Tags: r.Tags,
	}
}

// notes returns what is not obvious about the decision.
func notes(r Request, result judgement) []string {
	if result.unidentified {
		return []string{"the object cannot be judged, so any rule of the operation may concern it"}
	}
	var notes []string
	if result.Undecided {
		what := "process"
		switch {
		case r.Process.Unknown:
		case r.Process.inUnidentified():
			what = "container"
		default:
			what = "path"
		}
		notes = append(notes, fmt.Sprintf("the %s is unknown, so the strictest verdict that may apply is taken", what))
	}
	return append(notes, find(r.Operation).notes(r.Object, result.object)...)
}

// comparison says why candidates won or lost.
type comparison struct {
	set        []Policy
	decision   Decision
	candidates []Candidate
	winner     int // index of a candidate; -1 for none
}

// uncertain reports whether any of the candidates may not apply.
func (c *comparison) uncertain() bool {
	return slices.ContainsFunc(c.candidates, func(c Candidate) bool { return c.Uncertain })
}

// findWinner sets the winner: the candidate of the rule that decided, with its
// verdict, that no other one overrides.
func (c *comparison) findWinner() {
	c.winner = -1
	for i, candidate := range c.candidates {
		d := c.decision
		if candidate.Policy == d.Policy && candidate.Rule == d.Rule && candidate.Verdict == d.Verdict && c.override(i) < 0 {
			if c.winner < 0 || candidate.before(c.candidates[c.winner]) {
				c.winner = i
			}
		}
	}
}

// narrower returns the index of a candidate that is more specific about the kind
// than candidate i, with as specific a subject as the winner's; -1 if there is none.
func (c *comparison) narrower(i int) int {
	found := -1
	for k, other := range c.candidates {
		if other.Uncertain || c.override(k) >= 0 || other.Subject != c.candidates[c.winner].Subject || !other.Kind.moreSpecificThan(c.candidates[i].Kind) {
			continue
		}
		if found < 0 || k == c.winner {
			found = k
		}
	}
	return found
}

// override returns the index of a candidate that is more specific about the
// object than candidate i and certainly applies; the winner if it is one; -1
// if there is none.
func (c *comparison) override(i int) int {
	found := -1
	for k, other := range c.candidates {
		if other.Uncertain || !other.Object.moreSpecificThan(c.candidates[i].Object) {
			continue
		}
		if found < 0 || k == c.winner {
			found = k
		}
	}
	return found
}

// reason returns why candidate i won or lost.
func (c *comparison) reason(i int) string {
	const mayNot = "it may not concern this process and object"
	candidate := c.candidates[i]
	if i == c.winner {
		if candidate.Uncertain {
			return "won: it may concern this process and object"
		}
		return "won"
	}
	if k := c.override(i); k >= 0 {
		other := c.candidates[k]
		return fmt.Sprintf("less specific than %s (%s)", c.name(k), c.lessSpecificIn(candidate, candidate.Object, other.Object))
	}
	if c.winner < 0 {
		return mayNot
	}
	winner := c.candidates[c.winner]
	switch {
	case !c.uncertain() && candidate.Subject < winner.Subject:
		return fmt.Sprintf("its subject is less specific than that of %s", c.name(c.winner))
	case !c.uncertain() && c.narrower(i) >= 0:
		k := c.narrower(i)
		return fmt.Sprintf("its kind is less specific than that of %s (%s)", c.name(k), c.lessSpecificIn(candidate, candidate.Kind, c.candidates[k].Kind))
	case candidate.Verdict < winner.Verdict:
		return fmt.Sprintf("%v wins over %v", winner.Verdict, candidate.Verdict)
	case candidate.Uncertain && candidate.Verdict == Allow:
		return mayNot
	case candidate.Verdict > winner.Verdict || candidate.Subject < winner.Subject:
		return fmt.Sprintf("its subject is less specific than that of %s", c.name(c.winner))
	case candidate.Policy == winner.Policy && candidate.Rule == winner.Rule:
		return "agrees with the winner, which is in the same rule"
	}
	return fmt.Sprintf("agrees with %s, which comes first", c.name(c.winner))
}

func (c *comparison) name(i int) string {
	candidate := c.candidates[i]
	return fmt.Sprintf("policy %q rule %d", c.set[candidate.Policy].Name, candidate.Rule)
}

// lessSpecificIn names the keys in which a specificity of a candidate is less than
// another.
func (c *comparison) lessSpecificIn(candidate Candidate, a, b Specificity) string {
	names, kinds := find(c.set[candidate.Policy].Rules[candidate.Rule].Operation).keys()
	var keys []string
	for i, name := range slices.Concat(names, kinds) {
		if a[i] < b[i] {
			keys = append(keys, name)
		}
	}
	return strings.Join(keys, ", ")
}

// String returns the explanation for a person to read.
func (e Explanation) String() string {
	var b strings.Builder
	who := e.Binary
	switch {
	case e.Unknown:
		who = "an unknown process"
	case who == "":
		who = "a program that no policy names"
	}
	if e.Script != "" {
		who += " for " + e.Script
	}
	of := "of "
	if strings.HasPrefix(e.Object, "on ") {
		of = "" // a mount of which just the target is known
	}
	fmt.Fprintf(&b, "%s: %s %s%s by %s\n", e.Verdict, e.Operation, of, e.Object, who)
	if w := e.Winner; w != nil {
		fmt.Fprintf(&b, "decided by policy %q rule %d%s\n", w.Policy, w.Rule, at(w.Source))
		if w.Message != "" {
			fmt.Fprintf(&b, "message: %s\n", w.Message)
		}
		if w.Severity != "" {
			fmt.Fprintf(&b, "severity: %s\n", w.Severity)
		}
		if len(w.Tags) > 0 {
			fmt.Fprintf(&b, "tags: %s\n", strings.Join(w.Tags, ", "))
		}
	} else {
		b.WriteString("no rule decides, and what no rule denies is allowed\n")
	}
	for _, note := range e.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	if len(e.Candidates) > 0 {
		b.WriteString("the patterns that match:\n")
	}
	for _, c := range e.Candidates {
		fmt.Fprintf(&b, "  %-5s %s\n        policy %q rule %d%s: %s\n", c.Verdict, c.Pattern, c.Policy, c.Rule, at(c.Source), c.Reason)
	}
	return b.String()
}

func at(source string) string {
	if source == "" {
		return ""
	}
	return " at " + source
}
