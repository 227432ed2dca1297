package nri

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/log"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
)

// sourceEnv makes the test binary a guard at this socket, of which containers must not start without it.
const sourceEnv = "EBPFGUARD_TEST_NRI_SOURCE"

// socketEnv makes the test binary a runtime at this socket until it is killed.
const socketEnv = "EBPFGUARD_TEST_NRI_SOCKET"

func TestMain(m *testing.M) {
	log.Set(silent{})
	if socket := os.Getenv(sourceEnv); socket != "" {
		_ = New(Options{Socket: socket}).Run(context.Background(), &registry{closed: true})
		return
	}
	socket := os.Getenv(socketEnv)
	if socket == "" {
		os.Exit(m.Run())
	}
	if _, err := newRuntime(socket, socket+".none", func() {}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	select {}
}

// startProcess starts a runtime, or a source, in a process of its own, and returns what kills it.
func startProcess(t *testing.T, what, socket string) (process *os.Process, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), what+"="+socket)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(kill)
	return cmd.Process, kill
}

// registry records what it is told, one line each.
type registry struct {
	mu     sync.Mutex
	told   []string
	all    []containers.Container
	last   containers.Container
	closed bool
	// err is the answer to Start. Start waits for hold, if set.
	err  error
	hold chan struct{}
	hook []string
}

func (r *registry) Hook() []string { return r.hook }

func (r *registry) Start(_ string, c containers.Container) error {
	r.mu.Lock()
	hold := r.hold
	r.mu.Unlock()
	if hold != nil {
		<-hold
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	line := "start " + c.ID
	if c.Running {
		line += " running"
	}
	r.told, r.last = append(r.told, line), c
	return r.err
}

func (r *registry) Stop(_, id string) { r.tell("stop " + id) }

func (r *registry) Sync(_ string, all []containers.Container) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told, r.all = append(r.told, "sync"), all
	return nil
}

func (r *registry) Closed() bool { return r.closed }

func (r *registry) tell(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, line)
}

// lines returns what was told since the last call.
func (r *registry) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.told
	r.told = nil
	return told
}

// has reports whether a line was told, and forgets it.
func (r *registry) has(line string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.told, line)
	if i >= 0 {
		r.told = slices.Delete(r.told, i, i+1)
	}
	return i >= 0
}

func (r *registry) want(t *testing.T, lines ...string) {
	t.Helper()
	if got := r.lines(); !slices.Equal(got, lines) {
		t.Errorf("the registry was told %q, want %q", got, lines)
	}
}

// startRuntime starts what containerd and CRI-O have of NRI, on a socket. It has a pod and a container.
func startRuntime(t *testing.T, socket string) *adaptation.Adaptation {
	t.Helper()
	return startRuntimeWith(t, socket, func() {})
}

// startRuntimeWith tells when plugins know what runs: those that it starts itself, then each that connects.
func startRuntimeWith(t *testing.T, socket string, synced func()) *adaptation.Adaptation {
	t.Helper()
	r, err := newRuntime(socket, t.TempDir(), synced)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	return r
}

// newRuntime starts one that finds no plugins in a folder.
func newRuntime(socket, empty string, synced func()) (*adaptation.Adaptation, error) {
	sync := func(ctx context.Context, send adaptation.SyncCB) error {
		_, err := send(ctx, []*api.PodSandbox{pod}, []*api.Container{container(api.ContainerState_CONTAINER_RUNNING)})
		synced()
		return err
	}
	update := func(context.Context, []*adaptation.ContainerUpdate) ([]*adaptation.ContainerUpdate, error) {
		return nil, nil
	}
	r, err := adaptation.New("containerd", "v2.4.2", sync, update, adaptation.WithSocketPath(socket),
		adaptation.WithPluginPath(empty), adaptation.WithPluginConfigPath(empty))
	if err != nil {
		return nil, err
	}
	return r, r.Start()
}

// startSource runs a source and waits until it knows what runs, and until the runtime asks it.
func startSource(t *testing.T, socket string, runtime *adaptation.Adaptation, to containers.Registry) *Source {
	t.Helper()
	s := New(Options{Socket: socket})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, to) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the source ended with the error %v", err)
		}
	})
	eventually(t, "the source is not connected", func() bool { return s.Status().Connected })
	if runtime != nil {
		// So do the runtimes: a container does not start before a plugin that knows the others is in place.
		runtime.BlockPluginSync().Unblock()
	}
	return s
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func start(t *testing.T, r *adaptation.Adaptation) error {
	t.Helper()
	return r.StartContainer(t.Context(), &adaptation.StartContainerRequest{Pod: pod, Container: container(api.ContainerState_CONTAINER_CREATED)})
}

