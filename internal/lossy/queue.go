// Package lossy has a queue for what comes faster than it can be taken: what does not fit is counted,
// and told at its place between what does.
package lossy

import (
	"context"
	"sync"
)

// Queue passes values from several goroutines to one. Make it with [New].
type Queue[T any] struct {
	items chan entry[T]

	mu     sync.Mutex
	lost   uint64 // since the last entry
	closed bool
}

// entry is a value, or nothing but a loss.
type entry[T any] struct {
	value T
	// lost came before the value and did not fit.
	lost  uint64
	empty bool
}

// New returns a queue for so many values.
func New[T any](size int) *Queue[T] { return &Queue[T]{items: make(chan entry[T], size)} }

// Put adds a value, or counts it as lost; it never waits. After Close it does nothing.
func (q *Queue[T]) Put(value T) { q.put(entry[T]{value: value}, 1) }

// Lose tells that something was lost here that came as no value.
func (q *Queue[T]) Lose(n uint64) {
	if n > 0 {
		q.mu.Lock()
		q.lost += n
		q.mu.Unlock()
		q.put(entry[T]{empty: true}, 0)
	}
}

func (q *Queue[T]) put(e entry[T], loss uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	e.lost = q.lost
	select {
	case q.items <- e:
		q.lost = 0
	default:
		q.lost += loss
	}
}

// Close ends the queue: what is in it can still be taken.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.items)
	}
}

// Each hands out what comes until the queue is closed and empty, the context ends, or yield returns
// false: a value, or with lost greater than 0 how many are missing at this place. It returns whether the
// queue was taken to its end.
func (q *Queue[T]) Each(ctx context.Context, yield func(value T, lost uint64) bool) bool {
	var none T
	for {
		if lost := q.lostAtEnd(); lost > 0 && !yield(none, lost) {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		default:
		}
		select {
		case <-ctx.Done():
			return false
		case e, ok := <-q.items:
			if !ok {
				if lost := q.lostAtEnd(); lost > 0 {
					yield(none, lost)
				}
				return true
			}
			if e.lost > 0 && !yield(none, e.lost) || !e.empty && !yield(e.value, 0) {
				return false
			}
		}
	}
}

// lostAtEnd returns what was lost since the last value, if that was taken.
func (q *Queue[T]) lostAtEnd() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) > 0 {
		return 0
	}
	lost := q.lost
	q.lost = 0
	return lost
}
