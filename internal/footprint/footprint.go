// Package footprint measures what a daemon takes of memory, for a test and for the
// benchmarks, on a kernel that can enforce.
package footprint

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// What the daemon may take of memory with [Rules].
const (
	MaxIdle  = 64 << 20
	MaxStorm = 128 << 20
)

const (
	// Rules is how many rules the daemon has, each of a path, beside one of a port.
	Rules = 10_000
	// Refusals is how many operations are refused in the storm.
	Refusals = workers * attempts

	workers  = 4
	attempts = 5_000
	port     = 4001

	// restTime is until the daemon has given back what the start took, and what answers
	// take.
	restTime = 15 * time.Second
	// patience is much more than an emulated machine needs to verify the programs.
	patience = 10 * time.Minute
)

// Figures are bytes of resident memory, as the kernel counts them.
type Figures struct {
	Start uint64 // at the most, until the daemon was ready
	Idle  uint64 // at rest
	Storm uint64 // at the most, while [Refusals] operations were refused
}

// Err tells what is more than the daemon may take.
func (f Figures) Err() error {
	var err error
	if f.Idle >= MaxIdle {
		err = fmt.Errorf("%d bytes at rest, %d are too many", f.Idle, MaxIdle)
	}
	if f.Storm >= MaxStorm {
		err = errors.Join(err, fmt.Errorf("%d bytes in a storm, %d are too many", f.Storm, MaxStorm))
	}
	return err
}

// Measure starts a daemon of a program with [Rules], waits until it is at rest, and has
// operations refused as fast as it can ask. It is an error when not every one of
// those is refused and accounted for. What the daemon logs goes to log; nothing stays
// enforced.
func Measure(ctx context.Context, program, folder string, log io.Writer) (_ Figures, err error) {
	policies, ready, socket := filepath.Join(folder, "policies"), filepath.Join(folder, "ready"), filepath.Join(folder, "socket")
	if err := os.Mkdir(policies, 0o700); err != nil {
		return Figures{}, err
	}
	if err := os.WriteFile(filepath.Join(policies, "many.yaml"), []byte(rules()), 0o600); err != nil {
		return Figures{}, err
	}
	cmd := exec.CommandContext(ctx, program, "daemon", "--policies", policies, "--socket", socket, "--ready-file", ready,
		"--state", filepath.Join(folder, "state"), "--pins", "/sys/fs/bpf/ebpfguard", "--on-exit=remove",
		"--outputs", "{type: file, path: "+filepath.Join(folder, "alerts")+"}", "--fold-window=0")
	cmd.Stderr = log
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = time.Minute
	if err := cmd.Start(); err != nil {
		return Figures{}, err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait(); close(exited) }()
	defer func() {
		_ = cmd.Process.Signal(unix.SIGTERM) // it may have ended
		if ended := <-exited; err == nil && ended != nil {
			err = fmt.Errorf("the daemon: %w", ended)
		}
	}()
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		if _, err := os.Stat(ready); err == nil {
			break
		}
		if time.Since(began) > patience {
			return Figures{}, fmt.Errorf("the daemon is not ready within %v", patience)
		}
		select {
		case err := <-exited:
			return Figures{}, fmt.Errorf("the daemon ended before it was ready: %w", err)
		default:
		}
	}
	return measure(ctx, program, socket, cmd.Process.Pid)
}

func measure(ctx context.Context, program, socket string, pid int) (f Figures, err error) {
	if f.Start, err = Memory(pid, "VmHWM"); err != nil {
		return f, err
	}
	time.Sleep(restTime)
	if f.Idle, err = Memory(pid, "VmRSS"); err != nil {
		return f, err
	}
	// What was resident at the most is forgotten.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		return f, err
	}
	if err := storm(); err != nil {
		return f, err
	}
	// The daemon reads what is left of the alerts.
	operations, err := status(ctx, program, socket)
	if err != nil {
		return f, err
	}
	if f.Storm, err = Memory(pid, "VmHWM"); err != nil {
		return f, err
	}
	seen := false
	for _, o := range operations {
		seen = seen || o.Operation == "socket_bind"
		if o.Denied != o.Alerts+o.AlertsLost+o.AlertsLimited || o.Operation == "socket_bind" && o.Denied != Refusals {
			err = errors.Join(err, fmt.Errorf("not every denial is accounted for: %+v", o))
		}
	}
	if !seen {
		err = errors.Join(err, errors.New("the status has no socket_bind"))
	}
	return f, err
}

// operation is what a daemon's status says of one.
type operation struct {
	Operation     string `json:"operation"`
	Denied        uint64 `json:"denied"`
	Alerts        uint64 `json:"alerts"`
	AlertsLost    uint64 `json:"alerts_lost"`
	AlertsLimited uint64 `json:"alerts_limited"`
}

// status asks a daemon by its own command, so that what measures needs no gRPC.
func status(ctx context.Context, program, socket string) ([]operation, error) {
	cmd := exec.CommandContext(ctx, program, "status", "--socket", socket, "--output", "json")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ask the daemon for its status: %w: %s", err, stderr.String())
	}
	var s struct {
		Operations []operation `json:"operations"`
	}
	if err := json.Unmarshal(out, &s); err != nil {
		return nil, fmt.Errorf("read the daemon's status: %w", err)
	}
	return s.Operations, nil
}

// rules is a policy that refuses a port, and [Rules] times what nobody does.
func rules() string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: many}
spec:
  subject: {}
  rules:
  - operation: socket_bind
    deny: {ports: [%d]}
`, port)
	for i := range Rules {
		fmt.Fprintf(&b, "  - operation: file_open\n    deny: {paths: [/srv/%d/%d]}\n", i%100, i)
	}
	return b.String()
}

// storm has [Refusals] operations refused, as fast as it can ask.
func storm() error {
	var refused atomic.Int64
	errs := make([]error, workers)
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			for range attempts {
				switch err := bind(); {
				case errors.Is(err, unix.EPERM):
					refused.Add(1)
				case errs[i] == nil:
					errs[i] = fmt.Errorf("binding to a port that is forbidden: %w", err)
				}
			}
		})
	}
	all.Wait()
	if n := refused.Load(); n != Refusals {
		return errors.Join(append(errs, fmt.Errorf("%d operations refused, want %d", n, Refusals))...)
	}
	return nil
}

var errBound = errors.New("it was allowed")

func bind() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	return errBound
}

// Memory returns a field of a process's status in bytes, such as VmRSS.
func Memory(pid int, name string) (uint64, error) {
	path := fmt.Sprintf("/proc/%d/status", pid)
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name+":")
		if !ok {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		return kib << 10, err
	}
	return 0, errors.Join(lines.Err(), fmt.Errorf("%s has no %s", path, name))
}
