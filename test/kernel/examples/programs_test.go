//go:build vm

package examples

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/footprint"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// programs has those of examples/go in the guest, built.
const programs = "/src/programs"

// output is what a process has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until the output contains some text.
func (o *output) await(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(guardtest.Patience); !strings.Contains(o.String(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q is not in the output after %v:\n%s", text, guardtest.Patience, o)
		}
	}
}

// running is a program of the examples.
type running struct {
	*exec.Cmd
	out, errs output
}

func start(t *testing.T, dir, name string, arguments ...string) *running {
	t.Helper()
	p := &running{Cmd: exec.Command(filepath.Join(programs, name), arguments...)}
	p.Dir, p.Stdout, p.Stderr = dir, &p.out, &p.errs
	return p
}

// end has it end as by Ctrl-C.
func (p *running) end(t *testing.T) {
	t.Helper()
	guardtest.Check(t, p.Process.Signal(syscall.SIGTERM))
	if err := p.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &p.errs)
	}
}

// shell returns what a command prints, and how it ends.
func shell(command string) string {
	out, err := exec.Command("/bin/sh", "-c", command).CombinedOutput()
	return fmt.Sprintf("%s%v", out, err)
}

// The resident memory that an agent with one policy may take at rest and at the most. Of both 9 MiB are the buffers
// that it shares with the kernel.
const (
	maxAgent  = 30 << 20
	mostAgent = 64 << 20
)

func TestAgent(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	agent := start(t, "", "agent", folder+"/no-rogue-sshd.yaml")
	guardtest.Check(t, agent.Start())
	agent.errs.await(t, "1 policies are in force")
	if text := shell(bind("curl", "--local-port 22")); !strings.Contains(text, notBound) {
		t.Errorf("port 22 was not refused: %s", text)
	}
	if text := shell(bind("curl", "--local-port 2022")); strings.Contains(text, notBound) {
		t.Errorf("port 2022 was refused: %s", text)
	}
	agent.out.await(t, "\n")
	var alert struct {
		Operation, Verdict, Policy string
		Process                    struct{ Args []string }
	}
	line := agent.out.String()
	if err := json.Unmarshal([]byte(line), &alert); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	if alert.Operation != "socket_bind" || alert.Verdict != "deny" || !strings.HasPrefix(alert.Policy, "no-rogue-sshd") || len(alert.Process.Args) == 0 {
		t.Errorf("alert %s", line)
	}
	most, err := footprint.Memory(agent.Process.Pid, "VmHWM")
	guardtest.Check(t, err)
	var now uint64
	for end := time.Now().Add(guardtest.Patience); time.Now().Before(end); time.Sleep(time.Second) {
		now, err = footprint.Memory(agent.Process.Pid, "VmRSS")
		guardtest.Check(t, err)
		if now <= maxAgent {
			break
		}
	}
	t.Logf("agent: %d MiB resident, at most %d", now>>20, most>>20)
	if now > maxAgent || most > mostAgent {
		t.Errorf("the agent takes %d MiB, and took %d; %d and %d are too many", now>>20, most>>20, maxAgent>>20, mostAgent>>20)
	}
	agent.end(t)
	if text := shell(bind("curl", "--local-port 22")); strings.Contains(text, notBound) {
		t.Errorf("port 22 is refused though the agent has ended: %s", text)
	}
}

func TestSandbox(t *testing.T) {
	vmtest.Require(t, "file_open")
	dir := t.TempDir()
	sandbox := start(t, dir, "sandbox", "sh", "-c", `
		touch began
		while [ ! -e go ]; do sleep 0.1; done
		echo mine >kept
		echo stolen >/etc/sandboxed
		bash -c '</dev/tcp/192.0.2.1/80'
		bash -c '</dev/tcp/127.0.0.1/1'
		exit 3`)
	guardtest.Check(t, sandbox.Start())
	for end := time.Now().Add(guardtest.Patience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(dir + "/began"); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the command did not begin:\n%s", &sandbox.errs)
		}
	}
	if text := shell("echo other >/etc/unsandboxed && rm /etc/unsandboxed"); text != "<nil>" {
		t.Errorf("someone else was refused: %s", text)
	}
	guardtest.Check(t, os.WriteFile(dir+"/go", nil, 0o600))
	err := sandbox.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("it ended with %v, not with the command's status", err)
	}
	if kept, err := os.ReadFile(dir + "/kept"); err != nil || string(kept) != "mine\n" {
		t.Errorf("%v: the file of the working directory has %q", err, kept)
	}
	if _, err := os.Stat("/etc/sandboxed"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was made outside of the working directory: %v", err)
	}
	text := sandbox.errs.String()
	for _, want := range []string{"/etc/sandboxed", "192.0.2.1/80: Operation not permitted", "127.0.0.1/1: Connection refused", "socket_connect"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the output:\n%s", want, text)
		}
	}
}

func TestFalco(t *testing.T) {
	vmtest.Require(t, "socket_connect")
	falco := start(t, "", "falco")
	events, err := falco.StdinPipe()
	guardtest.Check(t, err)
	guardtest.Check(t, falco.Start())

	victim := exec.Command("bash", "-c", `while read line; do eval "$line"; done 2>&1`)
	var said output
	victim.Stdout = &said
	commands, err := victim.StdinPipe()
	guardtest.Check(t, err)
	guardtest.Check(t, victim.Start())
	reach := func() {
		t.Helper()
		_, err := commands.Write([]byte("</dev/tcp/127.0.0.1/1\necho done\n"))
		guardtest.Check(t, err)
	}
	reach()
	said.await(t, "done")
	if !strings.Contains(said.String(), "Connection refused") {
		t.Errorf("before the event: %s", &said)
	}
	_, err = fmt.Fprintf(events, `{"rule":"Redirect to a socket","output_fields":{"proc.pid":%d}}`+"\n", victim.Process.Pid)
	guardtest.Check(t, err)
	falco.errs.await(t, "is cut off")
	reach()
	said.await(t, "Operation not permitted")
	if text := shell("bash -c '</dev/tcp/127.0.0.1/1'"); !strings.Contains(text, "Connection refused") {
		t.Errorf("someone else was cut off: %s", text)
	}
	falco.end(t)
	guardtest.Check(t, errors.Join(commands.Close(), victim.Wait()))
}
