package policy

import (
	"fmt"

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
	set, ok := d.Mapping(n, "pattern", example, names...)
	if !ok {
		return nil, false
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
