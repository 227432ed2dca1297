package ebpfguard

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"sync"

	"github.com/ebpfguard/ebpfguard/internal/lossy"
	"github.com/ebpfguard/ebpfguard/internal/ring"
	"github.com/ebpfguard/ebpfguard/policy"
)

// queueLength is how many alerts wait for the taker of a subscription. What does
// not fit is counted, and told with a [LostAlertsError].
const queueLength = 1 << 14

// stream hands the alerts of the kernel's buffer to subscriptions, of which there may be
// some before there is a buffer.
type stream struct {
	decode func([]byte) (Alert, error)
	reader *ring.Reader // nil until start

	mu            sync.Mutex
	changed       *sync.Cond // subscriptions or closed changed
	subscriptions map[*subscription]bool
	closed        bool
	done          chan struct{} // closed when the reading has ended
	// unheard counts the alerts that no subscription wanted, by operation.
	unheard map[policy.Operation]uint64
}

type subscription struct {
	operation policy.Operation // empty for all
	queue     *lossy.Queue[Alert]
	failure   error // why the queue was closed; nil when the manager was
}

func newStream(decode func([]byte) (Alert, error)) *stream {
	s := &stream{
		decode:        decode,
		subscriptions: map[*subscription]bool{}, unheard: map[policy.Operation]uint64{},
		done: make(chan struct{}),
	}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// start begins to read a buffer, which is the stream's to close.
func (s *stream) start(reader *ring.Reader) {
	s.reader = reader
	go s.run()
}

// run reads while there are subscriptions: without any, alerts wait in the
// kernel's buffer.
func (s *stream) run() {
	defer close(s.done)
	var record []byte
	for s.wait() {
		var err error
		if record, err = s.reader.Read(record); err != nil {
			if errors.Is(err, os.ErrClosed) {
				err = nil
			}
			s.fail(err)
			return
		}
		alert, err := s.decode(record)
		if !s.wait() {
			return
		}
		if err != nil { // a defect; the other alerts go on
			s.lose()
			continue
		}
		s.deliver(alert)
	}
}

// wait waits for a subscription and reports whether to go on.
func (s *stream) wait() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.subscriptions) == 0 && !s.closed {
		s.changed.Wait()
	}
	return !s.closed
}

func (s *stream) deliver(alert Alert) {
	s.mu.Lock()
	defer s.mu.Unlock()
	heard := false
	for sub := range s.subscriptions {
		if sub.operation != "" && sub.operation != alert.Context().Operation {
			continue
		}
		heard = true
		sub.queue.Put(alert)
	}
	if !heard {
		s.unheard[alert.Context().Operation]++
	}
}

// lose counts an alert that nobody can be given.
func (s *stream) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.subscriptions {
		sub.queue.Lose(1)
	}
}

// fail ends all subscriptions.
func (s *stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for sub := range s.subscriptions {
		sub.failure = err
		sub.queue.Close()
		delete(s.subscriptions, sub)
	}
	s.changed.Broadcast()
}

func (s *stream) subscribe(operation policy.Operation) *subscription {
	sub := &subscription{operation: operation, queue: lossy.New[Alert](queueLength)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		sub.failure = ErrClosed
		sub.queue.Close()
		return sub
	}
	s.subscriptions[sub] = true
	s.changed.Broadcast()
	return sub
}

func (s *stream) unsubscribe(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subscriptions[sub] {
		delete(s.subscriptions, sub)
		sub.queue.Close()
	}
	s.changed.Broadcast()
}

func (s *stream) unheardOf(operation policy.Operation) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unheard[operation]
}

// close ends the reading and all subscriptions. It must not be called beside start.
func (s *stream) close() error {
	if s.reader == nil {
		s.fail(nil)
		return nil
	}
	err := s.reader.Close()
	s.fail(nil)
	<-s.done
	return err
}

// alerts returns an iterator over the alerts from now on. The subscription ends
// with the iteration, or with the context.
func (s *stream) alerts(ctx context.Context, operation policy.Operation) iter.Seq2[Alert, error] {
	sub := s.subscribe(operation)
	stop := context.AfterFunc(ctx, func() { s.unsubscribe(sub) })
	return func(yield func(Alert, error) bool) {
		defer s.unsubscribe(sub)
		defer stop()
		left := true
		ended := sub.queue.Each(ctx, func(alert Alert, lost uint64) bool {
			if lost > 0 {
				left = yield(nil, &LostAlertsError{lost})
			} else {
				left = yield(alert, nil)
			}
			return left
		})
		if ended && left && sub.failure != nil {
			yield(nil, fmt.Errorf("reading alerts: %w", sub.failure))
		}
	}
}
