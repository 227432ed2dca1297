package daemon

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/sink"
)

// memory is a guard that enforces nothing. What it holds outlives a daemon, as pins do.
type memory struct {
	mu       sync.Mutex
	set      []policy.Policy
	revision uint32
	// fails, if set, tells why a set is refused.
	fails  func([]policy.Policy) error
	pinned bool // there is something to take over
	// begins, if set, is called before a set is put in force: that takes time.
	begins func()
	// publications are how often a set was put in force.
	publications int
	// relinked are the paths that lead elsewhere, until the set is put in force again.
	relinked []string
	closed   bool
	// containers are what it was told of, by their control groups, and passes how often to label.
	containers map[uint64]policy.Container
	passes     int
	sequence   counter
	alerts     chan ebpfguard.Alert
}

type counter struct {
	mu sync.Mutex
	n  uint64
}

func (c *counter) Load() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func (c *counter) Store(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n = n
}

func (m *memory) Check(set []policy.Policy) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.check(set)
}

func (m *memory) check(set []policy.Policy) error {
	if m.closed {
		return ebpfguard.ErrClosed
	}
	if err := policy.Validate(set); err != nil {
		return err
	}
	if m.fails != nil {
		return m.fails(set)
	}
	return nil
}

func (m *memory) Apply(set []policy.Policy) (ebpfguard.Changes, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(set); err != nil {
		return ebpfguard.Changes{}, err
	}
	if m.begins != nil {
		m.begins()
	}
	m.set = slices.Clone(set)
	m.revision++
	m.publications++
	m.relinked = nil
	return ebpfguard.Changes{Revision: m.revision}, nil
}

func (m *memory) Relinked() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.relinked, nil
}

func (m *memory) Takeover() (ebpfguard.Takeover, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.pinned {
		return ebpfguard.Takeover{}, false
	}
	return ebpfguard.Takeover{Revision: m.revision, Policies: slices.Clone(m.set)}, true
}

func (m *memory) Alerts(ctx context.Context) iter.Seq2[ebpfguard.Alert, error] {
	return func(yield func(ebpfguard.Alert, error) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case a := <-m.alerts:
				if !yield(a, nil) {
					return
				}
			}
		}
	}
}

func (m *memory) AlertsLost() (uint64, error) { return 0, nil }

func (m *memory) Sequence() sink.Counter { return &m.sequence }

func (m *memory) Stats(o policy.Operation) (ebpfguard.Stats, error) {
	if o == policy.SocketBind {
		return ebpfguard.Stats{Allowed: 5, Denied: 2, Killed: 1, Alerts: 2}, nil
	}
	return ebpfguard.Stats{}, nil
}

func (m *memory) RuleStats() ([]ebpfguard.RuleStats, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []ebpfguard.RuleStats
	for _, p := range m.set {
		for i, r := range p.Rules {
			all = append(all, ebpfguard.RuleStats{Policy: p.Name, Rule: i, Operation: r.Operation, Hits: 7})
		}
	}
	return all, nil
}

func (m *memory) AddContainer(cgroup uint64, c policy.Container) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.containers == nil {
		m.containers = map[uint64]policy.Container{}
	}
	m.containers[cgroup] = c
	return nil
}

func (m *memory) RemoveContainer(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.containers, func(_ uint64, c policy.Container) bool { return c.ID == id })
	return nil
}

func (m *memory) LabelContainers() (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.passes++
	return 0, nil
}

func (m *memory) Containers() []policy.Container {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.containers))
}

func (m *memory) Remove() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set, m.pinned, m.closed = nil, false, true
	return nil
}

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pinned, m.closed = true, true
	return nil
}

// names returns the names of the policies in force.
func (m *memory) names() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := names(m.set)
	slices.Sort(all)
	return fmt.Sprint(all)
}

func (m *memory) published() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.publications
}

// refuse makes it refuse sets with a policy of that name; none if empty.
func (m *memory) refuse(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fails = func(set []policy.Policy) error {
		if indexOf(set, name) >= 0 {
			return fmt.Errorf("%w: it is refused", errRefused)
		}
		return nil
	}
}

var errRefused = errors.New("not today")
