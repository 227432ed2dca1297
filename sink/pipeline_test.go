package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebpfguard/ebpfguard"
)

// collector keeps what it is given.
type collector struct {
	mu     sync.Mutex
	alerts []ebpfguard.Alert
	fail   error
}

func (c *collector) Write(_ context.Context, alert ebpfguard.Alert) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return c.fail
	}
	c.alerts = append(c.alerts, alert)
	return nil
}

// got describes the alerts: number, pid and count of each.
func (c *collector) got() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, alert := range c.alerts {
		c := alert.Context()
		fmt.Fprintf(&b, "%d:%d×%d ", c.Sequence, c.PID, c.Count)
	}
	return strings.TrimSpace(b.String())
}

// blocked takes nothing; it heeds the context if told to.
type blocked struct{ heeds bool }

func (b blocked) Write(ctx context.Context, _ ebpfguard.Alert) error {
	if !b.heeds {
		select {}
	}
	<-ctx.Done()
	return ctx.Err()
}

// feed yields alerts and errors that come over a channel.
func feed(from <-chan any) iter.Seq2[ebpfguard.Alert, error] {
	return func(yield func(ebpfguard.Alert, error) bool) {
		for next := range from {
			err, failed := next.(error)
			alert, _ := next.(ebpfguard.Alert)
			if failed && !yield(nil, err) || !failed && !yield(alert, nil) {
				return
			}
		}
	}
}

func newPipeline(t testing.TB, options Options, outputs ...Output) *Pipeline {
	t.Helper()
	p, err := NewPipeline(options, outputs...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// check compares the counters with what they promise.
func check(t testing.TB, c Counters, before uint64, atRest bool) {
	t.Helper()
	if c.Read != c.Folded+c.Pending+c.Handed || c.Sequence != before+c.Handed+c.Lost {
		t.Errorf("the counters do not agree: %+v", c)
	}
	if atRest && c.Pending != 0 {
		t.Errorf("%d alerts are left", c.Pending)
	}
	for _, s := range c.Sinks {
		if s.Written+s.Filtered+s.Dropped+s.Queued != c.Handed || atRest && s.Queued != 0 {
			t.Errorf("the counters of a sink do not agree: %+v, %d alerts handed out", s, c.Handed)
		}
	}
}

// memory is a counter that remembers what was stored.
type memory struct {
	value  atomic.Uint64
	stores atomic.Uint64
}

func (m *memory) Load() uint64   { return m.value.Load() }
func (m *memory) Store(n uint64) { m.value.Store(n); m.stores.Add(1) }

// storedFirst fails for an alert whose number is not stored.
type storedFirst struct {
	collector
	counter *memory
}

func (s *storedFirst) Write(ctx context.Context, alert ebpfguard.Alert) error {
	if n := alert.Context().Sequence; s.counter.Load() < n {
		return fmt.Errorf("alert %d is handed out when %d is stored", n, s.counter.Load())
	}
	return s.collector.Write(ctx, alert)
}

func TestPipelineNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counter := &memory{}
		counter.Store(100)
		s, in := &storedFirst{counter: counter}, make(chan any)
		var lost atomic.Uint64
		lost.Store(1000) // before: not ours
		p := newPipeline(t, Options{Window: -1, Counter: counter, Lost: lost.Load, Missed: 5}, Output{Name: "s", Sink: s})
		done := make(chan error)
		go func() { done <- p.Run(feed(in)) }()
		in <- fileAlert(1, "/x")
		in <- &ebpfguard.LostAlertsError{Count: 3}
		in <- fileAlert(2, "/x")
		lost.Add(20)
		time.Sleep(1500 * time.Millisecond)
		in <- fileAlert(3, "/x")
		lost.Store(2) // the kernel's counters began anew
		time.Sleep(1500 * time.Millisecond)
		lost.Add(7)
		time.Sleep(1500 * time.Millisecond)
		in <- fileAlert(4, "/x")
		odd := errors.New("odd")
		in <- odd
		lost.Add(1)
		close(in)
		if err := <-done; !errors.Is(err, odd) {
			t.Errorf("error %v", err)
		}
		if got, want := s.got(), "106:1×1 110:2×1 131:3×1 139:4×1"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		c := p.Counters()
		check(t, c, 100, true)
		if c.Lost != 36 || c.Sequence != 140 || counter.Load() != 140 {
			t.Errorf("counters %+v, stored %d", c, counter.Load())
		}
		if err := p.Run(feed(in)); err == nil {
			t.Error("it runs twice")
		}
	})
}

