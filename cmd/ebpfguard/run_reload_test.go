package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
)

func TestRunReload(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	policies := filepath.Join(dir, "policies")
	if err := os.Mkdir(policies, 0o700); err != nil {
		t.Fatal(err)
	}
	writePolicy(t, filepath.Join(policies, "a.yaml"), "one", "22")
	if err := os.Mkdir(filepath.Join(policies, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	writePolicy(t, filepath.Join(policies, "sub", "c.yaml"), "three", "24")
	g := newFakeGuard(t)
	s := start(t, g, runFlags{files: []string{policies}, alerts: log}, nil)
	<-g.applied
	if stderr := s.stderr.String(); !strings.Contains(stderr, "sub: warning: its policies are not read") {
		t.Errorf("stderr: %s", stderr)
	}

	// A broken set changes nothing.
	writePolicy(t, filepath.Join(policies, "b.yaml"), "two", "70000")
	s.reload <- syscall.SIGHUP
	until(t, "the error", func() bool { return strings.Contains(s.stderr.String(), "NOT reloaded") })
	if stderr := s.stderr.String(); !strings.Contains(stderr, "port 70000 is too large") {
		t.Errorf("stderr: %s", stderr)
	}

	// Nor does one that the kernel refuses.
	writePolicy(t, filepath.Join(policies, "b.yaml"), "two", "23")
	g.mu.Lock()
	g.applyErr = errors.New("too many")
	g.mu.Unlock()
	s.reload <- syscall.SIGHUP
	until(t, "the error", func() bool { return strings.Contains(s.stderr.String(), "too many") })
	g.mu.Lock()
	g.applyErr = nil
	g.mu.Unlock()

	// A good one is applied, and the file of alerts is opened anew.
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	s.reload <- syscall.SIGHUP
	if set := <-g.applied; len(set) != 2 {
		t.Errorf("applied %+v", set)
	}
	until(t, "the new file", func() bool { return exists(log) })
	g.alert(fakeAlert("x"))
	until(t, "the alert", func() bool { return s.stdout.String() != "" })
	s.stop()
	if content, err := os.ReadFile(log); err != nil || len(content) == 0 {
		t.Errorf("file of alerts %q, %v", content, err)
	}
}

func TestRunReloadStandardInput(t *testing.T) {
	r := newRunner(runFlags{files: []string{"-"}}, io.Discard, io.Discard)
	r.guard = newFakeGuard(t)
	if err := r.reloadPolicies(); err == nil || !strings.Contains(err.Error(), "standard input") {
		t.Errorf("error %v", err)
	}
}

// TestRunAttaches expects that what is attached is what the policies need, at a
// reload as well.
func TestRunAttaches(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	writePolicy(t, file, "one", "22")
	g := newFakeGuard(t)
	s := start(t, g, runFlags{files: []string{file}}, nil)
	<-g.applied
	text := `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: two}
spec:
  subject: {}
  rules:
  - operation: socket_bind
    deny: {ports: [22]}
  - operation: file_open
    deny: {paths: [/etc/shadow]}
  - operation: sb_mount
    allow: all
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.reload <- syscall.SIGHUP
	<-g.applied
	s.stop()
	if want := []policy.Operation{policy.SocketBind, policy.FileOpen, policy.SbMount}; !slices.Equal(g.attached, want) {
		t.Errorf("attached %v, want %v", g.attached, want)
	}
}

// TestRunFollowsLinks expects that the same policies are applied again when a symbolic link on
// one of their paths leads elsewhere.
func TestRunFollowsLinks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	writePolicy(t, file, "one", "22")
	g := newFakeGuard(t)
	s := start(t, g, runFlags{files: []string{file}}, nil)
	first := <-g.applied
	g.mu.Lock()
	g.relinked = []string{"/opt/app"}
	g.mu.Unlock()
	if again := <-g.applied; len(again) != 1 || again[0].Name != first[0].Name {
		t.Errorf("applied %+v", again)
	}
	until(t, "the message", func() bool { return strings.Contains(s.stderr.String(), "/opt/app") })
	s.stop()
}
