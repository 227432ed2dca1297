package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/config"
	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/policy"
)

// runtime is a source that tells of some containers at once, then has a problem if one is given.
type runtime struct {
	all     []containers.Container
	problem string
	begun   chan struct{} // that it waits for, if not nil
}

func (r *runtime) Name() string { return "runtime" }

func (r *runtime) Run(ctx context.Context, to containers.Registry) error {
	if r.begun != nil {
		<-r.begun
	}
	if err := to.Sync(r.Name(), r.all); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (r *runtime) Status() containers.Status {
	return containers.Status{Connected: r.problem == "", Problem: r.problem}
}

// has makes the world one with a runtime.
func (w *world) has(r *runtime) {
	w.sources = []containers.Kind{{Name: "docker", Key: "socket", Places: []string{w.dir}, New: func(string, *slog.Logger) containers.Source { return r }}}
}

// cgroup makes a control group in which something runs.
func (w *world) cgroup(name string) string {
	w.t.Helper()
	dir := filepath.Join(w.cgroups, name)
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("1\n"), 0o600)); err != nil {
		w.t.Fatal(err)
	}
	return name
}

// aboutWeb is a policy about containers.
const aboutWeb = `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: web}
spec:
  subject: {containers: [{names: [web]}]}
  rules:
  - operation: socket_bind
    deny: {ports: [22]}
`

// TestContainersAtStart expects that the containers that run are known before a policy is in force.
func TestContainersAtStart(t *testing.T) {
	w := newWorld(t)
	w.write("web.yaml", aboutWeb)
	r := &runtime{begun: make(chan struct{}), all: []containers.Container{
		{Container: policy.Container{ID: "1", Name: "web"}, Cgroup: w.cgroup("/a"), Running: true},
	}}
	w.has(r)
	known := -1
	w.guard.begins = func() { known = len(w.guard.containers) } // it holds the lock
	time.AfterFunc(50*time.Millisecond, func() { close(r.begun) })
	i := w.start()
	if known != 1 {
		t.Errorf("%d containers were known when the policies came into force", known)
	}
	if w.guard.passes != 2 {
		t.Errorf("%d passes: one for the source, and one for what is in force since", w.guard.passes)
	}
	s, err := i.Status(context.Background(), &pb.StatusRequest{})
	if err != nil || s.GetContainers().GetKnown() != 1 || !s.GetContainers().GetConcerned() || s.GetState() != pb.StatusResponse_STATE_ENFORCING {
		t.Errorf("%v, %v", err, s)
	}
	if got := fmt.Sprint(s.GetContainers().GetSources()); !strings.Contains(got, `name:"docker"`) || !strings.Contains(got, "containers:1") {
		t.Errorf("sources %s", got)
	}
	i.stop()

	// The next daemon asks again: one has ended, another one has come.
	r.all = []containers.Container{{Container: policy.Container{ID: "2", Name: "db"}, Cgroup: w.cgroup("/b"), Running: true}}
	i = w.start()
	list, err := i.ListContainers(context.Background(), &pb.ListContainersRequest{})
	if err != nil || len(list.GetContainers()) != 1 || list.GetContainers()[0].GetContainer().GetName() != "db" {
		t.Errorf("%v, %v", err, list)
	}
	if known := w.guard.Containers(); len(known) != 1 || known[0].Name != "db" {
		t.Errorf("the guard knows %v", known)
	}
}

