package policy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// APIVersion and Kind are the first two fields of every policy in YAML.
const (
	APIVersion = "ebpfguard.io/v1alpha1"
	Kind       = "Policy"
)

// maxProblems bounds how many problems of a file are reported.
const maxProblems = 100

// Parse reads the policies of a YAML file with one or more documents, each a
// policy or, as a list, policies in the form of the original ebpfguard library.
// The name appears in positions, and the files that addresses_from names are
// looked for in its folder. Parsing is strict: anything that is not understood
// is an error. The error joins all problems as [*Error] values, in which case no
// policy is returned; what is returned has passed [Validate].
func Parse(name string, data []byte) ([]Policy, error) { return parse(name, data, lists{}) }

func parse(name string, data []byte, lists lists) ([]Policy, error) {
	d := &decoder{file: name, budget: len(data) + 10_000, rule: -1, lists: lists, misspelt: make(map[field]bool)}
	var set []Policy
	documents := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var document yaml.Node
		err := documents.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			d.syntax(data, err)
			break // the decoder cannot find the next document
		}
		if len(document.Content) == 0 || isNull(document.Content[0]) {
			continue // nothing but comments
		}
		d.policy, d.rule = "", -1
		if root := document.Content[0]; root.Kind == yaml.SequenceNode {
			set = append(set, d.original(root)...)
		} else {
			set = append(set, d.document(root))
		}
	}
	if len(set) == 0 && len(d.problems) == 0 {
		d.failAt(1, 1, fmt.Errorf("the file contains no policy; begin one with apiVersion: %s", APIVersion))
	}
	if len(d.problems) > 0 {
		return nil, errors.Join(append(d.sorted(), duplicates(set)...)...)
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
	file     string
	problems []problem
	policy   string // the policy and rule that is being decoded
	rule     int
	// budget is how many more nodes may be visited. A node takes at least a
	// byte, so only a file whose aliases multiply it can use it up.
	budget int
	lists  lists
	// misspelt holds the fields that were probably meant by unknown ones.
	misspelt map[field]bool
	// originals counts the policies in the form of the original library.
	originals int
}

// field is a field of a mapping.
type field struct {
	mapping *yaml.Node
	name    string
}

type problem struct {
	line, column int
	err          error
}

