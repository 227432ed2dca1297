package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/daemon/containers/kinds"
	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// Containers say how containers become known.
type Containers struct {
	// Fail says what becomes of a container that cannot be told of before it starts.
	Fail Fail
	// Sources tell of containers. If nil, those do whose runtimes are here, now or later.
	Sources []containers.Spec
}

// Fail says what becomes of a container that cannot be told of before it starts.
type Fail string

// What becomes of a container that cannot be told of before it starts.
const (
	// FailOpen lets it start. Its programs are then in a container of which nothing is known: what rules
	// about containers could forbid, they are refused.
	FailOpen Fail = "open"
	// FailClosed keeps it from starting.
	FailClosed Fail = "closed"
)

// ContainersValue returns the value of a flag that has all keys at once, as a mapping of YAML.
func ContainersValue(to *Containers) pflag.Value { return containersValue{to} }

type containersValue struct{ to *Containers }

func (v containersValue) Set(text string) error {
	r := newReader("", []byte(text))
	c := Default().Containers
	if root := r.document([]byte(text)); root != nil {
		r.containers(root, &c)
	} else if r.Problems() == 0 {
		return errors.New("there is nothing; write such as '{fail: closed}'")
	}
	if err := errors.Join(r.Errors()...); err != nil {
		return err
	}
	*v.to = c
	return nil
}

func (v containersValue) String() string {
	if v.to == nil {
		return ""
	}
	sources := "auto"
	if v.to.Sources != nil {
		var texts []string
		for _, s := range v.to.Sources {
			text := "{type: " + s.Type
			if kind, err := containers.Find(kinds.All, s.Type); err == nil && s.Place != "" {
				text += ", " + kind.Key + ": " + strictyaml.Scalar(s.Place)
			}
			texts = append(texts, text+"}")
		}
		sources = "[" + strings.Join(texts, ", ") + "]"
	}
	return fmt.Sprintf("{fail: %s, sources: %s}", v.to.Fail, sources)
}

func (containersValue) Type() string { return "containers" }

// containers reads how containers become known.
func (r reader) containers(n *yaml.Node, c *Containers) {
	r.mapping(n, "containers", "containers: {fail: closed}", map[string]func(*yaml.Node){
		"fail":    r.scalar("fail", setup.Choice(&c.Fail, FailOpen, FailClosed)),
		"sources": func(n *yaml.Node) { c.Sources = r.sources(n) },
	})
}

// sources reads auto, or a list of sources.
func (r reader) sources(n *yaml.Node) []containers.Spec {
	if n.Kind == yaml.ScalarNode && n.Value == "auto" {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		r.Fail(n, "sources must be auto or a list, not %s; write for example sources: [{type: docker}]", strictyaml.Kind(n))
		return nil
	}
	specs := []containers.Spec{}
	for _, item := range n.Content {
		if item, ok := r.Follow(item); ok {
			if spec, ok := r.source(item); ok {
				specs = append(specs, spec)
			}
		}
	}
	return specs
}

// source reads a source; false if its type could not be read.
func (r reader) source(n *yaml.Node) (spec containers.Spec, ok bool) {
	var names []string
	for _, k := range kinds.All {
		names = append(names, k.Name)
	}
	name, ok := r.typeOf(n, "a source of containers", "docker", names)
	if !ok {
		return spec, false
	}
	kind := kinds.All[slices.Index(names, name)]
	spec.Type = name
	r.mapping(n, "a source of type "+name, "{type: "+name+"}", map[string]func(*yaml.Node){
		"type": func(*yaml.Node) {},
		kind.Key: func(n *yaml.Node) {
			if text, ok := r.Text(n, kind.Key); ok {
				spec.Place = text
				r.Check(n, spec.Check(kinds.All))
			}
		},
	})
	return spec, true
}
