package sink

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

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
	// Containers are names, in which '*' stands for any characters, or ids or the first
	// characters of one, at least 12. None selects what is on the host.
	Containers []string
	// Pods are NAMESPACE/NAME of Kubernetes, in both of which '*' stands for any characters. None selects
	// what is in no pod.
	Pods []string
}

var (
	filterVerdicts   = []string{policy.Audit.String(), policy.Deny.String(), policy.Kill.String()}
	filterSeverities = []string{
		string(policy.SeverityInfo), string(policy.SeverityLow), string(policy.SeverityMedium),
		string(policy.SeverityHigh), string(policy.SeverityCritical), NoSeverity,
	}
	filterContainer = regexp.MustCompile(`^[^\s/]+$`)
	filterPod       = regexp.MustCompile(`^[a-z0-9.*-]+/[a-z0-9.*-]+$`)
	filterPolicy    = regexp.MustCompile(`^[a-z0-9._/*-]+$`)
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
	for _, name := range f.Containers {
		if !filterContainer.MatchString(name) {
			errs = append(errs, fmt.Errorf("%q is no name of a container; write one such as web, web-* or the first %d characters of an id", name, idLength))
		}
	}
	for _, name := range f.Pods {
		if !filterPod.MatchString(name) {
			errs = append(errs, fmt.Errorf("%q is no pod; write NAMESPACE/NAME such as shop/web-0 or shop/web-*", name))
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
		chooses(m.binaries, func(p policy.PathPattern) bool { return p.Match(c.Binary) }) &&
		chooses(m.Containers, func(name string) bool { return isIn(c.Process, name) }) &&
		chooses(m.Pods, func(name string) bool { return isInPod(c.Process, name) })
}

// idLength is how much of a container's id is enough: what docker and podman print.
const idLength = 12

// isIn reports whether a process is in a container with a name or an id.
func isIn(p ebpfguard.Process, name string) bool {
	isID := func(id string) bool { return id == name || len(name) >= idLength && strings.HasPrefix(id, name) }
	for _, c := range []*policy.Container{p.Container, p.FirstContainer} {
		if c != nil && (policy.MatchComponent(name, c.Name) || isID(c.ID)) {
			return true
		}
	}
	return p.ContainerID != "" && isID(p.ContainerID) // by its control group alone
}

// isInPod reports whether a process is in a pod with a namespace and a name.
func isInPod(p ebpfguard.Process, pod string) bool {
	namespace, name, _ := strings.Cut(pod, "/")
	return slices.ContainsFunc([]*policy.Container{p.Container, p.FirstContainer}, func(c *policy.Container) bool {
		return c != nil && c.Pod != nil && policy.MatchComponent(namespace, c.Pod.Namespace) && policy.MatchComponent(name, c.Pod.Name)
	})
}

// chooses reports whether the list is empty or one of it is right.
func chooses[T any](list []T, right func(T) bool) bool {
	return len(list) == 0 || slices.ContainsFunc(list, right)
}
