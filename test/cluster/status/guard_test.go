//go:build k8s

package status

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/sink"
)

// guard stands for the kernel in tests of what the daemon does with the cluster's policies: it holds a set and enforces
// nothing.
type guard struct {
	mu       sync.Mutex
	set      []policy.Policy
	revision uint32
	sequence counter
}

type counter struct{ n uint64 }

func (c *counter) Load() uint64   { return c.n }
func (c *counter) Store(n uint64) { c.n = n }

func (g *guard) Apply(set []policy.Policy) (ebpfguard.Changes, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.set = slices.Clone(set)
	g.revision++
	return ebpfguard.Changes{Revision: g.revision}, nil
}

// names returns the names of the policies in force.
func (g *guard) names() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []string
	for _, p := range g.set {
		all = append(all, p.Name)
	}
	slices.Sort(all)
	return fmt.Sprint(all)
}

func (g *guard) Check(set []policy.Policy) error           { return policy.Validate(set) }
func (g *guard) Takeover() (ebpfguard.Takeover, bool)      { return ebpfguard.Takeover{}, false }
func (g *guard) Relinked() ([]string, error)               { return nil, nil }
func (g *guard) AlertsLost() (uint64, error)               { return 0, nil }
func (g *guard) Sequence() sink.Counter                    { return &g.sequence }
func (g *guard) RuleStats() ([]ebpfguard.RuleStats, error) { return nil, nil }
func (g *guard) Stats(policy.Operation) (ebpfguard.Stats, error) {
	return ebpfguard.Stats{}, nil
}
func (g *guard) AddContainer(uint64, policy.Container) error { return nil }
func (g *guard) RemoveContainer(string) error                { return nil }
func (g *guard) LabelContainers() (int, error)               { return 0, nil }
func (g *guard) Containers() []policy.Container              { return nil }
func (g *guard) Remove() error                               { return nil }
func (g *guard) Close() error                                { return nil }

func (g *guard) Alerts(ctx context.Context) iter.Seq2[ebpfguard.Alert, error] {
	return func(func(ebpfguard.Alert, error) bool) { <-ctx.Done() }
}
