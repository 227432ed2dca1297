package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// pkg is a package with its tests.
type pkg struct {
	ImportPath, Dir           string
	TestGoFiles, XTestGoFiles []string
	// tests are the names of its top-level tests.
	tests []string
}

// findPackages returns the packages that the patterns name, with those of their tests that need the build tags.
func findPackages(ctx context.Context, tags string, patterns []string) ([]pkg, error) {
	packages, err := listPackages(ctx, tags, patterns)
	if err != nil {
		return nil, err
	}
	anywhere := make(map[string][]string) // what needs no tag, and so no guest
	if tags != "" {
		plain, err := listPackages(ctx, "", patterns)
		if err != nil {
			return nil, err
		}
		for _, p := range plain {
			anywhere[p.ImportPath] = slices.Concat(p.TestGoFiles, p.XTestGoFiles)
		}
	}
	for i, p := range packages {
		files := slices.DeleteFunc(slices.Concat(p.TestGoFiles, p.XTestGoFiles), func(name string) bool {
			return slices.Contains(anywhere[p.ImportPath], name)
		})
		if packages[i].tests, err = testsOf(p.Dir, files); err != nil {
			return nil, err
		}
	}
	return packages, nil
}

func listPackages(ctx context.Context, tags string, patterns []string) ([]pkg, error) {
	args := []string{"list", "-e", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles"}
	if tags != "" {
		args = append(args, "-tags", tags)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, patterns...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages: %w", err)
	}
	var packages []pkg
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("list the packages: %w", err)
		}
		packages = append(packages, p)
	}
}

// testsOf reads the names from the source: it takes no build.
func testsOf(dir string, files []string) ([]string, error) {
	var names []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") && f.Name.Name != "TestMain" {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names, nil
}

// withTests returns the packages that have a test that the pattern, as of go test -run, matches.
func withTests(packages []pkg, run string) ([]pkg, error) {
	top, _, _ := strings.Cut(run, "/")
	pattern, err := regexp.Compile(top)
	if err != nil {
		return nil, fmt.Errorf("read -run: %w", err)
	}
	found := slices.Clone(packages)
	found = slices.DeleteFunc(found, func(p pkg) bool { return !slices.ContainsFunc(p.tests, pattern.MatchString) })
	if len(found) > 0 {
		return found, nil
	}
	var names []string
	for _, p := range packages {
		names = append(names, p.tests...)
	}
	slices.Sort(names)
	return nil, fmt.Errorf("find a test: none of the kernel tests matches %s; there are %s", run, strings.Join(slices.Compact(names), ", "))
}

// exactly makes a pattern for -run of the name of one test, or of one of its subtests.
func exactly(test string) string {
	parts := strings.Split(test, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(strings.ReplaceAll(part, " ", "_")) + "$"
	}
	return strings.Join(parts, "/")
}
