package ebpfguard

import "github.com/ebpfguard/ebpfguard/policy"

// Changes is what an applied policy set changed, by the names of policies.
type Changes struct {
	// Revision is the number of the set now in force; alerts carry it.
	Revision uint32
	// A policy is Changed if it says something else than before. One that only moved to
	// another place in its file is not.
	Added, Removed, Changed []string
}

// compare tells what changed from one set to another.
func compare(before, after []policy.Policy) Changes {
	var c Changes
	former, there := map[string]policy.Policy{}, map[string]bool{}
	for _, p := range before {
		former[p.Name] = p
	}
	for _, p := range after {
		there[p.Name] = true
		switch old, ok := former[p.Name]; {
		case !ok:
			c.Added = append(c.Added, p.Name)
		case !policy.Equal(old, p):
			c.Changed = append(c.Changed, p.Name)
		}
	}
	for _, p := range before {
		if !there[p.Name] {
			c.Removed = append(c.Removed, p.Name)
		}
	}
	return c
}
