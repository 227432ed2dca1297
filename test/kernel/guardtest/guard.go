//go:build vm

package guardtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Guard is a manager with its hooks and alerts. All but socket_bind are nil
// unless every operation is attached.
type Guard struct {
	*ebpfguard.Manager
	files    *ebpfguard.Hook[ebpfguard.FileOpen, ebpfguard.FileOpenAlert]
	programs *ebpfguard.Hook[ebpfguard.BprmCheckSecurity, ebpfguard.BprmCheckSecurityAlert]
	mounts   *ebpfguard.Hook[ebpfguard.SbMount, ebpfguard.SbMountAlert]
	remounts *ebpfguard.Hook[ebpfguard.SbRemount, ebpfguard.SbRemountAlert]
	umounts  *ebpfguard.Hook[ebpfguard.SbUmount, ebpfguard.SbUmountAlert]
	setuid   *ebpfguard.Hook[ebpfguard.TaskFixSetuid, ebpfguard.TaskFixSetuidAlert]
	Bind     *ebpfguard.Hook[ebpfguard.SocketBind, ebpfguard.SocketBindAlert]
	connect  *ebpfguard.Hook[ebpfguard.SocketConnect, ebpfguard.SocketConnectAlert]
	// Binds are those of socket_bind, others those of all other operations.
	Binds  chan ebpfguard.SocketBindAlert
	Others chan ebpfguard.Alert
	Errs   chan error
	// diverted gets all alerts instead, if it is set.
	diverted atomic.Pointer[chan ebpfguard.Alert]
	// received counts the alerts of all these channels, and those that came too late for them.
	received atomic.Uint64
}

// Patience is how long the tests wait for what has to come: much more than it takes
// in emulation on a busy machine.
const Patience = 2 * time.Minute

// New makes a guard with socket_bind that lasts as long as the test.
func New(t *testing.T, options ebpfguard.Options) *Guard {
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

func makeGuard(t *testing.T, options ebpfguard.Options, operations ...policy.Operation) *Guard {
	t.Helper()
	m, err := ebpfguard.NewManager(options)
	Check(t, err)
	g := &Guard{
		Manager: m, Binds: make(chan ebpfguard.SocketBindAlert, 1<<17), Others: make(chan ebpfguard.Alert, 1<<17), Errs: make(chan error, 1<<10),
	}
	if err := g.attach(operations); err != nil {
		m.Close()
		t.Fatalf("%+v", err)
	}
	sent, err := g.sent()
	if err != nil {
		m.Close()
		t.Fatal(err)
	}
	g.received.Store(sent) // what a former process has read
	alerts := m.Alerts(context.Background())
	go func() {
		for alert, err := range alerts {
			if err != nil {
				g.Errs <- err
			} else if diverted := g.diverted.Load(); diverted != nil {
				*diverted <- alert
			} else if bind, ok := alert.(ebpfguard.SocketBindAlert); ok {
				g.Binds <- bind
			} else {
				g.Others <- alert
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

func (g *Guard) attach(operations []policy.Operation) (err error) {
	if err := g.Attach(operations...); err != nil {
		return err
	}
	if slices.Contains(operations, policy.FileOpen) {
		err = g.attachOthers()
	}
	var bindErr error
	g.Bind, bindErr = g.AttachSocketBind()
	return errors.Join(err, bindErr)
}

func (g *Guard) attachOthers() error {
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

// Next returns the next alert of socket_bind.
func (g *Guard) Next(t *testing.T) ebpfguard.SocketBindAlert {
	t.Helper()
	return NextOf[ebpfguard.SocketBindAlert](t, g, g.Binds)
}

func NextOf[A any](t *testing.T, g *Guard, alerts chan A) A {
	t.Helper()
	select {
	case alert := <-alerts:
		return alert
	case err := <-g.Errs:
		t.Fatal(err)
	case <-time.After(Patience):
		t.Fatalf("no alert within %v", Patience)
	}
	panic("unreachable")
}

// sent returns how many alerts there were.
func (g *Guard) sent() (sent uint64, err error) {
	for _, o := range policy.Operations() {
		s, err := g.Stats(o)
		if err != nil {
			return 0, err
		}
		sent += s.Alerts
	}
	return sent, nil
}

// Settle waits until the alerts of all that was decided so far are in the channels.
// The kernel counts an alert before it lets the caller go on.
func (g *Guard) Settle(t *testing.T) {
	t.Helper()
	if err := g.wait(); err != nil && !errors.Is(err, ebpfguard.ErrClosed) {
		t.Fatal(err)
	}
}

func (g *Guard) wait() error {
	sent, err := g.sent()
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(Patience); g.received.Load() < sent; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d alerts of %d within %v", g.received.Load(), sent, Patience)
		}
	}
	return nil
}

// Quiet fails if there is an alert.
func (g *Guard) Quiet(t *testing.T) {
	t.Helper()
	g.Settle(t)
	select {
	case alert := <-g.Binds:
		t.Errorf("an alert that should not be: %v", alert)
	case alert := <-g.Others:
		t.Errorf("an alert that should not be: %v", alert)
	default:
	}
}

// Add adds policies for the length of a test.
func (g *Guard) Add(t *testing.T, policies ...ebpfguard.SocketBind) {
	t.Helper()
	for i, p := range policies {
		if p.Name == "" {
			p.Name = fmt.Sprintf("test-%d", i)
		}
		Check(t, g.Bind.AddPolicy(p))
		t.Cleanup(func() {
			err := g.Bind.RemovePolicy(p.Name)
			if err != nil && !errors.Is(err, ebpfguard.ErrClosed) && !errors.Is(err, ebpfguard.ErrNoPolicy) {
				t.Error(err)
			}
		})
	}
}

// Drain takes all alerts that are still to come, of a test that they do not
// matter to.
func (g *Guard) Drain(t *testing.T) {
	t.Helper()
	g.Settle(t)
	for {
		select {
		case <-g.Binds:
		case <-g.Others:
		case <-g.Errs:
		default:
			return
		}
	}
}

// Use applies a policy set for the length of a test.
func (g *Guard) Use(t *testing.T, set ...policy.Policy) {
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

// Divert returns all alerts for the length of a test.
func (g *Guard) Divert(t *testing.T) chan ebpfguard.Alert {
	t.Helper()
	alerts := make(chan ebpfguard.Alert, 1<<17)
	g.diverted.Store(&alerts)
	t.Cleanup(func() {
		g.Settle(t)
		g.diverted.Store(nil)
	})
	return alerts
}

// IsLoaded reports whether a program of that name is loaded.
func IsLoaded(t *testing.T, name string) bool {
	t.Helper()
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			return false
		}
		Check(t, err)
		id = next
		p, err := ebpf.NewProgramFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			continue // gone meanwhile
		}
		Check(t, err)
		info, err := p.Info()
		p.Close()
		Check(t, err)
		if info.Name == name {
			return true
		}
	}
}
