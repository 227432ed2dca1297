// Package docs holds the pages, and tests that keep them true where a machine can tell.
package docs

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
)

// root is the folder of the repository.
const root = ".."

// page is a Markdown file.
type page struct {
	name  string // from the root, with slashes
	lines []line
}

type line struct {
	number int
	text   string
	code   string // the language of the block that the line is in; "code" when it has none, "" for prose
	table  bool
}

// pages returns every Markdown file of the repository.
func pages(t *testing.T) []page {
	t.Helper()
	var all []page
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "bin", "dist", "testdata"}, d.Name()):
			return filepath.SkipDir
		case d.IsDir() || path.Ext(name) != ".md":
			return nil
		}
		rel, err := filepath.Rel(root, name)
		all = append(all, page{filepath.ToSlash(rel), read(t, name)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found %d pages only", len(all))
	}
	return all
}

// read splits a file into its lines and tells prose from code.
func read(t *testing.T, name string) []line {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var lines []line
	block, blank := "", true
	for i, text := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		l := line{number: i + 1, text: text, code: block, table: strings.HasPrefix(text, "|")}
		switch language, fence := strings.CutPrefix(strings.TrimSpace(text), "```"); {
		case fence && block == "":
			block = language
			if block == "" {
				block = "code"
			}
			l.code = block
		case fence:
			block = ""
		case block == "" && strings.HasPrefix(text, "    ") && (blank || lines[i-1].code != ""):
			l.code = "code"
		}
		blank = text == "" || blank && l.code != ""
		lines = append(lines, l)
	}
	return lines
}

// blocks returns the fenced blocks of a language.
func (p page) blocks(language string) []string {
	var all []string
	in := false
	for _, l := range p.lines {
		switch {
		case strings.HasPrefix(l.text, "```"):
			in = l.text == "```"+language && !in
			if in {
				all = append(all, "")
			}
		case in:
			all[len(all)-1] += l.text + "\n"
		}
	}
	return all
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	code    = regexp.MustCompile("`[^`]*`")
	dropped = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
)

// TestLinks follows every relative link to its file and to its heading.
func TestLinks(t *testing.T) {
	all := pages(t)
	anchors := map[string]map[string]bool{}
	for _, p := range all {
		anchors[p.name] = map[string]bool{}
		for _, l := range p.lines {
			if l.code == "" && strings.HasPrefix(l.text, "#") {
				anchors[p.name][anchor(l.text)] = true
			}
		}
	}
	for _, p := range all {
		for _, l := range p.lines {
			if l.code != "" {
				continue
			}
			for _, found := range link.FindAllStringSubmatch(code.ReplaceAllString(l.text, ""), -1) {
				if err := follow(p.name, found[1], anchors); err != nil {
					t.Errorf("%s:%d: %v", p.name, l.number, err)
				}
			}
		}
	}
}

func follow(from, to string, anchors map[string]map[string]bool) error {
	if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
		return nil
	}
	file, heading, hasHeading := strings.Cut(to, "#")
	target := from
	if file != "" {
		target = path.Join(path.Dir(from), file)
	}
	if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(target))); err != nil {
		return fmt.Errorf("the link %s leads nowhere", to)
	}
	if hasHeading && !anchors[target][heading] {
		return fmt.Errorf("the link %s leads to no heading; there are %v", to, slices.Sorted(maps.Keys(anchors[target])))
	}
	return nil
}

// anchor returns what a heading is called in links, as on GitHub.
func anchor(heading string) string {
	text := strings.ToLower(strings.TrimSpace(strings.TrimLeft(heading, "#")))
	return strings.ReplaceAll(dropped.ReplaceAllString(text, ""), " ", "-")
}

var inRepository = regexp.MustCompile("^`(\\.ci|\\.github|api|bench|bpf|cmd|daemon|demo|deploy|docs|examples|internal|policy|scripts|sink|test)/[\\w./-]*`$")

// TestPaths looks for the files and folders that pages name.
func TestPaths(t *testing.T) {
	for _, p := range pages(t) {
		for _, l := range p.lines {
			if l.code != "" || p.name == "CHANGELOG.md" { // which tells of what was
				continue
			}
			for _, name := range code.FindAllString(l.text, -1) {
				if !inRepository.MatchString(name) || strings.Contains(name, "/v0.") { // a tag
					continue
				}
				if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(strings.Trim(name, "`")))); err != nil {
					t.Errorf("%s:%d: there is no %s", p.name, l.number, name)
				}
			}
		}
	}
}

var target = regexp.MustCompile(`(?m)\bmake ([a-z][a-z0-9/-]*)`)

// TestTargets looks for the targets of make that pages name.
func TestTargets(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages(t) {
		for _, l := range p.lines {
			texts := code.FindAllString(l.text, -1)
			if l.code != "" {
				texts = []string{l.text}
			}
			for _, text := range texts {
				for _, found := range target.FindAllStringSubmatch(text, -1) {
					if !strings.Contains(string(makefile), "\n"+found[1]+":") {
						t.Errorf("%s:%d: the Makefile has no target %q", p.name, l.number, found[1])
					}
				}
			}
		}
	}
}

// TestGo wants each block of Go to be part of an example that is compiled.
func TestGo(t *testing.T) {
	examples, err := os.ReadFile(filepath.Join(root, "example_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	flat := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	for _, p := range pages(t) {
		for _, block := range p.blocks("go") {
			if !strings.Contains(flat(string(examples)), flat(block)) {
				t.Errorf("%s: example_test.go does not have this, so nothing compiles it:\n%s", p.name, block)
			}
		}
	}
}

// TestYAML reads the policies that pages show, whole ones and the rules or subjects of one.
func TestYAML(t *testing.T) {
	const head = "apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: a}\nspec:\n"
	const rules = "  rules: [{operation: file_open, deny: all}]\n"
	var secrets []string
	for _, p := range pages(t) {
		for _, block := range p.blocks("yaml") {
			var documents []string
			switch {
			case strings.Contains(block, "kind: ClusterPolicy"): // daemon/kubernetes reads these
				continue
			case strings.HasPrefix(block, "apiVersion"), strings.HasPrefix(block, "- !"):
				documents = []string{block}
			case strings.HasPrefix(block, "- operation"):
				documents = []string{head + "  subject: {}\n  rules:\n" + indent(block)}
			case strings.HasPrefix(block, "subject"):
				for l := range strings.Lines(block) {
					documents = append(documents, head+indent(l)+rules)
				}
			default:
				continue
			}
			for _, text := range documents {
				// Lists of addresses lie beside the examples.
				if _, err := policy.Parse(filepath.Join(root, "examples", "page.yaml"), []byte(text)); err != nil {
					t.Errorf("%s: %v\n%s", p.name, err, text)
				}
			}
			if strings.Contains(block, "name: tls-keys") {
				secrets = append(secrets, block)
			}
		}
	}
	if len(secrets) != 2 || secrets[0] != secrets[1] {
		t.Errorf("secrets.yaml is not the same in README.md and docs/tour.md:\n%s", strings.Join(secrets, "\n"))
	}
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n  ") + "\n"
}
