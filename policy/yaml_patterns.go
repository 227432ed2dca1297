package policy

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// pattern decodes all or one pattern set.
func (d *decoder) pattern(n *yaml.Node, what string, o Operation) (Pattern, bool) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" && n.Value == "all" {
		return Everything(o), true
	}
	before := d.Problems()
	known := find(o)
	names, field := known.fields()
	example := fmt.Sprintf("%s: all or %s: {%s}", what, what, field)
	if strictyaml.IsNull(n) {
		d.Fail(n, "%s has no value; write %s", what, example)
		return nil, false
	}
	set, ok := d.Mapping(n, "pattern", example, append(slices.Clone(names), "all")...)
	if !ok {
		return nil, false
	}
	if value, ok := set["all"]; ok { // the long form, where a schema has but mappings
		switch all, _ := d.Boolean(value, "all"); {
		case d.Problems() > before:
			return nil, false
		case !all:
			d.Fail(value, "all: false selects nothing; write true or leave the pattern out")
			return nil, false
		case len(set) > 1:
			d.Fail(n, "all selects everything, so the other keys say nothing; leave out all or them")
			return nil, false
		}
		return Everything(o), true
	}
	p := known.decode(d, set)
	if d.Problems() > before {
		return nil, false
	}
	if err := checkPattern(o, p); err != nil {
		d.Check(n, err)
		return nil, false
	}
	return p, true
}
