package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestPackages packs a small command twice and compares: what the two formats and the archive hold must not depend on
// when, where and in which order it was packed. `make dist-check` does the same with the command itself.
func TestPackages(t *testing.T) {
	s := newSource(t)
	var builds [2][]made
	for i := range builds {
		// Other times and another folder than the first.
		work := t.TempDir()
		binary := filepath.Join(work, "ebpfguard")
		extra := generated{completions: map[string]string{}}
		for _, shell := range []string{"bash", "zsh", "fish"} {
			extra.completions[shell] = filepath.Join(work, shell)
			write(t, extra.completions[shell], shell)
		}
		write(t, binary, "#!/bin/sh\n")
		contents, err := s.contents(binary, extra)
		if err != nil {
			t.Fatal(err)
		}
		out := t.TempDir()
		for _, arch := range arches {
			for _, format := range []string{"deb", "rpm"} {
				if err := s.pack(out, arch, format, contents); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.archive(out, arch, contents); err != nil {
				t.Fatal(err)
			}
		}
		if builds[i], err = sum(out); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"ebpfguard-1.2.3-1.aarch64.rpm", "ebpfguard-1.2.3-1.x86_64.rpm",
		"ebpfguard_1.2.3_amd64.deb", "ebpfguard_1.2.3_arm64.deb",
		"ebpfguard_1.2.3_linux_amd64.tar.gz", "ebpfguard_1.2.3_linux_arm64.tar.gz",
	}
	if len(builds[0]) != len(want) {
		t.Fatalf("made %v, want %v", builds[0], want)
	}
	for i, file := range builds[0] {
		if file.name != want[i] {
			t.Errorf("made %s, want %s", file.name, want[i])
		}
		if file != builds[1][i] {
			t.Errorf("%s differs between two builds", file.name)
		}
	}
}

// TestContents checks what the unit and the scripts of the packages rely on.
func TestContents(t *testing.T) {
	dir := t.TempDir()
	pages := []string{filepath.Join(dir, "ebpfguard-status.1.gz"), filepath.Join(dir, "ebpfguard-policy.5.gz")}
	for _, page := range pages {
		write(t, page, "page")
	}
	all, err := newSource(t).contents("/dev/null", generated{completions: map[string]string{
		"bash": "/dev/null", "zsh": "/dev/null", "fish": "/dev/null",
	}, pages: pages})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]fs.FileMode{
		"/usr/bin/ebpfguard":                        0o755,
		"/usr/bin/kubectl-ebpfguard":                fs.ModeSymlink | 0o777,
		"/usr/share/doc/ebpfguard":                  fs.ModeDir | 0o755,
		"/usr/share/doc/ebpfguard/docs":             fs.ModeDir | 0o755,
		"/etc/ebpfguard":                            fs.ModeDir | 0o750,
		"/etc/ebpfguard/policies.d":                 fs.ModeDir | 0o750,
		"/etc/ebpfguard/config.yaml":                0o640,
		"/usr/share/man/man1/ebpfguard-status.1.gz": 0o644,
		"/usr/share/man/man5/ebpfguard-policy.5.gz": 0o644,
	}
	for _, c := range all {
		if mode, ok := want[c.path]; ok && c.mode != mode {
			t.Errorf("%s has mode %v, want %v", c.path, c.mode, mode)
		}
		delete(want, c.path)
		if strings.HasPrefix(c.path, configDir+"/") && !c.mode.IsDir() != c.config {
			t.Errorf("%s: config is %v; an upgrade would overwrite what the administrator wrote", c.path, c.config)
		}
	}
	for path := range want {
		t.Errorf("%s is missing", path)
	}
	wantLinks(t, all)
}

// link is a link of a page to a file of the checkout.
var link = regexp.MustCompile(`\]\(([^):#]+)[^):]*\)`)

// wantLinks expects that what a page links to is in the package.
func wantLinks(t *testing.T, all []content) {
	t.Helper()
	there, links := map[string]bool{}, 0
	for _, c := range all {
		there[c.path] = true
	}
	for _, c := range all {
		if path.Ext(c.path) != ".md" {
			continue
		}
		page, err := os.ReadFile(c.source)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range link.FindAllSubmatch(page, -1) {
			links++
			if to := path.Join(path.Dir(c.path), string(match[1])); !there[to] {
				t.Errorf("%s: the link to %s leads nowhere", c.path, match[1])
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links were found", links)
	}
}

func TestVersion(t *testing.T) {
	s, err := readSource("../../..", "")
	if err != nil {
		t.Fatal(err)
	}
	next, err := s.Next()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.Version, next) || strings.HasPrefix(s.Version, "v") || s.Time.IsZero() {
		t.Errorf("version %q of %v", s.Version, s.Time)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if _, err := readSource("../../..", "1"); err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH") {
		t.Errorf("the error names no remedy: %v", err)
	}
}

func newSource(t *testing.T) source {
	t.Helper()
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSource(root, "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	s.config = filepath.Join(t.TempDir(), "config.yaml")
	write(t, s.config, "# The daemon's own tests read the real one.\n")
	return s
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestBuild checks that the command in a package tells the version of the package.
func TestBuild(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "ebpfguard")
	if err := newSource(t).Build(binary, runtime.GOARCH); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary, "--version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "ebpfguard 1.2.3, commit ") {
		t.Errorf("--version: %v, %q", err, out)
	}
}
