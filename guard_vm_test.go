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

// newGuard makes a manager that lasts as long as the test.
func newGuard(t *testing.T) *guard {
	t.Helper()
	vmtest.Require(t, "socket_bind")
	m, err := ebpfguard.NewManager(ebpfguard.Options{})
	if err != nil {
		t.Fatal(err)
	}
	g := &guard{Manager: m, alerts: make(chan ebpfguard.SocketBindAlert, 1<<17), errs: make(chan error, 16)}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	if g.bind, err = m.AttachSocketBind(); err != nil {
		t.Fatalf("%+v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	alerts := g.bind.Alerts(ctx)
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