// sorted returns the problems in the order of the file.
func (d *decoder) sorted() []error {
	slices.SortStableFunc(d.problems, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	errs := make([]error, len(d.problems))
	for i, p := range d.problems {
		errs[i] = p.err
	}
	return errs
}

// fail records a problem at the node.
func (d *decoder) fail(n *yaml.Node, format string, args ...any) {
	d.failAt(n.Line, n.Column, fmt.Errorf(format, args...))
}

// check records the problem, if it is one, at the node.
func (d *decoder) check(n *yaml.Node, err error) {
	for _, err := range unjoin(err) {
		d.failAt(n.Line, n.Column, err)
	}
}

func (d *decoder) failAt(line, column int, err error) {
	if len(d.problems) > maxProblems {
		return
	}
	if len(d.problems) == maxProblems {
		err = errors.New("there are more problems; mend these first")
	}
	source := fmt.Sprintf("%s:%d:%d", d.file, line, column)
	d.problems = append(d.problems, problem{line, column, &Error{Source: source, Policy: d.policy, Rule: d.rule, Err: err}})
}

func (d *decoder) position(n *yaml.Node) string {
	return fmt.Sprintf("%s:%d:%d", d.file, n.Line, n.Column)
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax records an error that the YAML parser returned for the file.
func (d *decoder) syntax(data []byte, err error) {
	text := yamlLine.ReplaceAllString(err.Error(), "")
	line, column, content := syntaxPlace(data, err)
	remedy := "look at this line and the ones before it"
	switch {
	case strings.Contains(content[:len(content)-len(strings.TrimLeft(content, " \t"))], "\t"):
		remedy = "indent with spaces, not with tabs"
	case text == "did not find expected node content":
		// What the parser says of [::1].
		remedy = `write values that begin with a colon in quotes, such as "::1", and close every bracket`
	case strings.HasPrefix(text, "did not find expected ',' or"):
		remedy = "close every bracket, and write values with brackets in quotes"
	case text == "did not find expected key", text == "did not find expected '-' indicator":
		remedy = "indent this line as the others of its list or mapping, and close no bracket that is not open"
	case text == "mapping values are not allowed in this context":
		remedy = "indent this line as the others of its mapping, and write values with a colon in quotes"
	}
	d.policy, d.rule = "", -1
	d.failAt(line, column, fmt.Errorf("not valid YAML: %s; %s", text, remedy))
}

// maxRetried bounds the size of the files that are parsed again to find the place
// of an error.
const maxRetried = 1 << 20

// syntaxPlace returns where the parser met the error, and the line. The parser
// names another line, if any: the one where the list or mapping begins that it
// was reading, or the one before that. But as it reads from the front, the line is
// the last of the fewest that give this error.
func syntaxPlace(data []byte, err error) (line, column int, content string) {
	lines := bytes.SplitAfter(data, []byte("\n"))
	line = 1
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
		line, _ = strconv.Atoi(m[1]) // it has only digits
	}
	if len(data) <= maxRetried {
		line = 1 + sort.Search(len(lines)-1, func(i int) bool {
			found := syntaxError(bytes.Join(lines[:i+1], nil))
			return found != nil && found.Error() == err.Error()
		})
	}
	content = string(bytes.TrimRight(lines[min(line, len(lines))-1], "\r\n"))
	return line, 1 + len(content) - len(strings.TrimLeft(content, " \t")), content
}

// syntaxError returns the error for which the text is not YAML.
func syntaxError(data []byte) error {
	documents := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var document yaml.Node
		switch err := documents.Decode(&document); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// follow returns the node that an alias stands for or the node itself. It
// fails when the file's aliases expand to too much.
func (d *decoder) follow(n *yaml.Node) (*yaml.Node, bool) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if d.budget == 0 {
		d.fail(n, "the aliases of this file expand to too much; write the values out")
	}
	d.budget--
	return n, d.budget >= 0
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// nodeKind returns what a person calls the node.
func nodeKind(n *yaml.Node) string {
	switch {
	case isNull(n):
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

// untagged reports whether the node has no tag that somebody wrote.
func (d *decoder) untagged(n *yaml.Node) bool {
	if tag := n.ShortTag(); strings.HasPrefix(tag, "!!") && tag != "!!binary" {
		return true
	}
	d.fail(n, "the tag %s is not known; remove it", n.Tag)
	return false
}

// fields are the values of a mapping by their keys.
type fields map[string]*yaml.Node

// mapping returns the fields of the node, which must be a mapping with no
// other than the known keys, each at most once.
func (d *decoder) mapping(n *yaml.Node, what, example string, known ...string) (fields, bool) {
	if !d.untagged(n) {
		return nil, false
	}
	if isNull(n) {
		d.fail(n, "%s has no value; write %s", what, example)
		return nil, false
	}
	if n.Kind != yaml.MappingNode {
		d.fail(n, "%s must be a mapping, not %s; write %s", what, nodeKind(n), example)
		return nil, false
	}
	found := make(fields)
	lines := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, ok := d.follow(n.Content[i])
		if !ok {
			return nil, false
		}
		switch name := key.Value; {
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!null":
			d.fail(n.Content[i], "a field of %s has no name; %s", what, suggest("", known))
		case key.ShortTag() == "!!merge":
			d.fail(n.Content[i], "merge keys are not supported; write the fields of %s out", what)
		case lines[name] > 0:
			d.fail(n.Content[i], "field %q of %s is already on line %d; remove one", name, what, lines[name])
		default:
			lines[name] = n.Content[i].Line
			if !slices.Contains(known, name) {
				d.unknownField(n.Content[i], what, name, known)
				if meant := nearest(name, known); meant != "" {
					d.misspelt[field{n, meant}] = true
				}
				continue
			}
			value, ok := d.follow(n.Content[i+1])
			if !ok {
				return nil, false
			}
			found[name] = value
		}
	}
	return found, true
}

// notYet holds the fields that DESIGN has for later versions.
var notYet = map[string][]string{
	"subject": {"containers"},
}

func (d *decoder) unknownField(n *yaml.Node, what, name string, known []string) {
	if slices.Contains(notYet[what], name) {
		d.fail(n, "%s is not enforced by this version of ebpfguard; use %s", name, strings.Join(known, ", "))
		return
	}
	d.fail(n, "unknown field %q of %s; %s", name, what, suggest(name, known))
}

// missing records that the mapping lacks the field, unless it is there misspelt,
// which is a problem already.
func (d *decoder) missing(n *yaml.Node, name, format string, args ...any) {
	if !d.misspelt[field{n, name}] {
		d.fail(n, format, args...)
	}
}

// list returns the values of the node, which must be a list of at least one.
func (d *decoder) list(n *yaml.Node, what string) []*yaml.Node {
	if !d.untagged(n) {
		return nil
	}
	if isNull(n) {
		d.fail(n, "%s has no value; write a list", what)
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		text := "..."
		if n.Kind == yaml.ScalarNode {
			text = scalar(n.Value)
			if n.ShortTag() != "!!str" {
				text = n.Value
			}
		}
		d.fail(n, "%s must be a list, not %s; write a list: [%s]", what, nodeKind(n), text)
		return nil
	}
	if len(n.Content) == 0 {
		d.fail(n, "%s is an empty list; add a value or leave the field out", what)
	}
	values := make([]*yaml.Node, 0, len(n.Content))
	for _, c := range n.Content {
		value, ok := d.follow(c)
		if !ok {
			return nil
		}
		values = append(values, value)
	}
	return values
}

// text returns the value of the node, which must be a string.
func (d *decoder) text(n *yaml.Node, what string) (string, bool) {
	if !d.untagged(n) {
		return "", false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		remedy := "write one"
		if n.Kind == yaml.ScalarNode && !isNull(n) {
			remedy = fmt.Sprintf("write %q with the quotes", n.Value)
		}
		d.fail(n, "%s must be a string, not %s; %s", what, nodeKind(n), remedy)
		return "", false
	}
	return n.Value, true
}

// boolean returns the value of the node, which must be true or false.
func (d *decoder) boolean(n *yaml.Node, what string) (value, ok bool) {
	if !d.untagged(n) {
		return false, false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		d.fail(n, "%s must be true or false, not %s; write one of them", what, nodeKind(n))
		return false, false
	}
	return strings.EqualFold(n.Value, "true"), true
}

// texts returns the strings of the list with the key, if there is one, and their
// nodes.
func (d *decoder) texts(set fields, key, what string) iter.Seq2[*yaml.Node, string] {
	return func(yield func(*yaml.Node, string) bool) {
		value, ok := set[key]
		if !ok {
			return
		}
		for _, item := range d.list(value, key) {
			if text, ok := d.text(item, what); ok && !yield(item, text) {
				return
			}
		}
	}
}
