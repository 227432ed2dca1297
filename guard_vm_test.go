//go:build vm

package ebpfguard_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// guard is a manager with socket_bind attached, and its alerts.
type guard struct {
	*ebpfguard.Manager
	bind   *ebpfguard.Hook[ebpfguard.SocketBind, ebpfguard.SocketBindAlert]
	alerts chan ebpfguard.SocketBindAlert
	errs   chan error
}

// shared is the guard of the tests that do not need one of their own: the
// verifier takes its time, above all in emulation and on old kernels.
var shared, small *guard

func sharedGuard(t *testing.T) *guard {
	t.Helper()
	vmtest.Require(t, "socket_bind")
	if shared == nil {
		// Room for every alert of TestEveryDenialIsAccountedFor.
		shared = makeGuard(t, ebpfguard.Options{AlertBytes: 32 << 20})
	}
	return shared
}

// smallGuard is shared too; its alert buffer is too small for a burst.
func smallGuard(t *testing.T) *guard {
	t.Helper()
	vmtest.Require(t, "socket_bind")
	if small == nil {
		small = makeGuard(t, ebpfguard.Options{AlertBytes: 64 << 10})
	}
	return small
}

// closeShared closes the shared guards; they leave nothing behind.
func closeShared() error {
	var err error
	for _, g := range []*guard{shared, small} {
		if g != nil {
			err = errors.Join(err, g.Close())
		}
	}
	return err
}

// newGuard makes a guard that lasts as long as the test.
func newGuard(t *testing.T, options ebpfguard.Options) *guard {
	t.Helper()
	vmtest.Require(t, "socket_bind")
	g := makeGuard(t, options)
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func makeGuard(t *testing.T, options ebpfguard.Options) *guard {
	t.Helper()
	m, err := ebpfguard.NewManager(options)
	if err != nil {
		t.Fatal(err)
	}
	g := &guard{Manager: m, alerts: make(chan ebpfguard.SocketBindAlert, 1<<17), errs: make(chan error, 1<<10)}
	if g.bind, err = m.AttachSocketBind(); err != nil {
		m.Close()
		t.Fatalf("%+v", err)
	}
	alerts := g.bind.Alerts(context.Background())
	go func() {
		for alert, err := range alerts {
			if err != nil {
				g.errs <- err
				continue
			}
			g.alerts <- alert
		}
	}()
	return g
}

// next returns the next alert.
func (g *guard) next(t *testing.T) ebpfguard.SocketBindAlert {
	t.Helper()
	select {
	case alert := <-g.alerts:
		return alert
	case err := <-g.errs:
		t.Fatal(err)
	case <-time.After(10 * time.Second):
		t.Fatal("no alert within 10 s")
	}
	panic("unreachable")
}

// quiet fails if there is an alert.
func (g *guard) quiet(t *testing.T) {
	t.Helper()
	select {
	case alert := <-g.alerts:
		t.Errorf("an alert that should not be: %v", alert)
	case <-time.After(100 * time.Millisecond):
	}
}

// add adds policies for the length of a test.
func (g *guard) add(t *testing.T, policies ...ebpfguard.SocketBind) {
	t.Helper()
	for i, p := range policies {
		if p.Name == "" {
			p.Name = fmt.Sprintf("test-%d", i)
		}
		if err := g.bind.AddPolicy(p); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			err := g.bind.RemovePolicy(p.Name)
			if err != nil && !errors.Is(err, ebpfguard.ErrClosed) && !errors.Is(err, ebpfguard.ErrNoPolicy) {
				t.Error(err)
			}
		})
	}
}
