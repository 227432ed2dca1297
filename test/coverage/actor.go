package coverage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	actorVariable = "EBPFGUARD_COVERAGE_ACTOR"
	// errandVariable makes the process do a small errand for a way instead; see errands.
	errandVariable = "EBPFGUARD_COVERAGE_ERRAND"

	reportFD    = 3
	firstPassed = 4

	// done is the exit status of the programs that ways start, unlike any that a shell or a crash has.
	done = 42

	// actorLimit is many times what any way takes.
	actorLimit = 15 * time.Second
)

// report is what an actor tells.
type report struct {
	Errno unix.Errno
	Text  string `json:",omitempty"`
	// Step is set when the step that failed only leads to the one that matters.
	Step bool `json:",omitempty"`
}

// ActIfAsked makes the process an actor, and does not return, when a run of ways started it. TestMain calls it first.
func ActIfAsked() {
	if errand := os.Getenv(errandVariable); errand != "" {
		os.Unsetenv(errandVariable)
		os.Exit(runErrand(errand))
	}
	if os.Getenv(actorVariable) == "" {
		return
	}
	os.Unsetenv(actorVariable)
	unix.CloseOnExec(reportFD)
	in := json.NewDecoder(os.Stdin)
	for {
		var e Env
		if err := in.Decode(&e); errors.Is(err, io.EOF) {
			os.Exit(0)
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "coverage: read the request:", err)
			os.Exit(2)
		}
		out, err := json.Marshal(e.onOwnThread())
		if err != nil {
			fmt.Fprintln(os.Stderr, "coverage: report:", err)
			os.Exit(2)
		}
		if _, err := unix.Write(reportFD, append(out, '\n')); err != nil {
			fmt.Fprintln(os.Stderr, "coverage: report:", err)
			os.Exit(2)
		}
	}
}

// onOwnThread acts on a thread that ends with the way: its credentials, namespaces, root and working directory go with it.
func (e *Env) onOwnThread() report {
	result := make(chan report)
	var act func()
	act = func() {
		// Without an unlock, the thread ends with the goroutine.
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// What /proc says about the process is about its first thread, which therefore has to stay as it is.
			go act()
			select {}
		}
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			result <- asReport(err)
			return
		}
		result <- e.act()
	}
	go act()
	return <-result
}

// act does what the environment says.
func (e *Env) act() (r report) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case stepError:
			r = asReport(p.err)
			r.Step = true
			// The third frame above is the line of the way.
			r.Text += caller()
		default:
			r = report{Errno: unix.ENOTRECOVERABLE, Text: fmt.Sprint(p) + caller(), Step: true}
		}
	}()
	w, ok := find(e.Row)
	if !ok {
		return report{Errno: unix.ENOENT, Text: "no such way", Step: true}
	}
	e.object = w.Object
	do := w.Do
	if !e.Protected && w.Bystander != nil {
		do = w.Bystander
	}
	if err := do(e); err != nil {
		return asReport(err)
	}
	return report{}
}

func asReport(err error) report {
	r := report{Errno: unix.EIO, Text: err.Error()}
	errors.As(err, &r.Errno)
	return r
}

// caller names the lines of this package that a panic passed through.
func caller() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		base := f.File[strings.LastIndexByte(f.File, '/')+1:]
		if strings.Contains(f.File, "test/coverage/") && base != "actor.go" && base != "coverage.go" {
			return fmt.Sprintf(" (%s:%d)", base, f.Line)
		}
		if !more {
			return ""
		}
	}
}

func find(row string) (Way, bool) {
	for _, w := range Ways() {
		if w.Row() == row {
			return w, true
		}
	}
	return Way{}, false
}

// inThread runs f on another thread of its own.
func inThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		result <- guarded(f)
	}()
	return <-result
}

// actor is a process that does what it is told, way after way. A way that ends in another program, or does not end, ends the
// actor, and the next way gets a new one.
type actor struct {
	program string
	// files are what the environments passed, which every new process gets.
	files   []*os.File
	command *exec.Cmd
	in      io.WriteCloser
	reports *json.Decoder
	closers []io.Closer
	output  *bytes.Buffer
	// started counts the processes.
	started int
}

// newActor returns an actor for environments, whose passed files it numbers.
func newActor(program string, environments ...*Env) *actor {
	a := &actor{program: program}
	for _, e := range environments {
		e.First = firstPassed + len(a.files)
		a.files = append(a.files, e.passed...)
	}
	return a
}

func (a *actor) start() error {
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	a.output = new(bytes.Buffer)
	a.command = exec.Command(a.program)
	a.command.Env = append(os.Environ(), actorVariable+"=1")
	a.command.Dir = "/"
	a.command.Stdout, a.command.Stderr = a.output, a.output
	a.command.ExtraFiles = append([]*os.File{out}, a.files...)
	a.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	a.command.WaitDelay = time.Second
	if a.in, err = a.command.StdinPipe(); err == nil {
		err = a.command.Start()
	}
	out.Close()
	if err != nil {
		in.Close()
		a.command = nil
		return fmt.Errorf("start the actor: %w", err)
	}
	a.started++
	a.reports, a.closers = json.NewDecoder(in), []io.Closer{a.in, in}
	return nil
}

