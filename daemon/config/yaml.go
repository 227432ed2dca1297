package config

import (
	"cmp"
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
		places := r.config(root, &c)
		if r.Problems() == 0 {
			r.invalid(root, places, c.Validate())
		}
	}
	if err := errors.Join(r.Errors()...); err != nil {
		return Config{}, err
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
func (r reader) mapping(n *yaml.Node, what, example string, known map[string]func(*yaml.Node)) {
	fields, _ := r.Mapping(n, what, example, slices.Sorted(maps.Keys(known))...)
	for name, value := range fields {
		known[name](value)
	}
}

// examples are values of keys that have no default to show.
var examples = map[string]string{
	"group": "adm", "metrics": "127.0.0.1:9477", "path": "/var/log/ebpfguard/alerts.json", "node_name": "worker-1", "kubeconfig": "/etc/ebpfguard/kubeconfig",
}

// typeWords are what a person calls the types of values that are not text.
var typeWords = map[string]string{"bool": "true or false", "size": "a size", "uint": "a number", "duration": "a duration"}

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
		example := key + ": " + cmp.Or(value.String(), examples[key])
		kind := cmp.Or(typeWords[value.Type()], "text")
		switch {
		case !r.Untagged(n):
		case strictyaml.IsNull(n):
			r.Fail(n, "%s has no value; write for example %s, or leave it out", key, example)
		case n.Kind == yaml.ScalarNode && slices.Contains(tags, n.ShortTag()):
			if err := value.Set(n.Value); err != nil {
				r.Fail(n, "%s: %w", key, remedied(value, n.Value, err))
			}
		case n.Kind == yaml.ScalarNode && kind == "text":
			r.Fail(n, "%s must be text, not %s; if you mean it, write it in quotes: %s: %q", key, n.Value, key, n.Value)
		default:
			r.Fail(n, "%s must be %s, not %s; write for example %s", key, kind, strictyaml.Kind(n), example)
		}
	}
}

// remedied makes an error of a flag that does not say what to do one that does.
func remedied(value setup.Value, text string, err error) error {
	if value.Type() == "duration" {
		return fmt.Errorf("%q is not a duration; write for example 300ms, 10s or 1m", text)
	}
	return err
}

// texts reads a list of strings, each of which has to be right by itself.
func (r reader) texts(key string, to *[]string, check func([]string) sink.Filter) func(*yaml.Node) {
	return func(n *yaml.Node) {
		for _, item := range r.List(n, key) {
			if text, ok := r.Text(item, "a value of "+key); ok {
				r.Check(item, check([]string{text}).Validate())
				*to = append(*to, text)
			}
		}
	}
}

// config reads the configuration, and returns the places of its keys and of its outputs, as
// [Config.Validate] calls them.
func (r reader) config(n *yaml.Node, c *Config) (places map[string]*yaml.Node) {
	places = map[string]*yaml.Node{}
	known := map[string]func(*yaml.Node){}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		key := keyOf(f.Name)
		read := r.scalar(key, f.Value)
		known[key] = func(n *yaml.Node) { places[key] = n; read(n) }
	})
	known["outputs"] = func(n *yaml.Node) {
		c.Outputs = nil
		if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			return // none
		}
		for _, item := range r.List(n, "outputs") {
			if spec, ok := r.output(item); ok {
				places[setup.Place(len(c.Outputs))] = item
				c.Outputs = append(c.Outputs, spec)
			}
		}
	}
	known["containers"] = func(n *yaml.Node) { places["containers"] = n; r.containers(n, &c.Containers) }
	r.mapping(n, "the configuration", "key: value, such as log_level: info", known)
	return places
}

func (r reader) filter(n *yaml.Node, f *sink.Filter) {
	r.mapping(n, "a filter", "filter: {verdicts: [deny]}", map[string]func(*yaml.Node){
		"operations": r.texts("operations", &f.Operations, func(one []string) sink.Filter { return sink.Filter{Operations: one} }),
		"policies":   r.texts("policies", &f.Policies, func(one []string) sink.Filter { return sink.Filter{Policies: one} }),
		"verdicts":   r.texts("verdicts", &f.Verdicts, func(one []string) sink.Filter { return sink.Filter{Verdicts: one} }),
		"severities": r.texts("severities", &f.Severities, func(one []string) sink.Filter { return sink.Filter{Severities: one} }),
		"containers": r.texts("containers", &f.Containers, func(one []string) sink.Filter { return sink.Filter{Containers: one} }),
		"binaries":   r.texts("binaries", &f.Binaries, func(one []string) sink.Filter { return sink.Filter{Binaries: one} }),
	})
}
