package daemon

import (
	"fmt"
	"slices"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// sets are the policies by who owns them. What is in force is all of them.
type sets struct {
	files, applied, cluster, mitigations []policy.Policy
	// trial is set while the applied policies wait to be confirmed.
	trial *trial
}

func (s sets) all() []policy.Policy {
	return slices.Concat(s.files, s.applied, s.cluster, s.mitigations)
}

// origin returns who owns the policy of a name, and the policy.
func (s sets) origin(name string) (pb.Origin, policy.Policy) {
	for _, owned := range []struct {
		origin pb.Origin
		set    []policy.Policy
	}{{pb.Origin_ORIGIN_FILE, s.files}, {pb.Origin_ORIGIN_APPLIED, s.applied}, {pb.Origin_ORIGIN_CLUSTER, s.cluster}, {pb.Origin_ORIGIN_MITIGATION, s.mitigations}} {
		if i := indexOf(owned.set, name); i >= 0 {
			return owned.origin, owned.set[i]
		}
	}
	return pb.Origin_ORIGIN_UNSPECIFIED, policy.Policy{}
}

// unique returns an error when two owners have a policy of the same name.
func (s sets) unique() error {
	applied := s.applied
	if s.trial != nil {
		applied = slices.Concat(applied, s.trial.former)
	}
	for _, p := range applied {
		if i := indexOf(s.files, p.Name); i >= 0 {
			return fmt.Errorf("policy %q of %s has the same name as an applied policy; run ebpfguard delete %s, or rename one of them", p.Name, s.files[i].Source, p.Name)
		}
	}
	for _, p := range s.cluster {
		if origin, other := s.origin(p.Name); origin != pb.Origin_ORIGIN_CLUSTER {
			return fmt.Errorf("policy %q%s has the same name as %s of the cluster; rename it", p.Name, from(other), p.Source)
		}
	}
	for _, m := range s.mitigations {
		if origin, p := s.origin(m.Name); origin != pb.Origin_ORIGIN_MITIGATION {
			return fmt.Errorf("policy %q%s has the same name as a mitigation; lift the mitigation, wait until it expires, or rename the policy", p.Name, from(p))
		}
	}
	return nil
}

// from says where a policy was read, if that is known.
func from(p policy.Policy) string {
	if p.Source == "" {
		return ""
	}
	return " of " + p.Source
}

func indexOf(set []policy.Policy, name string) int {
	return slices.IndexFunc(set, func(p policy.Policy) bool { return p.Name == name })
}

// without returns the policies that none of the others has the name of.
func without(set []policy.Policy, others ...[]policy.Policy) []policy.Policy {
	return slices.DeleteFunc(slices.Clone(set), func(p policy.Policy) bool {
		return slices.ContainsFunc(others, func(other []policy.Policy) bool { return indexOf(other, p.Name) >= 0 })
	})
}

// compare returns which policies differ between two sets, by name.
func compare(before, after []policy.Policy) *pb.Changes {
	c := &pb.Changes{}
	for _, p := range after {
		i := indexOf(before, p.Name)
		switch {
		case i < 0:
			c.Added = append(c.Added, p.Name)
		case policy.Equal(before[i], p):
			c.Unchanged = append(c.Unchanged, p.Name)
		default:
			c.Changed = append(c.Changed, p.Name)
		}
	}
	for _, p := range before {
		if indexOf(after, p.Name) < 0 {
			c.Removed = append(c.Removed, p.Name)
		}
	}
	return c
}

func changed(c *pb.Changes) bool {
	return len(c.GetAdded())+len(c.GetChanged())+len(c.GetRemoved()) > 0
}
