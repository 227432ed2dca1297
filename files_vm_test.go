//go:build vm

package ebpfguard_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// TestFiles are the tests of files and of what is done about those who want them.
// They share a manager, whose programs take their time to load.
func TestFiles(t *testing.T) {
	g := newFileGuard(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *fileGuard)
	}{
		{"verdicts", testVerdicts}, {"rule statistics", testRuleStats}, {"revoke", testRevoke}, {"unsupported", testUnsupported},
		{"paths", testPaths}, {"depth", testDepth}, {"length", testLength}, {"future", testFuture}, {"identity", testIdentity}, {"disk", testDisk},
		{"two names", testTwoNames}, {"exceptions", testExceptions},
		{"cache", testCache}, {"cache of mounts", testCacheOfMounts}, {"cache of hard links", testCacheOfLinks},
		{"cache under renames", testCacheUnderRenames}, {"cache under policies", testCacheUnderPolicies},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, g) })
	}
	t.Logf("%d policy sets applied in %v", g.applied, g.applying)
}

// fileGuard is the shared guard while TestFiles has all its alerts.
type fileGuard struct {
	*guard
	alerts <-chan ebpfguard.Alert
	// owner is the test whose policies are in force.
	owner *testing.T
	// applied counts the sets, applying is the time that it took.
	applied  int
	applying time.Duration
}

func newFileGuard(t *testing.T) *fileGuard {
	t.Helper()
	start := time.Now()
	shared := sharedGuard(t)
	t.Logf("attached in %v", time.Since(start))
	return &fileGuard{guard: shared, alerts: shared.divert(t)}
}

// apply puts a set in force until the test applies another one or ends. By then
// all alerts must have been looked at.
func (g *fileGuard) apply(t *testing.T, set ...policy.Policy) {
	t.Helper()
	former, outer, start := g.Policies(), g.owner, time.Now()
	_, err := g.Apply(set)
	check(t, err)
	g.applied++
	g.applying += time.Since(start)
	if outer == t {
		return
	}
	g.owner = t
	t.Cleanup(func() {
		if _, err := g.Apply(former); err != nil {
			t.Error(err)
		}
		g.owner = outer
		g.quiet(t)
	})
}

// next returns the next alert.
func (g *fileGuard) next(t *testing.T) ebpfguard.Alert {
	t.Helper()
	select {
	case alert := <-g.alerts:
		return alert
	case <-time.After(patience):
		t.Fatalf("no alert within %v", patience)
	}
	panic("unreachable")
}

// quiet fails if there is an alert.
func (g *fileGuard) quiet(t *testing.T) {
	t.Helper()
	g.settle(t)
	for {
		select {
		case alert := <-g.alerts:
			t.Errorf("an alert that should not be: %v", alert)
		default:
			return
		}
	}
}

// forget drops the alerts that are there and returns how many.
func (g *fileGuard) forget() int {
	for n := 0; ; n++ {
		select {
		case <-g.alerts:
		default:
			return n
		}
	}
}

// drain drops the alerts of all that was decided so far and returns how many.
func (g *fileGuard) drain(t *testing.T) int {
	t.Helper()
	g.settle(t)
	return g.forget()
}

// refused wants an errand to be refused, for certain, and returns its alert.
func (g *fileGuard) refused(t *testing.T, d *doer, do string, args ...string) ebpfguard.FileOpenAlert {
	t.Helper()
	alert := g.denied(t, d, do, args...)
	if alert.Undecided {
		t.Errorf("%s %q: undecided: %v", do, args, alert)
	}
	return alert
}

// undecided wants an errand to be refused since nobody knows.
func (g *fileGuard) undecided(t *testing.T, d *doer, do string, args ...string) ebpfguard.FileOpenAlert {
	t.Helper()
	alert := g.denied(t, d, do, args...)
	if !alert.Undecided {
		t.Errorf("%s %q: refused for certain: %v", do, args, alert)
	}
	return alert
}

