//go:build vm_deb

package vm

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// step is a command that the page shows, with what it shows of the output.
type step struct {
	line     int
	command  string
	output   []string
	terminal int // 1, or 2 for what runs beside the rest
}

// page is the tour, where `make test-deb` puts it.
const page = "/src/docs/tour.md"

func readPage(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatalf("read the tour: %v; `make test-deb` adds it", err)
	}
	return string(data)
}

// tour returns the commands of the page's blocks. The paragraph before a block says if it is for the second terminal.
func tour(t *testing.T) []step {
	t.Helper()
	var steps []step
	block, terminal := "", 1
	for i, line := range strings.Split(readPage(t), "\n") {
		switch fence, isFence := strings.CutPrefix(line, "```"); {
		case isFence && block == "":
			block = fence
			if block != "console" && block != "yaml" {
				t.Fatalf("%s:%d: a block of %q; only `console` is tried, and only the policy is `yaml`", page, i+1, fence)
			}
		case isFence:
			block, terminal = "", 1
		case block == "" && strings.HasPrefix(line, "    "):
			t.Errorf("%s:%d: a block that is not fenced is not tried", page, i+1)
		case block == "" && strings.Contains(line, "second terminal"):
			terminal = 2
		case block != "console":
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{line: i + 1, command: line[2:], terminal: terminal})
		case len(steps) == 0:
			t.Fatalf("%s:%d: output without a command", page, i+1)
		default:
			last := &steps[len(steps)-1]
			last.output = append(last.output, line)
		}
	}
	return steps
}

// secrets returns the page's one block of YAML.
func secrets(t *testing.T) string {
	t.Helper()
	_, rest, found := strings.Cut(readPage(t), "\n```yaml\n")
	text, _, closed := strings.Cut(rest, "\n```")
	if !found || !closed {
		t.Fatalf("%s has no block of yaml", page)
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
	{regexp.MustCompile(`\b(\d+[dhms]){1,2}\b`), "DURATION"},
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

// differs compares lines with what the page shows of them, in which a line "…" stands for any lines, and "…" in a
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
	return fmt.Sprintf("printed\n%s\nand the page shows\n%s", strings.Join(got, "\n"), strings.Join(shown, "\n"))
}