func TestPipelineFilters(t *testing.T) {
	all, some, in := &collector{}, &collector{}, make(chan any, 10)
	p := newPipeline(t, Options{}, Output{Name: "all", Sink: all}, Output{Name: "some", Sink: some, Filter: Filter{Binaries: []string{"/usr/"}}})
	for pid := range uint32(4) {
		alert := fileAlert(pid, "/x")
		if pid%2 == 1 {
			alert.Binary = "/bin/sh"
		}
		in <- alert
	}
	close(in)
	if err := p.Run(feed(in)); err != nil {
		t.Fatal(err)
	}
	c := p.Counters()
	check(t, c, 0, true)
	if all.got() != "1:0×1 2:1×1 3:2×1 4:3×1" || some.got() != "1:0×1 3:2×1" || c.Sinks[1].Filtered != 2 {
		t.Errorf("all got %s, some %s, counters %+v", all.got(), some.got(), c)
	}
}

// TestPipelineFailingSink expects one report of the failure and one of its end.
func TestPipelineFailingSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, in := &collector{fail: errors.New("disk full")}, make(chan any)
		var log bytes.Buffer
		p := newPipeline(t, Options{Window: -1, Log: slog.New(slog.NewTextHandler(&log, nil))}, Output{Name: "s", Sink: s})
		done := make(chan error)
		go func() { done <- p.Run(feed(in)) }()
		for pid := range uint32(3) {
			in <- fileAlert(pid, "/x")
		}
		synctest.Wait()
		if c := p.Counters().Sinks[0]; c.Dropped != 3 || c.Err != s.fail {
			t.Errorf("counters %+v", c)
		}
		s.mu.Lock()
		s.fail = nil
		s.mu.Unlock()
		in <- fileAlert(3, "/x")
		in <- fileAlert(4, "/x")
		close(in)
		if err := <-done; err != nil {
			t.Error(err)
		}
		c := p.Counters()
		check(t, c, 0, true)
		if c.Sinks[0].Written != 2 || c.Sinks[0].Err != nil {
			t.Errorf("counters %+v", c)
		}
		if text := log.String(); strings.Count(text, "disk full") != 1 || strings.Count(text, "can be written again") != 1 {
			t.Errorf("log:\n%s", text)
		}
	})
}

// TestPipelineBlockedSinks expects that the end waits for no sink for ever, and
// that what it did not write is counted.
func TestPipelineBlockedSinks(t *testing.T) {
	free, in := &collector{}, make(chan any, 100)
	var log bytes.Buffer
	p := newPipeline(t, Options{Window: -1, Drain: 50 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&log, nil))},
		Output{Name: "deaf", Sink: blocked{}, Queue: 4}, Output{Name: "heeds", Sink: blocked{heeds: true}, Queue: 100}, Output{Name: "free", Sink: free})
	for pid := range uint32(20) {
		in <- fileAlert(pid, "/x")
	}
	close(in)
	if err := p.Run(feed(in)); err != nil {
		t.Fatal(err)
	}
	c := p.Counters()
	check(t, c, 0, true)
	if c.Sinks[0].Dropped != 20 || c.Sinks[1].Dropped != 20 || c.Sinks[2].Written != 20 {
		t.Errorf("counters %+v", c)
	}
	if text := log.String(); strings.Count(text, "too slow") != 1 || !strings.Contains(text, "output=deaf") {
		t.Errorf("log:\n%s", text)
	}
}

