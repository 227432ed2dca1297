package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ebpfguard/ebpfguard"
)

// Counter keeps the number of the last alert, if it shall outlive the process.
type Counter interface {
	Load() uint64
	Store(uint64)
}

// Options are the options of a [Pipeline]. The zero value is useful.
type Options struct {
	// Counter keeps the number of the last alert. A number is stored before the
	// alert is handed out: a crash leaves a gap and repeats none. Without it
	// alerts are numbered from 1.
	Counter Counter
	// Lost, if set, returns how many alerts the kernel has lost so far
	// ([ebpfguard.Manager.AlertsLost]). What it grows by makes a gap in the numbers:
	// before the next alert, a second later at most. What the limit of a rule left
	// out is not lost, for it was not wanted. It is called by one goroutine.
	Lost func() uint64
	// Missed is how many alerts were lost before; they make a gap at once.
	Missed uint64
	// Window is how long identical alerts are folded: the first is handed out at
	// once, the others as one at the end. 10 seconds if zero; negative: not at all.
	Window time.Duration
	// Keys is how many kinds of alerts are folded at once; 4096 if zero. The
	// window that began first ends early for one more.
	Keys int
	// Drain is how long the end waits for sinks to write; 5 seconds if zero.
	Drain time.Duration
	// Log gets messages about failing outputs and lost alerts; nil for none.
	Log *slog.Logger
}

// Counters count what became of alerts. At every moment
//
//	Read = Folded + Pending + Handed
//	Handed = Written + Filtered + Dropped + Queued, for each sink
//	Sequence = the one at the start + Handed + Lost
//
// and at the end Pending and Queued are 0, and the Counts of the alerts that were
// handed out add up to Read. What is folded is in no way lost.
type Counters struct {
	// Read alerts came from the manager.
	Read uint64
	// Folded ones are counted by another alert. Pending ones will be handed out
	// at the end of their window, and count others.
	Folded, Pending uint64
	// Handed ones were handed to the sinks.
	Handed uint64
	// Lost ones never came; their numbers are missing.
	Lost uint64
	// Sequence is the number of the last alert.
	Sequence uint64
	Sinks    []SinkCounters
}

// Pipeline hands alerts to sinks. A sink that blocks or fails holds up neither
// the others nor the reading: what does not fit into its queue is dropped for it
// alone. Memory is bounded by the queues and the keys of folding.
type Pipeline struct {
	options Options
	outputs []*output

	mu          sync.Mutex
	folder      *folder // nil without folding
	subscribers map[*subscriber]bool
	// recent are the last alerts that were handed out, the oldest first from next on once it is full.
	recent     []ebpfguard.Alert
	next       int
	counters   Counters // without Folded, Pending and Sinks
	kernelLost uint64
	ran, ended bool
}

// NewPipeline returns a pipeline to these outputs. [Pipeline.Run] starts it.
func NewPipeline(options Options, outputs ...Output) (*Pipeline, error) {
	options.Window = cmp.Or(options.Window, 10*time.Second)
	options.Keys = cmp.Or(options.Keys, 4096)
	options.Drain = cmp.Or(options.Drain, 5*time.Second)
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Keys < 0 || options.Drain < 0 {
		return nil, errors.New("sink: Options.Keys and Options.Drain must not be negative; leave them out for the defaults")
	}
	p := &Pipeline{options: options, subscribers: map[*subscriber]bool{}}
	if options.Window > 0 {
		p.folder = newFolder(options.Window, options.Keys)
	}
	names := map[string]bool{}
	for _, out := range outputs {
		o, err := newOutput(out, options.Log)
		if err != nil {
			return nil, fmt.Errorf("sink %q: %w", out.Name, err)
		}
		if names[out.Name] {
			return nil, fmt.Errorf("sink %q: there are two of that name; rename one", out.Name)
		}
		names[out.Name] = true
		p.outputs = append(p.outputs, o)
	}
	if options.Counter != nil {
		p.counters.Sequence = options.Counter.Load()
	}
	if options.Lost != nil {
		p.kernelLost = options.Lost()
	}
	p.lose(options.Missed)
	return p, nil
}

func newOutput(out Output, log *slog.Logger) (*output, error) {
	m, err := out.Filter.compile()
	switch {
	case err != nil:
		return nil, err
	case out.Name == "":
		return nil, errors.New("it has no name; give it one")
	case out.Sink == nil:
		return nil, errors.New("it has no Sink; set one")
	case out.Queue < 0:
		return nil, errors.New("its Queue is negative; leave it out for the default")
	}
	return &output{
		name: out.Name, sink: out.Sink, matcher: m, log: log,
		queue: make(chan ebpfguard.Alert, cmp.Or(out.Queue, 4096)), done: make(chan struct{}),
		counters: SinkCounters{Name: out.Name},
	}, nil
}