// TestHook tells of containers by the API.
func TestHook(t *testing.T) {
	w := newWorld(t)
	w.config.Containers.Fail = config.FailClosed
	i := w.start()
	ctx := context.Background()
	start := func(c *pb.Container, cgroup string) *pb.StartContainerResponse {
		t.Helper()
		r, err := i.StartContainer(ctx, &pb.StartContainerRequest{Container: c, Cgroup: cgroup})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	web := &pb.Container{Id: "0123456789abcdef", Name: "web", Image: "nginx", Labels: map[string]string{"app": "\xff"}, Runtime: "podman", Pod: &pb.Pod{Name: "p", Namespace: "n"}}
	if r := start(web, w.cgroup("/a")); r.GetProblem() != "" || r.GetRefused() {
		t.Error(r)
	}
	list, err := i.ListContainers(ctx, &pb.ListContainersRequest{})
	if err != nil || len(list.GetContainers()) != 1 {
		t.Fatalf("%v, %v", err, list)
	}
	k := list.GetContainers()[0]
	if k.GetContainer().GetPod().GetNamespace() != "n" || k.GetContainer().GetLabels()["app"] != "\ufffd" || fmt.Sprint(k.GetCgroups(), k.GetSources()) != "[/a] [hook]" || time.Since(k.GetSince().AsTime()) > time.Hour {
		t.Errorf("%v", k)
	}
	if r := start(&pb.Container{Id: "2"}, "/none"); !r.GetRefused() || !strings.Contains(r.GetProblem(), "container 2: its control group") {
		t.Error(r)
	}
	_, err = i.StartContainer(ctx, &pb.StartContainerRequest{Cgroup: "/a"})
	wantStatus(t, err, codes.InvalidArgument, "the request names no container")
	// The group of a process: this one's is not below the test's hierarchy.
	if r, err := i.StartContainer(ctx, &pb.StartContainerRequest{Container: &pb.Container{Id: "3"}, Pid: uint32(os.Getpid())}); err != nil || r.GetProblem() == "" {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := i.StopContainer(ctx, &pb.StopContainerRequest{Id: web.GetId()}); err != nil {
		t.Error(err)
	}
	if n := len(w.guard.Containers()); n > 0 {
		t.Errorf("%d containers are left", n)
	}
}

// TestHookWaits calls while the daemon starts.
func TestHookWaits(t *testing.T) {
	w := newWorld(t)
	d, err := New(w.config, Options{Cgroups: w.cgroups, Sources: w.sources})
	if err != nil {
		t.Fatal(err)
	}
	s := &service{d: d}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	request := &pb.StartContainerRequest{Container: &pb.Container{Id: "1"}, Cgroup: w.cgroup("/a")}
	_, err = s.StartContainer(ctx, request)
	wantStatus(t, err, codes.DeadlineExceeded, "")
	_, err = s.StopContainer(ctx, &pb.StopContainerRequest{Id: "1"})
	wantStatus(t, err, codes.DeadlineExceeded, "")
	answered := make(chan error)
	go func() {
		_, err := s.StartContainer(context.Background(), request)
		answered <- err
	}()
	d.guard = w.guard
	d.openContainers(w.config)
	select {
	case err := <-answered:
		t.Errorf("the container starts before any policy is in force: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	d.containers.table.SetInForce()
	if err := <-answered; err != nil || len(w.guard.Containers()) != 1 {
		t.Errorf("%v, %v", err, w.guard.Containers())
	}
}

// TestContainerProblems tells what is wrong only if somebody wants to know: by a policy or by the
// configuration.
func TestContainerProblems(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	w := newWorld(t)
	w.cgroup("/system.slice/docker-" + id + ".scope")
	w.has(&runtime{problem: "it does not answer; start it"})
	i := w.start()
	i.wantProblem("")
	if _, err := i.StartContainer(context.Background(), &pb.StartContainerRequest{Container: &pb.Container{Id: "1"}, Cgroup: "/none"}); err != nil {
		t.Error(err)
	}
	i.wantProblem("")
	i.apply(aboutWeb)
	i.wantProblem("the source of containers docker: it does not answer; start it")
	i.wantProblem("the guard could not be told of a container, which counts as an unidentified one if it runs: container 1: its control group")
	i.wantProblem("1 container runs that no source knows, so what a rule about containers could forbid is refused there: /system.slice/docker-" + id + ".scope; name")
	s, err := i.Status(context.Background(), &pb.StatusRequest{})
	if err != nil || s.GetContainers().GetUnidentified() != 1 || s.GetContainers().GetFail() != "open" {
		t.Errorf("%v, %v", err, s.GetContainers())
	}
	i.stop()

	w = newWorld(t)
	w.config.Containers.Sources = []containers.Spec{{Type: "docker"}}
	w.has(&runtime{problem: "it does not answer; start it"})
	w.start().wantProblem("the source of containers docker: it does not answer; start it")

	// With nothing at all the status is as it was before there were containers.
	w = newWorld(t)
	i = w.start()
	if s, err := i.Status(context.Background(), &pb.StatusRequest{}); err != nil || s.Containers != nil {
		t.Errorf("%v, %v", err, s.GetContainers())
	}
}

// TestContainerCalls has the calls that take the name of a container.
func TestContainerCalls(t *testing.T) {
	w := newWorld(t)
	w.has(&runtime{all: []containers.Container{{Container: policy.Container{ID: "0123456789abcdef", Name: "web"}, Cgroup: w.cgroup("/a")}}})
	i := w.start()
	i.apply(aboutWeb)
	i.apply(bind("everybody", 25))
	ctx := context.Background()
	for _, name := range []string{"web", "0123456789ab", "0123456789abcdef"} {
		list, err := i.List(ctx, &pb.ListRequest{Container: name})
		if err != nil || len(list.GetPolicies()) != 1 || list.GetPolicies()[0].GetName() != "web" {
			t.Errorf("%s: %v, %v", name, err, list)
		}
	}
	_, err := i.List(ctx, &pb.ListRequest{Container: "0123"})
	wantStatus(t, err, codes.NotFound, `no container "0123" is known; 'ebpfguard containers' lists those that are`)

	r, err := i.Mitigate(ctx, &pb.MitigateRequest{
		Profile: pb.MitigateRequest_PROFILE_NO_EXEC, Ttl: durationpb.New(time.Minute), Subject: &pb.MitigateRequest_Container{Container: "web"},
	})
	if err != nil || r.GetMitigation().GetSubject() != "container web" || !strings.Contains(strings.Join(r.GetWarnings(), "\n"), "no process is in a container web now") {
		t.Errorf("%v, %v", err, r)
	}
	_, err = i.Mitigate(ctx, &pb.MitigateRequest{
		Profile: pb.MitigateRequest_PROFILE_NO_EXEC, Ttl: durationpb.New(time.Minute), Subject: &pb.MitigateRequest_Container{Container: "a/b"},
	})
	wantStatus(t, err, codes.InvalidArgument, `container name "a/b" has a slash`)
}
