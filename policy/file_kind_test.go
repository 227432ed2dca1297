package policy

import (
	"strings"
	"testing"
)

// TestFileKinds decides about what has no name.
func TestFileKinds(t *testing.T) {
	read := func(rules string) []Policy {
		t.Helper()
		set, err := Parse("test.yaml", []byte("apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n  subject: {}\n  rules:\n  - {operation: file_open, "+rules+"}\n"))
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	pipe, deleted := File{Kind: Pipe, Access: Write}, File{Kind: Deleted, Access: Write}
	named := File{Kind: Deleted, Access: Write, Names: Names{Path: "/tmp/x"}}
	for _, test := range []struct {
		rules                string
		pipe, deleted, named Verdict
	}{
		{"deny: all", Allow, Deny, Deny},
		{"deny: {access: [write]}", Allow, Deny, Deny},
		{"allow: {paths: [/tmp/]}, deny: all", Allow, Deny, Allow},
		{"deny: {paths: [/tmp/]}", Allow, Allow, Deny},
		{"deny: {kinds: [pipe]}", Deny, Allow, Allow},
		{"deny: {kinds: [pipe, deleted], access: [write]}", Deny, Deny, Deny},
		{"deny: {kinds: [pipe, deleted], access: [read]}", Allow, Allow, Allow},
		{"allow: {kinds: [deleted]}, deny: all", Allow, Allow, Allow},
		{"allow: {kinds: [deleted]}, deny: [all, {paths: [/tmp/]}]", Allow, Allow, Deny},
		{"allow: {paths: [/tmp/]}, deny: {kinds: [deleted]}", Allow, Deny, Deny},
	} {
		for i, file := range []File{pipe, deleted, named} {
			want := []Verdict{test.pipe, test.deleted, test.named}[i]
			if d := Decide(read(test.rules), Request{Operation: FileOpen, Object: file}); d.Verdict != want || d.Undecided {
				t.Errorf("%s: %v: %+v, want %v", test.rules, file, d, want)
			}
		}
	}
	for text, want := range map[string]string{
		"deny: {kinds: [fifo]}":                "unknown kind",
		"deny: {kinds: []}":                    "",
		"deny: {kinds: [pipe, pipe]}":          "listed twice",
		"deny: {kinds: [pipe], paths: [/tmp]}": "cannot be combined",
	} {
		_, err := Parse("test.yaml", []byte("apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n  subject: {}\n  rules:\n  - {operation: file_open, "+text+"}\n"))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "test.yaml:7") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
