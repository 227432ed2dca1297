package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrUnknownName says that this system has no user or group with a name. The error
// of a function that looks names up wraps it.
var ErrUnknownName = errors.New("is unknown")

// ResolveNames returns the policies, which must be valid, with the names of users
// and groups replaced by their ids. The error joins an [*Error] for each name that
// is not found. The given policies are left as they are.
func ResolveNames(set []Policy, users, groups func(name string) (uint32, error)) ([]Policy, error) {
	var errs []error
	resolved := slices.Clone(set)
	for i := range resolved {
		p := &resolved[i]
		r := nameResolver{users: users, groups: groups, source: p.Source, policy: p.Name, rule: -1}
		p.Subject.Users = r.ids("user", p.Subject.Users)
		p.Rules = slices.Clone(p.Rules)
		for j := range p.Rules {
			rule := &p.Rules[j]
			r.rule, r.source = j, rule.Source
			if r.source == "" {
				r.source = p.Source
			}
			rule.Allow = r.patterns(rule.Allow)
			rule.Deny = r.patterns(rule.Deny)
		}
		errs = append(errs, r.errs...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return resolved, nil
}

// nameResolver resolves the names of one policy.
type nameResolver struct {
	users, groups func(name string) (uint32, error)
	source        string
	policy        string
	rule          int
	errs          []error
}

// accountPattern is a [Pattern] that may name users or groups.
type accountPattern interface {
	resolve(*nameResolver) Pattern
}

func (r *nameResolver) patterns(patterns []Pattern) []Pattern {
	patterns = slices.Clone(patterns)
	for i, pattern := range patterns {
		if p, ok := pattern.(accountPattern); ok {
			patterns[i] = p.resolve(r)
		}
	}
	return patterns
}

func (r *nameResolver) identity(i Identity) Identity {
	return Identity{UIDs: r.ids("user", i.UIDs), GIDs: r.ids("group", i.GIDs)}
}

func (r *nameResolver) ids(kind string, ids IDs) IDs {
	if len(ids.Names) == 0 {
		return ids
	}
	lookup := r.users
	if kind == "group" {
		lookup = r.groups
	}
	ranges := slices.Clone(ids.Ranges)
	for _, name := range ids.Names {
		id, err := lookup(name)
		if errors.Is(err, ErrUnknownName) {
			// Only a cause that is not plain follows the name.
			if _, why, ok := strings.Cut(err.Error(), ErrUnknownName.Error()+": "); ok {
				r.fail(fmt.Errorf("%s %q %w: %s; create it, write its number or remove it", kind, name, ErrUnknownName, why))
			} else {
				r.fail(fmt.Errorf("%s %q %w; create it, write its number or remove it", kind, name, ErrUnknownName))
			}
			continue
		}
		if err != nil {
			r.fail(fmt.Errorf("%s %q: %w; create it, write its number or remove it", kind, name, err))
			continue
		}
		if id > MaxID {
			r.fail(fmt.Errorf("%s %q has the id %d, which means none; write another", kind, name, id))
			continue
		}
		ranges = append(ranges, IDRange{id, id})
	}
	return IDs{Ranges: ranges}
}

func (r *nameResolver) fail(err error) {
	r.errs = append(r.errs, &Error{Source: r.source, Policy: r.policy, Rule: r.rule, Err: err})
}

// remembered returns a function that asks for each name once. It is not safe for
// concurrent use.
func remembered(lookup func(name string) (string, error)) func(name string) (uint32, error) {
	type answer struct {
		id  uint32
		err error
	}
	answers := make(map[string]answer)
	return func(name string) (uint32, error) {
		a, ok := answers[name]
		if !ok {
			text, err := lookup(name)
			if err != nil {
				a.err = err
			} else if id, err := strconv.ParseUint(text, 10, 32); err != nil {
				a.err = fmt.Errorf("its id %q is no number", text)
			} else {
				a.id = uint32(id)
			}
			answers[name] = a
		}
		return a.id, a.err
	}
}
