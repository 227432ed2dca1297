//go:build vm

package guardtest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

// Passed wants errands to be done. That there is no alert comes out when the
// next one is looked at.
func (d *Doer) Passed(t *testing.T, do string, args ...string) Outcome {
	t.Helper()
	o := d.Do(do, args...)
	if o.Errno != 0 {
		t.Fatalf("%s %q: %v, want it done", do, args, o)
	}
	return o
}

const doerEnv = "EBPFGUARD_TEST_DOER"

// A doer is this program too. It may be started as the interpreter of a script,
// with arguments that are none of the tests'; so it has to begin before flags
// are looked at.
func init() {
	if os.Getenv(doerEnv) != "" {
		runtime.LockOSThread()
		doErrands()
		os.Exit(0)
	}
}

// errand is what a doer does in one go, outcome how that went.
type (
	errand struct {
		Do   string
		Args []string
	}
	Outcome struct {
		Text  string
		Errno syscall.Errno
		// PID is the doer's, which changes when it starts another.
		PID int
		// Counts are of errands that do the same many times.
		Counts []int
	}
)

func (o Outcome) String() string {
	if o.Errno == 0 {
		return "done"
	}
	return fmt.Sprintf("%s (%v)", o.Text, o.Errno)
}

// doErrands greets, then does what it reads from standard input.
func doErrands() {
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	o := Outcome{}
	for {
		o.PID = os.Getpid()
		if err := out.Encode(o); err != nil {
			panic(err)
		}
		var e errand
		if err := in.Decode(&e); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			panic(err)
		}
		o = Outcome{}
		if err := e.run(&o); err != nil {
			o.Text, o.Errno = e.Do+": "+err.Error(), syscall.EIO
			errors.As(err, &o.Errno)
		}
	}
}

// Doer is a process that does errands, one after the other.
type Doer struct {
	Command *exec.Cmd
	in      io.WriteCloser
	out     *json.Decoder
	PID     int
}

// StartDoer starts a doer and stops it with the test.
func StartDoer(t *testing.T, program string, args ...string) *Doer {
	t.Helper()
	return StartDoerWith(t, nil, program, args...)
}

func StartDoerWith(t *testing.T, attributes *syscall.SysProcAttr, program string, args ...string) *Doer {
	t.Helper()
	d := &Doer{Command: exec.Command(program, args...)}
	d.Command.SysProcAttr = attributes
	d.Command.Dir = "/"
	d.Command.Env = append(os.Environ(), doerEnv+"=1")
	d.Command.Stderr = os.Stderr
	in, err := d.Command.StdinPipe()
	Check(t, err)
	out, err := d.Command.StdoutPipe()
	Check(t, err)
	d.in, d.out = in, json.NewDecoder(out)
	Check(t, d.Command.Start())
	t.Cleanup(func() { d.Stop() })
	var hello Outcome
	if err := d.out.Decode(&hello); err != nil {
		t.Fatalf("starting %s: %v", program, err)
	}
	d.PID = hello.PID
	return d
}

func (d *Doer) Do(what string, args ...string) Outcome {
	var o Outcome
	err := json.NewEncoder(d.in).Encode(errand{what, args})
	if err == nil {
		err = d.out.Decode(&o)
	}
	if err != nil {
		return Outcome{Text: fmt.Sprintf("the doer is gone: %v", err), Errno: syscall.ESRCH, PID: d.PID}
	}
	d.PID = o.PID
	return o
}

// Stop waits for the doer and for what took its place.
func (d *Doer) Stop() *os.ProcessState {
	if d.Command.ProcessState == nil {
		d.in.Close()
		for d.out.Decode(&Outcome{}) == nil {
		}
		d.Command.Wait()
	}
	return d.Command.ProcessState
}
