package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ebpfguard/ebpfguard/internal/tools/checkout"
)

// source is the checkout that everything is made of.
type source struct {
	checkout.Checkout
	// config is the daemon's configuration as it is first installed.
	config string
}

func readSource(root, version string) (source, error) {
	c, err := checkout.Read(root, version)
	return source{c, filepath.Join(root, "deploy", "config.yaml")}, err
}

// generated makes what the command writes about itself: completions for the shells and manual pages.
func (s source) generated(work string) (generated, error) {
	g := generated{completions: map[string]string{}}
	binary := filepath.Join(work, "ebpfguard")
	// For this machine, whatever it is: it is run here.
	if _, err := s.CommandEnv([]string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-o", binary, "./cmd/ebpfguard"); err != nil {
		return g, err
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		out, err := s.Command(binary, "completion", shell)
		if err != nil {
			return g, fmt.Errorf("make the completion for %s: %w", shell, err)
		}
		g.completions[shell] = filepath.Join(work, "completion."+shell)
		if err := os.WriteFile(g.completions[shell], []byte(out+"\n"), 0o644); err != nil {
			return g, err
		}
	}
	pages := filepath.Join(work, "man")
	if _, err := s.Command(binary, "man", pages); err != nil {
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
