package ebpfguard

import (
	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/internal/enrich"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
)

// enrichment is what knows more of processes than an alert brings from the kernel.
type enrichment struct {
	cache *enrich.Cache
	users enrich.Users
}

// startEnrichment begins to hear of the programs that are started, then looks at
// those that run already, so that none is missed.
func startEnrichment(object *bpf.Object, root *hostroot.Root) (*enrichment, error) {
	if err := object.TrackExecutions(); err != nil {
		return nil, err
	}
	e := &enrichment{cache: enrich.New(enrich.Options{})}
	if root != nil {
		e.users.Lookup = root.UserName
	}
	if err := e.cache.Follow(object.Executions()); err != nil {
		return nil, err
	}
	if !hostroot.HasHostPIDs() { // its numbers are of other processes
		return e, nil
	}
	if err := e.cache.ReadProc("/proc"); err != nil {
		e.cache.Close() // the error before says more
		return nil, err
	}
	return e, nil
}

func (m *Manager) closeEnrichment() error {
	if m.enrichment == nil {
		return nil
	}
	err := m.enrichment.cache.Close()
	m.enrichment = nil
	return err
}

// describe adds to the process of an alert what the kernel does not send with it.
func (e *enrichment) describe(p *Process, r record) {
	ancestors := make([]enrich.Relative, 0, len(r.ancestors))
	for _, a := range r.ancestors {
		if a.Pid != 0 {
			ancestors = append(ancestors, enrich.Relative{Process: enrich.Process{PID: a.Pid, Start: a.Start}, Inode: a.Inode})
		}
	}
	self := enrich.Relative{Process: enrich.Process{PID: r.Pid, Start: r.Start}, Inode: r.Inode}
	args, chain := e.cache.Describe(self, r.Time, ancestors)
	p.Args = args
	for _, a := range chain {
		p.Ancestors = append(p.Ancestors, Ancestor{PID: a.PID, StartTime: a.Start, Binary: a.Binary, Args: a.Args})
	}
	p.User = e.users.Name(p.UID)
	p.Unit, p.ContainerID = enrich.Unit(p.Cgroup), enrich.ContainerID(p.Cgroup)
}

// EnrichmentStats counts what [Options.Enrich] does.
type EnrichmentStats struct {
	// Processes are those that are known, Bytes the memory that they take, about.
	// Both are bounded.
	Processes, Bytes int
	// Executions are the programs that were started, ExecutionsLost those that
	// the kernel's buffer had no room for.
	Executions, ExecutionsLost uint64
	// Misses are processes that an alert is about or names as an ancestor, of
	// which nothing was known; Evictions those that were forgotten for others.
	Misses, Evictions uint64
}

// EnrichmentStats returns what the enrichment of alerts counted; zeros without
// [Options.Enrich].
func (m *Manager) EnrichmentStats() (EnrichmentStats, error) {
	now := m.current.take()
	defer now.give()
	if now.closed {
		return EnrichmentStats{}, ErrClosed
	}
	if now.kernel == nil || now.kernel.enrichment == nil {
		return EnrichmentStats{}, nil
	}
	lost, err := now.kernel.counters.ExecutionsLost()
	if err != nil {
		return EnrichmentStats{}, err
	}
	s := now.kernel.enrichment.cache.Stats()
	return EnrichmentStats{
		Processes: s.Entries, Bytes: s.Bytes, Executions: s.Executions, ExecutionsLost: lost,
		Misses: s.Misses, Evictions: s.Evictions,
	}, nil
}
