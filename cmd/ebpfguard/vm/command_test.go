//go:build vm

package vm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
)

// command is where the guest has the built command.
const command = "/usr/bin/ebpfguard"

// patience is much more than an emulated machine needs to verify the programs.
const patience = 10 * time.Minute

func canEnforce(t *testing.T) bool {
	t.Helper()
	k, ok := vmtest.Guest()
	if !ok {
		t.Fatal("this test needs a guest kernel: run `make test-vm`")
	}
	return k.Refuses == ""
}

// remedy is what a kernel that cannot enforce is refused with.
func remedy(lsms []byte) string {
	k, _ := vmtest.Guest()
	if lsms != nil && k.Offers("without_bpf_lsm") {
		return "lsm=" + strings.TrimSpace(string(lsms)) + k.Refuses
	}
	return k.Refuses
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

func TestCheck(t *testing.T) {
	enforce := canEnforce(t)
	var stderr bytes.Buffer
	cmd := exec.Command(command, "check")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	t.Logf("%s%s", out, stderr.Bytes())
	first, _, _ := strings.Cut(string(out), "\n")
	if enforce {
		if exitCode(err) != 0 || first != "This kernel can enforce ebpfguard policies." {
			t.Errorf("%v, first line %q", err, first)
		}
	} else {
		if exitCode(err) != 1 || !strings.HasPrefix(first, "This kernel cannot enforce ebpfguard policies: ") {
			t.Errorf("%v, first line %q", err, first)
		}
		lsms, err := os.ReadFile("/sys/kernel/security/lsm")
		if err != nil {
			t.Fatal(err)
		}
		if want := remedy(lsms); !strings.Contains(string(out), want) {
			t.Errorf("the output does not say what to do: %s", want)
		}
	}
	if stderr.Len() > 0 {
		t.Errorf("stderr: %s", stderr.Bytes())
	}

	report := readCheck(t)
	if report.Enforcing != enforce || len(report.LSMs) == 0 || len(report.Operations) != len(policy.Operations()) {
		t.Errorf("%+v", report)
	}
	for _, o := range report.Operations {
		if o.Supported != enforce || len(o.Hooks) == 0 {
			t.Errorf("%+v", o)
		}
	}
	if enforce && !strings.Contains(string(out), "no_args: the kernel itself gives such a program an empty argument") {
		t.Error("it does not say what is not covered")
	}
}

// checkReport is what check prints as JSON.
type checkReport struct {
	Enforcing  bool
	LSMs       []string
	Operations []struct {
		Operation string
		Supported bool
		Hooks     []struct {
			Name      string
			Available bool
		}
	}
}

// readCheck runs check, whose exit code agrees with what it prints.
func readCheck(t *testing.T) checkReport {
	t.Helper()
	out, err := exec.Command(command, "check", "--output", "json").Output()
	var report checkReport
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatal(err)
	}
	if (exitCode(err) == 0) != report.Enforcing {
		t.Errorf("%v, %+v", err, report)
	}
	return report
}

func TestRunUnsupported(t *testing.T) {
	if canEnforce(t) {
		t.Skip("this kernel is supported")
	}
	dir := t.TempDir()
	deny(t, dir, 22, "enforce")
	out, err := exec.Command(command, "run", "-p", dir, "--ready-file", filepath.Join(dir, "ready")).CombinedOutput()
	if exitCode(err) != 1 || !strings.Contains(string(out), remedy(nil)) {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "ready")); err == nil {
		t.Error("there is a ready file")
	}
	if err := listen(22); err != nil {
		t.Error(err)
	}
}

