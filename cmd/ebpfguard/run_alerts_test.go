package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ebpfguard/ebpfguard/daemon/config"
)

func TestRunJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	writePolicy(t, file, "one", "22")
	g := newFakeGuard(t)
	s := start(t, g, runFlags{files: []string{file}, output: outputJSON}, nil)
	g.alert(fakeAlert("x"))
	until(t, "the alert", func() bool { return s.stdout.String() == "{\"alert\":\"x\"}\n" })
	s.stop()
}

// TestRunOutputs expects that alerts go where --outputs says, and nowhere else.
func TestRunOutputs(t *testing.T) {
	dir := t.TempDir()
	policies, one, two := filepath.Join(dir, "p.yaml"), filepath.Join(dir, "one"), filepath.Join(dir, "two")
	writePolicy(t, policies, "one", "22")
	g := newFakeGuard(t)
	flags := runFlags{files: []string{policies}, named: true, alerts: two}
	if err := config.OutputsValue(&flags.outputs).Set("{type: file, format: text, path: " + one + "}"); err != nil {
		t.Fatal(err)
	}
	s := start(t, g, flags, nil)
	g.alert(fakeAlert("x"))
	read := func(path string) string { content, _ := os.ReadFile(path); return string(content) }
	until(t, "the alert", func() bool { return read(one) == "alert x\n" && read(two) == "{\"alert\":\"x\"}\n" })
	s.stop()
	if text := s.stdout.String(); text != "" {
		t.Errorf("the standard output has %q", text)
	}
}

// TestRunDrains expects that what was raised before the end is written.
func TestRunDrains(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	writePolicy(t, file, "one", "22")
	g := newFakeGuard(t)
	s := start(t, g, runFlags{files: []string{file}}, nil)
	<-g.applied
	for range 10 {
		g.alert(fakeAlert("x"))
	}
	s.stop()
	if got := s.stdout.String(); got != strings.Repeat("alert x\n", 10) {
		t.Errorf("written: %q", got)
	}
}

// brokenWriter is an output whose reader has gone.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestRunOutputBroken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	writePolicy(t, file, "one", "22")
	g := newFakeGuard(t)
	s := start(t, g, runFlags{files: []string{file}}, brokenWriter{})
	<-g.applied
	g.alert(fakeAlert("x"))
	g.alert(fakeAlert("y"))
	until(t, "the error", func() bool { return strings.Contains(s.stderr.String(), "broken pipe") })
	until(t, "the second alert", func() bool { return len(g.alerts) == 0 })
	s.stop()
	stderr := s.stderr.String()
	if strings.Count(stderr, "broken pipe") != 1 {
		t.Errorf("not reported once:\n%s", stderr)
	}
	if !strings.Contains(stderr, "3 alerts lost") {
		t.Errorf("totals:\n%s", stderr)
	}
}

// blockedWriter is an output whose reader does not read.
type blockedWriter struct{}

func (blockedWriter) Write([]byte) (int, error) { select {} }

func TestRunOutputBlocked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	writePolicy(t, file, "one", "22")
	g := newFakeGuard(t)
	s := start(t, g, runFlags{files: []string{file}, alerts: filepath.Join(t.TempDir(), "log")}, blockedWriter{})
	<-g.applied
	g.alert(fakeAlert("x"))
	g.alert(fakeAlert("y"))
	until(t, "both alerts are read", func() bool { return len(g.alerts) == 0 })
	s.stop()
	if stderr := s.stderr.String(); !strings.HasSuffix(stderr, ", 3 alerts lost\n") {
		t.Errorf("totals:\n%s", stderr)
	}
}