// TestPipelineReportsSlowSinks expects one report a minute, however many are
// dropped.
func TestPipelineReportsSlowSinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := make(chan any)
		var log bytes.Buffer
		p := newPipeline(t, Options{Window: -1, Log: slog.New(slog.NewTextHandler(&log, nil))}, Output{Name: "s", Sink: blocked{heeds: true}, Queue: 1})
		done := make(chan error)
		go func() { done <- p.Run(feed(in)) }()
		for range 150 {
			in <- fileAlert(1, "/x")
			in <- fileAlert(1, "/x")
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := strings.Count(log.String(), "too slow"); n != 3 {
			t.Errorf("%d reports in 150 seconds:\n%s", n, log.String())
		}
		close(in)
		<-done
		check(t, p.Counters(), 0, true)
	})
}

func TestPipelineSubscribe(t *testing.T) {
	s, in := &collector{}, make(chan any)
	p := newPipeline(t, Options{Window: -1}, Output{Name: "s", Sink: s})
	if _, err := p.Subscribe(t.Context(), Filter{Verdicts: []string{"no"}}); err == nil {
		t.Error("a wrong filter is taken")
	}
	alerts, err := p.Subscribe(t.Context(), Filter{Binaries: []string{"/usr/bin/cat"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	left, err := p.Subscribe(ctx, Filter{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for range left {
		t.Error("an alert after the context has ended")
	}
	done := make(chan error)
	go func() { done <- p.Run(feed(in)) }()
	const extra = 100
	for pid := range uint32(subscriberQueue + extra) {
		in <- fileAlert(pid, "/x")
		other := fileAlert(pid, "/x")
		other.Binary = "/x"
		in <- other
	}
	close(in)
	if err := <-done; err != nil {
		t.Error(err)
	}
	taken, lost := 0, uint64(0)
	for alert, err := range alerts {
		var l *ebpfguard.LostAlertsError
		switch {
		case errors.As(err, &l):
			lost += l.Count
		case err != nil:
			t.Error(err)
		default:
			if c := alert.Context(); c.Sequence != 2*uint64(c.PID)+1 {
				t.Fatalf("pid %d has number %d", c.PID, c.Sequence)
			}
			taken++
		}
	}
	if taken != subscriberQueue || lost != extra {
		t.Errorf("%d taken, %d lost", taken, lost)
	}
	many := Filter{Policies: make([]string, maxValues+1)}
	for i := range many.Policies {
		many.Policies[i] = "p"
	}
	if _, err := p.Subscribe(t.Context(), many); err == nil || !strings.Contains(err.Error(), "the filter has 65 values; at most 64 are possible") {
		t.Errorf("a large filter: %v", err)
	}
	after, err := p.Subscribe(t.Context(), Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for range after {
		t.Error("an alert after the end")
	}
}

// TestSubscribeAfter begins with what came before.
func TestSubscribeAfter(t *testing.T) {
	p := newPipeline(t, Options{Window: -1}, Output{Name: "s", Sink: &collector{}})
	const all = maxRecent + 10
	in := make(chan any)
	done := make(chan error)
	go func() { done <- p.Run(feed(in)) }()
	for pid := range uint32(all) {
		if pid == all-5 {
			in <- &ebpfguard.LostAlertsError{Count: 3}
		}
		in <- fileAlert(pid, "/x")
	}
	close(in)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for after, want := range map[uint64][]uint64{ // lost before, the first, how many, lost within
		0: {10, 11, maxRecent, 3}, 20: {0, 21, maxRecent - 10, 3}, all - 2: {0, all - 1, 5, 0} /* at the end of the gap */, all + 3: {0, 0, 0, 0},
	} {
		alerts, err := p.SubscribeAfter(t.Context(), Filter{}, after)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]uint64, 4)
		for alert, err := range alerts {
			var lost *ebpfguard.LostAlertsError
			switch {
			case errors.As(err, &lost) && got[2] == 0:
				got[0] += lost.Count
			case errors.As(err, &lost):
				got[3] += lost.Count
			case err != nil:
				t.Error(err)
			default:
				if got[2]++; got[1] == 0 {
					got[1] = alert.Context().Sequence
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("after %d: got %d, want %d", after, got, want)
		}
	}
}

// TestRecent expects what is kept and no more, none of it as lost.
func TestRecent(t *testing.T) {
	p := newPipeline(t, Options{Window: -1}, Output{Name: "s", Sink: &collector{}})
	sequences := func(after *uint64) (got []uint64) {
		alerts, err := p.Recent(t.Context(), Filter{}, after)
		if err != nil {
			t.Fatal(err)
		}
		for alert, err := range alerts { // it ends though the pipeline goes on
			if err != nil {
				t.Errorf("after %v: %v", after, err)
				continue
			}
			got = append(got, alert.Context().Sequence)
		}
		return got
	}
	if got := sequences(nil); got != nil {
		t.Errorf("before the first alert: %d", got)
	}
	in := make(chan any)
	done := make(chan error)
	go func() { done <- p.Run(feed(in)) }()
	const all = maxRecent + 10
	for pid := range uint32(all) {
		in <- fileAlert(pid, "/x")
	}
	awaitSequence(t, p, all)
	if got := sequences(nil); len(got) != maxRecent || got[0] != 11 || got[maxRecent-1] != all {
		t.Errorf("kept are %d, from %d on", len(got), got[0])
	}
	last := uint64(all - 1)
	if got := sequences(&last); !slices.Equal(got, []uint64{all}) {
		t.Errorf("after %d: %d", last, got)
	}
	alerts, err := p.SubscribeRecent(t.Context(), Filter{})
	if err != nil {
		t.Fatal(err)
	}
	in <- fileAlert(1, "/new")
	close(in)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	n, sequence := 0, uint64(0)
	for alert, err := range alerts {
		if err != nil {
			t.Error(err)
			continue
		}
		n, sequence = n+1, alert.Context().Sequence
	}
	if n != maxRecent+1 || sequence != all+1 {
		t.Errorf("%d alerts, the last is %d", n, sequence)
	}
}

// awaitSequence waits until so many alerts were handed out.
func awaitSequence(t *testing.T, p *Pipeline, n uint64) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); p.Counters().Sequence < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("alert %d does not come", n)
		}
	}
}

// TestManySubscribers expects an end to them, and that one that ends makes room.
func TestManySubscribers(t *testing.T) {
	p := newPipeline(t, Options{}, Output{Name: "s", Sink: &collector{}})
	ctx, cancel := context.WithCancel(t.Context())
	for range maxSubscribers {
		if _, err := p.Subscribe(ctx, Filter{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Subscribe(ctx, Filter{}); !errors.Is(err, ErrTooManySubscribers) {
		t.Errorf("one more: %v", err)
	}
	cancel()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, err := p.Subscribe(t.Context(), Filter{}); err == nil {
			return
		}
	}
	t.Error("there is no room for another one")
}

func TestNewPipelineErrors(t *testing.T) {
	s := &collector{}
	for want, make := range map[string]func() (*Pipeline, error){
		"no name": func() (*Pipeline, error) { return NewPipeline(Options{}, Output{Sink: s}) },
		"no Sink": func() (*Pipeline, error) { return NewPipeline(Options{}, Output{Name: "x"}) },
		"two of that name": func() (*Pipeline, error) {
			return NewPipeline(Options{}, Output{Name: "x", Sink: s}, Output{Name: "x", Sink: s})
		},
		"Queue":        func() (*Pipeline, error) { return NewPipeline(Options{}, Output{Name: "x", Sink: s, Queue: -1}) },
		"Options.Keys": func() (*Pipeline, error) { return NewPipeline(Options{Keys: -1}) },
	} {
		if _, err := make(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