func TestEvents(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "nri.sock")
	runtime, to := startRuntime(t, socket), &registry{}
	s := startSource(t, socket, runtime, to)
	to.want(t, "sync")
	running := described
	running.Running = true
	if want := []containers.Container{describedPod, running}; !reflect.DeepEqual(to.all, want) {
		t.Errorf("the registry was told that %+v runs, want %+v", to.all, want)
	}
	if status := s.Status(); !status.Early || status.Problem != "" {
		t.Errorf("the status is %+v", status)
	}

	c := container(api.ContainerState_CONTAINER_CREATED)
	if err := runtime.RunPodSandbox(t.Context(), &adaptation.RunPodSandboxRequest{Pod: pod}); err != nil {
		t.Error(err)
	}
	eventually(t, "the pod is not told of", func() bool { return to.has("start f00d running") })
	if _, err := runtime.CreateContainer(t.Context(), &adaptation.CreateContainerRequest{Pod: pod, Container: c}); err != nil {
		t.Error(err)
	}
	to.want(t)
	if err := start(t, runtime); err != nil {
		t.Error(err)
	}
	to.want(t, "start 0123")
	if !reflect.DeepEqual(to.last, described) {
		t.Errorf("the registry was told of %+v, want %+v", to.last, described)
	}
	if _, err := runtime.StopContainer(t.Context(), &adaptation.StopContainerRequest{Pod: pod, Container: c}); err != nil {
		t.Error(err)
	}
	if err := runtime.RemoveContainer(t.Context(), &adaptation.RemoveContainerRequest{Pod: pod, Container: c}); err != nil {
		t.Error(err)
	}
	if err := runtime.StopPodSandbox(t.Context(), &adaptation.StopPodSandboxRequest{Pod: pod}); err != nil {
		t.Error(err)
	}
	to.want(t, "stop 0123", "stop 0123", "stop f00d")
}

// TestRefused has a registry that cannot take a container.
func TestRefused(t *testing.T) {
	for _, closed := range []bool{false, true} {
		socket := filepath.Join(t.TempDir(), "nri.sock")
		runtime, to := startRuntime(t, socket), &registry{closed: closed, err: errors.New("the map is full")}
		s := startSource(t, socket, runtime, to)
		err := start(t, runtime)
		if closed != (err != nil) || closed && !strings.Contains(err.Error(), "the map is full") {
			t.Errorf("closed %v: the answer to the runtime is %v", closed, err)
		}
		if status := s.Status(); !status.Connected || !strings.Contains(status.Problem, "the map is full") {
			t.Errorf("closed %v: the status is %+v", closed, status)
		}
		to.mu.Lock()
		to.err = nil
		to.mu.Unlock()
		if err := start(t, runtime); err != nil {
			t.Error(err)
		}
		// The test has no build information, so the version of NRI is guessed, and an old one.
		if status := s.Status(); status.Problem != weakness(closed, false, "containerd", "v0.11.0") {
			t.Errorf("closed %v: the status is %+v after a success", closed, status)
		}
		// What has no control group to tell of is refused before it is made.
		c := container(api.ContainerState_CONTAINER_CREATED)
		c.Linux.CgroupsPath = "nonsense"
		_, err = runtime.CreateContainer(t.Context(), &adaptation.CreateContainerRequest{Pod: pod, Container: c})
		if closed != (err != nil) {
			t.Errorf("closed %v: the answer to the runtime is %v", closed, err)
		}
	}
}

// TestSlow has a registry that answers after the runtime's limit.
func TestSlow(t *testing.T) {
	const limit = 400 * time.Millisecond
	adaptation.SetPluginRequestTimeout(limit)
	defer adaptation.SetPluginRequestTimeout(api.DefaultPluginRequestTimeout)
	for _, closed := range []bool{false, true} {
		socket := filepath.Join(t.TempDir(), "nri.sock")
		runtime, to := startRuntime(t, socket), &registry{closed: closed, hold: make(chan struct{})}
		s := startSource(t, socket, runtime, to)
		to.lines()
		began := time.Now()
		err := start(t, runtime)
		if closed != (err != nil) || closed && !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), errSlow.Error()) {
			t.Errorf("closed %v: the answer to the runtime is %v", closed, err)
		}
		if took := time.Since(began); took >= limit {
			t.Errorf("closed %v: the answer took %v, want it before %v", closed, took, limit)
		}
		if status := s.Status(); !status.Connected || !strings.Contains(status.Problem, errSlow.Error()) {
			t.Errorf("closed %v: the status is %+v", closed, status)
		}
		close(to.hold)
		want := []string{"start 0123", "start 0123 running"}
		if closed {
			want[1] = "stop 0123"
		}
		var got []string
		eventually(t, "the registry is not told how it went on", func() bool {
			got = append(got, to.lines()...)
			return len(got) >= len(want)
		})
		if !slices.Equal(got, want) {
			t.Errorf("closed %v: the registry was told %q, want %q", closed, got, want)
		}
		if err := start(t, runtime); err != nil {
			t.Error(err)
		}
		to.want(t, "start 0123")
	}
}

