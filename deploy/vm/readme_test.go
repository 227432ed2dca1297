//go:build vm_deb

package vm

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// step is a command that the README shows, with what it shows of the output.
type step struct {
	line     int
	command  string
	output   []string
	terminal int // 1, or 2 for what runs beside the rest
}

// readme is where `make test-deb` puts it.
var readme = "/src/README.md"

// section returns the lines of the README from a heading to the next one of the same level, and the number of the first.
func section(t *testing.T, heading string) ([]string, int) {
	t.Helper()
	data, err := os.ReadFile(readme)
	if err != nil {
		t.Fatalf("read the README: %v; `make test-deb` adds it", err)
	}
	lines := strings.Split(string(data), "\n")
	for i, line := range lines {
		if line != heading {
			continue
		}
		for j, next := range lines[i+1:] {
			if strings.HasPrefix(next, "## ") {
				return lines[i : i+1+j], i + 1
			}
		}
	}
	t.Fatalf("the README has no section %q", heading)
	return nil, 0
}

// tour returns the commands of the blocks of a section that are for a console. The paragraph before a block says if
// it is for the second terminal.
func tour(t *testing.T, heading string) []step {
	t.Helper()
	lines, first := section(t, heading)
	var steps []step
	block, terminal := "", 1
	for i, line := range lines {
		switch fence, isFence := strings.CutPrefix(line, "```"); {
		case isFence && block == "":
			block = fence
			if block != "console" {
				t.Fatalf("README.md:%d: a block of %q; all of the tour are `console`, so that they are tried", first+i, fence)
			}
		case isFence:
			block, terminal = "", 1
		case block == "" && strings.HasPrefix(line, "    "):
			t.Errorf("README.md:%d: a block that is not fenced is not tried", first+i)
		case block == "" && strings.Contains(line, "second terminal"):
			terminal = 2
		case block == "":
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{line: first + i, command: line[2:], terminal: terminal})
		case len(steps) == 0:
			t.Fatalf("README.md:%d: output without a command", first+i)
		default:
			last := &steps[len(steps)-1]
			last.output = append(last.output, line)
		}
	}
	return steps
}

// listing returns the first block of a section in a language.
func listing(t *testing.T, heading, language string) string {
	t.Helper()
	lines, _ := section(t, heading)
	_, rest, found := strings.Cut(strings.Join(lines, "\n"), "\n```"+language+"\n")
	text, _, closed := strings.Cut(rest, "\n```")
	if !found || !closed {
		t.Fatalf("%q has no block of %s", heading, language)
	}
	return text + "\n"
}

// volatile is what differs from run to run, and what stands for it when outputs are compared.
var volatile = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?`), "TIME"},
	{regexp.MustCompile(`\b(pid|process) \d+`), "$1 N"},
	{regexp.MustCompile(`\b\d+[hms]( \d+[ms])?\b`), "DURATION"},
	{regexp.MustCompile(`\bebpfguard \(\d[0-9A-Za-z.+~-]*\)`), "ebpfguard (VERSION)"},
	{regexp.MustCompile(`^bash: line \d+: `), "bash: "}, // of a script, while people see what a terminal gets
	{regexp.MustCompile(`\s+`), " "},                    // the width of a column follows from what is in it
	{regexp.MustCompile(` $`), ""},
}

func normalise(line string) string {
	for _, v := range volatile {
		line = v.pattern.ReplaceAllString(line, v.name)
	}
	return line
}

// differs compares lines with what the README shows of them, in which a line "…" stands for any lines, and "…" in a
// line for any characters. It returns what is wrong.
func differs(got, shown []string) string {
	var pattern strings.Builder
	for _, line := range shown {
		if strings.TrimSpace(line) == "…" {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		parts := strings.Split(normalise(line), "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		pattern.WriteString(strings.Join(parts, `.*`) + `\n`)
	}
	var text strings.Builder
	for _, line := range got {
		text.WriteString(normalise(line) + "\n")
	}
	if regexp.MustCompile(`^` + pattern.String() + `$`).MatchString(text.String()) {
		return ""
	}
	return fmt.Sprintf("printed\n%s\nand the README shows\n%s", strings.Join(got, "\n"), strings.Join(shown, "\n"))
}
