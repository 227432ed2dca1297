//go:build vm

package ebpfguard_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
)

// guard is a manager with its hooks and alerts. All but socket_bind are nil
// unless every operation is attached.
type guard struct {
	*ebpfguard.Manager
	files    *ebpfguard.Hook[ebpfguard.FileOpen, ebpfguard.FileOpenAlert]
	programs *ebpfguard.Hook[ebpfguard.BprmCheckSecurity, ebpfguard.BprmCheckSecurityAlert]
	mounts   *ebpfguard.Hook[ebpfguard.SbMount, ebpfguard.SbMountAlert]
	remounts *ebpfguard.Hook[ebpfguard.SbRemount, ebpfguard.SbRemountAlert]
	umounts  *ebpfguard.Hook[ebpfguard.SbUmount, ebpfguard.SbUmountAlert]
	setuid   *ebpfguard.Hook[ebpfguard.TaskFixSetuid, ebpfguard.TaskFixSetuidAlert]
	bind     *ebpfguard.Hook[ebpfguard.SocketBind, ebpfguard.SocketBindAlert]
	connect  *ebpfguard.Hook[ebpfguard.SocketConnect, ebpfguard.SocketConnectAlert]
	// alerts are those of socket_bind, others those of all other operations.
	alerts chan ebpfguard.SocketBindAlert
	others chan ebpfguard.Alert
	errs   chan error
	// diverted gets all alerts instead, if it is set.
	diverted atomic.Pointer[chan ebpfguard.Alert]
	// received counts the alerts of all these channels, and those that came too late for them.
	received atomic.Uint64
}

// patience is how long the tests wait for what has to come: much more than it takes
// in emulation on a busy machine.
const patience = 2 * time.Minute

// shared is the guard of the tests that do not need one of their own: the
// verifier takes its time, above all in emulation and on old kernels.
var shared, small *guard

// sharedGuard has all operations attached.
func sharedGuard(t *testing.T) *guard {
	t.Helper()
	for _, o := range policy.Operations() {
		vmtest.Require(t, string(o))
	}
	if shared == nil {
		// Room for every alert of TestEveryDenialIsAccountedFor; what a kernel has
		// no hook for, the tests know.
		shared = makeGuard(t, ebpfguard.Options{AlertBytes: 32 << 20, AllowGaps: true}, policy.Operations()...)
	}
	return shared
}

// smallGuard is shared too; it has socket_bind only, and its alert buffer is too
// small for a burst.
func smallGuard(t *testing.T) *guard {
	t.Helper()
	vmtest.Require(t, "socket_bind")
	if small == nil {
		small = makeGuard(t, ebpfguard.Options{AlertBytes: 64 << 10}, policy.SocketBind)
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

// newGuard makes a guard with socket_bind that lasts as long as the test.
func newGuard(t *testing.T, options ebpfguard.Options) *guard {
	t.Helper()
	vmtest.Require(t, "socket_bind")
	g := makeGuard(t, options, policy.SocketBind)
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func makeGuard(t *testing.T, options ebpfguard.Options, operations ...policy.Operation) *guard {
	t.Helper()
	m, err := ebpfguard.NewManager(options)
	if err != nil {
		t.Fatal(err)
	}
	g := &guard{
		Manager: m, alerts: make(chan ebpfguard.SocketBindAlert, 1<<17), others: make(chan ebpfguard.Alert, 1<<17), errs: make(chan error, 1<<10),
	}
	if err := g.attach(operations); err != nil {
		m.Close()
		t.Fatalf("%+v", err)
	}
	alerts := m.Alerts(context.Background())
	go func() {
		for alert, err := range alerts {
			if err != nil {
				g.errs <- err
			} else if diverted := g.diverted.Load(); diverted != nil {
				*diverted <- alert
			} else if bind, ok := alert.(ebpfguard.SocketBindAlert); ok {
				g.alerts <- bind
			} else {
				g.others <- alert
			}
			var lost *ebpfguard.LostAlertsError
			if errors.As(err, &lost) {
				g.received.Add(lost.Count)
			} else if err == nil {
				g.received.Add(1)
			}
		}
	}()
	return g
}

func (g *guard) attach(operations []policy.Operation) (err error) {
	if err := g.Attach(operations...); err != nil {
		return err
	}
	if slices.Contains(operations, policy.FileOpen) {
		err = g.attachOthers()
	}
	var bindErr error
	g.bind, bindErr = g.AttachSocketBind()
	return errors.Join(err, bindErr)
}

func (g *guard) attachOthers() error {
	errs := make([]error, 7)
	g.files, errs[0] = g.AttachFileOpen()
	g.programs, errs[1] = g.AttachBprmCheckSecurity()
	g.mounts, errs[2] = g.AttachSbMount()
	g.remounts, errs[3] = g.AttachSbRemount()
	g.umounts, errs[4] = g.AttachSbUmount()
	g.setuid, errs[5] = g.AttachTaskFixSetuid()
	g.connect, errs[6] = g.AttachSocketConnect()
	return errors.Join(errs...)
}

// next returns the next alert of socket_bind.
func (g *guard) next(t *testing.T) ebpfguard.SocketBindAlert {
	t.Helper()
	return nextOf[ebpfguard.SocketBindAlert](t, g, g.alerts)
}

func nextOf[A any](t *testing.T, g *guard, alerts chan A) A {
	t.Helper()
	select {
	case alert := <-alerts:
		return alert
	case err := <-g.errs:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatalf("no alert within %v", patience)
	}
	panic("unreachable")
}

// settle waits until the alerts of all that was decided so far are in the channels.
// The kernel counts an alert before it lets the caller go on.
func (g *guard) settle(t *testing.T) {
	t.Helper()
	var sent uint64
	for _, o := range policy.Operations() {
		s, err := g.Stats(o)
		if errors.Is(err, ebpfguard.ErrClosed) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		sent += s.Alerts
	}
	for deadline := time.Now().Add(patience); g.received.Load() < sent; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d alerts of %d within %v", g.received.Load(), sent, patience)
		}
	}
}

// quiet fails if there is an alert.
func (g *guard) quiet(t *testing.T) {
	t.Helper()
	g.settle(t)
	select {
	case alert := <-g.alerts:
		t.Errorf("an alert that should not be: %v", alert)
	case alert := <-g.others:
		t.Errorf("an alert that should not be: %v", alert)
	default:
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

// drain takes all alerts that are still to come, of a test that they do not
// matter to.
func (g *guard) drain(t *testing.T) {
	t.Helper()
	g.settle(t)
	for {
		select {
		case <-g.alerts:
		case <-g.others:
		case <-g.errs:
		default:
			return
		}
	}
}

// use applies a policy set for the length of a test.
func (g *guard) use(t *testing.T, set ...policy.Policy) {
	t.Helper()
	if _, err := g.Apply(set); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := g.Apply(nil); err != nil {
			t.Error(err)
		}
	})
}

// divert returns all alerts for the length of a test.
func (g *guard) divert(t *testing.T) chan ebpfguard.Alert {
	t.Helper()
	alerts := make(chan ebpfguard.Alert, 1<<17)
	g.diverted.Store(&alerts)
	t.Cleanup(func() {
		g.settle(t)
		g.diverted.Store(nil)
	})
	return alerts
}