// TestStarting has a guard whose policies are not in force yet: a container waits for that, and when that takes too long
// it starts only where it may without the guard.
func TestStarting(t *testing.T) {
	const limit = 400 * time.Millisecond
	adaptation.SetPluginRequestTimeout(limit)
	defer adaptation.SetPluginRequestTimeout(api.DefaultPluginRequestTimeout)
	for _, closed := range []bool{false, true} {
		socket := filepath.Join(t.TempDir(), "nri.sock")
		runtime, to := startRuntime(t, socket), &registry{closed: closed}
		starting := &startingRegistry{to, make(chan struct{})}
		s := startSource(t, socket, runtime, starting)
		to.want(t, "sync")
		err := start(t, runtime)
		if closed != (err != nil) || closed && !strings.Contains(err.Error(), errStarting.Error()) {
			t.Errorf("closed %v: the answer to the runtime is %v", closed, err)
		}
		if status := s.Status(); !strings.Contains(status.Problem, errStarting.Error()) {
			t.Errorf("closed %v: the status is %+v", closed, status)
		}
		to.want(t)
		time.AfterFunc(limit/4, func() { close(starting.inForce) })
		if err := start(t, runtime); err != nil {
			t.Errorf("closed %v: policies that are in force in time: %v", closed, err)
		}
		if !to.has("start 0123") {
			t.Errorf("closed %v: the registry is not told of the container", closed)
		}
	}
}

type startingRegistry struct {
	*registry
	inForce chan struct{}
}

func (r *startingRegistry) InForce() <-chan struct{} { return r.inForce }

// TestHook has a registry that can be told of a container by a hook: containers get it that must not start otherwise.
func TestHook(t *testing.T) {
	for _, closed := range []bool{false, true} {
		socket := filepath.Join(t.TempDir(), "nri.sock")
		to := &registry{closed: closed, hook: []string{"/usr/bin/ebpfguard", "runtime", "hook"}}
		runtime := startRuntime(t, socket)
		s := startSource(t, socket, runtime, to)
		created := container(api.ContainerState_CONTAINER_CREATED)
		answer, err := runtime.CreateContainer(t.Context(), &adaptation.CreateContainerRequest{Pod: pod, Container: created})
		if err != nil {
			t.Fatal(err)
		}
		hooks := answer.GetAdjust().GetHooks().GetCreateRuntime()
		switch {
		case closed != (len(hooks) == 1):
			t.Errorf("closed %v: the container gets the hooks %v", closed, hooks)
		case closed && (hooks[0].Path != to.hook[0] || !slices.Equal(hooks[0].Args, to.hook)):
			t.Errorf("the container gets the hook %v, want %q", hooks[0], to.hook)
		}
		if got, ok := s.Describe("0123"); !ok || !reflect.DeepEqual(got, described.Container) {
			t.Errorf("of a container that was created it knows %+v, want %+v", got, described.Container)
		}
		if err := start(t, runtime); err != nil {
			t.Error(err)
		}
		if got, ok := s.Describe("0123"); ok {
			t.Errorf("of a container that has started it knows %+v, which the registry does", got)
		}
	}
}

// TestRestart kills the runtime and starts it again.
func TestRestart(t *testing.T) {
	socket, to := filepath.Join(t.TempDir(), "nri.sock"), &registry{}
	_, kill := startProcess(t, socketEnv, socket)
	s := startSource(t, socket, nil, to)
	for range 3 {
		to.want(t, "sync")
		kill()
		eventually(t, "the source does not see that the runtime has gone", func() bool { return !s.Status().Connected })
		if status := s.Status(); !strings.Contains(status.Problem, "start containerd") {
			t.Errorf("the status %+v does not say what to do", status)
		}
		_, kill = startProcess(t, socketEnv, socket)
		eventually(t, "the source does not connect again", func() bool { return s.Status().Connected })
		if status := s.Status(); status.Problem != "" {
			t.Errorf("the status is %+v", status)
		}
	}
	to.want(t, "sync")
}
