package ocihook

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/daemon/containers/oci"
	"github.com/ebpfguard/ebpfguard/policy"
)

// daemon answers as the test wants.
type daemon struct {
	pb.UnimplementedGuardServiceServer
	answer *pb.StartContainerResponse
	hangs  bool

	mu      sync.Mutex
	asked   *pb.StartContainerRequest
	stopped string
}

func (d *daemon) StartContainer(ctx context.Context, q *pb.StartContainerRequest) (*pb.StartContainerResponse, error) {
	d.mu.Lock()
	d.asked = q
	d.mu.Unlock()
	if d.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return d.answer, nil
}

func (d *daemon) StopContainer(_ context.Context, q *pb.StopContainerRequest) (*pb.StopContainerResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = q.Id
	return &pb.StopContainerResponse{}, nil
}

// question returns what it was asked last.
func (d *daemon) question() *pb.StartContainerRequest {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

func (d *daemon) serve(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterGuardServiceServer(s, d)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return socket
}

const created = `{"ociVersion":"1.0","id":"4f2a","pid":12,"bundle":"/b","status":"created"}`

func TestHook(t *testing.T) {
	told := containers.Container{Cgroup: "/a", Container: policy.Container{ID: "4f2a", Name: "web", Image: "nginx", ImageDigest: "sha256:1",
		Labels: map[string]string{"app": "web"}, Runtime: "podman", Pod: &policy.Pod{Namespace: "n", Name: "p", UID: "u", Labels: map[string]string{"a": "b"}}}}
	for _, test := range []struct {
		name   string
		daemon *daemon
		state  string
		fails  bool // when it is asked of what it does not know
		// What open and closed say; empty when all is well.
		open, closed string
		refused      bool
	}{
		{name: "told", daemon: &daemon{answer: &pb.StartContainerResponse{}}},
		{name: "refused", daemon: &daemon{answer: &pb.StartContainerResponse{Problem: "no room", Refused: true}}, open: "no room", closed: "no room", refused: true},
		// The daemon's own configuration counts when it answers.
		{name: "tolerated", daemon: &daemon{answer: &pb.StartContainerResponse{Problem: "no room"}}, open: "no room; the container starts all the same", closed: "no room; the container starts all the same"},
		{name: "no daemon", open: "no daemon answers on", closed: "installed with --fail closed"},
		{name: "slow", daemon: &daemon{hangs: true}, open: "did not answer within 200ms", closed: "did not answer within 200ms"},
		{name: "unknown", daemon: &daemon{}, fails: true, open: "no control group", closed: "no control group"},
		{name: "no state", daemon: &daemon{}, state: "{}", open: "has no id", closed: "has no id"},
	} {
		for _, fail := range []Fail{Open, Closed} {
			t.Run(test.name+"_"+string(fail), func(t *testing.T) {
				h := Hook{Socket: filepath.Join(t.TempDir(), "none"), Fail: fail, Timeout: 200 * time.Millisecond}
				if test.daemon != nil {
					h.Socket = test.daemon.serve(t)
				}
				h.describe = func(s oci.State) (containers.Container, error) {
					if s.ID != "4f2a" || s.PID != 12 || s.Bundle != "/b" {
						t.Errorf("asked about %+v", s)
					}
					if test.fails {
						return containers.Container{}, errors.New("it has no control group of its own")
					}
					return told, nil
				}
				state := test.state
				if state == "" {
					state = created
				}
				start := time.Now()
				warning, err := h.Run(t.Context(), strings.NewReader(state))
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("the container waited for %v", took)
				}
				want := test.open
				if fail == Closed {
					want = test.closed
				}
				tolerated := test.name == "told" || test.name == "tolerated" || fail == Open && !test.refused
				switch {
				case tolerated != (err == nil):
					t.Errorf("it says %v", err)
				case want == "" && warning != "", !strings.Contains(warning, want) && err == nil:
					t.Errorf("it warns %q, want %q", warning, want)
				case err != nil && !strings.Contains(err.Error(), want):
					t.Errorf("it says %v, want %q", err, want)
				}
				if asked := test.daemon.question(); asked != nil {
					want := &pb.StartContainerRequest{Cgroup: "/a", Container: &pb.Container{Id: "4f2a", Name: "web", Image: "nginx", ImageDigest: "sha256:1",
						Labels: map[string]string{"app": "web"}, Runtime: "podman", Pod: &pb.Pod{Namespace: "n", Name: "p", Uid: "u", Labels: map[string]string{"a": "b"}}}}
					if !proto.Equal(asked, want) {
						t.Errorf("it told of %v", asked)
					}
				}
			})
		}
	}
}

// TestHookEnd tells of the end, and lets it pass when nobody listens.
func TestHookEnd(t *testing.T) {
	const stopped = `{"ociVersion":"1.0","id":"4f2a","bundle":"/b","status":"stopped"}`
	d := &daemon{}
	for _, socket := range []string{d.serve(t), filepath.Join(t.TempDir(), "none")} {
		if warning, err := (Hook{Socket: socket, Fail: Closed, Timeout: time.Second}).Run(t.Context(), strings.NewReader(stopped)); warning != "" || err != nil {
			t.Errorf("%q, %v", warning, err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped != "4f2a" {
		t.Errorf("it told of the end of %q", d.stopped)
	}
}
