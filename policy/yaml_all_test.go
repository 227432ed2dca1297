package policy_test

import (
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
)

// TestAllAsMapping has the long form of all, which a schema of mappings alone can have.
func TestAllAsMapping(t *testing.T) {
	parse := func(deny string) ([]policy.Policy, error) {
		return policy.Parse("p.yaml", []byte("apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n  subject: {}\n  rules: [{operation: file_open, deny: "+deny+"}]\n"))
	}
	want, err := parse("all")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"{all: true}", "[{all: true}]"} {
		if got, err := parse(text); err != nil || string(policy.Format(got)) != string(policy.Format(want)) {
			t.Errorf("deny: %s: %v, %v", text, got, err)
		}
	}
	for text, message := range map[string]string{
		"{all: false}":               "selects nothing",
		"{all: 1}":                   "all",
		"{all: true, paths: [/etc]}": "the other keys say nothing",
	} {
		if _, err := parse(text); err == nil || !strings.Contains(err.Error(), message) || !strings.HasPrefix(err.Error(), "p.yaml:6:") {
			t.Errorf("deny: %s: %v, want %q", text, err, message)
		}
	}
}
