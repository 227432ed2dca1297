package policy

import (
	"fmt"
	"strings"
)

// Explanation says how a decision came about. Its fields have stable JSON keys.
type Explanation struct {
	Operation Operation `json:"operation"`
	// Binary is empty when the process is unknown.
	Binary  string `json:"binary,omitempty"`
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
		Unknown:    r.Process.Unknown,
		Object:     fmt.Sprint(r.Object),
		Verdict:    result.Verdict.String(),
		Decision:   result.Decision,
		Candidates: []ExplainedCandidate{},
	}
	if r.Process.Unknown {
		e.Binary = ""
	}
	if d := result.Decision; d.Policy >= 0 {
		reference := referTo(set, d.Policy, d.Rule)
		e.Winner = &reference
	}
	e.Notes = notes(r.Object, result)
	if result.unidentified {
		return e
	}
	c := comparison{set: set, unknown: r.Process.Unknown, decision: result.Decision}
	var entries []entry
	for _, entry := range j.entries {
		if candidate, ok := entry.candidate(result.object); ok {
			c.candidates = append(c.candidates, candidate)
			entries = append(entries, entry)
		}
	}
	c.findWinner()
	for i, candidate := range c.candidates {
		reference := referTo(set, candidate.Policy, candidate.Rule)
		e.Candidates = append(e.Candidates, ExplainedCandidate{
			Candidate: candidate,
			Policy:    reference.Policy,
			Rule:      reference.Rule,
			Source:    reference.Source,
			Verdict:   candidate.Verdict.String(),
			Pattern:   entries[i].pattern.String(),
			Won:       i == c.winner,
			Reason:    c.reason(i),
		})
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
func notes(asked Object, result judgement) []string {
	var notes []string
	if result.unidentified {
		notes = append(notes, "the object cannot be judged, so any rule of the operation may concern it")
	} else if result.Undecided {
		notes = append(notes, "the process is unknown, so the strictest verdict that may apply is taken")
	}
	from, ok := asked.(Socket)
	to, ok2 := result.object.(Socket)
	if !ok || !ok2 || result.unidentified {
		return notes
	}
	from = from.normal()
	if from.DualStack && to.Address.Is4() {
		notes = append(notes, "the socket takes IPv4 as well")
		if !to.Address.IsUnspecified() {
			notes = append(notes, fmt.Sprintf("address 0.0.0.0 stands for every IPv4 address, also %v", to.Address))
		}
	} else if from.Address != to.Address {
		notes = append(notes, fmt.Sprintf("address %v stands for every address of its family, also %v", from.Address, to.Address))
	}
	if from.Port != to.Port {
		notes = append(notes, fmt.Sprintf("port %d may become %d", from.Port, to.Port))
	}
	return notes
}

// comparison says why candidates won or lost.
type comparison struct {
	set        []Policy
	unknown    bool
	decision   Decision
	candidates []Candidate
	winner     int // index of a candidate; -1 for none
}

// findWinner sets the winner: the candidate of the rule that decided, with its
// verdict, that no other one overrides.
func (c *comparison) findWinner() {
	c.winner = -1
	for i, candidate := range c.candidates {
		d := c.decision
		if candidate.Policy == d.Policy && candidate.Rule == d.Rule && candidate.Verdict == d.Verdict && c.override(i) < 0 {
			if c.winner < 0 || candidate.Subject > c.candidates[c.winner].Subject {
				c.winner = i
			}
		}
	}
}

// override returns the index of a candidate that is more specific about the
// object than candidate i and certainly applies; the winner if it is one; -1
// if there is none.
func (c *comparison) override(i int) int {
	found := -1
	for k, other := range c.candidates {
		if c.unknown && other.Subject != SubjectEveryone || !other.Object.moreSpecificThan(c.candidates[i].Object) {
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
	candidate := c.candidates[i]
	if i == c.winner {
		if c.decision.Undecided && candidate.Subject != SubjectEveryone {
			return "won: it applies if the process is one of its subject"
		}
		return "won"
	}
	if k := c.override(i); k >= 0 {
		other := c.candidates[k]
		return fmt.Sprintf("less specific than %s (%s)", c.name(k), strings.Join(lessSpecificIn(candidate.Object, other.Object), ", "))
	}
	if c.winner < 0 {
		return "the process may not be one of its subject"
	}
	winner := c.candidates[c.winner]
	switch {
	case !c.unknown && candidate.Subject < winner.Subject:
		return fmt.Sprintf("its subject is less specific than that of %s", c.name(c.winner))
	case candidate.Verdict < winner.Verdict:
		return fmt.Sprintf("%v wins over %v", winner.Verdict, candidate.Verdict)
	case c.unknown && candidate.Verdict == Allow && candidate.Subject != SubjectEveryone:
		return "the process may not be one of its subject"
	case candidate.Policy == winner.Policy && candidate.Rule == winner.Rule:
		return "agrees with the winner, which is in the same rule"
	}
	return fmt.Sprintf("agrees with %s, which comes first", c.name(c.winner))
}

func (c *comparison) name(i int) string {
	candidate := c.candidates[i]
	return fmt.Sprintf("policy %q rule %d", c.set[candidate.Policy].Name, candidate.Rule)
}

// lessSpecificIn names the keys in which a is less specific than b.
func lessSpecificIn(a, b Specificity) []string {
	var keys []string
	for i, name := range [...]string{addressKey: "addresses", portKey: "ports", protocolKey: "protocols"} {
		if a[i] < b[i] {
			keys = append(keys, name)
		}
	}
	return keys
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
	fmt.Fprintf(&b, "%s: %s of %s by %s\n", e.Verdict, e.Operation, e.Object, who)
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
