//go:build vm

package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/daemon/containers/nri"
)

// startSource tells the registry of containerd's containers until the test's end, or until it is stopped.
func startSource(t *testing.T, socket string, to containers.Registry) (source *nri.Source, stop func()) {
	t.Helper()
	source = nri.New(nri.Options{Socket: socket})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := source.Run(ctx, to); err != nil {
			t.Errorf("the source ended: %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	await(t, "the source's connection", func() bool { return source.Status().Connected })
	return source, stop
}

// TestTold has a container of a pod: everything about it is told before its first program runs.
func TestTold(t *testing.T) {
	c := useContainerd(t, false)
	// The delay would show a program that runs before the answer.
	to := &recorder{delay: 300 * time.Millisecond}
	source, _ := startSource(t, c.NRI, to)
	config := c.config(pod{name: "web-0", labels: map[string]string{"app": "web", "tier": "front"}})
	podID := c.mustRunPod(config)
	await(t, "the pod to be told of", func() bool { _, known := to.get(podID); return known })
	sandbox, ok := to.get(podID)
	if !ok || !sandbox.Running || sandbox.Name != "" || sandbox.Image != sandboxImage || sandbox.Pod == nil || sandbox.Pod.Name != "web-0" {
		t.Errorf("the pod's own process was told of as %+v (%v)", sandbox, ok)
	}
	id := c.mustCreate(podID, config, container{name: "nginx", args: []string{"stamp", "/out/first", "wait"}, labels: map[string]string{"tier": "own"}})
	if events := to.of(id); len(events) != 0 {
		t.Errorf("a container that was only created was told of: %+v", events)
	}
	c.mustStart(id)
	first := c.stamp("first")

	events := to.of(id)
	if len(events) != 1 || events[0].what != "start" {
		t.Fatalf("the container was told of as %+v, want one start", events)
	}
	e := events[0]
	t.Logf("told of it %v before its first action", first-e.ended)
	if first < e.ended {
		t.Errorf("its first action was %v before the registry's answer", e.ended-first)
	}
	if len(e.programs) != 1 || !strings.HasPrefix(e.programs[0], "runc init") {
		t.Errorf("in its control group ran %q, want runc init", e.programs)
	}
	got := e.container
	if got.Running || got.ID != id || got.Name != "nginx" || got.Image != testImage || got.ImageDigest != digest || got.Runtime != "containerd" {
		t.Errorf("the container was told of as %+v, want the image %s %s", got, testImage, digest)
	}
	if got.Labels["app"] != "web" || got.Labels["tier"] != "own" || got.Labels["org.example.team"] != "shop" {
		t.Errorf("its labels are %v", got.Labels)
	}
	if p := got.Pod; p == nil || p.Namespace != "shop" || p.Name != "web-0" || p.UID != config.Metadata.Uid || p.Labels["tier"] != "front" {
		t.Errorf("its pod is %+v", got.Pod)
	}
	if want := group(config, id); got.Cgroup != want {
		t.Errorf("its control group is %s, want %s", got.Cgroup, want)
	}
	if status := source.Status(); !status.Connected || !status.Early || status.Problem != "" {
		t.Errorf("the status is %+v", status)
	}

	c.stopContainer(id)
	await(t, "the container's end", func() bool { _, known := to.get(id); return !known })
	// One that ends by itself.
	id = c.mustCreate(podID, config, container{name: "job", args: []string{"exit"}})
	c.mustStart(id)
	if status := c.exit(id); status != 0 {
		t.Errorf("the container ended with %d", status)
	}
	await(t, "its end", func() bool {
		events := to.of(id)
		return len(events) >= 2 && events[0].what == "start" && events[len(events)-1].what == "stop"
	})
	c.removePod(podID)
	await(t, "the pod's end", func() bool { _, known := to.get(podID); return !known })
}

// TestNames has what a policy may name a container by: images by digest, and a container that takes the place of
// another of the same name.
func TestNames(t *testing.T) {
	c := useContainerd(t, false)
	to := &recorder{}
	startSource(t, c.NRI, to)
	config := c.config(pod{})
	podID := c.mustRunPod(config)
	byDigest := "docker.io/library/test@" + digest
	c.ctr("image", "tag", testImage, byDigest)
	c.ctr("image", "tag", testImage, "docker.io/library/alias:7")
	c.await("the image's names", func() bool {
		out, err := c.crictl("inspecti", "--output", "json", byDigest)
		return err == nil && strings.Contains(out, "alias:7")
	})
	for image, want := range map[string]string{testImage: testImage, byDigest: byDigest, "docker.io/library/alias:7": "docker.io/library/alias:7"} {
		id := c.mustCreate(podID, config, container{name: "main", image: image, args: []string{"exit"}})
		c.mustStart(id)
		c.exit(id)
		e := to.of(id)[0]
		if e.container.Image != want || e.container.ImageDigest != digest {
			t.Errorf("the image %s was told of as %s with the digest %s, want %s and %s", image, e.container.Image, e.container.ImageDigest, want, digest)
		}
		c.removeContainer(id)
	}
	// The one that follows has an id and a control group of its own.
	var ids []string
	var groups []uint64
	for range 3 {
		id := c.mustCreate(podID, config, container{name: "same", args: []string{"exit"}})
		c.mustStart(id)
		c.exit(id)
		e := to.of(id)[0]
		if e.container.Name != "same" || slices.Contains(ids, id) || slices.Contains(groups, e.group) {
			t.Errorf("the container was told of as %+v, with the group %d; before it there were %v and %v", e.container, e.group, ids, groups)
		}
		ids, groups = append(ids, id), append(groups, e.group)
		c.removeContainer(id)
	}
}

// TestRunningAlready has containers that run when the source starts.
func TestRunningAlready(t *testing.T) {
	c := useContainerd(t, false)
	config := c.config(pod{name: "before"})
	podID := c.mustRunPod(config)
	running := c.mustCreate(podID, config, container{name: "running", args: []string{"wait"}})
	c.mustStart(running)
	ended := c.mustCreate(podID, config, container{name: "ended", args: []string{"exit"}})
	c.mustStart(ended)
	c.exit(ended)
	created := c.mustCreate(podID, config, container{name: "created", args: []string{"exit"}})

	to := &recorder{}
	source, _ := startSource(t, c.NRI, to)
	for id, want := range map[string]bool{podID: true, running: true, ended: false, created: false} {
		k, known := to.get(id)
		if known != want || known && !k.Running {
			t.Errorf("container %s: told of: %v, as %+v; want it told of: %v", id, known, k, want)
		}
	}
	if status := source.Status(); status.Problem != "" {
		t.Errorf("the status is %+v", status)
	}
	c.mustStart(created)
	if e := to.of(created); len(e) == 0 || e[0].what != "start" {
		t.Errorf("the container that was created before was told of as %+v", e)
	}
}

// TestRuntimeRestarts kills containerd: its containers run on, and are known again.
func TestRuntimeRestarts(t *testing.T) {
	c := useContainerd(t, false)
	to := &recorder{}
	source, _ := startSource(t, c.NRI, to)
	config := c.config(pod{})
	podID := c.mustRunPod(config)
	id := c.mustCreate(podID, config, container{args: []string{"wait"}})
	c.mustStart(id)
	c.kill()
	await(t, "the source to see it", func() bool { return !source.Status().Connected })
	if problem := source.Status().Problem; !strings.Contains(problem, "start containerd") {
		t.Errorf("the status says %q", problem)
	}
	if _, known := to.get(id); !known {
		t.Error("the container was forgotten while it runs on")
	}
	c.start()
	await(t, "the source's next connection", func() bool { return source.Status().Connected })
	if k, known := to.get(id); !known || !k.Running || to.syncs() < 2 {
		t.Errorf("the container is known: %v, as %+v, after %d times that all were told of", known, k, to.syncs())
	}
	next := c.mustCreate(podID, config, container{name: "next", args: []string{"exit"}})
	c.mustStart(next)
	if e := to.of(next); len(e) == 0 {
		t.Error("a container that started after that was not told of")
	}
}

// TestRegistryFails has a registry that cannot take a container, or not in time.
func TestRegistryFails(t *testing.T) {
	c := useContainerd(t, false)
	for _, closed := range []bool{true, false} {
		to := &recorder{closed: closed}
		source, stop := startSource(t, c.NRI, to)
		config := c.config(pod{})
		podID := c.mustRunPod(config)
		for i, bad := range []struct {
			delay time.Duration
			err   error
			text  string
		}{{0, errors.New("the map is full"), "the map is full"}, {10 * time.Second, nil, "it took too long"}} {
			to.set(bad.delay, bad.err)
			name := fmt.Sprint("first-", closed, i)
			id := c.mustCreate(podID, config, container{name: name, args: []string{"stamp", "/out/" + name, "wait"}})
			began := now()
			err := c.startContainer(id)
			took := now() - began
			t.Logf("closed %v: the start took %v, %v", closed, took, err)
			if problem := source.Status().Problem; !strings.Contains(problem, bad.text) {
				t.Errorf("closed %v: the status says %q, want %q in it", closed, problem, bad.text)
			}
			if closed {
				if err == nil || !strings.Contains(err.Error(), bad.text) {
					t.Errorf("the start's error is %v, want %q", err, bad.text)
				}
				if c.stamped(name) {
					t.Error("a program of the container ran")
				}
			} else {
				if err != nil {
					t.Errorf("the start's error is %v", err)
				}
				c.stamp(name)
			}
			if !source.Status().Connected {
				t.Errorf("closed %v: containerd dropped the source", closed)
			}
			to.set(0, nil)
			if !closed && bad.err == nil {
				// What started without being known is told of as one that runs.
				await(t, "the container to be told of", func() bool { k, known := to.get(id); return known && k.Running })
			}
			if !closed {
				c.stopContainer(id)
			}
		}
		id := c.mustCreate(podID, config, container{name: "good", args: []string{"exit"}})
		c.mustStart(id)
		c.exit(id)
		stop()
	}
}

// TestGuardIsDown has no guard, where containerd requires one.
func TestGuardIsDown(t *testing.T) {
	c := useContainerd(t, true)
	config := c.config(pod{})
	podID := c.mustRunPod(config)
	if _, err := c.create(podID, config, container{args: []string{"exit"}}); err == nil || !strings.Contains(err.Error(), `required plugin "ebpfguard" not present`) {
		t.Errorf("without a guard a container was made, with the error %v", err)
	}
	// The guard itself may be in a pod that is excepted.
	guard := c.config(pod{name: "guard", annotations: map[string]string{"ebpfguard.io/may-start-without": "true"}})
	guardPod := c.mustRunPod(guard)
	id := c.mustCreate(guardPod, guard, container{args: []string{"exit"}})
	c.mustStart(id)

	to := &recorder{closed: true}
	_, stop := startSource(t, c.NRI, to)
	between := c.mustCreate(podID, config, container{name: "between", args: []string{"stamp", "/out/between", "exit"}})
	id = c.mustCreate(podID, config, container{args: []string{"exit"}})
	c.mustStart(id)
	if e := to.of(id); len(e) == 0 {
		t.Error("with the guard the container was not told of")
	}
	stop()
	await(t, "containerd to see that the guard has gone", func() bool {
		_, err := c.create(podID, config, container{name: "later", args: []string{"exit"}})
		return err != nil
	})
	// What was made while there was a guard is not looked at again when it starts: docs/containers.md says so.
	err := c.startContainer(between)
	t.Logf("a container that was made while there was a guard starts without it: %v", err)
}

// sourceSettings are for a source in a process of its own.
type sourceSettings struct {
	Socket string
	Closed bool
}

// playSource tells a recorder of containers until it is killed.
func playSource(ctx context.Context) {
	var s sourceSettings
	if err := json.Unmarshal([]byte(os.Getenv("EBPFGUARD_TEST_SETTINGS")), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	source := nri.New(nri.Options{Socket: s.Socket})
	go func() {
		for !source.Status().Connected {
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Println("connected")
	}()
	_ = source.Run(ctx, &recorder{closed: s.Closed})
}

// TestGuardHangs stops the guard's process, as if it waited for something for ever.
func TestGuardHangs(t *testing.T) {
	c := useContainerd(t, true)
	for _, closed := range []bool{true, false} {
		settings, err := json.Marshal(sourceSettings{c.NRI, closed})
		if err != nil {
			t.Fatal(err)
		}
		guard := exec.Command("/proc/self/exe")
		guard.Env = append(os.Environ(), roleEnv+"=source", "EBPFGUARD_TEST_SETTINGS="+string(settings))
		guard.Stderr = os.Stderr
		out, err := guard.StdoutPipe()
		if err == nil {
			err = guard.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 64)); err != nil {
			t.Fatal("the guard does not connect:", err)
		}
		config := c.config(pod{})
		podID := c.mustRunPod(config)
		var ids []string
		for i := range 3 {
			ids = append(ids, c.mustCreate(podID, config, container{name: fmt.Sprint("main-", closed, i), args: []string{"exit"}}))
		}
		if err := guard.Process.Signal(unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			began := now()
			err := c.startContainer(id)
			t.Logf("closed %v: with a guard that hangs a container's start took %v: %v", closed, now()-began, err)
		}
		_, err = c.create(podID, config, container{name: fmt.Sprint("new-", closed), args: []string{"exit"}})
		t.Logf("closed %v: the next is created: %v", closed, err)
		if err == nil {
			t.Errorf("closed %v: a container was created without the guard, which is required", closed)
		}
		_ = guard.Process.Kill()
		_ = guard.Wait()
	}
}
