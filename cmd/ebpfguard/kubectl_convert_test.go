package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestConvert makes objects of an example, and of what is of one host only none.
func TestConvert(t *testing.T) {
	convert := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := execute(newPluginCommand(), append([]string{"convert"}, args...), &out, &out)
		return code, out.String()
	}
	const example = "../../examples/no-metadata-service.yaml"
	code, out := convert("-n", "shop", example)
	if code != exitDone || strings.Count(out, "kind: Policy\n") != 2 || strings.Count(out, "\n  namespace: shop\n") != 2 || strings.Count(out, "---\n") != 1 {
		t.Errorf("exit code %d: %s", code, out)
	}
	if code, out = convert(example); code != exitDone || strings.Count(out, "kind: ClusterPolicy\n") != 2 {
		t.Errorf("exit code %d: %s", code, out)
	}
	// The addresses of a file are in it.
	if code, out = convert("../../examples/blocklist.yaml"); code != exitDone || !strings.Contains(out, "198.51.100.7") {
		t.Errorf("exit code %d: %s", code, out)
	}
	file := filepath.Join(t.TempDir(), "p.yaml")
	const text = "apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec: {subject: {processes: [{pid: 7, start: 5}]}, rules: [{operation: file_open, deny: all}]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out = convert(file, example); code != exitFailed || !strings.Contains(out, "its subject has processes, which are those of one host") || strings.Contains(out, "kind:") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if code, out = convert(); code != exitUsage {
		t.Errorf("exit code %d: %s", code, out)
	}
}
