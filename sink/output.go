package sink

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ebpfguard/ebpfguard"
)

// Output is a sink of a [Pipeline].
type Output struct {
	// Name tells outputs apart in counters and messages.
	Name   string
	Sink   Sink
	Filter Filter
	// Queue is how many alerts wait for the sink; 4096 if zero. What does not
	// fit is dropped and counted.
	Queue int
}

// SinkCounters count what became of the alerts that were handed out:
// Written + Filtered + Dropped + Queued is their number.
type SinkCounters struct {
	Name string
	// Filtered did not concern the sink.
	Written, Filtered uint64
	// Dropped did not fit into the queue, failed, or were left at the end.
	Dropped uint64
	// Queued wait, or are being written.
	Queued uint64
	// Err is of the last write, nil when it was fine.
	Err error
}

// output writes what is handed to it in its own goroutine.
type output struct {
	name    string
	sink    Sink
	matcher matcher
	log     *slog.Logger
	queue   chan ebpfguard.Alert
	done    chan struct{} // closed when nothing more is written

	mu       sync.Mutex
	counters SinkCounters
	ended    bool
	// overflown did not fit into the queue, reported of them were logged.
	overflown, reported uint64
	reportedAt          time.Time
}

// hand gives an alert to the sink, now or never.
func (o *output) hand(alert ebpfguard.Alert, c ebpfguard.AlertContext) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.matcher.match(c) {
		o.counters.Filtered++
		return
	}
	select {
	case o.queue <- alert:
		o.counters.Queued++
	default:
		o.counters.Dropped++
		o.overflown++
	}
}

// reportInterval is how often a sink is reported that is too slow.
const reportInterval = time.Minute

// report logs what did not fit into the queue, once in a while.
func (o *output) report(now time.Time) {
	o.mu.Lock()
	fresh := o.overflown - o.reported
	if fresh == 0 || now.Sub(o.reportedAt) < reportInterval {
		o.mu.Unlock()
		return
	}
	o.reported, o.reportedAt = o.overflown, now
	o.mu.Unlock() // handing out alerts must not wait for the log
	o.log.Warn("alerts were dropped because the output is too slow; enforcement goes on", "output", o.name, "count", fresh)
}

func (o *output) run(ctx context.Context) {
	defer close(o.done)
	for alert := range o.queue {
		if o.isEnded() {
			return
		}
		o.settle(o.sink.Write(ctx, alert))
	}
}

// settle counts an alert that was written, or not. A failure is reported once,
// until it works again: enforcement does not depend on it.
func (o *output) settle(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended { // it has been counted
		return
	}
	failed := o.counters.Err != nil
	o.counters.Queued--
	o.counters.Err = err
	switch {
	case err != nil && !failed:
		o.log.Error("alerts cannot be written; the policies stay in force", "output", o.name, "error", err)
	case err == nil && failed:
		o.log.Info("alerts can be written again", "output", o.name)
	}
	if err != nil {
		o.counters.Dropped++
	} else {
		o.counters.Written++
	}
}

func (o *output) isEnded() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended
}

// end counts what is not written by now as dropped.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	if left := o.counters.Queued; left > 0 {
		o.log.Error("the output takes no more alerts; the last alerts are not written", "output", o.name, "count", left)
		o.counters.Dropped += left
		o.counters.Queued = 0
	}
}

func (o *output) count() SinkCounters {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.counters
}
