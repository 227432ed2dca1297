package policy

import (
	"strings"
	"testing"
)

// TestEqual moves a policy in its file, and changes it.
func TestEqual(t *testing.T) {
	const text = `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: a}
spec:
  subject: {binaries: [/usr/bin/curl]}
  rules:
  - {operation: socket_bind, deny: {ports: [1]}, message: no}
`
	read := func(name, text string) Policy {
		t.Helper()
		set, err := Parse(name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return set[0]
	}
	p := read("a.yaml", text)
	if moved := read("b.yaml", "# a comment\n\n"+text); !Equal(p, moved) || moved.Source != "b.yaml:3:1" || moved.Rules[0].Source == "" {
		t.Errorf("moved: %+v", moved)
	}
	for _, change := range [][2]string{{"name: a", "name: b"}, {"curl", "wget"}, {"[1]", "[2]"}, {"message: no", "message: yes!"}, {"spec:", "spec:\n  mode: audit"}} {
		if changed := read("a.yaml", strings.Replace(text, change[0], change[1], 1)); Equal(p, changed) {
			t.Errorf("%q makes no difference", change)
		}
	}
}