// do returns how a way went, by report or by the exit status of the program that it became.
func (a *actor) do(e *Env) (report, error) {
	if a.command == nil {
		if err := a.start(); err != nil {
			return report{}, err
		}
	}
	group := -a.command.Process.Pid
	limit := time.AfterFunc(actorLimit, func() { unix.Kill(group, unix.SIGKILL) })
	defer limit.Stop()
	if err := json.NewEncoder(a.in).Encode(e); err != nil {
		a.stop()
		return report{}, fmt.Errorf("tell the actor: %w", err)
	}
	var r report
	if a.reports.Decode(&r) == nil {
		return r, nil
	}
	state, output := a.stop()
	if state.ExitCode() == done {
		return report{}, nil
	}
	return report{}, fmt.Errorf("the actor ended with %v: %s", state, output)
}

// stop ends the process and whatever it left behind.
func (a *actor) stop() (*os.ProcessState, string) {
	if a.command == nil {
		return nil, ""
	}
	for _, c := range a.closers {
		c.Close()
	}
	a.command.Wait()
	unix.Kill(-a.command.Process.Pid, unix.SIGKILL)
	state := a.command.ProcessState
	a.command = nil
	return state, a.output.String()
}

// start runs a program to its end, in place of an exec of the actor itself. It returns the error of the exec; a program that
// does not exit with done makes the way fail.
func start(path string, argv []string, attr *syscall.SysProcAttr) error {
	if argv == nil {
		argv = []string{path}
	}
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: attr})
	if err != nil {
		return err
	}
	return ended(pid)
}

// ended waits for a child that has to exit with done.
func ended(pid int) error {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait: %w", err)
		}
		break
	}
	if !ws.Exited() || ws.ExitStatus() != done {
		return fmt.Errorf("the program ended with status %#x, not %d: %w", int(ws), done, unix.ENOEXEC)
	}
	return nil
}

// step is a raw system call, its number first. priorResult stands for what the step before returned.
type step [7]uintptr

const priorResult = ^uintptr(0x5eed)

// forked makes system calls in a forked child, one after the other, and returns the errno of the first that fails. Between a fork
// and an exec a Go program has one thread of a runtime that expects more, so the child calls nothing else, and no
// function there checks its stack: it would find a request to yield that the parent's scheduler made before the fork, and wait
// for ever.
func forked(flags uintptr, steps ...step) error {
	pid, errno := forkSteps(flags, steps)
	if errno != 0 {
		return errno
	}
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(int(pid), &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		break
	}
	if !ws.Exited() {
		return fmt.Errorf("the child ended with status %#x: %w", int(ws), unix.ECHILD)
	}
	if s := ws.ExitStatus(); s != 0 {
		return unix.Errno(s)
	}
	return nil
}

//go:norace
//go:nosplit
func forkSteps(flags uintptr, steps []step) (uintptr, unix.Errno) {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD)|flags, 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	var result uintptr
	for i := 0; i < len(steps) && errno == 0; i++ {
		s := &steps[i]
		for j := range s {
			if s[j] == priorResult {
				s[j] = result
			}
		}
		result, _, errno = unix.RawSyscall6(s[0], s[1], s[2], s[3], s[4], s[5], s[6])
	}
	for {
		unix.RawSyscall6(unix.SYS_EXIT_GROUP, uintptr(errno), 0, 0, 0, 0, 0)
	}
}

// errands are what ways have another process of this program do, with their arguments.
var errands map[string]func(arguments []string) error

// doErrand has a program that is this one, or a copy of it, do an errand, and returns the errno that it exits with.
func doErrand(path, errand string, attr *syscall.SysProcAttr, arguments ...string) error {
	env := append(os.Environ(), errandVariable+"="+errand)
	pid, err := syscall.ForkExec(path, append([]string{path}, arguments...), &syscall.ProcAttr{Env: env, Files: []uintptr{0, 1, 2}, Sys: attr})
	must(err)
	var ws unix.WaitStatus
	for {
		if _, err = unix.Wait4(pid, &ws, 0, nil); err != unix.EINTR {
			break
		}
	}
	must(err)
	switch s := ws.ExitStatus(); {
	case !ws.Exited():
		return fmt.Errorf("the errand ended with status %#x: %w", int(ws), unix.ECHILD)
	case s == done:
		return nil
	default:
		return unix.Errno(s)
	}
}

func runErrand(errand string) int {
	// Filled here, since the errands use what starts them.
	errands = map[string]func([]string) error{
		"open":       func(a []string) error { return open(a[0], unix.O_RDONLY) },
		"open-bound": errandOpenBound,
		"move-open":  errandMoveOpen,
		"exec":       func(a []string) error { return execve(a[0]) },
		"mount":      errandMount,
		"move-mount": errandMoveMount,
		"remount":    errandRemount,
		"umount":     errandUmount,
		"setuid":     errandSetuid,
		"bind":       errandBind,
		"connect":    errandConnect,
		"pause":      func([]string) error { return unix.Pause() },
	}
	runtime.LockOSThread()
	err := guarded(func() error { return errands[errand](os.Args[1:]) })
	if err != nil {
		fmt.Fprintln(os.Stderr, "errand:", err)
		return int(asReport(err).Errno)
	}
	return done
}
