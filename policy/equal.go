package policy

import (
	"reflect"
	"slices"
)

// Equal reports whether two policies say the same, wherever they were read. The addresses
// that files gave are part of what they say.
func Equal(a, b Policy) bool { return reflect.DeepEqual(a.WithoutSource(), b.WithoutSource()) }

// WithoutSource returns the policy without the places where it and its rules were read.
func (p Policy) WithoutSource() Policy {
	p.Source = ""
	p.Rules = slices.Clone(p.Rules)
	for i := range p.Rules {
		p.Rules[i].Source = ""
	}
	return p
}
