package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// fakeGuard is a kernel that accepts everything unless told otherwise.
type fakeGuard struct {
	t        *testing.T
	alerts   chan any // a fakeAlert or an error
	applied  chan []policy.Policy
	applyErr error
	// hold makes Apply wait, to show what is true before it returns.
	hold func()

	mu       sync.Mutex
	attached []policy.Operation
	closed   bool
	set      []policy.Policy
	sent     uint64 // alerts
	applies  uint32
}

func newFakeGuard(t *testing.T) *fakeGuard {
	return &fakeGuard{t: t, alerts: make(chan any, 10), applied: make(chan []policy.Policy, 10)}
}

func (g *fakeGuard) Attach(operations ...policy.Operation) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.attached = append(g.attached, operations...)
	return nil
}

func (g *fakeGuard) Alerts(ctx context.Context) iter.Seq2[ebpfguard.Alert, error] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.applies > 0 {
		g.t.Error("alerts were asked for after policies were applied")
	}
	return func(yield func(ebpfguard.Alert, error) bool) {
		for {
			var more bool
			select {
			case next := <-g.alerts:
				if err, ok := next.(error); ok {
					more = yield(nil, err)
				} else {
					more = yield(next.(fakeAlert), nil)
				}
			case <-ctx.Done():
				return
			}
			if !more {
				return
			}
		}
	}
}

func (g *fakeGuard) Apply(set []policy.Policy) (ebpfguard.Changes, error) {
	if g.hold != nil {
		g.hold()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.applyErr != nil {
		return ebpfguard.Changes{}, g.applyErr
	}
	if len(g.attached) == 0 {
		g.t.Error("nothing is attached")
	}
	g.set = set
	if len(set) > 0 {
		g.applied <- set
	}
	g.applies++
	return ebpfguard.Changes{Revision: g.applies}, nil
}

func (g *fakeGuard) Stats(policy.Operation) (ebpfguard.Stats, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.set) > 0 {
		g.t.Error("totals while policies are in force")
	}
	return ebpfguard.Stats{Denied: 3, Audited: 2, Alerts: g.sent, AlertsLost: 1}, nil
}

func (g *fakeGuard) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	return nil
}

type fakeAlert string

func (a fakeAlert) MarshalJSON() ([]byte, error) {
	return []byte(`{"alert":"` + string(a) + `"}`), nil
}
func (a fakeAlert) Context() ebpfguard.AlertContext                    { return ebpfguard.AlertContext{} }
func (a fakeAlert) WithContext(ebpfguard.AlertContext) ebpfguard.Alert { return a }
func (a fakeAlert) String() string                                     { return "alert " + string(a) }

// alert raises an alert, or tells of lost ones.
func (g *fakeGuard) alert(next any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch v := next.(type) {
	case *ebpfguard.LostAlertsError:
		g.sent += v.Count
	case fakeAlert:
		g.sent++
	}
	g.alerts <- next
}

// buffer is a writer that can be read meanwhile.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// running is a run in the background.
type running struct {
	t              *testing.T
	guard          *fakeGuard
	stdout, stderr buffer
	reload, end    chan os.Signal
	done           chan error
}

func start(t *testing.T, g *fakeGuard, flags runFlags, stdout io.Writer) *running {
	if flags.output == "" {
		flags.output = outputText
	}
	s := &running{t: t, guard: g, reload: make(chan os.Signal, 1), end: make(chan os.Signal, 1), done: make(chan error, 1)}
	if stdout == nil {
		stdout = &s.stdout
	}
	r := newRunner(flags, stdout, &s.stderr)
	r.open = func() (guard, error) { return g, nil }
	r.reload, r.end = s.reload, s.end
	go func() { s.done <- r.run() }()
	return s
}

func (s *running) stop() {
	s.t.Helper()
	s.end <- syscall.SIGTERM
	select {
	case err := <-s.done:
		if err != nil {
			s.t.Error(err)
		}
	case <-time.After(10 * time.Second):
		s.t.Fatal("it does not end")
	}
	s.guard.mu.Lock()
	defer s.guard.mu.Unlock()
	if !s.guard.closed {
		s.t.Error("the manager is not closed")
	}
}

