package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestToyOperation expects that validate takes the operation's rules and tells what is
// wrong with them, and that explain decides about its objects.
func TestToyOperation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	write := func(pattern string) {
		text := "apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n  subject: {}\n" +
			"  rules: [{operation: task_setnice, deny: {" + pattern + "}}]\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		pattern, args, want string
		code                int
	}{
		{"levels: [25-39]", "validate", "", exitDone},
		{"levels: [40]", "validate", "6:43: policy \"p\": rule 0: levels: 40 is no range of levels; write one from 0 to 39", exitFailed},
		{"level: [25-39]", "validate", `unknown field "level" of pattern; did you mean levels?`, exitFailed},
		{"levels: [25-39]", "explain --level 30", "deny: task_setnice of level 30", exitDone},
		{"levels: [25-39]", "explain --operation task_setnice --level 24", "allow: task_setnice of level 24", exitDone},
		{"levels: [25-39]", "explain --operation file_open --level 24", "it is for task_setnice", exitUsage},
	} {
		write(tt.pattern)
		var out bytes.Buffer
		code := run(append(strings.Fields(tt.args), file), &out, &out)
		if code != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s {%s}: exit code %d, want %d\n%s\nwant %s", tt.args, tt.pattern, code, tt.code, out.String(), tt.want)
		}
	}
}
