// Package machine tells what in policies does not fit the machine that it runs on:
// names that do not exist here, directories that are named as if they were files,
// links that lead elsewhere. A policy may be for another machine, so all of that is a
// warning only.
package machine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/policy"
)

// The limits of what is looked at, so that very large sets take no time, and of the
// names in one warning.
const (
	maxLooks    = 20_000
	maxWarnings = 1000
	maxNames    = 3
)

// Warnings returns what in the policies does not fit this machine: the host, in a container.
func Warnings(set []policy.Policy) []policy.Warning { return At(hostroot.Host()).Warnings(set) }

// Machine is where names of policies are looked up.
type Machine struct {
	root  *hostroot.Root
	looks int
}

// At returns the machine that has a root directory.
func At(root *hostroot.Root) *Machine { return &Machine{root: root} }

// Warnings returns what in the policies does not fit the machine.
func (m *Machine) Warnings(set []policy.Policy) []policy.Warning {
	var warnings []policy.Warning
	for _, p := range set {
		subject := findings{}
		exception := slices.ContainsFunc(p.Rules, func(r policy.Rule) bool { return len(r.Allow) > 0 && len(r.Deny) == 0 })
		m.subject(p.Subject, exception, &subject)
		warnings = append(warnings, subject.warnings(p.Source, p.Name, -1)...)
		warnings = append(warnings, m.executor(p)...)
		for i, r := range p.Rules {
			rule := findings{}
			for _, pattern := range slices.Concat(r.Deny, r.Allow) {
				m.rule(r.Operation, policy.PathsOf(pattern), &rule)
			}
			source := r.Source
			if source == "" {
				source = p.Source
			}
			warnings = append(warnings, rule.warnings(source, p.Name, i)...)
		}
		if len(warnings) > maxWarnings {
			return warnings[:maxWarnings]
		}
	}
	return warnings
}

// findings are what a rule or a subject is warned about, by the text that follows the
// names: what several names have in common is one warning.
type findings struct {
	order []string
	names map[string][]string
}

// add says of a name what is wrong; %s in the text stands for the names.
func (f *findings) add(text, name string) {
	if f.names == nil {
		f.names = map[string][]string{}
	}
	if _, ok := f.names[text]; !ok {
		f.order = append(f.order, text)
	}
	if !slices.Contains(f.names[text], name) {
		f.names[text] = append(f.names[text], name)
	}
}

func (f *findings) warnings(source, name string, rule int) []policy.Warning {
	var warnings []policy.Warning
	for _, text := range f.order {
		warnings = append(warnings, policy.Warning{Source: source, Policy: name, Rule: rule, Text: strings.ReplaceAll(text, "%s", join(f.names[text]))})
	}
	return warnings
}

// join lists names as a sentence does, some of very many.
func join(names []string) string {
	rest := len(names) - maxNames
	if rest > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNames], ", "), rest)
	}
	if len(names) == 1 {
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// nothing is what is said of names that are not there.
const nothing = "on this machine there is no %s; correct it, unless it comes later or the policy is for another machine"
