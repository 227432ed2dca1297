package containers

import "sync"

// labeller has what runs labelled. A pass looks at each process of the machine, so there is one at a
// time, and those who ask while it runs share the next one.
type labeller struct {
	label func() (int, error)

	mu      sync.Mutex
	next    *pass // that has not begun
	running bool
}

type pass struct {
	done chan struct{}
	err  error
}

// run returns when a pass that began after the call has ended.
func (l *labeller) run() error {
	l.mu.Lock()
	p := l.next
	if p == nil {
		p = &pass{done: make(chan struct{})}
		l.next = p
	}
	if !l.running {
		l.running = true
		go l.passes()
	}
	l.mu.Unlock()
	<-p.done
	return p.err
}

// passes does all that are asked for.
func (l *labeller) passes() {
	for {
		l.mu.Lock()
		p := l.next
		l.next = nil
		if p == nil {
			l.running = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		_, p.err = l.label()
		close(p.done)
	}
}
