package main

import (
	"bytes"
	"context"
	"io"
	"iter"
	"os"
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
	sent     uint64   // alerts
	relinked []string // until the set is applied again
	applies  uint32
}

func newFakeGuard(t *testing.T) *fakeGuard {
	return &fakeGuard{t: t, alerts: make(chan any, 10), applied: make(chan []policy.Policy, 10)}
}

func (g *fakeGuard) Relinked() ([]string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.relinked, nil
}

func (g *fakeGuard) AddContainer(uint64, policy.Container) error { return nil }

func (g *fakeGuard) RemoveContainer(string) error { return nil }

func (g *fakeGuard) LabelContainers() (int, error) { return 0, nil }

func (g *fakeGuard) Containers() []policy.Container { return nil }

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
	g.set, g.relinked = set, nil
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
func (a fakeAlert) Context() ebpfguard.AlertContext { return ebpfguard.AlertContext{} }
func (a fakeAlert) Object() any                     { return a }

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
	case <-time.After(2 * time.Minute):
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
