package policy

import (
	"errors"
	"fmt"
)

func (s Subject) validate() error {
	var errs []error
	for _, selector := range []struct {
		name        string
		given, none bool
	}{
		{"binaries", len(s.Binaries) > 0, s.Binaries != nil && len(s.Binaries) == 0},
		{"users", !s.Users.isZero(), s.Users.isZero() && (s.Users.Ranges != nil || s.Users.Names != nil)},
		{"cgroups", len(s.Cgroups) > 0, s.Cgroups != nil && len(s.Cgroups) == 0},
		{"containers", len(s.Containers) > 0, s.Containers != nil && len(s.Containers) == 0},
		{"pods", len(s.Pods) > 0, s.Pods != nil && len(s.Pods) == 0},
		{"host", s.Host, false},
		{"processes", len(s.Processes) > 0, s.Processes != nil && len(s.Processes) == 0},
	} {
		switch {
		case s.Everyone && selector.given:
			errs = append(errs, fmt.Errorf("the subject is everyone and %s at the same time; leave out one of them", selector.name))
		case selector.none && !s.Everyone:
			errs = append(errs, fmt.Errorf("the subject's %s are empty, which selects no process; name at least one or select everyone", selector.name))
		}
	}
	switch {
	case len(errs) > 0:
		return errors.Join(errs...)
	case s.Descendants && s.Everyone:
		return errors.New("the subject is everyone, which includes all descendants; leave out descendants")
	case s.Descendants && len(s.Binaries) == 0:
		return errors.New("the subject has descendants, but no binaries; name the binaries whose descendants are meant")
	case s.Identified && s.Inside().IsZero():
		return errors.New("the subject is about identified containers, but names no containers and no pods; add containers: [{}] for all, or leave out identified")
	case s.Host && !s.Inside().IsZero():
		return errors.New("the subject is the host and containers or pods at the same time, which no process is in; leave out one of them, or write two policies")
	case s.selectsNobody():
		return errors.New("the policy has no subject; select everyone or name binaries, users, cgroups, containers, pods, the host or processes")
	}
	for _, c := range s.Containers {
		errs = append(errs, c.validate())
	}
	for _, p := range s.Pods {
		errs = append(errs, p.validate())
	}
	errs = append(errs, checkList("binary", s.Binaries, checkBinary), s.Users.validate("users"), checkList("cgroup", s.Cgroups, checkCgroup), checkProcesses(s.Processes))
	return errors.Join(errs...)
}

func checkBinary(text string) error {
	_, err := parsePathPattern("binary", text)
	return err
}

func checkCgroup(text string) error {
	_, err := ParseCgroupPattern(text)
	return err
}

// checkList checks each value and that none is there twice.
func checkList(what string, values []string, check func(string) error) error {
	var errs []error
	seen := make(map[string]bool, len(values))
	for _, value := range values {
		if err := check(value); err != nil {
			errs = append(errs, err)
		} else if seen[value] {
			errs = append(errs, fmt.Errorf("%s %q is listed twice; remove one", what, shorten(value)))
		}
		seen[value] = true
	}
	return errors.Join(errs...)
}