// until waits for the condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for range 1000 {
		if condition() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func writePolicy(t *testing.T, path, name, ports string) {
	t.Helper()
	text := `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: ` + name + `}
spec:
  subject: {}
  rules:
  - operation: socket_bind
    deny: {ports: [` + ports + `]}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	file, readyPath, log := filepath.Join(dir, "p.yaml"), filepath.Join(dir, "ready"), filepath.Join(dir, "log")
	writePolicy(t, file, "one", "22")
	if err := os.WriteFile(readyPath, []byte("stale"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newFakeGuard(t)
	g.hold = func() {
		if exists(readyPath) {
			t.Error("the ready file is there before the policies are in force")
		}
	}
	s := start(t, g, runFlags{files: []string{file}, ready: readyPath, alerts: log}, nil)
	if set := <-g.applied; len(set) != 1 || set[0].Name != "one" || set[0].Mode == policy.ModeAudit {
		t.Errorf("applied %+v", set)
	}
	until(t, "the ready file", func() bool { return exists(readyPath) })
	var state ready
	if content, err := os.ReadFile(readyPath); err != nil || json.Unmarshal(content, &state) != nil ||
		state.PID != os.Getpid() || state.Revision != 1 || len(state.Policies) != 1 {
		t.Errorf("ready file %s, %v", content, err)
	}
	g.alert(fakeAlert("a<b"))
	g.alert(&ebpfguard.LostAlertsError{Count: 7})
	g.alert(errors.New("odd"))
	g.alert(fakeAlert("c"))
	until(t, "the alerts", func() bool { return s.stdout.String() == "alert a<b\nalert c\n" })
	s.stop()
	if exists(readyPath) {
		t.Error("the ready file is left")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("files left: %v, %v", entries, err)
	}
	content, err := os.ReadFile(log)
	if want := "{\"alert\":\"a<b\"}\n{\"alert\":\"c\"}\n"; err != nil || string(content) != want {
		t.Errorf("file of alerts %q, %v", content, err)
	}
	if info, err := os.Stat(log); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	stderr := s.stderr.String()
	for _, want := range []string{"count=7", "error=odd", "msg=enforcing policies=1 operations=[socket_bind] revision=1"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr lacks %q:\n%s", want, stderr)
		}
	}
	if want := "\nended: 3 denied, 2 audited, 8 alerts lost\n"; !strings.HasSuffix(stderr, want) {
		t.Errorf("stderr does not end with %q:\n%s", want, stderr)
	}
}

func TestRunJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	writePolicy(t, file, "one", "22")
	g := newFakeGuard(t)
	s := start(t, g, runFlags{files: []string{file}, output: outputJSON}, nil)
	g.alert(fakeAlert("x"))
	until(t, "the alert", func() bool { return s.stdout.String() == "{\"alert\":\"x\"}\n" })
	s.stop()
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

func TestRunAudit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	writePolicy(t, file, "one", "22")
	g := newFakeGuard(t)
	s := start(t, g, runFlags{files: []string{file}, audit: true}, nil)
	if set := <-g.applied; set[0].Mode != policy.ModeAudit {
		t.Errorf("mode %v", set[0].Mode)
	}
	writePolicy(t, file, "two", "22")
	s.reload <- syscall.SIGHUP
	if set := <-g.applied; set[0].Name != "two" || set[0].Mode != policy.ModeAudit {
		t.Errorf("after the reload %+v", set)
	}
	s.stop()
	if !strings.Contains(s.stderr.String(), "nothing is refused") {
		t.Error("it does not say that it only audits")
	}
}

func TestRunReload(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	policies := filepath.Join(dir, "policies")
	if err := os.Mkdir(policies, 0o700); err != nil {
		t.Fatal(err)
	}
	writePolicy(t, filepath.Join(policies, "a.yaml"), "one", "22")
	g := newFakeGuard(t)
	s := start(t, g, runFlags{files: []string{policies}, alerts: log}, nil)
	<-g.applied

	// A broken set changes nothing.
	writePolicy(t, filepath.Join(policies, "b.yaml"), "two", "70000")
	s.reload <- syscall.SIGHUP
	until(t, "the error", func() bool { return strings.Contains(s.stderr.String(), "NOT reloaded") })
	if stderr := s.stderr.String(); !strings.Contains(stderr, "port 70000 is too great") {
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

func TestRunFailures(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	writePolicy(t, good, "one", "22")
	writePolicy(t, bad, "one", "70000")
	notSupported := errors.New("not supported")
	for _, c := range []struct {
		name  string
		flags runFlags
		open  error
		apply error
		want  error
	}{
		{name: "policy", flags: runFlags{files: []string{bad}}},
		{name: "kernel", flags: runFlags{files: []string{good}}, open: notSupported, want: notSupported},
		{name: "apply", flags: runFlags{files: []string{good}, ready: filepath.Join(dir, "ready")}, apply: notSupported, want: notSupported},
		{name: "ready", flags: runFlags{files: []string{good}, ready: filepath.Join(dir, "no", "ready")}, want: fs.ErrNotExist},
		{name: "alerts", flags: runFlags{files: []string{good}, alerts: filepath.Join(dir, "no", "alerts")}, want: fs.ErrNotExist},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newFakeGuard(t)
			g.applyErr = c.apply
			c.flags.output = outputText
			r := newRunner(c.flags, io.Discard, io.Discard)
			opened := false
			r.open = func() (guard, error) {
				opened = c.open == nil
				return g, c.open
			}
			err := r.run()
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if g.closed != opened {
				t.Errorf("closed %v, opened %v", g.closed, opened)
			}
			if exists(filepath.Join(dir, "ready")) {
				t.Error("there is a ready file")
			}
		})
	}
}

func TestRunReloadStandardInput(t *testing.T) {
	r := newRunner(runFlags{files: []string{"-"}}, io.Discard, io.Discard)
	r.guard = newFakeGuard(t)
	if err := r.again(); err == nil || !strings.Contains(err.Error(), "standard input") {
		t.Errorf("error %v", err)
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

// TestRunGaps expects that policies with gaps are only enforced where that is
// wanted.
func TestRunGaps(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	writePolicy(t, file, "one", "22")
	gaps := func(set []policy.Policy) ([]string, error) {
		return []string{"policy " + set[0].Name + ": no hook"}, nil
	}
	g := newFakeGuard(t)
	r := newRunner(runFlags{files: []string{file}, output: outputText}, io.Discard, io.Discard)
	r.open, r.gaps = func() (guard, error) { return g, nil }, gaps
	err := r.run()
	if !errors.Is(err, ebpfguard.ErrNotSupported) || !strings.Contains(err.Error(), "policy one: no hook\n") || !strings.Contains(err.Error(), "--allow-gaps") {
		t.Errorf("error %v", err)
	}
	if len(g.attached) > 0 || !g.closed {
		t.Errorf("attached %v, closed %v", g.attached, g.closed)
	}
	var log buffer
	r = newRunner(runFlags{files: []string{file}, allowGaps: true}, io.Discard, &log)
	r.guard, r.gaps = newFakeGuard(t), gaps
	if err := r.again(); err != nil {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, "level=WARN") || !strings.Contains(text, `gap="policy one: no hook"`) {
		t.Errorf("log: %s", text)
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
