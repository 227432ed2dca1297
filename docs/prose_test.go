package docs

import (
	"fmt"
	"regexp"
	"testing"
	"unicode/utf8"
)

// TestWidth wants prose of at most 120 columns, and a README that can be read at once.
func TestWidth(t *testing.T) {
	for _, p := range pages(t) {
		for _, l := range p.lines {
			if n := utf8.RuneCountInString(l.text); n > 120 && l.code == "" && !l.table {
				t.Errorf("%s:%d: %d columns; wrap prose at 120", p.name, l.number, n)
			}
		}
		if p.name == "README.md" && len(p.lines) > 150 {
			t.Errorf("%s has %d lines; 150 are enough, move the rest to docs/", p.name, len(p.lines))
		}
	}
}

// riddles are ways of saying things that readers had to read twice.
var riddles = regexp.MustCompile(`(?i)\b(whom|whoever|nobody is|is over after|as good as|what there is of|tells whether)\b`)

func TestPlainWords(t *testing.T) {
	for _, p := range pages(t) {
		for _, l := range p.lines {
			if found := riddles.FindString(l.text); found != "" {
				t.Errorf("%s:%d: %q; say it as you would to a colleague", p.name, l.number, found)
			}
		}
	}
}

// wayCount is how many ways coverage lists, as pages say it.
var wayCount = regexp.MustCompile(`\b([0-9]{3,}) ways\b`)

// TestWayCount wants every page to say the number that the generated one says.
func TestWayCount(t *testing.T) {
	counts := map[string][]string{}
	for _, p := range pages(t) {
		for _, l := range p.lines {
			if n := wayCount.FindStringSubmatch(l.text); n != nil {
				counts[n[1]] = append(counts[n[1]], fmt.Sprintf("%s:%d", p.name, l.number))
			}
		}
	}
	if len(counts) != 1 {
		t.Errorf("pages differ about the number of ways: %v", counts)
	}
}
