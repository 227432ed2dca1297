package strictyaml

import (
	"errors"
	"strings"
	"testing"
)

// read reads a mapping with a list of names, a switch and a number.
func read(text string) error {
	r := New("f.yaml", len(text))
	for root := range r.Documents([]byte(text)) {
		fields, ok := r.Mapping(root, "a thing", "names: [...]", "names", "on", "count")
		if !ok {
			continue
		}
		for range r.Texts(fields, "names", "a name") {
		}
		if n, ok := fields["on"]; ok {
			r.Boolean(n, "on")
		}
		if n, ok := fields["count"]; ok {
			r.Number(n, "count", 7)
		} else {
			r.Missing(root, "count", "the thing has no count")
		}
	}
	return errors.Join(r.Errors()...)
}

func TestReader(t *testing.T) {
	for text, want := range map[string]string{
		"count: 1\nnames: [a, \"1\"]\non: true": "",
		"# nothing":                             "",
		"count: 1\nnmaes: [a]":                  `f.yaml:2:1: unknown field "nmaes" of a thing; did you mean names?`,
		"cuont: 1":                              `f.yaml:1:1: unknown field "cuont" of a thing; did you mean count?`, // and not missing as well
		"names: [a]":                            "f.yaml:1:1: the thing has no count",
		"count: 1\non: true\non: true":          `f.yaml:3:1: field "on" of a thing is already on line 2; remove one`,
		"count: 1\non: yes":                     `f.yaml:2:5: on must be true or false, not "yes"; write one of them`,
		"count: 07":                             "f.yaml:1:8: count is 07; write a number up to 7",
		"count: 8":                              "f.yaml:1:8: count is 8; write a number up to 7",
		"count: !x 1":                           "f.yaml:1:8: the tag !x is not known; remove it",
		"count: 1\nnames: []":                   "f.yaml:2:8: names is an empty list; add a value or leave the field out",
		"count: 1\nnames: a":                    "f.yaml:2:8: names must be a list, not \"a\"; write a list: [a]",
		"count: 1\nnames: [1]":                  `f.yaml:2:9: a name must be a string, not 1; write "1" with the quotes`,
		"count: 1\n<<: {on: true}":              "f.yaml:2:1: merge keys are not supported; write the fields of a thing out",
		"count: 1\n---\n- a":                    "f.yaml:3:1: a thing must be a mapping, not a list; write names: [...]",
		"count: 1\nnames: [::1]":                "f.yaml:2:1: not valid YAML: did not find expected node content; write values that begin with a colon in quotes, such as \"::1\", and close every bracket",
	} {
		err := read(text)
		if err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("%q: %v\nwant %s", text, err, want)
		}
	}
	if err := read("count: 1\n" + strings.Repeat("x: 1\n", 300)); strings.Count(err.Error(), "\n") != MaxProblems {
		t.Errorf("the problems are not bounded: %v", err)
	}
}
