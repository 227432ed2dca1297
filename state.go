package ebpfguard

import (
	"maps"
	"sync/atomic"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/policy"
)

// state is what a manager enforces, as those see it that only read: the policy set and
// where the kernel counts. Nothing that it refers to is changed, but for what counts;
// a writer replaces the whole state.
type state struct {
	closed bool
	// revision is the number of the policy set in force.
	revision uint32
	set      []policy.Policy
	// attached are the programs of the attached operations, some of which share
	// programs.
	attached map[policy.Operation][]string
	// counted are the counters of revisions before this one.
	counted ruleCounts
	// marks are the bits of lists of binaries and of processes whose descendants
	// policies select or selected, by [compile.MarkKeys].
	marks marks
	// links is nil when another process applied the set.
	links *links

	// kernel is nil until the first operation is attached, and of a closed manager.
	kernel *kernel
}

// kernel is what readers use of the kernel.
type kernel struct {
	counters *bpf.CounterMap
	rules    *bpf.RuleCounterMap
	// lost is where the number of lost alerts is kept that were told of.
	lost *atomic.Uint64
	// enrichment is nil without Options.Enrich.
	enrichment *enrichment
}

// current is a manager's state. Readers never wait, neither for writers nor for each
// other; a writer that replaces the state waits until nobody reads the former one any
// more, so that what only that one used can be closed. Writers take turns by a lock of
// their own.
type current struct{ now atomic.Pointer[sharedState] }

type sharedState struct {
	state
	// readers are those that use it, and one more until it is replaced.
	readers atomic.Int64
	unused  chan struct{} // closed when there are none
}

// peek returns the state for what is only memory. What is in kernel may be closed
// at any moment, unless the caller is the writer.
func (c *current) peek() *state {
	if s := c.now.Load(); s != nil {
		return &s.state
	}
	return &state{closed: true} // of the zero Manager
}

// take returns the state for use until [sharedState.give].
func (c *current) take() *sharedState {
	for {
		s := c.now.Load()
		if s == nil {
			s = &sharedState{state: state{closed: true}, unused: make(chan struct{})}
			s.readers.Store(1)
			return s
		}
		// None is left when it has been replaced meanwhile: then there is another.
		if n := s.readers.Load(); n > 0 && s.readers.CompareAndSwap(n, n+1) {
			return s
		}
	}
}

func (s *sharedState) give() {
	if s.readers.Add(-1) == 0 {
		close(s.unused)
	}
}

// replace puts a state in place of the one that is there, and waits until nobody uses
// that.
func (c *current) replace(next state) {
	s := &sharedState{state: next, unused: make(chan struct{})}
	s.readers.Store(1)
	if former := c.now.Swap(s); former != nil {
		former.give()
		<-former.unused
	}
}

// change replaces the state by one that differs from it.
func (c *current) change(by func(*state)) {
	next := *c.peek()
	if next.kernel != nil {
		copied := *next.kernel
		next.kernel = &copied
	}
	by(&next)
	c.replace(next)
}

// newState returns the state of a manager that enforces nothing yet.
func newState() state {
	return state{attached: map[policy.Operation][]string{}, counted: ruleCounts{}, marks: marks{}}
}

// withAttached returns the attached operations and one more.
func (s *state) withAttached(name policy.Operation, programs []string) map[policy.Operation][]string {
	attached := maps.Clone(s.attached)
	attached[name] = programs
	return attached
}
