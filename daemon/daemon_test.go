package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ebpfguard/ebpfguard"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/config"
	"github.com/ebpfguard/ebpfguard/daemon/containers"
)

// patience is how long the tests wait for what has to come: much more than it takes on a busy machine.
const patience = 2 * time.Minute

// bind is a policy by which the name of a port may not be taken.
func bind(name string, port int) string {
	return fmt.Sprintf(`apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: %s}
spec:
  subject: {}
  rules:
  - operation: socket_bind
    deny: {ports: [%d]}
`, name, port)
}

// world is where daemons run, one after the other.
type world struct {
	t      *testing.T
	dir    string
	guard  *memory
	config config.Config
	log    *buffer
	// sources are the kinds of sources of containers, cgroups the hierarchy of control groups.
	sources []containers.Kind
	cgroups string
}

// buffer takes messages of several goroutines.
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

func newWorld(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "guard") // that of the test would be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &world{t: t, dir: dir, guard: &memory{alerts: make(chan ebpfguard.Alert, 10)}, log: &buffer{}}
	w.sources, w.cgroups = []containers.Kind{}, filepath.Join(dir, "cgroups")
	w.config = config.Default()
	w.config.Policies, w.config.State = filepath.Join(dir, "policies"), filepath.Join(dir, "state")
	w.config.Socket, w.config.Pins = filepath.Join(dir, "socket"), filepath.Join(dir, "pins")
	w.config.Debounce, w.config.Outputs = 10*time.Millisecond, nil
	if err := errors.Join(os.Mkdir(w.config.Policies, 0o700), os.Mkdir(w.cgroups, 0o700)); err != nil {
		t.Fatal(err)
	}
	return w
}

// write makes a file of the policy directory, as programs do that never leave half of one.
func (w *world) write(name, content string) {
	w.t.Helper()
	path := filepath.Join(w.config.Policies, name)
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove(name string) {
	w.t.Helper()
	if err := os.Remove(filepath.Join(w.config.Policies, name)); err != nil {
		w.t.Fatal(err)
	}
}

// instance is a daemon that runs.
type instance struct {
	*service
	w    *world
	end  context.CancelFunc
	done chan error
}

// try starts a daemon and returns it, or why it ended.
func (w *world) try(configure func() (config.Config, error)) (*instance, error) {
	w.t.Helper()
	w.guard.mu.Lock()
	w.guard.closed = false
	w.guard.mu.Unlock()
	ready := filepath.Join(w.dir, "ready")
	d, err := New(w.config, Options{
		Log: slog.New(slog.NewTextHandler(w.log, nil)), ReadyFile: ready, Version: "test", Configure: configure,
		Open:    func(ebpfguard.Options) (Guard, error) { return w.guard, nil },
		Sources: w.sources, Cgroups: w.cgroups,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	i := &instance{&service{d: d}, w, cancel, make(chan error, 1)}
	w.t.Cleanup(i.stop)
	go func() {
		i.done <- d.Run(ctx)
		close(i.done)
	}()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(ready); err == nil {
			d.owned() // the race detector does not see the order that the file makes
			return i, nil
		}
		select {
		case err := <-i.done:
			return nil, err
		default:
		}
	}
	w.t.Fatal("the daemon is never ready")
	return nil, nil
}

func (w *world) start() *instance {
	w.t.Helper()
	i, err := w.try(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

// stop ends it cleanly.
func (i *instance) stop() {
	i.end()
	if err := <-i.done; err != nil {
		i.w.t.Errorf("the daemon ended with %v", err)
	}
}

// want waits until exactly the policies with these names are in force.
func (i *instance) want(names ...string) {
	i.w.t.Helper()
	want := fmt.Sprint(names)
	i.await(want, func() bool { return i.w.guard.names() == want })
}

func (i *instance) await(what string, condition func() bool) {
	i.w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if condition() {
			return
		}
	}
	i.w.t.Fatalf("never: %s; in force are %s, messages:\n%s", what, i.w.guard.names(), i.w.log)
}

// wantProblem waits until the status tells a problem with that text; without a text
// until it tells none.
func (i *instance) wantProblem(text string) {
	i.w.t.Helper()
	i.await("a problem "+text, func() bool {
		s, err := i.Status(context.Background(), &pb.StatusRequest{})
		if err != nil {
			i.w.t.Fatal(err)
		}
		all := strings.Join(s.GetProblems(), "\n")
		degraded := s.GetState() == pb.StatusResponse_STATE_DEGRADED
		return degraded == (all != "") && (text == "" && all == "" || text != "" && strings.Contains(all, text))
	})
}

func (i *instance) apply(yaml string) *pb.ApplyResponse {
	i.w.t.Helper()
	r, err := i.Apply(context.Background(), &pb.ApplyRequest{Yaml: yaml})
	if err != nil {
		i.w.t.Fatal(err)
	}
	return r
}

// wantStatus expects an error with a code and a text.
func wantStatus(t *testing.T, err error, code codes.Code, text string) {
	t.Helper()
	if status.Code(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want %v with %q", err, code, text)
	}
}

// TestMetricsForOthers expects that an address for other machines is refused before
// anything is in force, unless file and flags together allow it.
func TestMetricsForOthers(t *testing.T) {
	c := config.Default()
	c.Metrics = "0.0.0.0:9477"
	if _, err := New(c, Options{}); err == nil || !strings.Contains(err.Error(), "other machines can reach") {
		t.Errorf("got %v", err)
	}
	c.MetricsAnywhere = true
	if _, err := New(c, Options{}); err != nil {
		t.Error(err)
	}
}
