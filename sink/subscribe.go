package sink

import (
	"context"
	"iter"
	"sync/atomic"

	"github.com/ebpfguard/ebpfguard"
)

// subscriberQueue is how many alerts wait for the taker of a subscription.
const subscriberQueue = 4096

type subscriber struct {
	matcher matcher
	queue   chan ebpfguard.Alert
	lost    atomic.Uint64
}

func (s *subscriber) hand(alert ebpfguard.Alert, c ebpfguard.AlertContext) {
	if !s.matcher.match(c) {
		return
	}
	select {
	case s.queue <- alert:
	default:
		s.lost.Add(1)
	}
}

// Subscribe returns an iterator over the alerts that the filter chooses, from now
// on and as the sinks get them; it is for one loop. When the loop is too slow an
// [*ebpfguard.LostAlertsError] is yielded in place of what was lost. The iteration
// ends with the context or the pipeline; a subscription that is not looped over
// lasts as long.
func (p *Pipeline) Subscribe(ctx context.Context, filter Filter) (iter.Seq2[ebpfguard.Alert, error], error) {
	m, err := filter.compile()
	if err != nil {
		return nil, err
	}
	s := &subscriber{matcher: m, queue: make(chan ebpfguard.Alert, subscriberQueue)}
	p.mu.Lock()
	if p.ended {
		close(s.queue)
	} else {
		p.subscribers[s] = true
	}
	p.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { p.unsubscribe(s) })
	return func(yield func(ebpfguard.Alert, error) bool) {
		defer p.unsubscribe(s)
		defer stop()
		for {
			select {
			case <-ctx.Done():
				return
			case alert, ok := <-s.queue:
				if lost := s.lost.Swap(0); lost > 0 && !yield(nil, &ebpfguard.LostAlertsError{Count: lost}) {
					return
				}
				if !ok || !yield(alert, nil) {
					return
				}
			}
		}
	}, nil
}

func (p *Pipeline) unsubscribe(s *subscriber) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.subscribers[s] {
		delete(p.subscribers, s)
		close(s.queue)
	}
}
