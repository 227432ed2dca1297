package config

import (
	"errors"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
	"github.com/ebpfguard/ebpfguard/sink/registry"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// output reads an output; false if it has no settings that could be read.
func (r reader) output(n *yaml.Node) (spec setup.Spec, ok bool) {
	kind, ok := r.kind(n)
	if !ok {
		return spec, false
	}
	spec.Settings = kind.New()
	nodes := map[string]*yaml.Node{} // of the keys that are there
	known := map[string]func(*yaml.Node){
		"type":   func(*yaml.Node) {},
		"filter": func(n *yaml.Node) { nodes["filter"] = n; r.filter(n, &spec.Filter) },
	}
	for _, key := range spec.Settings.Keys() {
		read := r.scalar(key.Name, key.Value)
		known[key.Name] = func(n *yaml.Node) { nodes[key.Name] = n; read(n) }
	}
	before := r.Problems()
	r.mapping(n, "an output of type "+kind.Name, "{type: "+kind.Name+"}", known)
	if r.Problems() == before {
		r.invalid(n, nodes, spec.Validate())
	}
	return spec, true
}

// kind returns the kind of sinks that an output is of.
func (r reader) kind(n *yaml.Node) (setup.Kind, bool) {
	var names []string
	for _, kind := range registry.Kinds {
		names = append(names, kind.Name)
	}
	name, ok := r.typeOf(n, "an output", "stdout", names)
	if !ok {
		return setup.Kind{}, false
	}
	return registry.Kinds[slices.Index(names, name)], true
}

// typeOf returns the type of a mapping whose other keys depend on that, one of some names.
func (r reader) typeOf(n *yaml.Node, what, example string, names []string) (string, bool) {
	if n.Kind != yaml.MappingNode {
		r.Fail(n, "%s must be a mapping, not %s; write for example {type: %s}", what, strictyaml.Kind(n), example)
		return "", false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Value != "type" {
			continue
		}
		switch {
		case value.Kind != yaml.ScalarNode:
			r.Fail(value, "type must be a word, not %s; %s", strictyaml.Kind(value), strictyaml.Suggest("", names))
		case !slices.Contains(names, value.Value):
			r.Fail(value, "type: unknown %q; %s", value.Value, strictyaml.Suggest(value.Value, names))
		default:
			return value.Value, true
		}
		return "", false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := n.Content[i]; strictyaml.Nearest(key.Value, []string{"type"}) != "" {
			r.Fail(key, "unknown field %q of %s; did you mean type?", key.Value, what)
			return "", false
		}
	}
	r.Fail(n, "%s needs a type; %s", what, strictyaml.Suggest("", names))
	return "", false
}

// invalid reports what is wrong with a mapping: what is about a key at its value, if that
// is there.
func (r reader) invalid(n *yaml.Node, values map[string]*yaml.Node, err error) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			r.invalid(n, values, err)
		}
		return
	}
	var wrong *setup.KeyError
	if errors.As(err, &wrong) && values[wrong.Key] != nil {
		n = values[wrong.Key]
	}
	r.Fail(n, "%w", err)
}
