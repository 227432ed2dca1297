package ebpfguard

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

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

// Takeover returns what the manager took over; false if nothing was there.
func (m *Manager) Takeover() (Takeover, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.takeover == nil {
		return Takeover{}, false
	}
	t := *m.takeover
	t.Policies = clone(t.Policies)
	return t, true
}

// RemovePins ends the enforcement that is pinned at a path and reports whether there was
// any. A directory that holds anything else is refused with [ErrPinsForeign] unless
// all is to go; one that a manager uses, with [ErrPinsInUse].
func RemovePins(path string, all bool) (bool, error) { return bpf.RemovePins(path, all) }

// payload is what a manager tells the one that takes over from it.
type payload struct {
	Key   compile.Key
	Set   []policy.Policy
	Rules []compile.Rule
	Marks map[string]uint
	// Attached are the operations with their programs.
	Attached map[policy.Operation][]string
	// Counts are those of the revisions before the one that was in force before: that
	// one's own are in its tables until later.
	Counts ruleCounts
	// Hooks are those that the kernel is known to have, or not to have.
	Hooks map[string]bool
}

// registerPatterns lets gob know what a policy's patterns can be.
var registerPatterns = sync.OnceFunc(func() {
	for _, pattern := range []policy.Pattern{
		policy.FilePattern{}, policy.ProgramPattern{}, policy.MountPattern{}, policy.CredentialsPattern{}, policy.SocketPattern{},
	} {
		gob.Register(pattern)
	}
})

func (m *Manager) payload(set []policy.Policy, attached map[policy.Operation][]string, rules []compile.Rule) ([]byte, error) {
	registerPatterns()
	var buffer bytes.Buffer
	err := gob.NewEncoder(&buffer).Encode(payload{m.key, set, rules, m.marks, attached, m.counted, bpf.KnownHooks()})
	if err != nil {
		return nil, fmt.Errorf("encoding the policy set: %w", err)
	}
	return buffer.Bytes(), nil
}

func decodePayload(data []byte) (p payload, err error) {
	registerPatterns()
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&p); err != nil {
		return p, fmt.Errorf("%w: the policy set cannot be read: %w", ErrPinsDamaged, err)
	}
	return p, nil
}

// takeOver takes over what is pinned, if anything is.
func (m *Manager) takeOver() (err error) {
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
	switch {
	case err != nil && m.options.ReplacePins:
		return m.pins.SetAside()
	case err != nil || former == nil:
		return err
	}
	return m.adopt(former)
}

func (m *Manager) adopt(former *bpf.Takeover) error {
	var told payload
	for i, g := range former.Revisions {
		last := i == len(former.Revisions)-1
		before := told
		var err error
		if told, err = decodePayload(g.Payload); err != nil {
			return err
		}
		m.remember(g.Number, revision{told.Set, told.Rules})
		if !last {
			continue
		}
		m.number, m.counted = g.Number, told.Counts
		if m.counted == nil {
			m.counted = ruleCounts{}
		}
		if i > 0 {
			counters, err := former.Revisions[i-1].Counters(len(before.Rules))
			if err != nil {
				return err
			}
			m.counted.add(before.Set, told.Set, before.Rules, counters)
		}
	}
	bpf.TellHooks(told.Hooks)
	m.key, m.takeover = told.Key, &Takeover{Revision: m.number, Policies: told.Set}
	if former.Object == nil {
		return m.migrate(former, told)
	}
	m.set, m.rules, m.attached = told.Set, told.Rules, told.Attached
	if told.Marks != nil {
		m.marks = told.Marks
	}
	m.object = former.Object
	m.object.Configure(bpf.Options{HashKey: m.key, Enrich: m.options.Enrich})
	m.object.SetRules(len(m.rules))
	m.sequence.number.Store(m.object.Note(bpf.NoteSequence).Load())
	if err := m.read(); err != nil {
		return err
	}
	lost, err := m.lost()
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
	attached, err := programsOf(m.attached)
	if err != nil {
		return err
	}
	programs, err := programsFor(m.set, attached)
	if err != nil {
		return err
	}
	if err := m.object.ReplacePrograms(programs...); err != nil {
		return fmt.Errorf("replacing the programs of a former build, which stay in force: %w", err)
	}
	if _, err := m.publish(m.set, attached); err != nil {
		return fmt.Errorf("replacing the programs of a former build, which stay in force: %w", err)
	}
	m.takeover.Renewed = true
	return nil
}

// migrate builds what an older layout enforces anew, then ends the former.
func (m *Manager) migrate(former *bpf.Takeover, told payload) error {
	attached, err := programsOf(told.Attached)
	if err != nil {
		return err
	}
	if err := m.open(); err != nil {
		return err
	}
	if _, err := m.publish(told.Set, attached); err != nil {
		return fmt.Errorf("enforcing what a former version did, which stays in force: %w", err)
	}
	m.takeover.Renewed, m.takeover.Migrated = true, true
	return former.Drop()
}

// programsOf returns the programs of this build for operations.
func programsOf(attached map[policy.Operation][]string) (map[policy.Operation][]string, error) {
	programs := map[policy.Operation][]string{}
	for name := range attached {
		op, err := operationByName(name)
		if err != nil {
			return nil, err
		}
		if programs[name], _, err = op.available(); err != nil {
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

// lost returns how many alerts did not fit into the buffer so far.
func (m *Manager) lost() (uint64, error) {
	var lost uint64
	for _, op := range operations {
		c, err := m.object.Counters(op.id())
		if err != nil {
			return 0, err
		}
		lost += c.AlertsLost
	}
	return lost, nil
}

// AlertsLost returns how many alerts of all operations did not fit into the kernel's
// buffer since enforcement began. With a PinPath a later manager tells as lost what was
// lost after the last call, see [Takeover].
func (m *Manager) AlertsLost() (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return 0, ErrClosed
	}
	if m.object == nil {
		return 0, nil
	}
	lost, err := m.lost()
	if err == nil {
		m.object.Note(bpf.NoteLost).Store(lost)
	}
	return lost, err
}

// Sequence keeps the number of the last alert that was handed out: with a PinPath for
// the manager that takes over, too. It is a counter for package sink.
type Sequence struct {
	manager *Manager
	number  atomic.Uint64
}

// Sequence returns the manager's counter of alerts.
func (m *Manager) Sequence() *Sequence { return &m.sequence }

// Load returns the number of the last alert, 0 before the first.
func (s *Sequence) Load() uint64 { return s.number.Load() }

// Store keeps the number of the last alert.
func (s *Sequence) Store(number uint64) {
	s.number.Store(number)
	s.manager.noteMu.Lock()
	defer s.manager.noteMu.Unlock()
	if s.manager.note != nil {
		s.manager.note.Store(number)
	}
}

// keepNote tells where the sequence is kept from now on.
func (m *Manager) keepNote(note *atomic.Uint64) {
	m.noteMu.Lock()
	defer m.noteMu.Unlock()
	m.note = note
	if note != nil {
		note.Store(m.sequence.Load())
	}
}
