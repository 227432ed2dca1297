package ebpfguard

import (
	"slices"

	"github.com/ebpfguard/ebpfguard/policy"
)

// Changes is what an applied policy set changed, by the names of policies.
type Changes struct {
	// Revision is the number of the set now in force; alerts carry it.
	Revision uint32
	// Changed ones say something else; what is only read from another place is unchanged.
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

// clone copies a set, so that its owner cannot change what is in force.
func clone(set []policy.Policy) []policy.Policy {
	set = slices.Clone(set)
	for i := range set {
		s := &set[i].Subject
		s.Binaries, s.Cgroups, s.Users = slices.Clone(s.Binaries), slices.Clone(s.Cgroups), cloneIDs(s.Users)
		s.Processes = slices.Clone(s.Processes)
		set[i].Rules = slices.Clone(set[i].Rules)
		for j := range set[i].Rules {
			r := &set[i].Rules[j]
			r.Allow, r.Deny, r.Tags = clonePatterns(r.Allow), clonePatterns(r.Deny), slices.Clone(r.Tags)
		}
	}
	return set
}

func cloneIDs(ids policy.IDs) policy.IDs {
	return policy.IDs{Ranges: slices.Clone(ids.Ranges), Names: slices.Clone(ids.Names)}
}

func clonePatterns(patterns []policy.Pattern) []policy.Pattern {
	patterns = slices.Clone(patterns)
	for i, p := range patterns {
		switch p := p.(type) {
		case policy.FilePattern:
			p.Paths = slices.Clone(p.Paths)
			patterns[i] = p
		case policy.ProgramPattern:
			p.Paths = slices.Clone(p.Paths)
			patterns[i] = p
		case policy.MountPattern:
			p.Sources, p.Targets, p.Types = slices.Clone(p.Sources), slices.Clone(p.Targets), slices.Clone(p.Types)
			patterns[i] = p
		case policy.CredentialsPattern:
			p.From = policy.Identity{UIDs: cloneIDs(p.From.UIDs), GIDs: cloneIDs(p.From.GIDs)}
			p.To = policy.Identity{UIDs: cloneIDs(p.To.UIDs), GIDs: cloneIDs(p.To.GIDs)}
			patterns[i] = p
		case policy.SocketPattern:
			p.Ports, p.Addresses, p.Protocols = slices.Clone(p.Ports), slices.Clone(p.Addresses), slices.Clone(p.Protocols)
			p.AddressesFrom, p.Listed = slices.Clone(p.AddressesFrom), slices.Clone(p.Listed)
			patterns[i] = p
		}
	}
	return patterns
}
