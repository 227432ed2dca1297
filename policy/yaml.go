package policy

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// APIVersion and Kind are the first two fields of every policy in YAML.
const (
	APIVersion = "ebpfguard.io/v1alpha1"
	Kind       = "Policy"
)

// Parse reads the policies of a YAML file with one or more documents, each a
// policy or, as a list, policies in the form of the original ebpfguard library.
// The name appears in positions, and the files that addresses_from names are
// looked for in its folder. Parsing is strict: anything that is not understood
// is an error. The error joins all problems as [*Error] values, in which case no
// policy is returned; what is returned has passed [Validate].
func Parse(name string, data []byte) ([]Policy, error) { return parse(name, data, lists{}) }

func parse(name string, data []byte, lists lists) ([]Policy, error) {
	d := newDecoder(name, len(data), lists)
	var set []Policy
	for root := range d.Documents(data) {
		if root.Kind == yaml.SequenceNode {
			set = append(set, d.original(root)...)
		} else {
			set = append(set, d.document(root))
		}
		d.policy, d.rule = "", -1
	}
	if len(set) == 0 && d.Problems() == 0 {
		d.FailAt(1, 1, fmt.Errorf("the file contains no policy; begin one with apiVersion: %s", APIVersion))
	}
	if d.Problems() > 0 {
		return nil, errors.Join(append(d.Errors(), duplicates(set)...)...)
	}
	// The decoder has checked each value at its place; this covers what
	// concerns several of them.
	if err := Validate(set); err != nil {
		return nil, err
	}
	return set, nil
}

// decoder turns YAML nodes into policies and collects the problems.
type decoder struct {
	*strictyaml.Reader
	file   string
	policy string // the policy and rule that is being decoded
	rule   int
	lists  lists
	// originals counts the policies in the form of the original library.
	originals int
}

func newDecoder(file string, size int, lists lists) *decoder {
	d := &decoder{file: file, rule: -1, lists: lists}
	d.Reader = strictyaml.New(file, size)
	d.Reader.Later = map[string][]string{"subject": {"pods"}}
	d.Reader.Problem = func(source string, err error) error {
		return &Error{Source: source, Policy: d.policy, Rule: d.rule, Err: err}
	}
	return d
}

// wrong returns a function that returns the error of parsing a text.
func wrong[T any](parse func(string) (T, error)) func(string) error {
	return func(text string) error {
		_, err := parse(text)
		return err
	}
}