// TestWithoutJIT switches the compiling of programs off: only those that are compiled can be attached.
func TestWithoutJIT(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	const jit = "/proc/sys/net/core/bpf_jit_enable"
	before, err := os.ReadFile(jit)
	if err != nil {
		t.Fatal(err)
	}
	set := func(value string) {
		t.Helper()
		if err := os.WriteFile(jit, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	set("0")
	t.Cleanup(func() { set(string(before)) })
	const remedy = "run sysctl -w net.core.bpf_jit_enable=1"
	out, err := exec.Command(command, "check").CombinedOutput()
	if exitCode(err) != 1 || !strings.HasPrefix(string(out), "This kernel cannot enforce ebpfguard policies: ") || !strings.Contains(string(out), remedy) {
		t.Errorf("check: %v: %s", err, out)
	}
	dir := t.TempDir()
	deny(t, dir, 22, "enforce")
	out, err = exec.Command(command, "run", "-p", dir, "--ready-file", filepath.Join(dir, "ready")).CombinedOutput()
	if exitCode(err) != 1 || !strings.Contains(string(out), remedy) {
		t.Errorf("run: %v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "ready")); err == nil {
		t.Error("there is a ready file")
	}
	wantAllowed(t, 22)
	set("1")
	if out, err := exec.Command(command, "check").CombinedOutput(); err != nil {
		t.Errorf("switched on again: %v: %s", err, out)
	}
}

// deny makes the folder's one policy deny the port.
func deny(t *testing.T, dir string, port int, mode string) {
	t.Helper()
	text := fmt.Sprintf(`apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: port-%d}
spec:
  mode: %s
  subject: {}
  rules:
  - operation: socket_bind
    deny: {ports: [%d]}
`, port, mode, port)
	if err := os.WriteFile(filepath.Join(dir, "p.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// listen takes the port for a moment. The guard is another process. When MPTCP
// is refused Go would try TCP, which makes two alerts.
func listen(port int) error {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	return l.Close()
}

func wantDenied(t *testing.T, port int) {
	t.Helper()
	if err := listen(port); !errors.Is(err, syscall.EPERM) {
		t.Errorf("listen on port %d: %v, want EPERM", port, err)
	}
}

func wantAllowed(t *testing.T, port int) {
	t.Helper()
	if err := listen(port); err != nil {
		t.Error(err)
	}
}

// guard is a running `ebpfguard run`.
type guard struct {
	t      *testing.T
	cmd    *exec.Cmd
	dir    string
	stderr string // path
	exited chan error
}

// startGuard enforces the policies of dir/policies.
func startGuard(t *testing.T, dir string, flags ...string) *guard {
	t.Helper()
	g := &guard{t: t, dir: dir, stderr: filepath.Join(dir, "stderr"), exited: make(chan error, 1)}
	args := append([]string{"run", "-p", filepath.Join(dir, "policies"), "--ready-file", filepath.Join(dir, "ready")}, flags...)
	g.cmd = exec.Command(command, args...)
	stdout, err := os.Create(filepath.Join(dir, "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	stderr, err := os.Create(g.stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	g.cmd.Stdout, g.cmd.Stderr = stdout, stderr
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
	return g
}

func (g *guard) read(name string) string {
	g.t.Helper()
	content, err := os.ReadFile(filepath.Join(g.dir, name))
	if err != nil {
		g.t.Fatal(err)
	}
	return string(content)
}

func (g *guard) await(what string, condition func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if condition() {
			return
		}
		select {
		case err := <-g.exited:
			g.t.Fatalf("ebpfguard ended: %v\n%s", err, g.read("stderr"))
		default:
		}
	}
	g.t.Fatalf("never: %s\n%s", what, g.read("stderr"))
}

// awaitLog waits for a text that was not in the messages before.
func (g *guard) awaitLog(text string) {
	g.t.Helper()
	g.await(text, func() bool { return strings.Contains(g.read("stderr"), text) })
}

func (g *guard) signal(s os.Signal) {
	g.t.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		g.t.Fatal(err)
	}
}

// stop ends the guard, which must end well and say what it did.
func (g *guard) stop(totals string) {
	g.t.Helper()
	g.signal(syscall.SIGTERM)
	select {
	case err := <-g.exited:
		if err != nil {
			g.t.Error(err)
		}
	case <-time.After(patience):
		g.t.Fatal("it does not end")
	}
	stderr := g.read("stderr")
	if want := "\nended: " + totals + "\n"; !strings.HasSuffix(stderr, want) {
		g.t.Errorf("the messages do not end with %q:\n%s", want, stderr)
	}
	if _, err := os.Stat(filepath.Join(g.dir, "ready")); err == nil {
		g.t.Error("the ready file is left")
	}
}

func policies(t *testing.T) (dir, folder string) {
	t.Helper()
	dir = t.TempDir()
	folder = filepath.Join(dir, "policies")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir, folder
}

func write(t *testing.T, path string, mode os.FileMode, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

type alert struct {
	Operation, Verdict, Policy, Errno string
	Process                           struct {
		PID       int
		Binary    string
		Args      []string
		Ancestors []struct {
			PID  int
			Args []string
		}
	}
	Object struct {
		Address string
		Port    int
	}
}

func alerts(t *testing.T, text string) []alert {
	t.Helper()
	var found []alert
	for scanner := bufio.NewScanner(strings.NewReader(text)); scanner.Scan(); {
		var a alert
		if err := json.Unmarshal(scanner.Bytes(), &a); err != nil {
			t.Fatalf("%q: %v", scanner.Text(), err)
		}
		found = append(found, a)
	}
	return found
}

func TestRun(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	dir, folder := policies(t)
	deny(t, folder, 22, "enforce")
	wantAllowed(t, 22)
	g := startGuard(t, dir, "--alerts", filepath.Join(dir, "alerts"))
	wantDenied(t, 22)
	wantAllowed(t, 23)

	lines := func(name string) int { return strings.Count(g.read(name), "\n") }
	g.await("the alert", func() bool { return lines("stdout") == 1 && lines("alerts") == 1 })
	t.Log(g.read("stdout"), g.read("alerts"))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	a := alerts(t, g.read("alerts"))[0]
	if a.Operation != "socket_bind" || a.Verdict != "deny" || a.Policy != "port-22" || a.Errno != "EPERM" ||
		a.Process.PID != os.Getpid() || a.Process.Binary != self || a.Object.Address != "127.0.0.1" || a.Object.Port != 22 {
		t.Errorf("alert %+v", a)
	}
	if line := a.Process.Ancestors; !slices.Equal(a.Process.Args, os.Args) || len(line) == 0 || line[0].PID != os.Getppid() || len(line[0].Args) == 0 {
		t.Errorf("the process is told as %+v", a.Process)
	}

	deny(t, folder, 70000, "enforce")
	g.signal(syscall.SIGHUP)
	g.awaitLog("NOT reloaded")
	wantDenied(t, 22)

	deny(t, folder, 23, "enforce")
	g.signal(syscall.SIGHUP)
	g.awaitLog("added=[port-23]")
	wantAllowed(t, 22)
	wantDenied(t, 23)

	deny(t, folder, 24, "audit")
	g.signal(syscall.SIGHUP)
	g.awaitLog("added=[port-24]")
	wantAllowed(t, 23)
	wantAllowed(t, 24)

	// The first rule for an operation has it attached.
	if err := errors.Join(os.MkdirAll("/mnt", 0o755), unix.Mount("none", "/mnt", "tmpfs", 0, "")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "q.yaml"), 0o600, `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: keep-mnt}
spec:
  subject: {}
  rules:
  - operation: sb_umount
    deny: {targets: [/mnt]}
`)
	g.signal(syscall.SIGHUP)
	g.awaitLog("added=[keep-mnt]")
	if err := unix.Unmount("/mnt", 0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("umount: %v, want EPERM", err)
	}
	wantAllowed(t, 24)

	g.stop("4 denied, 4 audited, 0 alerts lost")
	if err := unix.Unmount("/mnt", 0); err != nil {
		t.Error(err)
	}
	verdicts := map[string]int{}
	for _, a := range alerts(t, g.read("alerts")) {
		verdicts[a.Verdict]++
	}
	if verdicts["deny"] != 4 || verdicts["audit"] != 4 {
		t.Errorf("alerts %v", verdicts)
	}
}

// TestStory is the demo.
func TestStory(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	vmtest.Require(t, "file_open")
	// In a guest it makes its own the system's.
	for _, path := range []string{"/etc/nginx/nginx.conf", "/etc/ssh/sshd_config"} {
		if content, err := os.ReadFile(path); err == nil {
			t.Cleanup(func() { write(t, path, 0o644, string(content)) })
		}
	}
	cmd := exec.Command("demo/story")
	cmd.Dir = "/src"
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "\ndemo ok\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
