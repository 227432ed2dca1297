package sink

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
	"github.com/ebpfguard/ebpfguard/policy"
)

// NoSeverity stands in a [Filter] for rules without a severity.
const NoSeverity = "none"

// Filter chooses alerts: the values of one field are alternatives, all fields
// must agree, and an empty field chooses everything.
type Filter struct {
	Operations []string
	// Policies are names; '*' stands for any characters, also for none.
	Policies []string
	// Verdicts are audit, deny or kill.
	Verdicts []string
	// Severities are those of rules; [NoSeverity] for rules without one.
	Severities []string
	// Binaries are patterns of paths, see [policy.PathPattern]. None selects a
	// program that is not known.
	Binaries []string
}

var (
	filterVerdicts   = []string{policy.Audit.String(), policy.Deny.String(), policy.Kill.String()}
	filterSeverities = []string{
		string(policy.SeverityInfo), string(policy.SeverityLow), string(policy.SeverityMedium),
		string(policy.SeverityHigh), string(policy.SeverityCritical), NoSeverity,
	}
	filterPolicy = regexp.MustCompile(`^[a-z0-9._/*-]+$`)
)

// Validate returns everything that is wrong with the filter.
func (f Filter) Validate() error {
	_, err := f.compile()
	return err
}

// Match reports whether the filter chooses the alert. A wrong one chooses none.
func (f Filter) Match(alert ebpfguard.Alert) bool {
	m, err := f.compile()
	return err == nil && m.match(alert.Context())
}

// matcher is a filter with its patterns parsed.
type matcher struct {
	Filter
	binaries []policy.PathPattern
}

func (f Filter) compile() (matcher, error) {
	m := matcher{Filter: f}
	var errs []error
	for _, name := range f.Operations {
		if name == "" {
			errs = append(errs, errors.New("an operation is empty; leave it out"))
		} else if _, err := policy.ParseOperation(name); err != nil {
			errs = append(errs, err)
		}
	}
	for _, name := range f.Policies {
		if !filterPolicy.MatchString(name) {
			errs = append(errs, fmt.Errorf("%q is no policy name; use a-z, 0-9, '-', '.', '_' and '/', and '*' for any characters", name))
		}
	}
	for _, list := range []struct {
		what          string
		values, known []string
	}{{"verdict", f.Verdicts, filterVerdicts}, {"severity", f.Severities, filterSeverities}} {
		for _, value := range list.values {
			if !slices.Contains(list.known, value) {
				errs = append(errs, fmt.Errorf("unknown %s %q; %s", list.what, value, strictyaml.Suggest(value, list.known)))
			}
		}
	}
	for _, text := range f.Binaries {
		pattern, err := policy.ParsePathPattern(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("binary: %w", err))
		}
		m.binaries = append(m.binaries, pattern)
	}
	return m, errors.Join(errs...)
}

func (m matcher) match(c ebpfguard.AlertContext) bool {
	severity := string(c.Severity)
	if severity == "" {
		severity = NoSeverity
	}
	return chooses(m.Operations, func(name string) bool { return name == string(c.Operation) }) &&
		chooses(m.Policies, func(name string) bool { return policy.MatchComponent(name, c.Policy) }) &&
		chooses(m.Verdicts, func(name string) bool { return name == c.Verdict.String() }) &&
		chooses(m.Severities, func(name string) bool { return name == severity }) &&
		chooses(m.binaries, func(p policy.PathPattern) bool { return p.Match(c.Binary) })
}

// chooses reports whether the list is empty or one of it is right.
func chooses[T any](list []T, right func(T) bool) bool {
	return len(list) == 0 || slices.ContainsFunc(list, right)
}
