package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ebpfguard/ebpfguard/docs"
)

// section is a section of a page of docs/.
type section struct{ page, heading string }

// formats are the manual pages about files, which are made of the documentation.
var formats = []struct {
	name, short string
	sections    []section
}{
	{"ebpfguard-policy", "the policies of ebpfguard", []section{
		{docs.Policies, "## A whole policy"}, {docs.Policies, "## Which rule wins"}, {docs.Semantics, "## Fields of a policy"}, {docs.Semantics, "### Paths"},
	}},
	{"ebpfguard-config", "the configuration of the daemon, /etc/ebpfguard/config.yaml", []section{{docs.Daemon, "## Configuration"}}},
}

// writeFormatPages writes the pages about files, of section 5.
func writeFormatPages(dir string) error {
	for _, format := range formats {
		var b strings.Builder
		b.WriteString(manHead(format.name, 5, format.short))
		for _, s := range format.sections {
			text, err := s.text()
			if err != nil {
				return err
			}
			b.WriteString(manMarkdown(text))
		}
		b.WriteString(".SH SEE ALSO\n\\fBebpfguard\\fR(1), and all pages in /usr/share/doc/ebpfguard/docs\n")
		if err := os.WriteFile(filepath.Join(dir, format.name+".5"), []byte(b.String()), 0o644); err != nil {
			return fmt.Errorf("man: %w; choose another directory", err)
		}
	}
	return nil
}

// text returns the section from its heading to the next one that is not below it.
func (s section) text() (string, error) {
	_, rest, ok := strings.Cut(s.page, "\n"+s.heading+"\n")
	if !ok {
		return "", fmt.Errorf("man: docs/ has no section %q; rename it in the list of manual pages too", s.heading)
	}
	level, _, _ := strings.Cut(s.heading, " ")
	for n := 2; n <= len(level); n++ {
		rest, _, _ = strings.Cut(rest, "\n"+strings.Repeat("#", n)+" ")
	}
	return "## " + strings.TrimLeft(s.heading, "# ") + "\n" + rest, nil
}

var (
	markdownLink = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	emphasis     = regexp.MustCompile(`\*+([^*]+)\*+`)
	numbered     = regexp.MustCompile(`^(\d+\.) (.*)$`)
)

// manMarkdown returns a text of docs/ in man(7)'s macros. It knows what these pages use: headings,
// paragraphs, lists, tables and code.
func manMarkdown(text string) string {
	var b strings.Builder
	var columns []string // of the table
	row := ""            // the first cell, which the rows below it share
	code := false
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(line, "|") {
			columns = nil
		}
		item := numbered.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "```"):
			code = !code
			b.WriteString(map[bool]string{true: ".PP\n.nf\n", false: ".fi\n"}[code])
		case code:
			b.WriteString(roff(line) + "\n")
		case line == "":
			b.WriteString(".PP\n")
		case strings.HasPrefix(line, "<!--"):
		case strings.HasPrefix(line, "## "):
			fmt.Fprintf(&b, ".SH %s\n", roff(strings.ToUpper(line[3:])))
		case strings.HasPrefix(line, "### "):
			fmt.Fprintf(&b, ".SS %s\n", roff(line[4:]))
		case strings.HasPrefix(line, "|--"):
		case strings.HasPrefix(line, "|") && columns == nil:
			columns = cells(line)
		case strings.HasPrefix(line, "|"):
			row = manRow(&b, columns, cells(line), row)
		case strings.HasPrefix(line, "- "):
			fmt.Fprintf(&b, ".IP \\(bu 2\n%s\n", manInline(line[2:]))
		case item != nil:
			fmt.Fprintf(&b, ".IP %s 3\n%s\n", item[1], manInline(item[2]))
		default:
			b.WriteString(manInline(strings.TrimSpace(line)) + "\n")
		}
	}
	return b.String()
}

// manRow writes a row of a table as an item: one with many columns is too wide for a terminal. It
// returns the first cell, or what the rows above have there.
func manRow(b *strings.Builder, columns, row []string, above string) string {
	if row[0] != "" {
		above = row[0]
	}
	fmt.Fprintf(b, ".TP\n%s\n", manInline(above))
	for i, cell := range row[1:] {
		label := columns[i+1]
		if label != "" {
			label += ": "
		}
		if cell != "" {
			b.WriteString(manInline(label+cell) + "\n.br\n")
		}
	}
	return above
}

func cells(line string) []string {
	all := strings.Split(strings.Trim(line, "|"), "|")
	for i, cell := range all {
		all[i] = strings.TrimSpace(cell)
	}
	return all
}

// manInline returns text with code in bold, and without links.
func manInline(text string) string {
	parts := strings.Split(markdownLink.ReplaceAllString(text, "$1"), "`")
	for i, part := range parts {
		if i%2 == 1 {
			parts[i] = `\fB` + roff(part) + `\fR`
		} else {
			parts[i] = roff(emphasis.ReplaceAllString(part, "$1"))
		}
	}
	line := strings.Join(parts, "")
	if strings.HasPrefix(line, ".") {
		line = `\&` + line
	}
	return line
}
