package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/ebpfguard/ebpfguard/sink"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// Parse reads a configuration from YAML; what it does not say is as in
// [Default]. Reading is strict: anything that is not understood is an error with
// its place as name:line:column. The error joins all problems.
func Parse(name string, data []byte) (Config, error) {
	c := Default()
	r := reader{file: name}
	if root := r.document(data); root != nil {
		r.config(root, &c)
	}
	if err := errors.Join(r.problems...); err != nil {
		return Config{}, err
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// parseOutput reads an output as a flag has it.
func parseOutput(text string) (setup.Spec, error) {
	r := reader{}
	var spec setup.Spec
	if root := r.document([]byte(text)); root != nil {
		spec, _ = r.output(root)
	} else if len(r.problems) == 0 {
		r.problems = append(r.problems, errors.New("the output is empty; write for example '{type: stdout}'"))
	}
	return spec, errors.Join(r.problems...)
}

// reader reads nodes of YAML and collects the problems.
type reader struct {
	file     string // empty for text without places
	problems []error
}

func (r *reader) failAt(line, column int, format string, args ...any) {
	place := ""
	if r.file != "" {
		place = fmt.Sprintf("%s:%d:%d: ", r.file, line, column)
	}
	r.problems = append(r.problems, fmt.Errorf("%s%w", place, fmt.Errorf(format, args...)))
}

func (r *reader) fail(n *yaml.Node, format string, args ...any) {
	r.failAt(n.Line, n.Column, format, args...)
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// document returns the root of the only document; nil if there is none.
func (r *reader) document(data []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, more yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil // nothing but comments
	}
	if err == nil {
		if err = decoder.Decode(&more); err == nil {
			r.fail(&more, "there is a second document; keep one")
			return nil
		}
	}
	if !errors.Is(err, io.EOF) {
		line := 1
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
			line, _ = strconv.Atoi(m[1]) // it has only digits
		}
		r.failAt(line, 1, "not valid YAML: %s; look at this line and the ones around it", yamlLine.ReplaceAllString(err.Error(), ""))
		return nil
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil
	}
	return root
}

// mapping reads the fields of a mapping, each at most once.
func (r *reader) mapping(n *yaml.Node, what string, known map[string]func(*yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, "%s must be a mapping; write key: value", what)
		return
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, ok := known[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || !ok:
			r.fail(key, "unknown key %q of %s; choose from %s", key.Value, what, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case lines[key.Value] > 0:
			r.fail(key, "%s is already on line %d; remove one", key.Value, lines[key.Value])
		default:
			lines[key.Value] = key.Line
			read(value)
		}
	}
}

// scalar reads a value as the flag of that name takes it.
func (r *reader) scalar(key string, value setup.Value) func(*yaml.Node) {
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
		case n.Kind != yaml.ScalarNode:
			r.fail(n, "%s must be a single value", key)
		case !slices.Contains(tags, n.ShortTag()) && tags[0] == "!!str":
			r.fail(n, "%s must be a string; write %q with the quotes", key, n.Value)
		case !slices.Contains(tags, n.ShortTag()):
			r.fail(n, "%s must be true or false, not %q; write one of them", key, n.Value)
		default:
			if err := value.Set(n.Value); err != nil {
				r.fail(n, "%s: %s", key, remedied(value, err))
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
func (r *reader) texts(key string, to *[]string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
			r.fail(n, "%s must be a list of at least one; write [...] or leave it out", key)
			return
		}
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode || item.ShortTag() != "!!str" {
				r.fail(item, "%s must be strings; write %q with the quotes", key, item.Value)
				continue
			}
			*to = append(*to, item.Value)
		}
	}
}

func (r *reader) config(n *yaml.Node, c *Config) {
	known := map[string]func(*yaml.Node){}
	c.Flags().VisitAll(func(f *pflag.Flag) { known[keyOf(f.Name)] = r.scalar(keyOf(f.Name), f.Value) })
	known["outputs"] = func(n *yaml.Node) {
		if n.Kind != yaml.SequenceNode {
			r.fail(n, "outputs must be a list; write - type: stdout, or [] for none")
			return
		}
		c.Outputs = nil
		for _, item := range n.Content {
			if spec, ok := r.output(item); ok {
				c.Outputs = append(c.Outputs, spec)
			}
		}
	}
	r.mapping(n, "the configuration", known)
}

func (r *reader) filter(n *yaml.Node, f *sink.Filter) {
	r.mapping(n, "a filter", map[string]func(*yaml.Node){
		"operations": r.texts("operations", &f.Operations),
		"policies":   r.texts("policies", &f.Policies),
		"verdicts":   r.texts("verdicts", &f.Verdicts),
		"severities": r.texts("severities", &f.Severities),
		"binaries":   r.texts("binaries", &f.Binaries),
	})
}
