package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	figures := func(open, free float64) results {
		return results{"6.12": {"open": {nothing: open, "10 rules": open + free}}}
	}
	file := filepath.Join(t.TempDir(), "baseline.json")
	if err := writeJSON(file, figures(6000, 600)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		now  results
		want string
	}{
		"the same":                      {figures(6000, 600), ""},
		"less":                          {figures(6000, 100), ""},
		"within the tolerance":          {figures(6000, 779), ""},
		"another version of the kernel": {figures(6600, 600), ""},
		"slower":                        {figures(6000, 781), "open, 10 rules on 6.12: +781 instructions, +600 before"},
		"slower on a faster kernel":     {figures(5000, 800), "+800 instructions"},
		"nothing to compare with":       {results{"7": figures(1, 1)["6.12"]}, "has no figure"},
	} {
		err := check(file, c.now)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := check(file, figures(1, 1)); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a damaged file: %v", err)
	}
}
