package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
)

// library is the module that all others of the repository require.
const library = "github.com/ebpfguard/ebpfguard"

// source is the checkout that everything is made of.
type source struct {
	root    string
	version string
	// config is the daemon's configuration as it is first installed.
	config string
	// time is the commit's, which every file in the packages bears.
	time time.Time
}

func readSource(root, version string) (source, error) {
	s := source{root: root, version: version, config: filepath.Join(root, "deploy", "config.yaml")}
	stamp := os.Getenv("SOURCE_DATE_EPOCH")
	if stamp == "" {
		out, err := s.command("git", "log", "-1", "--format=%ct")
		if err != nil {
			return s, fmt.Errorf("find the commit's time: %w; outside a git checkout set SOURCE_DATE_EPOCH", err)
		}
		stamp = out
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return s, fmt.Errorf("read the time of the source: %w; SOURCE_DATE_EPOCH is seconds since 1970", err)
	}
	s.time = time.Unix(seconds, 0).UTC()
	if s.version != "" {
		return s, nil
	}
	if tag, err := s.command("git", "describe", "--tags", "--exact-match", "--match", "v*"); err == nil {
		s.version = strings.TrimPrefix(tag, "v")
		return s, nil
	}
	commit, err := s.command("git", "rev-parse", "--short=12", "HEAD")
	if err != nil {
		return s, fmt.Errorf("find the commit: %w; outside a git checkout give -version", err)
	}
	next, err := s.next()
	if err != nil {
		return s, fmt.Errorf("find the version of the next release: %w", err)
	}
	// Sorts before that release, and later commits after earlier ones.
	s.version = next + "-dev." + s.time.Format("20060102150405") + "." + commit
	return s, nil
}

// next returns the version in which the command requires the library: that of the next release.
func (s source) next() (string, error) {
	path := filepath.Join(s.root, "cmd", "go.mod")
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	file, err := modfile.Parse(path, raw, nil)
	if err != nil {
		return "", err
	}
	for _, r := range file.Require {
		if r.Mod.Path == library {
			return strings.TrimPrefix(r.Mod.Version, "v"), nil
		}
	}
	return "", fmt.Errorf("%s does not require %s", path, library)
}

// build compiles the command, statically.
func (s source) build(to, arch string) error {
	env := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS="}
	_, err := s.commandEnv(env, "go", "build", "-trimpath", "-ldflags=-s -w -buildid= -X main.packaged="+s.version, "-o", to, "./cmd/ebpfguard")
	if err != nil {
		return fmt.Errorf("build for %s: %w", arch, err)
	}
	return nil
}

// generated makes what the command writes about itself: completions for the shells and manual pages.
func (s source) generated(work string) (generated, error) {
	g := generated{completions: map[string]string{}}
	binary := filepath.Join(work, "ebpfguard")
	// For this machine, whatever it is: it is run here.
	if _, err := s.commandEnv([]string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-o", binary, "./cmd/ebpfguard"); err != nil {
		return g, err
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		out, err := s.command(binary, "completion", shell)
		if err != nil {
			return g, fmt.Errorf("make the completion for %s: %w", shell, err)
		}
		g.completions[shell] = filepath.Join(work, "completion."+shell)
		if err := os.WriteFile(g.completions[shell], []byte(out+"\n"), 0o644); err != nil {
			return g, err
		}
	}
	pages := filepath.Join(work, "man")
	if _, err := s.command(binary, "man", pages); err != nil {
		return g, fmt.Errorf("make the manual pages: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(pages, "*.[15]"))
	if err != nil {
		return g, err
	}
	for _, file := range files {
		if err := compress(file); err != nil {
			return g, fmt.Errorf("compress a manual page: %w", err)
		}
		g.pages = append(g.pages, file+".gz")
	}
	return g, nil
}

type generated struct {
	// completions maps shells to files.
	completions map[string]string
	// pages are manual pages, compressed, named as man wants them.
	pages []string
}

// compress writes a file's compressed copy beside it, with no time in it.
func compress(name string) error {
	raw, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(raw); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(name+".gz", b.Bytes(), 0o644)
}

func (s source) command(name string, args ...string) (string, error) {
	return s.commandEnv(nil, name, args...)
}

func (s source) commandEnv(env []string, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.root, &stdout, &stderr
	cmd.Env = append(append(os.Environ(), "LC_ALL=C", "TZ=UTC"), env...)
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}
