package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// test is one with its doc comment.
type test struct{ name, comment string }

// comments returns the tests of a folder in the order of their files.
func comments(folder string) ([]test, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		return nil, err
	}
	var all []test
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "Test") || fn.Name.Name == "TestMain" {
				continue
			}
			text := strings.Join(strings.Fields(fn.Doc.Text()), " ")
			all = append(all, test{fn.Name.Name, strings.TrimPrefix(text, fn.Name.Name+" ")})
		}
	}
	if len(all) == 0 {
		return nil, errors.New("there are no tests in " + folder)
	}
	return all, nil
}

// result is what the output of one run says.
type result struct {
	versions string
	kernel   string
	outcomes map[string]outcome
	// seen has the figures that a test tells.
	seen map[string][]string
}

// outcome is that of the last run; again says that an earlier one failed.
type outcome struct {
	passed bool
	again  bool
	took   time.Duration
}

var (
	ended    = regexp.MustCompile(`^\s*--- (PASS|FAIL): (\S+) \(([0-9.]+s)\)`)
	running  = regexp.MustCompile(`^=== (?:RUN|CONT|NAME)\s+(\S+)`)
	figure   = regexp.MustCompile(`^\s+\S+_test\.go:\d+: seen: (.*)`)
	versions = regexp.MustCompile(`^versions: (.*Linux (\S+).*)`)
)

func parse(log string) (result, error) {
	r := result{outcomes: map[string]outcome{}, seen: map[string][]string{}}
	now := ""
	for line := range strings.Lines(log) {
		if m := versions.FindStringSubmatch(line); m != nil {
			r.versions, r.kernel = m[1], m[2]
		}
		if m := running.FindStringSubmatch(line); m != nil {
			now = m[1]
		}
		if m := figure.FindStringSubmatch(line); m != nil {
			r.seen[now] = append(r.seen[now], m[1])
		}
		if m := ended.FindStringSubmatch(line); m != nil {
			took, err := time.ParseDuration(m[3])
			if err != nil {
				return r, err
			}
			former, ran := r.outcomes[m[2]]
			r.outcomes[m[2]] = outcome{passed: m[1] == "PASS", again: ran && (former.again || !former.passed), took: took}
		}
	}
	if r.kernel == "" || len(r.outcomes) == 0 {
		return r, errors.New("there is no line of versions or no test in it; is it the output of make test-k8s?")
	}
	return r, nil
}

const introduction = "# Kubernetes: what was tested\n\n" +
	"Made by `make test-k8s-table` of the output of `make test-k8s`; \"not run\" is what a run left out. Everything is\n" +
	"real: the control plane, Helm, the chart, the image, kubelet, containerd with runc, and the kernel. The node is emulated\n" +
	"and twenty times as slow as a machine, and the times are those. A column may be put together of several runs, of\n" +
	"several commits; \"ok when run again\" is what failed in an earlier one.\n\n"

// page writes the tables.
func page(tests []test, results []result) (string, error) {
	if len(results) == 0 {
		return "", errors.New("name the outputs of make test-k8s")
	}
	var b strings.Builder
	b.WriteString(introduction)
	for _, r := range results {
		fmt.Fprintf(&b, "- %s\n", r.versions)
	}
	b.WriteString("\n| test | what it does |")
	for _, r := range results {
		fmt.Fprintf(&b, " %s |", r.kernel)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(results)) + "\n")
	for _, t := range tests {
		row(&b, "`"+t.name+"`", t.comment, t.name, results)
		for _, name := range subtests(t.name, results) {
			_, sub, _ := strings.Cut(name, "/")
			row(&b, "", sub, name, results)
		}
	}
	return b.String(), nil
}

func row(b *strings.Builder, name, comment, key string, results []result) {
	fmt.Fprintf(b, "| %s | %s |", name, comment)
	for _, r := range results {
		o, ran := r.outcomes[key]
		cell := "not run"
		switch {
		case ran && o.passed && o.again:
			cell = fmt.Sprintf("ok when run again, %.0f s", o.took.Seconds())
		case ran && o.passed:
			cell = fmt.Sprintf("ok, %.0f s", o.took.Seconds())
		case ran:
			cell = "**failed**"
		}
		if seen := r.seen[key]; len(seen) > 0 {
			cell += ": " + strings.Join(seen, "; ")
		}
		fmt.Fprintf(b, " %s |", cell)
	}
	b.WriteString("\n")
}

func subtests(name string, results []result) []string {
	var all []string
	for _, r := range results {
		for sub := range r.outcomes {
			if strings.HasPrefix(sub, name+"/") && !slices.Contains(all, sub) {
				all = append(all, sub)
			}
		}
	}
	slices.Sort(all)
	return all
}