// Run takes alerts until there are no more, which the caller brings about by the
// context of [ebpfguard.Manager.Alerts]. It then hands out what is being folded,
// and returns when the sinks have written what is queued or Options.Drain is
// over. The error is the last one that was not about lost alerts. A pipeline runs
// once.
func (p *Pipeline) Run(alerts iter.Seq2[ebpfguard.Alert, error]) error {
	p.mu.Lock()
	ran := p.ran
	p.ran = true
	p.mu.Unlock()
	if ran {
		return errors.New("sink: the pipeline has run already; make a new one")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, o := range p.outputs {
		go o.run(ctx)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go p.tick(stop, stopped)
	var failure error
	for alert, err := range alerts {
		var lost *ebpfguard.LostAlertsError
		switch {
		case errors.As(err, &lost):
			p.options.Log.Warn("alerts were lost; enforcement goes on", "count", lost.Count)
			p.lose(lost.Count)
		case err != nil:
			p.options.Log.Error("reading alerts", "error", err)
			failure = err
		default:
			p.take(alert)
		}
	}
	close(stop)
	<-stopped
	p.finish(cancel)
	return failure
}

// tick ends windows and asks for losses while no alert comes.
func (p *Pipeline) tick(stop <-chan struct{}, stopped chan<- struct{}) {
	defer close(stopped)
	interval := time.Second
	if p.folder != nil {
		interval = min(interval, max(p.options.Window/4, time.Millisecond))
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			p.poll()
			return
		case now := <-ticker.C:
			p.poll()
			p.mu.Lock()
			if p.folder != nil {
				p.folder.expire(now, p.emit)
			}
			p.mu.Unlock()
			for _, o := range p.outputs {
				o.report(now)
			}
		}
	}
}

// poll makes a gap for what the kernel has lost.
func (p *Pipeline) poll() {
	if p.options.Lost == nil {
		return
	}
	now := p.options.Lost()
	if now > p.kernelLost { // less: its counters began again
		p.lose(now - p.kernelLost)
	}
	p.kernelLost = now
}

func (p *Pipeline) lose(n uint64) {
	if n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counters.Lost += n
	p.number(n)
}

// number goes on by n numbers and stores the last of them.
func (p *Pipeline) number(n uint64) {
	p.counters.Sequence += n
	if p.options.Counter != nil {
		p.options.Counter.Store(p.counters.Sequence)
	}
}

func (p *Pipeline) take(alert ebpfguard.Alert) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counters.Read++
	if p.folder == nil {
		p.emit(alert)
		return
	}
	p.folder.add(time.Now(), alert, p.emit)
}

// emit numbers an alert and hands it out.
func (p *Pipeline) emit(alert ebpfguard.Alert) {
	p.number(1)
	p.counters.Handed++
	c := alert.Context()
	c.Sequence = p.counters.Sequence
	alert = alert.WithContext(c)
	p.keep(alert)
	for _, o := range p.outputs {
		o.hand(alert, c)
	}
	for s := range p.subscribers {
		s.all.Put(alert)
	}
}

// maxRecent is how many alerts are kept for subscriptions that begin with earlier ones.
const maxRecent = 1024

func (p *Pipeline) keep(alert ebpfguard.Alert) {
	if len(p.recent) < maxRecent {
		p.recent = append(p.recent, alert)
		return
	}
	p.recent[p.next] = alert
	p.next = (p.next + 1) % maxRecent
}

// replay hands a subscriber the alerts after a number, as far as they are kept.
func (p *Pipeline) replay(s *subscriber, after uint64) {
	told := after
	for i := range p.recent {
		alert := p.recent[(p.next+i)%len(p.recent)]
		number := alert.Context().Sequence
		if number <= told {
			continue
		}
		s.all.Lose(number - told - 1)
		s.all.Put(alert)
		told = number
	}
	if last := p.counters.Sequence; last > told {
		s.all.Lose(last - told)
	}
}

// beforeRecent returns the number after which all alerts are kept.
func (p *Pipeline) beforeRecent() uint64 {
	if len(p.recent) == 0 {
		return 0
	}
	return p.recent[p.next%len(p.recent)].Context().Sequence - 1
}

// finish hands out the last alerts and waits for the sinks.
func (p *Pipeline) finish(cancel context.CancelFunc) {
	p.mu.Lock()
	if p.folder != nil {
		p.folder.flush(p.emit)
	}
	p.ended = true
	left := slices.Collect(maps.Keys(p.subscribers))
	clear(p.subscribers)
	p.mu.Unlock()
	for _, s := range left {
		s.all.Close()
	}
	for _, o := range p.outputs {
		close(o.queue)
	}
	for _, s := range left {
		<-s.done // it waits for nobody
	}
	timer := time.AfterFunc(p.options.Drain, cancel)
	defer timer.Stop()
	deadline := time.After(p.options.Drain + p.options.Drain/10) // for those that heed the context
	for _, o := range p.outputs {
		select {
		case <-o.done:
		case <-deadline:
			deadline = closedTime
		}
		o.end()
		o.report(time.Now().Add(reportInterval))
	}
}

// closedTime is a deadline that has passed.
var closedTime = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()

// Counters returns what became of the alerts so far.
func (p *Pipeline) Counters() Counters {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counters
	if p.folder != nil {
		c.Folded, c.Pending = p.folder.folded, p.folder.pending
	}
	for _, o := range p.outputs {
		c.Sinks = append(c.Sinks, o.count())
	}
	return c
}
