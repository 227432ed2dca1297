// Sandbox runs a command that reaches no other machine and changes no files but those of the working
// directory and /tmp, and so does all that the command starts, as root too:
//
//	go build -o bin/ ./examples/go/sandbox && sudo bin/sandbox npm install
//
// What is refused is printed. Nobody else on the machine is restricted. The sandbox ends with this
// program. It keeps a command from harm by mistake; one that runs as root and means harm can still ask a
// daemon over a Unix socket (docs/threat-model.md).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// gated begins the arguments of the process that becomes the command.
const gated = "--gated"

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: sandbox COMMAND [ARGUMENT ...]")
	}
	if os.Args[1] == gated {
		log.Fatal(become(os.NewFile(3, "gate"), os.Args[2:]))
	}
	code, err := run(os.Args[1:])
	if err != nil {
		log.Fatal(err)
	}
	os.Exit(code)
}

// run runs the command in the sandbox and returns its exit code.
func run(command []string) (code int, err error) {
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	m, err := ebpfguard.NewManager(ebpfguard.Options{AutoAttach: true})
	if err != nil {
		return 0, err
	}
	defer m.Close()                          // with it the policies end
	alerts := m.Alerts(context.Background()) // before the policies, so that no alert is missed
	go report(alerts)

	// A process of this program waits at the gate until the policies about it are in force, and then
	// becomes the command: so the command is restricted from its first instruction on.
	gate, open, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	child := exec.Command("/proc/self/exe", append([]string{gated}, command...)...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.ExtraFiles = []*os.File{gate}
	if err := child.Start(); err != nil {
		return 0, err
	}
	_ = gate.Close()                                     // it is the child's now
	signal.Notify(make(chan os.Signal, 1), os.Interrupt) // it is for the command, whose end is awaited
	if err := restrict(m, child.Process.Pid, dir); err != nil {
		_ = open.Close() // the child ends without becoming the command
		return 0, errors.Join(err, child.Wait())
	}
	_, err = open.Write([]byte{1})
	if err := errors.Join(err, open.Close()); err != nil {
		return 0, errors.Join(err, child.Wait())
	}
	var exit *exec.ExitError
	if err := child.Wait(); err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	time.Sleep(100 * time.Millisecond) // for the last alerts
	return child.ProcessState.ExitCode(), nil
}

// restrict puts the policies about a process in force.
func restrict(m *ebpfguard.Manager, pid int, dir string) error {
	process, err := ebpfguard.RunningProcess(pid)
	if err != nil {
		return err
	}
	_, err = m.Apply([]policy.Policy{sandbox(process, dir)})
	return err
}

// sandbox is the policy about a process and all that it starts.
func sandbox(process policy.ProcessID, dir string) policy.Policy {
	write := func(paths ...string) []policy.Pattern {
		return []policy.Pattern{policy.FilePattern{Paths: paths, Access: policy.Write}}
	}
	return policy.Policy{
		Name:    "sandbox",
		Subject: policy.Subject{Processes: []policy.ProcessID{process}},
		Rules: []policy.Rule{{
			Operation: policy.FileOpen,
			Allow:     write(strings.TrimSuffix(dir, "/")+"/", "/tmp/", "/dev/null", "/dev/tty", "/dev/pts/", "/dev/shm/"), // a longer path wins over a shorter one
			Deny:      write("/"),
		}, {
			Operation: policy.SocketConnect,
			Allow: []policy.Pattern{policy.SocketPattern{Addresses: []netip.Prefix{
				netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
			}}},
			Deny: []policy.Pattern{policy.SocketPattern{All: true}},
		}},
	}
}

// become waits until the gate opens, and becomes the command.
func become(gate io.ReadCloser, command []string) error {
	if _, err := io.ReadFull(gate, make([]byte, 1)); err != nil {
		return fmt.Errorf("the sandbox is not in force, so %s does not start: %w", command[0], err)
	}
	if err := gate.Close(); err != nil {
		return err
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, command, os.Environ())
}

// report prints what was refused.
func report(alerts iter.Seq2[ebpfguard.Alert, error]) {
	for alert, err := range alerts {
		if err != nil {
			log.Print(err)
			continue
		}
		log.Print(alert)
	}
}
