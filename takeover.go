package ebpfguard

import (
	"errors"
	"fmt"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/policy"
)

// The errors of a PinPath that cannot be taken over; their text says what to do.
var (
	// ErrPinsInUse is wrapped when another manager uses the directory.
	ErrPinsInUse = bpf.ErrPinsInUse
	// ErrPinsForeign is wrapped when the directory holds what is not ours, or others
	// than its owner may use it.
	ErrPinsForeign = bpf.ErrPinsForeign
	// ErrPinsDamaged is wrapped when something is missing or was replaced.
	ErrPinsDamaged = bpf.ErrPinsDamaged
	// ErrPinsNewer is wrapped when a newer version made the pins.
	ErrPinsNewer = bpf.ErrPinsNewer
)

// Takeover tells what a manager took over from a former process.
type Takeover struct {
	// Revision is the number of the policy set that was in force, Policies the set.
	Revision uint32
	Policies []policy.Policy
	// Renewed says that the programs were of another build and were replaced by those
	// of this one; Migrated, that the layout of maps and tables was another too, so
	// that everything was built anew and running processes were identified anew: which
	// script they run, and what ancestors that have ended were, is forgotten.
	Renewed, Migrated bool
	// Lost are the alerts that did not fit into the buffer meanwhile. Those that did
	// come first from [Manager.Alerts].
	Lost uint64
}

// Takeover returns what the manager took over, false if nothing was there. Both stay the
// same as long as the manager lives.
func (m *Manager) Takeover() (Takeover, bool) {
	if m.takeover == nil {
		return Takeover{}, false
	}
	t := *m.takeover
	t.Policies = policy.Clone(t.Policies)
	return t, true
}

// RemovePins ends the enforcement that is pinned at a path and reports whether there was
// any. A directory that holds anything else is refused with [ErrPinsForeign] unless
// all is to go; one that a manager uses, with [ErrPinsInUse].
func RemovePins(path string, all bool) (bool, error) { return bpf.RemovePins(path, all) }

// takeOver takes over what is pinned, if anything is. Nobody else has the manager yet, but for
// its own timer, which gives back what was read to load programs.
func (m *Manager) takeOver() (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pins, err = bpf.OpenPins(m.options.PinPath); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close(false))
		}
	}()
	m.former = true
	former, err := m.pins.Adopt()
	if former == nil && err == nil {
		return nil
	}
	var left pinned
	if err == nil {
		left, err = m.inherit(former.Revisions)
	}
	if err == nil {
		return m.adopt(former, left)
	}
	if former != nil && former.Object != nil {
		err = errors.Join(err, former.Object.Close())
	}
	if m.options.ReplacePins {
		return m.pins.SetAside()
	}
	return err
}

// inherit reads what the pinned revisions tell, and returns what the last one does.
func (m *Manager) inherit(revisions []bpf.Retained) (pinned, error) {
	var left pinned
	for i, r := range revisions {
		before := left
		var err error
		if left, err = decodePinned(r.Payload); err != nil {
			return left, err
		}
		m.history.add(r.Number, left.set)
		if i == 0 || i < len(revisions)-1 {
			continue
		}
		counters, err := revisions[i-1].Counters(len(compile.Rules(before.set)))
		if err != nil {
			return left, err
		}
		left.counted = left.counted.after(before.set, left.set, counters)
	}
	return left, nil
}

