package daemon

import (
	"context"
	"iter"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/sink"
)

// Guard is what a daemon needs of an [ebpfguard.Manager], see [NewGuard].
type Guard interface {
	// Apply attaches what the policies need.
	Apply([]policy.Policy) (ebpfguard.Changes, error)
	// Check reports whether Apply would take the policies, and changes nothing.
	Check([]policy.Policy) error
	Takeover() (ebpfguard.Takeover, bool)
	Relinked() ([]string, error)
	Alerts(context.Context) iter.Seq2[ebpfguard.Alert, error]
	AlertsLost() (uint64, error)
	Sequence() sink.Counter
	Stats(policy.Operation) (ebpfguard.Stats, error)
	RuleStats() ([]ebpfguard.RuleStats, error)
	containers.Guard
	// Remove ends enforcement, Close leaves it if it is pinned.
	Remove() error
	Close() error
}

// NewGuard returns a manager as a daemon needs it.
func NewGuard(options ebpfguard.Options) (Guard, error) {
	options.AutoAttach = true
	m, err := ebpfguard.NewManager(options)
	if err != nil {
		return nil, err
	}
	return manager{m, options}, nil
}

type manager struct {
	*ebpfguard.Manager
	options ebpfguard.Options
}

// Place tells what is missing where this process runs.
func (m manager) Place() []ebpfguard.Check { return ebpfguard.ProbePlace(m.options) }

func (m manager) Sequence() sink.Counter { return m.Manager.Sequence() }
