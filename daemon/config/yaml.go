package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
	"github.com/ebpfguard/ebpfguard/sink"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// Parse reads a configuration from YAML; what it does not say is as in
// [Default]. Reading is strict: anything that is not understood is an error with
// its place as name:line:column. The error joins all problems.
func Parse(name string, data []byte) (Config, error) {
	c := Default()
	r := newReader(name, data)
	if root := r.document(data); root != nil {
		r.config(root, &c)
	}
	if err := errors.Join(r.Errors()...); err != nil {
		return Config{}, err
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// parseOutput reads an output as a flag has it.
func parseOutput(text string) (setup.Spec, error) {
	r := newReader("", []byte(text))
	var spec setup.Spec
	if root := r.document([]byte(text)); root != nil {
		spec, _ = r.output(root)
	} else if r.Problems() == 0 {
		return spec, errors.New("the output is empty; write such as '{type: stdout}'")
	}
	return spec, errors.Join(r.Errors()...)
}

// reader reads nodes of YAML and collects the problems.
type reader struct{ *strictyaml.Reader }

func newReader(name string, data []byte) reader { return reader{strictyaml.New(name, len(data))} }

// document returns the root of the only document; nil if there is none.
func (r reader) document(data []byte) (root *yaml.Node) {
	for found := range r.Documents(data) {
		if root != nil {
			r.Fail(found, "there is a second document; keep one")
			return nil
		}
		root = found
	}
	if r.Problems() > 0 {
		return nil
	}
	return root
}

// mapping reads the fields of a mapping.
func (r reader) mapping(n *yaml.Node, what string, known map[string]func(*yaml.Node)) {
	fields, _ := r.Mapping(n, what, "key: value", slices.Sorted(maps.Keys(known))...)
	for name, value := range fields {
		known[name](value)
	}
}

// scalar reads a value as the flag of that name takes it.
func (r reader) scalar(key string, value setup.Value) func(*yaml.Node) {
	return func(n *yaml.Node) {
		tags := []string{"!!str"}
		switch value.Type() {
		case "bool":
			tags = []string{"!!bool"}
		case "size", "uint":
			tags = []string{"!!str", "!!int"}
		case "duration":
			tags = append(tags, "!!int") // 0
		}
		switch {
		case !r.Untagged(n):
		case n.Kind != yaml.ScalarNode:
			r.Fail(n, "%s must be a single value, not %s; write one", key, strictyaml.Kind(n))
		case !slices.Contains(tags, n.ShortTag()) && tags[0] == "!!str":
			r.Fail(n, "%s must be a string; write %q with the quotes", key, n.Value)
		case !slices.Contains(tags, n.ShortTag()):
			r.Fail(n, "%s must be true or false, not %q; write one of them", key, n.Value)
		default:
			if err := value.Set(n.Value); err != nil {
				r.Fail(n, "%s: %s", key, remedied(value, err))
			}
		}
	}
}

// remedied adds what to do to the errors of flags that do not say it.
func remedied(value setup.Value, err error) string {
	if value.Type() == "duration" {
		return err.Error() + "; write for example 300ms, 10s or 1m"
	}
	return err.Error()
}

// texts reads a list of strings.
func (r reader) texts(key string, to *[]string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		for _, item := range r.List(n, key) {
			if text, ok := r.Text(item, "a value of "+key); ok {
				*to = append(*to, text)
			}
		}
	}
}

func (r reader) config(n *yaml.Node, c *Config) {
	known := map[string]func(*yaml.Node){}
	c.Flags().VisitAll(func(f *pflag.Flag) { known[keyOf(f.Name)] = r.scalar(keyOf(f.Name), f.Value) })
	known["outputs"] = func(n *yaml.Node) {
		c.Outputs = nil
		if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			return // none
		}
		for _, item := range r.List(n, "outputs") {
			if spec, ok := r.output(item); ok {
				c.Outputs = append(c.Outputs, spec)
			}
		}
	}
	r.mapping(n, "the configuration", known)
}

func (r reader) filter(n *yaml.Node, f *sink.Filter) {
	r.mapping(n, "a filter", map[string]func(*yaml.Node){
		"operations": r.texts("operations", &f.Operations),
		"policies":   r.texts("policies", &f.Policies),
		"verdicts":   r.texts("verdicts", &f.Verdicts),
		"severities": r.texts("severities", &f.Severities),
		"binaries":   r.texts("binaries", &f.Binaries),
	})
}
