//go:build vm_deb

package vm

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/daemon/containers/kinds"
	"github.com/ebpfguard/ebpfguard/policy"
)

const (
	socket = "/run/ebpfguard/ebpfguard.sock"
	// marks is a folder that containers get, in which their first program leaves a file.
	marks = "/srv/marks"
	// patience is many times what an emulated machine takes.
	patience = time.Minute
)

// recorder is a daemon without a kernel: what it hears of containers can be asked.
type recorder struct {
	pb.UnimplementedGuardServiceServer
	table  *containers.Table
	runner *containers.Runner
	server *grpc.Server
	stop   func()

	mu sync.Mutex
	// told are the containers that the hook told of, late those of them whose first program had left its mark.
	told []containers.Container
	late []string
	// refuse is what the daemon answers that has been told of a container.
	refuse string
	// running are the containers that were told of while they ran.
	labelled int
}

var _ containers.Guard = (*recorder)(nil)

// The methods of the guard that the table needs.

func (r *recorder) AddContainer(uint64, policy.Container) error { return nil }
func (r *recorder) RemoveContainer(string) error                { return nil }
func (r *recorder) Containers() []policy.Container              { return nil }
func (r *recorder) LabelContainers() (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.labelled++
	return 0, nil
}

// record starts a recorder with the sources of these types, on the daemon's socket.
func record(t *testing.T, types ...string) *recorder {
	t.Helper()
	r := &recorder{}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	r.table = containers.NewTable(r, containers.Options{Log: log})
	r.runner = containers.NewRunner(r.table, kinds.All, log)
	ctx, cancel := context.WithCancel(context.Background())
	specs := []containers.Spec{}
	for _, name := range types {
		specs = append(specs, containers.Spec{Type: name})
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { r.runner.Run(ctx, specs) })
	r.stop = func() {
		r.deaf()
		cancel()
		tasks.Wait()
	}
	r.listen(t)
	if late := r.runner.Await(ctx, patience); len(late) > 0 {
		t.Fatalf("these sources did not tell of all: %v; %+v", late, r.runner.Status())
	}
	eventually(t, "all sources are connected", func() bool {
		return !slices.ContainsFunc(r.runner.Status(), func(s containers.SourceStatus) bool { return !s.Connected })
	})
	for _, s := range r.runner.Status() {
		if s.Problem != "" {
			t.Errorf("the source %s: %+v", s.Name, s)
		}
	}
	return r
}

func (r *recorder) listen(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	r.server = grpc.NewServer()
	pb.RegisterGuardServiceServer(r.server, r)
	go r.server.Serve(l)
}

// deaf stops to serve the socket.
func (r *recorder) deaf() { r.server.Stop() }

// StartContainer is what the hook calls.
func (r *recorder) StartContainer(_ context.Context, q *pb.StartContainerRequest) (*pb.StartContainerResponse, error) {
	p := q.Container
	c := containers.Container{Cgroup: q.Cgroup, Running: q.Running, Container: policy.Container{
		ID: p.Id, Name: p.Name, Image: p.Image, ImageDigest: p.ImageDigest, Labels: p.Labels, Runtime: p.Runtime,
	}}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, c)
	if _, err := os.Stat(filepath.Join(marks, p.Name)); err == nil {
		r.late = append(r.late, p.Name)
	}
	if r.refuse != "" {
		return &pb.StartContainerResponse{Problem: r.refuse, Refused: true}, nil
	}
	if err := r.runner.Tell("hook", c); err != nil {
		return &pb.StartContainerResponse{Problem: err.Error(), Refused: true}, nil
	}
	return &pb.StartContainerResponse{}, nil
}

// StopContainer is what the hook calls at the end.
func (r *recorder) StopContainer(_ context.Context, q *pb.StopContainerRequest) (*pb.StopContainerResponse, error) {
	r.table.Stop("hook", q.Id)
	return &pb.StopContainerResponse{}, nil
}

// refuseAll has the daemon refuse all containers, or none if the reason is empty.
func (r *recorder) refuseAll(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = reason
}

// hooked returns what the hook told of a container by its name, and forgets it.
func (r *recorder) hooked(t *testing.T, name string) containers.Container {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.late, name) {
		t.Errorf("the hook told of %s when its first program had run", name)
	}
	at := slices.IndexFunc(r.told, func(c containers.Container) bool { return c.Name == name })
	if at < 0 {
		t.Fatalf("the hook did not tell of %s, but of %+v", name, r.told)
	}
	c := r.told[at]
	r.told = slices.Delete(r.told, at, at+1)
	return c
}

// silent asserts that the hook told of nothing.
func (r *recorder) silent(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.told) > 0 {
		t.Errorf("the hook told of %+v", r.told)
	}
}

// await waits until a container is known in a way.
func (r *recorder) await(t *testing.T, what string, is func(containers.Known) bool) containers.Known {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		known := r.table.Known()
		if at := slices.IndexFunc(known, is); at >= 0 {
			return known[at]
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v; known are %+v; the sources: %+v", what, patience, known, r.runner.Status())
		}
	}
}

// named is a container of that name that all of these sources have.
func named(name string, sources ...string) func(containers.Known) bool {
	return func(k containers.Known) bool {
		return k.Name == name && !slices.ContainsFunc(sources, func(s string) bool { return !slices.Contains(k.Sources, s) })
	}
}

// gone waits until no container has the id.
func (r *recorder) gone(t *testing.T, id string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if !slices.ContainsFunc(r.table.Known(), func(k containers.Known) bool { return k.ID == id }) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is known still after %v: %+v", id, patience, r.table.Known())
		}
	}
}

// in asserts that a control group is that of a container or below.
func in(t *testing.T, cgroup string, c containers.Known) {
	t.Helper()
	if !slices.ContainsFunc(c.Cgroups, func(g string) bool { return cgroup == g || strings.HasPrefix(cgroup, g+"/") }) {
		t.Errorf("the program runs in %s, and %s is known to be %v", cgroup, c.Name, c.Cgroups)
	}
}