// adopt goes on with what a former process left. Nobody else has the manager yet.
func (m *Manager) adopt(former *bpf.Takeover, left pinned) error {
	m.number = former.Revisions[len(former.Revisions)-1].Number
	bpf.TellHooks(left.hooks)
	m.key, m.takeover = left.key, &Takeover{Revision: m.number, Policies: left.set}
	if former.Object == nil {
		return m.migrate(former, left)
	}
	m.object = former.Object
	m.object.Configure(bpf.Options{HashKey: m.key, Enrich: m.options.Enrich, HostRoot: m.root.Name()})
	m.object.SetRules(len(compile.Rules(left.set)))
	m.current.change(func(s *state) {
		s.revision, s.set, s.attached, s.counted, s.marks = m.number, left.set, left.attached, left.counted, left.marks
		s.kernel = m.kernel()
	})
	m.sequence.number.Store(m.object.Note(bpf.NoteSequence).Load())
	if err := m.containers.adopt(m.object, m.number, compile.ContainerLists(left.set)); err != nil {
		return err
	}
	if err := m.read(); err != nil {
		return err
	}
	lost, err := m.current.peek().kernel.alertsLost()
	if err != nil {
		return err
	}
	reported := m.object.Note(bpf.NoteLost).Swap(lost)
	m.takeover.Lost = lost - min(reported, lost)
	if former.Build == bpf.Build(m.options.Enrich) {
		return nil
	}
	return m.renew()
}

// renew replaces the programs by those of this build: first these are attached, then the
// others detached.
func (m *Manager) renew() error {
	now := m.current.peek()
	attached, err := programsOf(now.attached, m.options.AutoAttach)
	if err != nil {
		return err
	}
	programs, err := programsFor(now.set, attached)
	if err != nil {
		return err
	}
	if err := m.object.ReplacePrograms(programs...); err != nil {
		return fmt.Errorf("replacing the programs of a former build, which stay in force: %w", err)
	}
	if _, err := m.publish(now.set, attached); err != nil {
		return fmt.Errorf("replacing the programs of a former build, which stay in force: %w", err)
	}
	m.takeover.Renewed = true
	return nil
}

// migrate builds what an older layout enforces anew, then ends the former.
func (m *Manager) migrate(former *bpf.Takeover, left pinned) error {
	attached, err := programsOf(left.attached, m.options.AutoAttach)
	if err != nil {
		return err
	}
	if err := m.open(); err != nil {
		return err
	}
	if _, err := m.publish(left.set, attached); err != nil {
		return fmt.Errorf("enforcing what a former version did, which stays in force: %w", err)
	}
	m.takeover.Renewed, m.takeover.Migrated = true, true
	return former.Drop()
}

// programsOf returns the programs of this build for operations.
func programsOf(attached map[policy.Operation][]string, asNeeded bool) (map[policy.Operation][]string, error) {
	programs := map[policy.Operation][]string{}
	for name := range attached {
		op, err := operationByName(name)
		if err != nil {
			return nil, err
		}
		if programs[name], err = op.basics(asNeeded); err != nil {
			return nil, err
		}
	}
	return programs, nil
}

// dropFormer ends what was set aside, now that something else is in force.
func (m *Manager) dropFormer() error {
	if m.pins == nil || !m.former {
		return nil
	}
	m.former = false
	return m.pins.DropFormer()
}

// alertsLost returns how many alerts did not fit into the buffer so far.
func (k *kernel) alertsLost() (uint64, error) {
	var lost uint64
	for _, op := range operations {
		c, err := k.counters.Read(op.id())
		if err != nil {
			return 0, err
		}
		lost += c.AlertsLost
	}
	return lost, nil
}

// AlertsLost returns how many alerts of all operations did not fit into the kernel's
// buffer since enforcement began. Their verdicts stood. With a PinPath the manager that
// takes over reports in [Takeover] what was lost since the last call.
func (m *Manager) AlertsLost() (uint64, error) {
	now := m.current.take()
	defer now.give()
	if now.closed {
		return 0, ErrClosed
	}
	if now.kernel == nil {
		return 0, nil
	}
	lost, err := now.kernel.alertsLost()
	if err != nil {
		return lost, err
	}
	// Another call may have told of more meanwhile.
	for told := now.kernel.lost.Load(); told < lost && !now.kernel.lost.CompareAndSwap(told, lost); {
		told = now.kernel.lost.Load()
	}
	return lost, nil
}
