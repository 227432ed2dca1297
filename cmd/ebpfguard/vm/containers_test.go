//go:build vm

package vm

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// noListeningInWeb is what startListener tries, for containers of a name.
const noListeningInWeb = `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: web}
spec:
  subject: {containers: [{names: [web]}]}
  rules:
  - operation: socket_bind
    deny: {ports: [4321]}
`

// controlGroup makes a group with the name that Docker would give it, and returns its path from the root
// of the hierarchy.
func controlGroup(t *testing.T, id string) string {
	t.Helper()
	name := "/docker-" + id + ".scope"
	if err := os.Mkdir(hostroot.CgroupMount()+name, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(hostroot.CgroupMount() + name) })
	return name
}

// listensIn reports whether a program that starts in a control group, as a runtime starts a container's,
// may listen.
func listensIn(t *testing.T, group string) bool {
	t.Helper()
	return startListenerIn(t, group).listens()
}

// startListenerIn enters the group in a shell, which then starts the program: fork and exec are in it.
func startListenerIn(t *testing.T, group string) *shellThatListens {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `echo $$ >"$0" && exec "$1"`, hostroot.CgroupMount()+group+"/cgroup.procs", self)
	cmd.Env = append(os.Environ(), listenerMode+"=1")
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &shellThatListens{t, cmd, in, out}
}

// TestDaemonContainers tells a daemon of containers as the OCI hook does, and has their programs act.
func TestDaemonContainers(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	dir, folder := policies(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	write(t, filepath.Join(folder, "web.yaml"), 0o600, noListeningInWeb)
	g, c := startDaemon(t, dir)
	id := func(digit string) string { return strings.Repeat(digit, 64) }
	tell := func(c *client.Client, name, group string, running bool) {
		t.Helper()
		id := strings.TrimSuffix(strings.TrimPrefix(group, "/docker-"), ".scope")
		r, err := c.StartContainer(ctx, &pb.StartContainerRequest{
			Container: &pb.Container{Id: id, Name: name, Image: "docker.io/library/" + name + ":1", Runtime: "docker"}, Cgroup: group, Running: running,
		})
		if err != nil || r.GetProblem() != "" {
			t.Fatalf("%v, %v", err, r)
		}
	}
	web, db, late := controlGroup(t, id("a")), controlGroup(t, id("b")), controlGroup(t, id("c"))
	bystander := startListener(t)

	// Of this container nobody has told: rules about containers could concern it.
	if running := startListenerIn(t, late); running.listens() {
		t.Error("an unidentified container does what a rule about containers could forbid")
	}
	g.await("that it is loud", func() bool {
		s, err := c.Status(ctx, &pb.StatusRequest{})
		return err == nil && strings.Contains(strings.Join(s.GetProblems(), "\n"), "1 container runs that no source knows, so what a rule about containers could forbid is refused there: "+late)
	})

	tell(c, "web", web, false)
	tell(c, "db", db, false)
	inWeb := startListenerIn(t, web)
	for range 3 {
		if inWeb.listens() {
			t.Fatal("the forbidden container listens")
		}
		if !listensIn(t, db) || !bystander.listens() {
			t.Fatal("another container, or the host, does not")
		}
	}
	// What runs already, of a container that is told of late, and what changed.
	running := startListenerIn(t, late)
	if running.listens() {
		t.Error("an unidentified container listens")
	}
	tell(c, "late", late, true)
	if !running.listens() {
		t.Error("it is another container, and does not listen")
	}
	tell(c, "web", late, true)
	if running.listens() {
		t.Error("it is renamed, and listens")
	}
	tell(c, "late", late, true)

	out, err := exec.Command(command, "containers", "--socket", filepath.Join(dir, "socket")).CombinedOutput()
	for _, line := range []string{"web   aaaaaaaaaaaa  docker   -    docker.io/library/web:1", "db    bbbbbbbbbbbb ", "late  cccccccccccc "} {
		if err != nil || !strings.Contains(string(out), line) {
			t.Errorf("%v, no %q:\n%s", err, line, out)
		}
	}
	alert := ""
	g.await("an alert of the container", func() bool {
		for line := range strings.Lines(g.read("alerts")) {
			if strings.Contains(line, `"id":"`+id("a")+`"`) {
				alert = line
			}
		}
		return alert != ""
	})
	if !strings.Contains(alert, `"container":{"id":"`+id("a")+`","name":"web","image":"docker.io/library/web:1"`) || strings.Contains(alert, "undecided") {
		t.Errorf("alert %s", alert)
	}

	// It goes on without the daemon, and the next one still knows the containers, by their groups.
	g.killDaemon()
	if inWeb.listens() || listensIn(t, web) || !listensIn(t, db) {
		t.Error("without the daemon it is different")
	}
	g, c = startDaemon(t, dir)
	if inWeb.listens() || listensIn(t, web) || !listensIn(t, db) || !running.listens() {
		t.Error("with the next daemon it is different")
	}
	list, err := c.ListContainers(ctx, &pb.ListContainersRequest{})
	if err != nil || len(list.GetContainers()) != 3 {
		t.Errorf("%v, the next daemon knows %v", err, list)
	}

	// A mitigation by the container's name, which cuts it off and then kills it.
	r, err := c.Mitigate(ctx, &pb.MitigateRequest{
		Profile: pb.MitigateRequest_PROFILE_NO_NETWORK, Ttl: durationpb.New(time.Hour), Subject: &pb.MitigateRequest_Container{Container: "late"},
	})
	if err != nil || len(r.GetWarnings()) > 0 || running.listens() {
		t.Errorf("%v, %v", err, r)
	}
	killed, err := c.Mitigate(ctx, &pb.MitigateRequest{
		Profile: pb.MitigateRequest_PROFILE_KILL, Ttl: durationpb.New(time.Hour), Subject: &pb.MitigateRequest_Container{Container: "late"},
	})
	if err != nil || len(killed.GetMitigation().GetKilled()) == 0 {
		t.Errorf("%v, %v", err, killed)
	}
	if err := running.cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the container's process ended with %v", err)
	}
	if !bystander.listens() || !listensIn(t, db) {
		t.Error("others are met by the mitigation")
	}
	g.signal(syscall.SIGTERM)
	if err := <-g.exited; err != nil {
		t.Errorf("%v\n%s", err, g.read("stderr"))
	}
	if out, err := exec.Command(command, "down", "--pins", daemonPins).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
