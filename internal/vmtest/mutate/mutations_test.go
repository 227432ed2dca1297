package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMutations looks whether each text is there to be replaced, which otherwise shows only when somebody tries.
func TestMutations(t *testing.T) {
	names := map[string]bool{}
	for _, m := range mutations {
		if names[m.name] {
			t.Errorf("%s is there twice", m.name)
		}
		names[m.name] = true
		data, err := os.ReadFile(filepath.Join("../../..", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if len(m.texts) == 0 || len(m.texts)%2 != 0 {
			t.Errorf("%s: %d texts", m.name, len(m.texts))
			continue
		}
		for i := 0; i < len(m.texts); i += 2 {
			if n := strings.Count(string(data), m.texts[i]); n != 1 || m.texts[i] == m.texts[i+1] {
				t.Errorf("%s: %q is %d times in %s", m.name, m.texts[i], n, m.file)
			}
		}
		if _, err := regexp.Compile(m.test); err != nil {
			t.Error(err)
		}
	}
}
