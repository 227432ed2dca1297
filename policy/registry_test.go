package policy

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// draws are those of a small system of files.
type draws struct{ *rand.Rand }

func (d draws) Path() string        { return choose(d, "/srv/a", "/srv/b/c", "/srv") }
func (d draws) PathPattern() string { return choose(d, "/srv/a", "/srv/", "/srv/b/") }
func (d draws) Names() Names        { return Names{Path: d.Path()} }
func (draws) Globs() bool           { return false }

// TestEveryOperationIsWhole fails by name for each part that an operation lacks and
// that compiles nevertheless.
func TestEveryOperationIsWhole(t *testing.T) {
	flagsOf := map[string]*Flag{}
	for i := range operations {
		o := &operations[i]
		t.Run(string(o.name), func(t *testing.T) {
			all := o.everything()
			if err := all.validate(); err != nil || all.String() != "all" {
				t.Errorf("everything is %v, %v; want all", all, err)
			}
			if names, kinds := o.keys(); len(names) == 0 || len(names)+len(kinds) > len(Specificity{}) {
				t.Errorf("keys names %d and %d keys of the specificity", len(names), len(kinds))
			}
			names, example := o.fields()
			text := fmt.Sprintf("apiVersion: %s\nkind: Policy\nmetadata: {name: p}\nspec:\n  subject: {}\n  rules: [{operation: %s, deny: {%s}}]\n", APIVersion, o.name, example)
			if _, err := Parse("p.yaml", []byte(text)); err != nil && strings.Contains(err.Error(), "unknown field") {
				t.Errorf("the example of fields is wrong: %v", err)
			}
			testFields(t, o, names)
			testRandom(t, o, names)
			if len(o.flags()) == 0 {
				t.Error("flags returns none, so explain cannot ask")
			}
			for _, flag := range o.flags() {
				if other := flagsOf[flag.Name]; other != nil && other != flag || flag.Usage == "" {
					t.Errorf("flag %s is another one in another operation, or has no Usage", flag.Name)
				}
				flagsOf[flag.Name] = flag
			}
		})
	}
}

// testFields finds fields of the pattern that YAML cannot say, and accounts that
// [ResolveNames] would not find.
func testFields(t *testing.T, o *operation, names []string) {
	pattern := reflect.TypeOf(o.everything())
	for f := range pattern.Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !slices.Contains(names, key) && key != "all" && key != "listed" {
			t.Errorf("fields has no %s for %v.%s", key, pattern, f.Name)
		}
	}
	if _, ok := o.everything().(accountPattern); !ok && holdsAccounts(pattern) {
		t.Errorf("%v names users or groups, but has no method resolve", pattern)
	}
}

func holdsAccounts(t reflect.Type) bool {
	if t == reflect.TypeFor[IDs]() {
		return true
	}
	return t.Kind() == reflect.Struct && slices.ContainsFunc(slices.Collect(t.Fields()), func(f reflect.StructField) bool {
		return holdsAccounts(f.Type)
	})
}

// testRandom finds fields that random patterns never name, objects that are not
// judged, and patterns without representatives.
func testRandom(t *testing.T, o *operation, names []string) {
	d := draws{rand.New(rand.NewPCG(1, 1))}
	texts := ""
	var patterns []Pattern
	matched := 0
	for range 400 {
		p := RandomPattern(o.name, d)
		texts += p.String() + "\n"
		if len(patterns) < 3 {
			patterns = append(patterns, p)
		}
		set := []Policy{{Name: "p", Subject: Subject{Everyone: true}, Rules: []Rule{{Operation: o.name, Deny: []Pattern{p}}}}}
		object := RandomObject(o.name, d)
		explained := Explain(set, Request{Operation: o.name, Object: object})
		if explained.Decision.Undecided || len(explained.Notes) > 0 && strings.Contains(explained.Notes[0], "cannot be judged") {
			t.Fatalf("judge does not judge %v", object)
		}
		if explained.Decision.Verdict == Deny {
			matched++
		}
	}
	for _, name := range names {
		refused := name == "addresses_from" || name == "sources" && o.name == SbUmount // need a file, or are refused
		if !strings.Contains(texts, name+":") && !refused {
			t.Errorf("randomPattern never names %s", name)
		}
	}
	if matched < 10 {
		t.Errorf("random patterns select random objects %d times of 400", matched)
	}
	if len(o.representatives(patterns)) == 0 {
		t.Errorf("representatives returns none for %v", patterns)
	}
}
