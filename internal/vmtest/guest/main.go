// Command guest is the init process of a test guest. It stays PID 1, runs the job's programs as its children one after
// the other, reports how they end on a serial port and powers the machine off. It depends on nothing but the kernel. Where the job has a
// root file system, the init there takes over and runs this program as a service.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/vmtest/wire"
)

// drainGrace bounds the wait for output after the child's exit: a daemon that the child left behind may hold the pipe open.
const drainGrace = 500 * time.Millisecond

// jobFlag tells this program that it is a service of another init.
const jobFlag = "-job"

func main() {
	service := len(os.Args) == 2 && os.Args[1] == jobFlag
	if os.Getpid() != 1 && !service {
		fmt.Fprintln(os.Stderr, "guest: start it as init of a virtual machine; internal/vmtest/vmrun does so")
		os.Exit(2)
	}
	var status wire.Status
	if service {
		status = serve()
	} else {
		status = work()
	}
	if err := report(status); err != nil {
		// The kernel log is the only channel left.
		fmt.Println("guest: report the exit status:", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	// Without ACPI the power stays on; the runner starts QEMU so that a reset ends it.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {}
}

func work() wire.Status {
	job, err := readJob()
	if err == nil {
		err = errors.Join(mountAll(job), linkUp("lo"), loadModules(job.Modules))
	}
	if err == nil && job.Address != "" {
		err = setAddress("eth0", job.Address)
	}
	if err == nil && job.Root != "" {
		err = enterRoot(job)
	}
	if err != nil {
		return wire.Status{Error: err.Error()}
	}
	return perform(job)
}

// serve does the job where another init has the machine.
func serve() wire.Status {
	job, err := readJob()
	if err != nil {
		return wire.Status{Error: err.Error()}
	}
	return perform(job)
}

func readJob() (wire.Job, error) {
	var job wire.Job
	raw, err := os.ReadFile(wire.JobPath)
	if err == nil {
		err = json.Unmarshal(raw, &job)
	}
	if err != nil {
		return job, fmt.Errorf("read the job: %w", err)
	}
	return job, nil
}

func perform(job wire.Job) wire.Status {
	// From here on the command may run, and the runner must not boot again whatever happens.
	if err := tell(func(w io.Writer) error {
		_, err := io.WriteString(w, wire.Started)
		return err
	}); err != nil {
		return wire.Status{Error: err.Error()}
	}
	port, err := openRaw(wire.OutputDevice)
	if err != nil {
		return wire.Status{Error: err.Error()}
	}
	defer port.Close()
	for i, p := range job.Programs {
		if i > 0 {
			killOthers()
		}
		err := mark(port, wire.Begin, wire.Ended{Program: i})
		if err == nil {
			err = mark(port, wire.End, run(port, i, p, job.Env))
		}
		if err != nil {
			return wire.Status{Error: err.Error()}
		}
	}
	files, err := collect(job.Outputs)
	status := wire.Status{Files: files}
	if err != nil {
		status.Error = err.Error()
	}
	return status
}

// mark tells the runner that a program begins or has ended.
func mark(port *os.File, what string, about wire.Ended) error {
	raw, err := json.Marshal(about)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(port, wire.Mark+what+string(raw)+"\n"); err != nil {
		return err
	}
	return drain(port)
}

// run starts a program, copies its output to the host and reaps every process until the program itself has ended.
func run(port *os.File, number int, p wire.Program, env []string) wire.Ended {
	exit, err := runTo(port, p, env)
	ended := wire.Ended{Program: number, Exit: exit}
	if err != nil {
		ended.Error = err.Error()
	}
	return ended
}

func runTo(port *os.File, p wire.Program, env []string) (int, error) {
	// A pipe, not the port itself, so that the child does not believe it talks to a terminal.
	r, w, err := os.Pipe()
	if err != nil {
		return 1, err
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 1, err
	}
	child, err := os.StartProcess(p.Path, append([]string{p.Path}, p.Args...), &os.ProcAttr{
		Dir:   p.Dir,
		Env:   env,
		Files: []*os.File{null, w, w},
		Sys:   &unix.SysProcAttr{Setsid: true},
	})
	w.Close()
	null.Close()
	if err != nil {
		return 1, fmt.Errorf("start the command: %w; is it a static binary, or are its libraries among -packages?", err)
	}
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(port, r)
		copied <- err
	}()
	exit := reap(child.Pid)
	_ = r.SetReadDeadline(time.Now().Add(drainGrace))
	if err := <-copied; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return exit, fmt.Errorf("copy the command's output: %w", err)
	}
	return exit, drain(port)
}

// killOthers ends what a program has left running, so that the next one finds the guest as a boot leaves it. As a
// service this is not init, and the processes are not its own.
func killOthers() {
	if os.Getpid() != 1 {
		return
	}
	_ = unix.Kill(-1, unix.SIGKILL)
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && err != unix.EINTR {
			return
		}
	}
}

// reap waits for all children, since PID 1 inherits every orphan, and returns the exit status of pid.
func reap(pid int) int {
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 1
		case got == pid && ws.Exited():
			return ws.ExitStatus()
		case got == pid && ws.Signaled():
			return 128 + int(ws.Signal())
		}
	}
}

func collect(paths []string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	var errs []error
	for _, root := range paths {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			files[path], err = os.ReadFile(path)
			return err
		})
		// A failed test may not have written its profile; that is the test's matter.
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return files, errors.Join(errs...)
}

func report(status wire.Status) error {
	return tell(func(w io.Writer) error { return json.NewEncoder(w).Encode(status) })
}

// tell writes to the runner and waits until the port has sent it.
func tell(write func(io.Writer) error) error {
	port, err := openRaw(wire.StatusDevice)
	if err != nil {
		return err
	}
	defer port.Close()
	if err := write(port); err != nil {
		return err
	}
	return drain(port)
}
