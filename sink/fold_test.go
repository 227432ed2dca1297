package sink

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

func TestPipelineFolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, in := &collector{}, make(chan any)
		p := newPipeline(t, Options{}, Output{Name: "s", Sink: s})
		done := make(chan error)
		go func() { done <- p.Run(feed(in)) }()
		begin := fileAlert(1, "/x").Time
		send := func(pid uint32, path string, second int) {
			alert := fileAlert(pid, path)
			alert.Time = begin.Add(time.Duration(second) * time.Second)
			in <- alert
		}
		expect := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := s.got(); got != want {
				t.Errorf("%v: got %s, want %s", time.Since(time.Time{}), got, want)
			}
			check(t, p.Counters(), 0, false)
		}
		send(1, "/x", 0)
		send(1, "/x", 1)
		send(2, "/x", 2)
		send(1, "/y", 3)
		send(1, "/x", 4)
		expect("1:1×1 2:2×1 3:1×1")
		time.Sleep(9 * time.Second)
		expect("1:1×1 2:2×1 3:1×1")
		time.Sleep(4 * time.Second)
		expect("1:1×1 2:2×1 3:1×1 4:1×2")
		if c := s.alerts[3].Context(); !c.Time.Equal(begin.Add(time.Second)) || !c.Last.Equal(begin.Add(4*time.Second)) {
			t.Errorf("the folded one is of %v to %v", c.Time, c.Last)
		}
		// A new window; a single further one is nothing but itself.
		send(1, "/x", 20)
		send(1, "/x", 21)
		expect("1:1×1 2:2×1 3:1×1 4:1×2 5:1×1")
		close(in)
		if err := <-done; err != nil {
			t.Error(err)
		}
		expect("1:1×1 2:2×1 3:1×1 4:1×2 5:1×1 6:1×1")
		c := p.Counters()
		check(t, c, 0, true)
		if c.Read != 7 || c.Folded != 1 || c.Handed != 6 || c.Sinks[0].Written != 6 {
			t.Errorf("counters %+v", c)
		}
	})
}

// TestPipelineKeepsApart expects that what differs in anything is not folded.
func TestPipelineKeepsApart(t *testing.T) {
	s, in := &collector{}, make(chan any, 100)
	p := newPipeline(t, Options{}, Output{Name: "s", Sink: s})
	for _, change := range []func(*ebpfguard.FileOpenAlert){
		func(*ebpfguard.FileOpenAlert) {},
		func(a *ebpfguard.FileOpenAlert) { a.Hook = "path_unlink" },
		func(a *ebpfguard.FileOpenAlert) { a.Verdict = policy.Audit },
		func(a *ebpfguard.FileOpenAlert) { a.Undecided = true },
		func(a *ebpfguard.FileOpenAlert) { a.Policy = "other" },
		func(a *ebpfguard.FileOpenAlert) { a.Rule = 1 },
		func(a *ebpfguard.FileOpenAlert) { a.Revision = 1 },
		func(a *ebpfguard.FileOpenAlert) { a.PID = 2 },
		func(a *ebpfguard.FileOpenAlert) { a.StartTime = 2 },
		func(a *ebpfguard.FileOpenAlert) { a.Binary = "/x" },
		func(a *ebpfguard.FileOpenAlert) { a.Path = "/y" },
		func(a *ebpfguard.FileOpenAlert) { a.Access = policy.Write },
	} {
		alert := fileAlert(1, "/x")
		change(&alert)
		in <- alert
	}
	// The same target, but another operation or type of object.
	context := fileAlert(1, "/x").AlertContext
	for _, alert := range []ebpfguard.Alert{
		ebpfguard.BprmCheckSecurityAlert{ProgramObject: ebpfguard.ProgramObject{Path: "/x"}},
		ebpfguard.SbMountAlert{MountObject: ebpfguard.MountObject{Target: "/x"}},
		ebpfguard.TaskFixSetuidAlert{CredentialsObject: ebpfguard.CredentialsObject{To: 1}},
		ebpfguard.SocketBindAlert{SocketObject: ebpfguard.SocketObject{Port: 1}},
		oddAlert{object: "a"}, oddAlert{object: "b"},
	} {
		in <- alert.WithContext(context)
		in <- alert.WithContext(context) // the second is folded
	}
	close(in)
	if err := p.Run(feed(in)); err != nil {
		t.Fatal(err)
	}
	c := p.Counters()
	check(t, c, 0, true)
	if c.Read != 24 || c.Folded != 0 || c.Handed != 24 {
		t.Errorf("counters %+v", c)
	}
	for i, alert := range s.alerts[18:] {
		if alert.Context().Count != 1 {
			t.Errorf("alert %d is folded with %d", i, alert.Context().Count)
		}
	}
	if first := s.alerts[:18]; slices.ContainsFunc(first, func(a ebpfguard.Alert) bool { return a.Context().Sequence > 18 }) {
		t.Error("one of the different alerts waited")
	}
}

// oddAlert is of an operation that the package does not know.
type oddAlert struct {
	ebpfguard.AlertContext
	object string
}

func (a oddAlert) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"object":%q,"pid":%d}`, a.object, a.PID), nil
}
func (a oddAlert) Object() any    { return a.object }
func (a oddAlert) String() string { return a.object }
func (a oddAlert) WithContext(c ebpfguard.AlertContext) ebpfguard.Alert {
	a.AlertContext = c
	return a
}

// TestPipelineBoundsKeys expects that the window that began first makes room,
// and that its alerts come out.
func TestPipelineBoundsKeys(t *testing.T) {
	s, in := &collector{}, make(chan any, 100)
	p := newPipeline(t, Options{Keys: 2}, Output{Name: "s", Sink: s})
	for _, pid := range []uint32{1, 1, 1, 2, 3, 1} {
		in <- fileAlert(pid, "/x")
	}
	close(in)
	if err := p.Run(feed(in)); err != nil {
		t.Fatal(err)
	}
	if got, want := s.got(), "1:1×1 2:2×1 3:1×2 4:3×1 5:1×1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	check(t, p.Counters(), 0, true)
}
