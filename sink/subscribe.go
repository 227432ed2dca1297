package sink

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/lossy"
)

// subscriberQueue is how many alerts wait for the taker of a subscription.
const subscriberQueue = 4096

// The limits of subscriptions, which also those may make that may only read: none of them may slow the
// others, or take all memory.
const (
	maxSubscribers = 128
	maxValues      = 64
)

// ErrTooManySubscribers is wrapped when no more can follow the alerts.
var ErrTooManySubscribers = errors.New("too many follow the alerts already")

// subscriber filters in a goroutine of its own, so that it slows nobody else.
type subscriber struct {
	all, chosen *lossy.Queue[ebpfguard.Alert]
	// done is closed when all that came was filtered.
	done chan struct{}
}

// filter hands on what the filter chooses.
func (s *subscriber) filter(m matcher) {
	defer close(s.done)
	defer s.chosen.Close()
	s.all.Each(context.Background(), func(alert ebpfguard.Alert, lost uint64) bool {
		switch {
		case lost > 0:
			s.chosen.Lose(lost)
		case m.match(alert.Context()):
			s.chosen.Put(alert)
		}
		return true
	})
}

// values is how many values a filter has.
func (f Filter) values() int {
	return len(f.Operations) + len(f.Policies) + len(f.Verdicts) + len(f.Severities) + len(f.Binaries) + len(f.Containers) + len(f.Pods)
}

// Subscribe returns an iterator over the alerts that the filter chooses, from now
// on and as the sinks get them; it is for one loop. When the loop is too slow an
// [*ebpfguard.LostAlertsError] is yielded in place of what was lost. The iteration
// ends with the context or the pipeline; a subscription that is not looped over
// lasts as long. A filter has at most 64 values, and a pipeline 128 subscriptions
// ([ErrTooManySubscribers]).
func (p *Pipeline) Subscribe(ctx context.Context, filter Filter) (iter.Seq2[ebpfguard.Alert, error], error) {
	return p.subscribe(ctx, filter, func(*subscriber) {})
}

// SubscribeAfter is [Pipeline.Subscribe] that begins with the alerts after a number, as far as the
// pipeline still has them: the last 1,024. Those that it no longer has, or that were lost, are yielded as an
// [*ebpfguard.LostAlertsError].
func (p *Pipeline) SubscribeAfter(ctx context.Context, filter Filter, after uint64) (iter.Seq2[ebpfguard.Alert, error], error) {
	return p.subscribe(ctx, filter, func(s *subscriber) { p.replay(s, after) })
}

// SubscribeRecent is [Pipeline.Subscribe] that begins with the alerts that the pipeline still has, the last 1,024.
func (p *Pipeline) SubscribeRecent(ctx context.Context, filter Filter) (iter.Seq2[ebpfguard.Alert, error], error) {
	return p.subscribe(ctx, filter, func(s *subscriber) { p.replay(s, p.beforeRecent()) })
}

// Recent returns the alerts after a number that the pipeline still has, as [Pipeline.SubscribeAfter] does, and all that
// it has without a number. The iteration ends with the last of them.
func (p *Pipeline) Recent(ctx context.Context, filter Filter, after *uint64) (iter.Seq2[ebpfguard.Alert, error], error) {
	return p.subscribe(ctx, filter, func(s *subscriber) {
		first := p.beforeRecent()
		if after != nil {
			first = *after
		}
		p.replay(s, first)
		s.all.Close()
	})
}

// subscribe lets first hand out what came before, under the lock.
func (p *Pipeline) subscribe(ctx context.Context, filter Filter, first func(*subscriber)) (iter.Seq2[ebpfguard.Alert, error], error) {
	m, err := filter.compile()
	if n := filter.values(); n > maxValues {
		err = errors.Join(fmt.Errorf("the filter has %d values; at most %d are possible, so use globs or filter what comes", n, maxValues), err)
	}
	if err != nil {
		return nil, err
	}
	s := &subscriber{lossy.New[ebpfguard.Alert](subscriberQueue), lossy.New[ebpfguard.Alert](subscriberQueue), make(chan struct{})}
	p.mu.Lock()
	switch {
	case p.ended:
		first(s)
		s.all.Close()
	case len(p.subscribers) >= maxSubscribers:
		p.mu.Unlock()
		return nil, fmt.Errorf("%w: %d; end one of them", ErrTooManySubscribers, maxSubscribers)
	default:
		first(s)
		p.subscribers[s] = true
	}
	p.mu.Unlock()
	go s.filter(m)
	stop := context.AfterFunc(ctx, func() { p.unsubscribe(s) })
	return func(yield func(ebpfguard.Alert, error) bool) {
		defer p.unsubscribe(s)
		defer stop()
		s.chosen.Each(ctx, func(alert ebpfguard.Alert, lost uint64) bool {
			if lost > 0 {
				return yield(nil, &ebpfguard.LostAlertsError{Count: lost})
			}
			return yield(alert, nil)
		})
	}, nil
}

func (p *Pipeline) unsubscribe(s *subscriber) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.subscribers[s] {
		delete(p.subscribers, s)
		s.all.Close()
	}
}
