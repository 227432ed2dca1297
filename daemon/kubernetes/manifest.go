package kubernetes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Manifest returns a host's policy as an object of a cluster, in YAML: a Policy of the namespace or, without one, a
// ClusterPolicy. It has the forms that the API server takes (see [v1alpha1.PolicySpec]); the addresses of files are in it.
func Manifest(p policy.Policy, namespace string) ([]byte, error) {
	if err := onHostOnly(p); err != nil {
		return nil, fmt.Errorf("policy %q: %w", p.Name, err)
	}
	text, err := policy.Marshal([]policy.Policy{p})
	if err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("policy %q: %w", p.Name, err)
	}
	top := document.Content[0]
	spec := field(top, "spec")
	if namespace == "" {
		field(top, "kind").Value = "ClusterPolicy"
		rename(spec, "delegated", "overridable")
	} else {
		metadata := field(top, "metadata")
		metadata.Content = append(metadata.Content, scalar("namespace"), scalar(namespace))
		rename(spec, "delegated", "") // every Policy is
	}
	for _, kind := range []string{"containers", "pods"} {
		for _, selector := range values(field(field(spec, "subject"), kind)) {
			lengthenLabels(field(selector, "labels"))
			lengthenLabels(field(selector, "notLabels"))
		}
	}
	for _, rule := range values(field(spec, "rules")) {
		lengthenPatterns(field(rule, "allow"))
		lengthenPatterns(field(rule, "deny"))
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(top); err != nil {
		return nil, fmt.Errorf("policy %q: %w", p.Name, err)
	}
	return out.Bytes(), check(top, namespace)
}

// onHostOnly returns what keeps a policy from being one of a cluster.
func onHostOnly(p policy.Policy) error {
	var errs []error
	if len(validation.IsDNS1123Subdomain(p.Name)) > 0 {
		errs = append(errs, errors.New("an object cannot have this name; rename it, with a-z, 0-9, '-' and '.'"))
	}
	if p.Until != 0 || p.From != 0 {
		errs = append(errs, errors.New("it ends at a time of this host's clock; leave out until, and delete the object instead"))
	}
	if len(p.Subject.Processes) > 0 {
		errs = append(errs, errors.New("its subject has processes, which are those of one host; select pods or programs"))
	}
	if p.Subject.Identified {
		errs = append(errs, errors.New("its subject has identified, which agents set where it is needed; leave it out"))
	}
	for _, c := range p.Subject.Containers {
		if len(c.IDs) > 0 {
			errs = append(errs, errors.New("its subject has ids of containers, which are those of one host; select them by names, images or labels"))
		}
	}
	return errors.Join(errs...)
}

// check returns why an agent would refuse the object.
func check(top *yaml.Node, namespace string) error {
	var content any
	if err := top.Decode(&content); err != nil {
		return err
	}
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	decode := json.NewDecoder(bytes.NewReader(text))
	decode.DisallowUnknownFields()
	if namespace != "" {
		var p v1alpha1.Policy
		if err = decode.Decode(&p); err == nil {
			_, err = Convert(&p)
		}
		return err
	}
	var p v1alpha1.ClusterPolicy
	if err = decode.Decode(&p); err == nil {
		_, _, err = ConvertCluster(&p, nil, nil)
	}
	return err
}

// lengthenPatterns makes a list of mappings of all, of one pattern and of a list with all in it.
func lengthenPatterns(n *yaml.Node) {
	if n == nil {
		return
	}
	if n.Kind != yaml.SequenceNode {
		one := *n
		*n = yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{&one}}
	}
	for i, p := range n.Content {
		if p.Kind == yaml.ScalarNode {
			n.Content[i] = &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle, Content: []*yaml.Node{scalar("all"), {Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"}}}
		}
	}
}

// lengthenLabels makes a list of each label's only value.
func lengthenLabels(n *yaml.Node) {
	if n == nil {
		return
	}
	for i := 1; i < len(n.Content); i += 2 {
		if value := n.Content[i]; value.Kind == yaml.ScalarNode {
			n.Content[i] = &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle, Content: []*yaml.Node{value}}
		}
	}
}

// field returns the value of a mapping's key, nil if it has none.
func field(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// rename gives a key of a mapping another name, or removes it.
func rename(n *yaml.Node, key, name string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch {
		case n.Content[i].Value != key:
		case name == "":
			n.Content = slices.Delete(n.Content, i, i+2)
			return
		default:
			n.Content[i].Value = name
		}
	}
}

// values returns what a list has.
func values(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// scalar returns a string as YAML.
func scalar(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }
