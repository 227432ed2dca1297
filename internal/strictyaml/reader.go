// Package strictyaml reads YAML strictly: what is not understood is a problem at its
// line and column, with what to write instead. All problems are collected. YAML can
// mean more than one sees (merge keys, tags, aliases that multiply, numbers such as
// 022): of that it takes only what cannot be misunderstood.
package strictyaml

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxProblems bounds how many problems of a file are reported.
const MaxProblems = 100

// Reader reads the nodes of a file and collects the problems.
type Reader struct {
	// Problem makes the error of a problem at a place; the zero value says
	// "place: problem".
	Problem func(place string, err error) error
	// Later holds fields that a later version will know, by what has them.
	Later map[string][]string

	file     string
	problems []problem
	// budget is how many more nodes may be visited. A node takes at least a
	// byte, so only a file whose aliases multiply it can use it up.
	budget int
	// misspelt holds the fields that were probably meant by unknown ones.
	misspelt map[field]bool
}

// New returns a reader for a file of the size. A text that is no file has no name,
// and its problems no places.
func New(file string, size int) *Reader {
	return &Reader{file: file, budget: size + 10_000, misspelt: make(map[field]bool)}
}

// Documents returns the root of each document that holds more than comments. Of
// text that is not YAML it returns what comes before, and records the problem.
func (r *Reader) Documents(data []byte) iter.Seq[*yaml.Node] {
	// A byte-order mark begins a file, and what follows when files are joined.
	data = bytes.ReplaceAll(data, []byte("\n\uFEFF"), []byte("\n"))
	return func(yield func(*yaml.Node) bool) {
		documents := yaml.NewDecoder(bytes.NewReader(data))
		for {
			var document yaml.Node
			switch err := documents.Decode(&document); {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				r.syntax(data, err)
				return // the decoder cannot find the next document
			case len(document.Content) == 0 || IsNull(document.Content[0]):
			case !yield(document.Content[0]):
				return
			}
		}
	}
}

// Problems returns how many problems there are so far.
func (r *Reader) Problems() int { return len(r.problems) }

// field is a field of a mapping.
type field struct {
	mapping *yaml.Node
	name    string
}

type problem struct {
	line, column int
	err          error
}

// Errors returns the problems in the order of the file.
func (r *Reader) Errors() []error {
	slices.SortStableFunc(r.problems, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	errs := make([]error, len(r.problems))
	for i, p := range r.problems {
		errs[i] = p.err
	}
	return errs
}

// Fail records a problem at the node.
func (r *Reader) Fail(n *yaml.Node, format string, args ...any) {
	r.FailAt(n.Line, n.Column, fmt.Errorf(format, args...))
}

// Check records the problem, if it is one, at the node.
func (r *Reader) Check(n *yaml.Node, err error) {
	for _, err := range Unjoin(err) {
		r.FailAt(n.Line, n.Column, err)
	}
}

// FailAt records a problem at a place.
func (r *Reader) FailAt(line, column int, err error) {
	if len(r.problems) > MaxProblems {
		return
	}
	if len(r.problems) == MaxProblems {
		err = errors.New("there are more problems; fix these first")
	}
	place := r.place(line, column)
	switch {
	case r.Problem != nil:
		err = r.Problem(place, err)
	case place != "":
		err = fmt.Errorf("%s: %w", place, err)
	}
	r.problems = append(r.problems, problem{line, column, err})
}

// Position returns the node's place, as file:line:column; empty without a file.
func (r *Reader) Position(n *yaml.Node) string { return r.place(n.Line, n.Column) }

func (r *Reader) place(line, column int) string {
	if r.file == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", r.file, line, column)
}

// Follow returns the node that an alias stands for or the node itself. It
// fails when the file's aliases expand to too much.
func (r *Reader) Follow(n *yaml.Node) (*yaml.Node, bool) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if r.budget == 0 {
		r.Fail(n, "the aliases of this file expand to too much; write the values out")
	}
	r.budget--
	return n, r.budget >= 0
}

// IsNull reports whether the node is empty.
func IsNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// Kind returns what a person calls the node.
func Kind(n *yaml.Node) string {
	switch {
	case IsNull(n):
		return "empty"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case len(n.Value) > 64:
		return strconv.Quote(n.Value[:64] + "…")
	case n.ShortTag() == "!!str":
		return strconv.Quote(n.Value)
	}
	return n.Value
}

// Untagged reports whether the node has no tag that somebody wrote.
func (r *Reader) Untagged(n *yaml.Node) bool {
	if tag := n.ShortTag(); strings.HasPrefix(tag, "!!") && tag != "!!binary" {
		return true
	}
	r.Fail(n, "the tag %s is not known; remove it", n.Tag)
	return false
}

// Fields are the values of a mapping by their keys.
type Fields map[string]*yaml.Node

// Mapping returns the fields of the node, which must be a mapping with no
// other than the known keys, each at most once.
func (r *Reader) Mapping(n *yaml.Node, what, example string, known ...string) (Fields, bool) {
	if !r.Untagged(n) {
		return nil, false
	}
	if IsNull(n) {
		r.Fail(n, "%s has no value; write %s", what, example)
		return nil, false
	}
	if n.Kind != yaml.MappingNode {
		r.Fail(n, "%s must be a mapping, not %s; write %s", what, Kind(n), example)
		return nil, false
	}
	found := make(Fields)
	lines := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, ok := r.Follow(n.Content[i])
		if !ok {
			return nil, false
		}
		switch name := key.Value; {
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!null":
			r.Fail(n.Content[i], "a field of %s has no name; %s", what, Suggest("", known))
		case key.ShortTag() == "!!merge":
			r.Fail(n.Content[i], "merge keys are not supported; write the fields of %s out", what)
		case lines[name] > 0:
			r.Fail(n.Content[i], "field %q of %s is already on line %d; remove one", name, what, lines[name])
		default:
			lines[name] = n.Content[i].Line
			if !slices.Contains(known, name) {
				r.unknownField(n.Content[i], what, name, known)
				if meant := Nearest(name, known); meant != "" {
					r.misspelt[field{n, meant}] = true
				}
				continue
			}
			value, ok := r.Follow(n.Content[i+1])
			if !ok {
				return nil, false
			}
			found[name] = value
		}
	}
	return found, true
}

func (r *Reader) unknownField(n *yaml.Node, what, name string, known []string) {
	if slices.Contains(r.Later[what], name) {
		r.Fail(n, "%s is not enforced by this version of ebpfguard; use %s", name, strings.Join(known, ", "))
		return
	}
	r.Fail(n, "unknown field %q of %s; %s", name, what, Suggest(name, known))
}

// Missing records that the mapping lacks the field, unless it is there misspelt,
// which is a problem already.
func (r *Reader) Missing(n *yaml.Node, name, format string, args ...any) {
	if !r.misspelt[field{n, name}] {
		r.Fail(n, format, args...)
	}
}

// Misspelt reports whether the mapping has a field that was probably meant to be the
// one of the name.
func (r *Reader) Misspelt(n *yaml.Node, name string) bool { return r.misspelt[field{n, name}] }

// List returns the values of the node, which must be a list of at least one.
func (r *Reader) List(n *yaml.Node, what string) []*yaml.Node {
	if !r.Untagged(n) {
		return nil
	}
	if IsNull(n) {
		r.Fail(n, "%s has no value; write a list", what)
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		text := "..."
		if n.Kind == yaml.ScalarNode {
			text = Scalar(n.Value)
			if n.ShortTag() != "!!str" {
				text = n.Value
			}
		}
		r.Fail(n, "%s must be a list, not %s; write a list: [%s]", what, Kind(n), text)
		return nil
	}
	if len(n.Content) == 0 {
		r.Fail(n, "%s is an empty list; add a value or leave the field out", what)
	}
	values := make([]*yaml.Node, 0, len(n.Content))
	for _, c := range n.Content {
		value, ok := r.Follow(c)
		if !ok {
			return nil
		}
		values = append(values, value)
	}
	return values
}

// Text returns the value of the node, which must be a string.
func (r *Reader) Text(n *yaml.Node, what string) (string, bool) {
	if !r.Untagged(n) {
		return "", false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		remedy := "write one"
		if n.Kind == yaml.ScalarNode && !IsNull(n) {
			remedy = fmt.Sprintf("write %q with the quotes", n.Value)
		}
		r.Fail(n, "%s must be a string, not %s; %s", what, Kind(n), remedy)
		return "", false
	}
	return n.Value, true
}

// Boolean returns the value of the node, which must be true or false.
func (r *Reader) Boolean(n *yaml.Node, what string) (value, ok bool) {
	if !r.Untagged(n) {
		return false, false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		r.Fail(n, "%s must be true or false, not %s; write one of them", what, Kind(n))
		return false, false
	}
	return strings.EqualFold(n.Value, "true"), true
}

// Texts returns the strings of the list with the key, if there is one, and their
// nodes. Of a number or another word that is no string, what check says of it is the
// problem, if it says anything: with quotes it would only be the next one.
func (r *Reader) Texts(set Fields, key, what string, check ...func(string) error) iter.Seq2[*yaml.Node, string] {
	return func(yield func(*yaml.Node, string) bool) {
		value, ok := set[key]
		if !ok {
			return
		}
		for _, item := range r.List(value, key) {
			if len(check) > 0 && item.Kind == yaml.ScalarNode && !IsNull(item) && item.ShortTag() != "!!str" && item.Style&yaml.TaggedStyle == 0 {
				if err := check[0](item.Value); err != nil {
					r.Check(item, err)
					continue
				}
			}
			if text, ok := r.Text(item, what); ok && !yield(item, text) {
				return
			}
		}
	}
}

// Number returns the value of the node, which must be a decimal number of at most the given one.
func (r *Reader) Number(n *yaml.Node, what string, most uint64) (uint64, bool) {
	if !r.Untagged(n) {
		return 0, false
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
		value, err := strconv.ParseUint(n.Value, 10, 64)
		if err == nil && value <= most && strconv.FormatUint(value, 10) == n.Value {
			return value, true
		}
	}
	r.Fail(n, "%s is %s; write a number up to %d", what, Kind(n), most)
	return 0, false
}

// Unjoin returns the errors that were joined, or the error itself.
func Unjoin(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var errs []error
	for _, err := range joined.Unwrap() {
		errs = append(errs, Unjoin(err)...)
	}
	return errs
}