func (g *fileGuard) denied(t *testing.T, d *doer, do string, args ...string) ebpfguard.FileOpenAlert {
	t.Helper()
	o := d.do(do, args...)
	if o.Errno != syscall.EPERM {
		t.Fatalf("%s %q: %v, want EPERM", do, args, o)
	}
	alert, ok := g.next(t).(ebpfguard.FileOpenAlert)
	if !ok || alert.PID != uint32(o.PID) || alert.Verdict != policy.Deny {
		t.Fatalf("%s %q by %d: alert %v", do, args, o.PID, alert)
	}
	return alert
}

// passed wants errands to be done. That there is no alert comes out when the
// next one is looked at.
func (d *doer) passed(t *testing.T, do string, args ...string) outcome {
	t.Helper()
	o := d.do(do, args...)
	if o.Errno != 0 {
		t.Fatalf("%s %q: %v, want it done", do, args, o)
	}
	return o
}

// denyFiles is a policy that denies a subject files.
func denyFiles(name string, subject ebpfguard.Subject, paths ...string) policy.Policy {
	return filePolicy(name, subject, policy.Rule{Deny: filePatterns(paths)})
}

// allowFiles is a policy with an exception.
func allowFiles(name string, subject ebpfguard.Subject, paths ...string) policy.Policy {
	return filePolicy(name, subject, policy.Rule{Allow: filePatterns(paths)})
}

func filePolicy(name string, subject ebpfguard.Subject, rule policy.Rule) policy.Policy {
	rule.Operation = policy.FileOpen
	return policy.Policy{Name: name, Subject: policy.Subject(subject), Rules: []policy.Rule{rule}}
}

func filePatterns(paths []string) []policy.Pattern {
	if paths == nil {
		return []policy.Pattern{policy.FilePattern{All: true}}
	}
	return []policy.Pattern{policy.FilePattern{Paths: paths}}
}

// write makes a file and the directories above it.
func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
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
	outcome struct {
		Text  string
		Errno syscall.Errno
		// PID is the doer's, which changes when it starts another.
		PID int
		// Counts are of errands that do the same many times.
		Counts []int
	}
)

func (o outcome) String() string {
	if o.Errno == 0 {
		return "done"
	}
	return fmt.Sprintf("%s (%v)", o.Text, o.Errno)
}

// doErrands greets, then does what it reads from standard input.
func doErrands() {
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	o := outcome{}
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
		o = outcome{}
		if err := e.run(&o); err != nil {
			o.Text, o.Errno = e.Do+": "+err.Error(), syscall.EIO
			errors.As(err, &o.Errno)
		}
	}
}

// doer is a process that does errands, one after the other.
type doer struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *json.Decoder
	pid     int
}

// startDoer starts a doer and stops it with the test.
func startDoer(t *testing.T, program string, args ...string) *doer {
	t.Helper()
	return startDoerWith(t, nil, program, args...)
}

func startDoerWith(t *testing.T, attributes *syscall.SysProcAttr, program string, args ...string) *doer {
	t.Helper()
	d := &doer{command: exec.Command(program, args...)}
	d.command.SysProcAttr = attributes
	d.command.Dir = "/"
	d.command.Env = append(os.Environ(), doerEnv+"=1")
	d.command.Stderr = os.Stderr
	in, err := d.command.StdinPipe()
	check(t, err)
	out, err := d.command.StdoutPipe()
	check(t, err)
	d.in, d.out = in, json.NewDecoder(out)
	check(t, d.command.Start())
	t.Cleanup(func() { d.stop() })
	var hello outcome
	if err := d.out.Decode(&hello); err != nil {
		t.Fatalf("starting %s: %v", program, err)
	}
	d.pid = hello.PID
	return d
}

func (d *doer) do(what string, args ...string) outcome {
	var o outcome
	err := json.NewEncoder(d.in).Encode(errand{what, args})
	if err == nil {
		err = d.out.Decode(&o)
	}
	if err != nil {
		return outcome{Text: fmt.Sprintf("the doer is gone: %v", err), Errno: syscall.ESRCH, PID: d.pid}
	}
	d.pid = o.PID
	return o
}

// stop waits for the doer and for what took its place.
func (d *doer) stop() *os.ProcessState {
	if d.command.ProcessState == nil {
		d.in.Close()
		for d.out.Decode(&outcome{}) == nil {
		}
		d.command.Wait()
	}
	return d.command.ProcessState
}
