package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// The limits of a policy.
const (
	maxName    = 253
	maxMessage = 1024
	maxTags    = 16
	maxTag     = 64
	// maxAlertLimit is so many alerts a second that no limit means the same.
	maxAlertLimit = 1_000_000
)

// Error is one problem of a policy.
type Error struct {
	// Source is the place as file:line:column; empty if there is none.
	Source string
	// Policy is the policy's name; empty if the problem is outside any.
	Policy string
	// Rule is the rule's index; -1 if the problem is outside any.
	Rule int
	// Err says what is wrong and what to do.
	Err error
}

// Error returns the place, the problem and what to do.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Source != "" {
		fmt.Fprintf(&b, "%s: ", e.Source)
	}
	if e.Policy != "" {
		fmt.Fprintf(&b, "policy %q: ", e.Policy)
	}
	if e.Rule >= 0 {
		fmt.Fprintf(&b, "rule %d: ", e.Rule)
	}
	return b.String() + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Validate returns everything that is wrong with the policies as one joined
// error of [*Error] values, or nil.
func Validate(set []Policy) error {
	var errs []error
	for _, p := range set {
		errs = append(errs, p.validate()...)
	}
	return errors.Join(append(errs, duplicates(set)...)...)
}

// duplicates returns an error for each policy with the name of an earlier one.
func duplicates(set []Policy) []error {
	var errs []error
	first := make(map[string]Policy, len(set))
	for _, p := range set {
		other, ok := first[p.Name]
		switch {
		case !ok:
			first[p.Name] = p
		case p.Name == "": // reported as such
		case other.Source == "":
			errs = append(errs, &Error{Source: p.Source, Policy: p.Name, Rule: -1,
				Err: errors.New("another policy has the same name; rename one of them")})
		default:
			errs = append(errs, &Error{Source: p.Source, Policy: p.Name, Rule: -1,
				Err: fmt.Errorf("the policy at %s has the same name; rename one of them", other.Source)})
		}
	}
	return errs
}

func (p Policy) validate() []error {
	var errs []error
	add := func(err error) {
		for _, err := range strictyaml.Unjoin(err) {
			errs = append(errs, &Error{Source: p.Source, Policy: p.Name, Rule: -1, Err: err})
		}
	}
	add(checkName(p.Name))
	if p.Mode > ModeAudit {
		add(fmt.Errorf("unknown mode %v; use ModeEnforce or ModeAudit", p.Mode))
	}
	add(p.Subject.validate())
	if p.Until != 0 && p.From >= p.Until {
		add(fmt.Errorf("the policy begins at %d and ends at %d, so it is never in force; let it begin earlier", p.From, p.Until))
	}
	if len(p.Rules) == 0 {
		add(errors.New("the policy has no rules; add one"))
	}
	for i, r := range p.Rules {
		source := r.Source
		if source == "" {
			source = p.Source
		}
		for _, err := range strictyaml.Unjoin(r.validate()) {
			errs = append(errs, &Error{Source: source, Policy: p.Name, Rule: i, Err: err})
		}
	}
	return errs
}

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9._/-]*[a-z0-9])?$`)

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("the policy has no name; give it one")
	case len(name) > maxName:
		return fmt.Errorf("the name has %d characters; shorten it to %d", len(name), maxName)
	case !namePattern.MatchString(name):
		return fmt.Errorf("%q is no policy name; use a-z, 0-9, '-', '.', '_' and '/', first and last a letter or digit", name)
	}
	return nil
}

func (r Rule) validate() error {
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	add(checkOperation(r.Operation))
	if len(r.Allow) == 0 && len(r.Deny) == 0 {
		add(errors.New("the rule neither allows nor denies anything; add allow or deny"))
	}
	for _, list := range []struct {
		name     string
		patterns []Pattern
	}{{"allow", r.Allow}, {"deny", r.Deny}} {
		for i, pattern := range list.patterns {
			for _, err := range strictyaml.Unjoin(checkPattern(r.Operation, pattern)) {
				add(fmt.Errorf("%s[%d]: %w", list.name, i, err))
			}
		}
	}
	add(checkVerdict(r.Verdict))
	if r.Revoke {
		add(checkRevoke(r.Operation))
	}
	add(checkMessage(r.Message))
	add(checkSeverity(r.Severity))
	if len(r.Tags) > maxTags {
		add(fmt.Errorf("the rule has %d tags; keep at most %d", len(r.Tags), maxTags))
	}
	for _, tag := range r.Tags {
		add(checkTag(tag))
	}
	if r.AlertLimit != 0 {
		add(checkAlertLimit(uint64(r.AlertLimit)))
	}
	return errors.Join(errs...)
}

// checkVerdict returns what is wrong with the verdict of a rule.
func checkVerdict(v Verdict) error {
	switch v {
	case 0, Audit, Deny, Kill:
		return nil
	case Allow:
		return errors.New("a rule's verdict says what its deny means, so it cannot be allow; use audit, deny or kill")
	}
	return fmt.Errorf("unknown verdict %v; use audit, deny or kill", v)
}

func checkMessage(message string) error {
	switch {
	case len(message) > maxMessage:
		return fmt.Errorf("the message has %d bytes; shorten it to %d", len(message), maxMessage)
	case !utf8.ValidString(message):
		return errors.New("the message is not valid UTF-8; rewrite it")
	}
	return nil
}

// severities lists the severities, least first.
var severities = []string{
	string(SeverityInfo), string(SeverityLow), string(SeverityMedium),
	string(SeverityHigh), string(SeverityCritical),
}

func checkSeverity(s Severity) error {
	if s == "" || slices.Contains(severities, string(s)) {
		return nil
	}
	return fmt.Errorf("unknown severity %q; %s", s, strictyaml.Suggest(string(s), severities))
}

func checkAlertLimit(limit uint64) error {
	if limit < 1 || limit > maxAlertLimit {
		return fmt.Errorf("alert_limit is %d; write 1 to %d alerts a second, or leave it out for no limit", limit, maxAlertLimit)
	}
	return nil
}

func checkTag(tag string) error {
	switch {
	case tag == "":
		return errors.New("a tag is empty; remove it")
	case len(tag) > maxTag:
		return fmt.Errorf("tag %q has %d bytes; shorten it to %d", tag, len(tag), maxTag)
	case !utf8.ValidString(tag):
		return fmt.Errorf("tag %q is not valid UTF-8; rewrite it", tag)
	}
	return nil
}

// checkEmpty returns an error for a list that is empty without being nil. An
// empty list matches everything; one that was made on purpose and came out
// empty must not.
func checkEmpty[T any](key string, list []T) error {
	if list == nil || len(list) > 0 {
		return nil
	}
	return fmt.Errorf("%s is an empty list; name at least one value or leave it out (nil), which selects all", key)
}
