package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/test/coverage"
)

func output(t *testing.T, results ...coverage.Result) string {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("=== RUN   TestCoverage\n")
	for _, r := range results {
		if err := r.Print(&b); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "output")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func result(kernel, id string, outcome coverage.Outcome, why string) coverage.Result {
	return coverage.Result{Kernel: kernel, Operation: coverage.FileOpen, ID: id, Description: "open(2), a|b", Outcome: outcome, Why: why}
}

var good = []coverage.Result{
	result("5.10", "open", coverage.Refused, "at an earlier step: x"), result("5.10", "new", coverage.NotOffered, "no new"), result("5.10", "hole", coverage.NotCovered, "a (b) | c"),
	result("6.12", "open", coverage.Refused, ""), result("6.12", "new", coverage.Refused, ""), result("6.12", "hole", coverage.NotCovered, "a (b) | c"),
}

func TestWriteAndCheck(t *testing.T) {
	doc := filepath.Join(t.TempDir(), "coverage.md")
	var stdout, stderr bytes.Buffer
	if code := run([]string{"-write", doc, output(t, good...)}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit status %d: %s", code, &stderr)
	}
	raw, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| file_open | 3 | 1 / 1 / 1 | 2 / 0 / 1 |", "| `new` | open(2), a\\|b | not offered (1) | refused |", "1. no new\n2. a (b) | c\n",
	} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("the table lacks %q:\n%s", want, raw)
		}
	}
	stderr.Reset()
	if code := run([]string{"-write", doc + ".new", output(t, good[1:]...)}, &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), "not tried: file_open/open on 5.10;") {
		t.Errorf("a gap: exit status %d, %s", code, &stderr)
	}
	change := func(i int, o coverage.Outcome) []coverage.Result {
		changed := append([]coverage.Result(nil), good...)
		changed[i].Outcome = o
		return changed
	}
	for name, c := range map[string]struct {
		results []coverage.Result
		flags   []string
		worse   string
	}{
		"unchanged":              {good, nil, ""},
		"refused, now passed":    {change(0, coverage.Passed), nil, "file_open/open on 5.10: passed, was refused"},
		"refused, not offered":   {change(4, coverage.NotOffered), nil, "file_open/new on 6.12: not offered, was refused"},
		"not covered, now fails": {change(2, coverage.Failed), nil, "file_open/hole on 5.10: failed, was not covered"},
		"not covered, refused":   {change(2, coverage.Refused), nil, ""},
		"row gone":               {append(append([]coverage.Result(nil), good[1:3]...), good[4:]...), nil, "file_open/open is no longer tested"},
		"cell gone":              {good[1:], nil, "file_open/open on 5.10 is no longer tested"},
		"kernel gone":            {good[:3], nil, "kernel 6.12 is no longer tested"},
		"partial":                {good[1:3], []string{"-partial"}, ""},
		"new row that passes":    {append(good[:6:6], result("6.12", "fresh", coverage.Passed, "")), nil, "file_open/fresh on 6.12: passed, was not tested"},
		"new row that is known":  {append(good[:6:6], result("6.12", "fresh", coverage.NotCovered, "x")), nil, ""},
		"new kernel":             {append(good[:6:6], result("6.18", "open", coverage.Refused, "")), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(append(append([]string{"-check", doc}, c.flags...), output(t, c.results...)), &stdout, &stderr)
			if (code != 0) != (c.worse != "") || !strings.Contains(stderr.String(), c.worse) {
				t.Errorf("exit status %d, want %q: %s", code, c.worse, &stderr)
			}
		})
	}
}

func TestBadInput(t *testing.T) {
	var stdout, stderr bytes.Buffer
	for name, path := range map[string]string{
		"nothing":         output(t),
		"both":            output(t, good[0], result("5.10", "open", coverage.Passed, "")),
		"unknown kernel":  output(t, result("4.4", "open", coverage.Refused, "")),
		"unknown outcome": output(t, result("5.10", "open", "maybe", "")),
		"control":         output(t, result("5.10", "open", coverage.Control, "")),
	} {
		if code := run([]string{path}, &stdout, &stderr); code != 1 {
			t.Errorf("%s: exit status %d", name, code)
		}
	}
	if _, err := parseTable("# Coverage\n"); err == nil {
		t.Error("a table without rows was accepted")
	}
}
