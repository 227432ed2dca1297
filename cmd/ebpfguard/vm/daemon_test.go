//go:build vm

package vm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

const daemonPins = "/sys/fs/bpf/ebpfguard"

// startDaemon enforces dir/policies and serves at dir/socket.
func startDaemon(t *testing.T, dir string, flags ...string) (*guard, *client.Client) {
	t.Helper()
	g := &guard{t: t, dir: dir, stderr: filepath.Join(dir, "stderr"), exited: make(chan error, 1)}
	args := append([]string{"daemon", "--policies", filepath.Join(dir, "policies"), "--socket", filepath.Join(dir, "socket"),
		"--state", filepath.Join(dir, "state"), "--pins", daemonPins, "--ready-file", filepath.Join(dir, "ready"),
		"--outputs", "{type: file, path: " + filepath.Join(dir, "alerts") + "}", "--fold-window=0"}, flags...)
	g.cmd = exec.Command(command, args...)
	stderr, err := os.OpenFile(g.stderr, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	g.cmd.Stderr = stderr
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		g.exited <- g.cmd.Wait()
		close(g.exited)
	}()
	t.Cleanup(func() {
		_ = g.cmd.Process.Kill()
		<-g.exited
	})
	g.await("the ready file", func() bool {
		_, err := os.Stat(filepath.Join(dir, "ready"))
		return err == nil
	})
	c, err := client.Dial(filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return g, c
}

// killDaemon ends it without giving it a chance to do anything.
func (g *guard) killDaemon() {
	g.t.Helper()
	if err := g.cmd.Process.Kill(); err != nil {
		g.t.Fatal(err)
	}
	<-g.exited
	if err := os.Remove(filepath.Join(g.dir, "ready")); err != nil {
		g.t.Fatal(err)
	}
}

// shellThatListens is a process that tries to listen on a port for each line that it gets.
type shellThatListens struct {
	t   *testing.T
	cmd *exec.Cmd
	in  interface{ Write([]byte) (int, error) }
	out interface{ Read([]byte) (int, error) }
}

// listenerMode makes this test's program what shellThatListens runs.
const listenerMode = "EBPFGUARD_TEST_LISTENER"

func TestMain(m *testing.M) {
	if os.Getenv(listenerMode) != "" {
		answerWhetherItListens()
	}
	os.Exit(m.Run())
}

func answerWhetherItListens() {
	for buffer := make([]byte, 1); ; {
		if n, err := os.Stdin.Read(buffer); n == 0 || err != nil {
			os.Exit(0)
		}
		answer := "y"
		if err := listen(4321); errors.Is(err, syscall.EPERM) {
			answer = "n"
		} else if err != nil {
			answer = "?"
		}
		if _, err := os.Stdout.WriteString(answer); err != nil {
			os.Exit(1)
		}
	}
}

func startListener(t *testing.T) *shellThatListens {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
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

// listens asks the process.
func (s *shellThatListens) listens() bool {
	s.t.Helper()
	if _, err := s.in.Write([]byte("x")); err != nil {
		s.t.Fatal(err)
	}
	answer := make([]byte, 1)
	if _, err := s.out.Read(answer); err != nil || answer[0] == '?' {
		s.t.Fatalf("%v: %s", err, answer)
	}
	return answer[0] == 'y'
}

func port(name string, number string) string {
	return `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: ` + name + `}
spec:
  subject: {}
  rules:
  - operation: socket_bind
    deny: {ports: [` + number + `]}
`
}

// hitsOf returns the hits of the first rule of a policy.
func hitsOf(ctx context.Context, t *testing.T, c *client.Client, name string) uint64 {
	t.Helper()
	response, err := c.Get(ctx, &pb.GetRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return response.GetPolicy().GetRules()[0].GetHits()
}

// TestDaemon goes through the life of enforcement: its parts build on each other, since
// each start of a daemon takes long in emulation.
func TestDaemon(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	dir, folder := policies(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	problems := func(c *client.Client) string {
		t.Helper()
		s, err := c.Status(ctx, &pb.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if degraded := s.GetState() == pb.StatusResponse_STATE_DEGRADED; degraded != (len(s.GetProblems()) > 0) {
			t.Errorf("state %v with problems %q", s.GetState(), s.GetProblems())
		}
		return strings.Join(s.GetProblems(), "\n")
	}

	const metrics = "127.0.0.1:9477"
	// get scrapes what is served beside the API.
	get := func(code int, path string, patterns ...string) {
		t.Helper()
		out, err := exec.Command("curl", "-sS", "--max-time", "60", "-w", "\nstatus %{http_code}\n", "http://"+metrics+path).CombinedOutput()
		for _, pattern := range append(patterns, fmt.Sprintf("^status %d$", code)) {
			if err != nil || !regexp.MustCompile("(?m)"+pattern).Match(out) {
				t.Errorf("%s: %v, no %s:\n%s", path, err, pattern, out)
			}
		}
	}
	g, c := startDaemon(t, dir, "--metrics", metrics)
	get(200, "/healthz", `^ok$`)
	get(200, "/readyz", `^enforcing revision \d+: 0 policies$`)
	get(200, "/metrics", `^ebpfguard_up 1$`, `^ebpfguard_degraded 0$`, `^ebpfguard_operation_attached\{operation="socket_bind"\} 0$`)
	wantAllowed(t, 4001)
	write(t, filepath.Join(folder, "a.yaml"), 0o600, port("file", "4001"))
	g.await("the file's policy", func() bool { return errors.Is(listen(4001), syscall.EPERM) })

	// A broken file beside it: the last good policies stay.
	write(t, filepath.Join(folder, "b.yaml"), 0o600, port("broken", "99999"))
	g.await("the problem", func() bool { return strings.Contains(problems(c), "b.yaml:8:20") })
	wantDenied(t, 4001)
	// Which is loud, and what was denied is counted.
	get(200, "/healthz", `^ok$`)
	get(503, "/readyz", `^degraded$`, `b\.yaml:8:20`)
	get(200, "/metrics", `^ebpfguard_degraded 1$`, `^ebpfguard_problems 1$`, `^ebpfguard_policies 1$`,
		`^ebpfguard_operation_attached\{operation="socket_bind"\} 1$`,
		`^ebpfguard_decisions_total\{operation="socket_bind",verdict="deny"\} [1-9]\d*$`,
		`^ebpfguard_alerts_total\{operation="socket_bind",outcome="sent"\} [1-9]\d*$`,
		`^ebpfguard_rule_hits_total\{operation="socket_bind",policy="file",rule="0"\} [1-9]\d*$`)
	write(t, filepath.Join(folder, "b.yaml"), 0o600, port("mended", "4002"))
	g.await("the mended policy", func() bool { return errors.Is(listen(4002), syscall.EPERM) })
	g.await("that all is well", func() bool { return problems(c) == "" })
	get(200, "/readyz", `^enforcing revision \d+: 2 policies$`)
	get(200, "/metrics", `^ebpfguard_degraded 0$`, `^ebpfguard_problems 0$`)
	// Lines that moved are no other policy: its hits go on.
	before := hitsOf(ctx, t, c, "file")
	write(t, filepath.Join(folder, "a.yaml"), 0o600, "# moved\n"+port("file", "4001"))
	write(t, filepath.Join(folder, "b.yaml"), 0o600, port("mended", "4002")+"---\n"+port("further", "4005"))
	g.await("the further policy", func() bool { return errors.Is(listen(4005), syscall.EPERM) })
	if after := hitsOf(ctx, t, c, "file"); before == 0 || after != before {
		t.Errorf("hits were %d and are %d since lines moved", before, after)
	}

	// What is applied over the socket, and what the kernel counted.
	if _, err := c.Apply(ctx, &pb.ApplyRequest{Yaml: port("applied", "4003")}); err != nil {
		t.Fatal(err)
	}
	wantDenied(t, 4003)
	if _, err := c.Delete(ctx, &pb.DeleteRequest{Names: []string{"file"}}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("deleting a file's policy: %v", err)
	}
	if _, err := c.Apply(ctx, &pb.ApplyRequest{Yaml: port("gone", "4004")}); err != nil {
		t.Fatal(err)
	}
	wantDenied(t, 4004)
	if _, err := c.Delete(ctx, &pb.DeleteRequest{Names: []string{"gone"}}); err != nil {
		t.Fatal(err)
	}
	wantAllowed(t, 4004)
	g.await("alerts in the file", func() bool { return strings.Count(g.read("alerts"), `"sequence":`) >= 4 })

	// A mitigation, then the daemon is killed: the kernel goes on, and ends it in time.
	victim, bystander := startListener(t), startListener(t)
	if !victim.listens() || !bystander.listens() {
		t.Fatal("a process cannot listen before")
	}
	const ttl = 10 * time.Second
	began := time.Now()
	m, err := c.Mitigate(ctx, &pb.MitigateRequest{
		Profile: pb.MitigateRequest_PROFILE_NO_NETWORK, Ttl: durationpb.New(ttl), Name: "m",
		Subject: &pb.MitigateRequest_Process{Process: &pb.ProcessSubject{Pid: uint32(victim.cmd.Process.Pid)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	put := time.Now()
	g.killDaemon()
	refused := !victim.listens()
	if now := time.Since(began); !refused && now < ttl {
		t.Errorf("the mitigated process listens %v after the mitigation of %v: %v", now, ttl, m)
	}
	if !bystander.listens() {
		t.Error("another process is met by the mitigation")
	}
	wantDenied(t, 4001)
	wantDenied(t, 4002)
	wantDenied(t, 4003)
	for !victim.listens() {
		if time.Since(put) > ttl+2*time.Second {
			t.Fatal("the mitigation does not end without a daemon")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if passed := time.Since(began); refused && passed < ttl {
		t.Errorf("the mitigation ended after %v, want %v", passed, ttl)
	}

	// The next daemon takes all of it over.
	metricsSocket := filepath.Join(dir, "metrics.sock")
	g, c = startDaemon(t, dir, "--metrics", "unix:"+metricsSocket)
	if out, err := exec.Command("curl", "-sS", "--max-time", "60", "--unix-socket", metricsSocket, "http://localhost/metrics").CombinedOutput(); err != nil ||
		!strings.Contains(string(out), "\nebpfguard_adopted 1\n") {
		t.Errorf("over a socket: %v\n%s", err, out)
	}
	s, err := c.Status(ctx, &pb.StatusRequest{})
	if err != nil || !s.GetAdopted() || s.GetPolicies() != 4 || s.GetMitigations() != 0 || s.GetState() != pb.StatusResponse_STATE_ENFORCING {
		t.Errorf("%v, status %v", err, s)
	}
	wantDenied(t, 4001)
	wantDenied(t, 4003)
	// Kill: at once, and only the processes that it is for.
	killed, err := c.Mitigate(ctx, &pb.MitigateRequest{
		Profile: pb.MitigateRequest_PROFILE_KILL, Ttl: durationpb.New(time.Minute),
		Subject: &pb.MitigateRequest_Process{Process: &pb.ProcessSubject{Pid: uint32(victim.cmd.Process.Pid)}},
	})
	if err != nil || len(killed.GetMitigation().GetKilled()) != 1 {
		t.Errorf("%v, killed %v", err, killed)
	}
	if err := victim.cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the victim ended with %v", err)
	}
	if !bystander.listens() {
		t.Error("another process is met by the mitigation")
	}

	// While it runs nothing can be removed.
	down := func() (string, error) {
		out, err := exec.Command(command, "down", "--pins", daemonPins).CombinedOutput()
		return string(out), err
	}
	if out, err := down(); exitCode(err) != 1 || !strings.Contains(out, "stop the daemon first") {
		t.Errorf("down while it runs: %v: %s", err, out)
	}
	wantDenied(t, 4001)
	g.signal(syscall.SIGTERM)
	if err := <-g.exited; err != nil {
		t.Errorf("%v\n%s", err, g.read("stderr"))
	}
	wantDenied(t, 4001)
	if _, err := net.Dial("unix", filepath.Join(dir, "socket")); err == nil {
		t.Error("the socket is left")
	}
	if out, err := down(); err != nil || !strings.Contains(out, "removed") {
		t.Errorf("down: %v: %s", err, out)
	}
	for _, free := range []int{4001, 4002, 4003, 4005} {
		wantAllowed(t, free)
	}
	if _, err := os.Stat(daemonPins); err == nil {
		t.Error("the pins are left")
	}
	if out, err := down(); err != nil || !strings.Contains(out, "nothing to end") {
		t.Errorf("down again: %v: %s", err, out)
	}
}
