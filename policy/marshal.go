package policy

import "slices"

// Marshal returns the policies, which must be valid, as YAML that stands for itself: what
// addresses_from lists is in it as addresses. [Parse] reads it as policies that decide
// the same.
func Marshal(set []Policy) ([]byte, error) {
	if err := Validate(set); err != nil {
		return nil, err
	}
	set = slices.Clone(set)
	for i := range set {
		set[i].Rules = slices.Clone(set[i].Rules)
		for j := range set[i].Rules {
			r := &set[i].Rules[j]
			r.Allow, r.Deny = standAlone(r.Allow), standAlone(r.Deny)
		}
	}
	return Format(set), nil
}

// standAlone returns patterns that need no other files.
func standAlone(patterns []Pattern) []Pattern {
	patterns = slices.Clone(patterns)
	for i, p := range patterns {
		if listed, ok := p.(listedPattern); ok {
			patterns[i] = listed.standAlone()
		}
	}
	return patterns
}
