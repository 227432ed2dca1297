package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// named is a test that comparison.md names: its package's folder, its function, and parts of it.
var named = regexp.MustCompile("`([a-z][\\w/.-]*) (Test\\w+)((?:/[^`/]+)*)`")

// mark leads from a cell to the table of sources.
var mark = regexp.MustCompile(`\b[TKVM]\d+\b`)

// TestComparedTests looks for the tests that show what comparison.md says of ours.
func TestComparedTests(t *testing.T) {
	found := 0
	for _, l := range read(t, filepath.Join(root, "docs/comparison.md")) {
		for _, m := range named.FindAllStringSubmatch(l.text, -1) {
			found++
			source := testSource(t, m[1])
			if !strings.Contains(source, "\nfunc "+m[2]+"(t *testing.T) {") {
				t.Errorf("docs/comparison.md:%d: %s has no %s", l.number, m[1], m[2])
			}
			for part := range strings.SplitSeq(strings.TrimPrefix(m[3], "/"), "/") {
				if part != "" && !strings.Contains(source, strconv.Quote(part)) {
					t.Errorf("docs/comparison.md:%d: no test of %s is called %q", l.number, m[1], part)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("docs/comparison.md names %d tests only", found)
	}
}

// testSource returns the tests of a package.
func testSource(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(data)
	}
	return all.String()
}

// TestComparedCells wants a source for what is said of others, and a test for each row about ours.
func TestComparedCells(t *testing.T) {
	lines := read(t, filepath.Join(root, "docs/comparison.md"))
	sources, tested := map[string]bool{}, map[string]bool{} // whether a source was used; which rows have a test
	var rows [][]string
	section, theirs := "", 0 // theirs is the first row of those where others do more
	for _, l := range lines {
		if strings.HasPrefix(l.text, "## ") {
			section = l.text[3:]
		}
		cells := strings.Split(strings.Trim(l.text, "| "), " | ")
		switch {
		case !l.table:
		case section == "Sources" && mark.MatchString(cells[0]):
			sources[cells[0]] = false
		case section == "The tests of ours" && named.MatchString(l.text):
			tested[cells[0]] = true
		case len(cells) == 6 && cells[0] == strconv.Itoa(len(rows)+1):
			if section == "Where the others do more" && theirs == 0 {
				theirs = len(rows)
			}
			rows = append(rows, cells)
		}
	}
	if theirs < 10 || len(rows) == theirs {
		t.Fatalf("found %d rows, the first %d about enforcement", len(rows), theirs)
	}
	for i, cells := range rows {
		if i < theirs && !tested[cells[0]] {
			t.Errorf("row %s, %s: no test shows it", cells[0], cells[1])
		}
		for _, cell := range cells[3:] {
			marks := mark.FindAllString(cell, -1)
			if marks == nil && cell != "not found in its documentation" {
				t.Errorf("row %s, %s: %q has no source", cells[0], cells[1], cell)
			}
			for _, m := range marks {
				if _, ok := sources[m]; !ok {
					t.Errorf("row %s, %s: there is no source %s", cells[0], cells[1], m)
				}
				sources[m] = true
			}
		}
	}
	var unused []string
	for m, used := range sources {
		if !used {
			unused = append(unused, m)
		}
	}
	if slices.Sort(unused); unused != nil {
		t.Errorf("no row needs the sources %v", unused)
	}
}
