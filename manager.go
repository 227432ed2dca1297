package ebpfguard

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Options are the options of a [Manager]. The zero value is useful.
type Options struct {
	// AlertBytes is the size of the kernel's buffer of alerts, rounded up to
	// a power of two of at least a page; 8 MiB if zero. An alert takes about
	// 300 bytes. Alerts that do not fit are counted and lost; their verdicts
	// stand.
	AlertBytes uint32
	// AllowGaps applies policies that this kernel cannot enforce fully. Without
	// it they are refused with an error that wraps [ErrNotSupported] and says
	// what is not covered.
	AllowGaps bool
	// AutoAttach makes [Manager.Apply] attach what the policies need, before they are in
	// force, and detach what they need no longer, after.
	AutoAttach bool
	// PinPath is a directory on a bpf filesystem, for instance /sys/fs/bpf/ebpfguard,
	// that only its owner may use. With it enforcement outlives the process, in
	// whatever way that ends: until [Manager.Remove], [RemovePins], or the machine is
	// booted again. A new manager with the same PinPath takes over what it finds, see
	// [Manager.Takeover]; one directory serves one manager at a time.
	PinPath string
	// ReplacePins replaces what is at PinPath where it cannot be taken over, instead of
	// returning the error. It is in force until the first [Manager.Apply] is done.
	ReplacePins bool
	// Enrich adds the arguments, ancestors, user, unit and container to the
	// process of each alert ([Process]). For that the kernel tells of each program
	// that is started; without, starting one costs no more. Arguments may hold
	// secrets.
	Enrich bool
}

// Manager enforces one policy set on this kernel. Several managers, in one
// process or in several, do not disturb each other: what any of them denies is
// denied. Its methods may be called concurrently. Without [Options.PinPath]
// enforcement ends with the process, in whatever way that ends.
type Manager struct {
	options Options
	cgroups cgroupPaths
	// users and groups find the numbers of names.
	users, groups func(name string) (uint32, error)
	// host and bootID are told in each alert.
	host, bootID string

	mu     sync.Mutex
	closed bool
	key    compile.Key
	object *bpf.Object // nil until the first operation is attached
	stream *stream
	pins   *bpf.Pins // nil without a PinPath
	// former says that pins which could not be taken over may still enforce.
	former   bool
	takeover *Takeover
	// attached are the programs of the attached operations, some of which share
	// programs.
	attached map[policy.Operation][]string
	set      []policy.Policy
	number   uint32 // of the revision in force
	rules    []compile.Rule
	counted  ruleCounts
	// enrichment is nil without Options.Enrich.
	enrichment *enrichment
	// marks are the bits of lists of binaries and of processes whose descendants
	// policies select or selected, by [compile.MarkKeys].
	marks marks

	// forget gives memory back some time after a change.
	forget *time.Timer

	sequence Sequence
	// note is where the sequence is kept for another process, nil without an object.
	noteMu sync.Mutex
	note   *atomic.Uint64

	// history is under its own lock: alerts are decoded while a policy set
	// is being replaced.
	historyMu sync.Mutex
	history   map[uint32]revision
}

// forgetTime is how long what was read to load programs is kept after a change.
const forgetTime = 10 * time.Second

// NewManager checks that this kernel can enforce policies; the error wraps
// [ErrNotSupported] and says what is missing and how to enable it. Nothing is
// attached yet but what was taken over. Pins that cannot be taken over are an error
// that wraps [ErrPinsInUse], [ErrPinsForeign], [ErrPinsDamaged] or [ErrPinsNewer].
func NewManager(options Options) (*Manager, error) {
	if options.AlertBytes == 0 {
		options.AlertBytes = 8 << 20
	}
	if options.AlertBytes > 1<<30 {
		return nil, fmt.Errorf("Options.AlertBytes is %d; at most 1 GiB is possible", options.AlertBytes)
	}
	size := uint32(4096)
	for size < options.AlertBytes {
		size *= 2
	}
	options.AlertBytes = size
	m := &Manager{options: options, attached: map[policy.Operation][]string{},
		history: map[uint32]revision{}, counted: ruleCounts{}, marks: marks{}}
	m.sequence.manager = m
	m.forget = time.AfterFunc(forgetTime, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.object != nil && !m.closed {
			m.object.ReleaseSpec()
		}
	})
	m.users, m.groups = policy.SystemNames()
	m.host, _ = os.Hostname() // alerts are worth more than their host
	m.bootID = procfs.BootID()
	var key [16]byte
	rand.Read(key[:]) // never fails
	m.key = compile.Key{binary.NativeEndian.Uint64(key[:]), binary.NativeEndian.Uint64(key[8:])}
	if options.PinPath != "" {
		if err := m.takeOver(); err != nil {
			return nil, err
		}
	}
	if m.takeover != nil { // a kernel that enforces needs no probing
		return m, nil
	}
	if err := Probe().Err(); err != nil {
		return nil, errors.Join(err, m.close(false))
	}
	return m, nil
}

// Attach loads and attaches what enforces the operations. What is attached
// already stays as it is. Everything is allowed until policies are applied.
func (m *Manager) Attach(names ...policy.Operation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.open(); err != nil {
		return err
	}
	for _, name := range names {
		op, err := operationByName(name)
		if err != nil {
			return err
		}
		if m.attached[name] != nil {
			continue
		}
		programs, _, err := op.available()
		if err != nil {
			return err
		}
		if err := m.object.Attach(programs...); err != nil {
			return fmt.Errorf("attaching %s: %w", name, err)
		}
		m.attached = maps.Clone(m.attached)
		m.attached[name] = programs
	}
	return nil
}

// open makes the maps, publishes the empty set and begins to track tasks, all
// before the first operation is judged.
func (m *Manager) open() (err error) {
	if m.closed {
		return ErrClosed
	}
	if m.object != nil {
		return nil
	}
	object, err := bpf.Open(bpf.Options{HashKey: m.key, AlertBytes: m.options.AlertBytes, Enrich: m.options.Enrich, Pins: m.pins})
	if err != nil {
		return err
	}
	m.object = object
	defer func() {
		if err != nil {
			m.closeEnrichment()
			err = errors.Join(err, object.Close())
			m.object = nil
		}
	}()
	if _, err := m.publish(nil, m.attached); err != nil {
		return err
	}
	if err := object.TrackTasks(); err != nil {
		return err
	}
	return m.read()
}

// read begins to read alerts.
func (m *Manager) read() error {
	if m.options.Enrich {
		var err error
		if m.enrichment, err = startEnrichment(m.object); err != nil {
			return err
		}
	}
	reader, err := ringbuf.NewReader(m.object.Alerts())
	if err != nil {
		return fmt.Errorf("opening the buffer of alerts: %w", err)
	}
	m.stream = newStream(reader, m.decode)
	m.keepNote(m.object.Note(bpf.NoteSequence))
	return nil
}

func (m *Manager) freeName(operation policy.Operation) string {
	for i := 1; ; i++ {
		name := fmt.Sprintf("%s-%d", operation, i)
		if !slices.ContainsFunc(m.set, func(p policy.Policy) bool { return p.Name == name }) {
			return name
		}
	}
}

// Policies returns the policy set in force.
func (m *Manager) Policies() []policy.Policy {
	m.mu.Lock()
	defer m.mu.Unlock()
	return clone(m.set)
}

// Alerts returns an iterator over the alerts of all operations from now on; it
// is for one loop. Subscribe before you apply policies. What gathered in the
// kernel's buffer while nobody listened comes first. When the loop is too slow
// a [*LostAlertsError] is yielded in place of what was lost. The iteration ends
// when the context does or the manager is closed; a subscription that is not
// looped over lasts as long.
func (m *Manager) Alerts(ctx context.Context) iter.Seq2[Alert, error] { return m.alerts(ctx, "") }

func (m *Manager) alerts(ctx context.Context, operation policy.Operation) iter.Seq2[Alert, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.open(); err != nil {
		return func(yield func(Alert, error) bool) { yield(nil, err) }
	}
	return m.stream.alerts(ctx, operation)
}

// Stats counts the decisions of rules about an operation since it was first attached. What
// no pattern of a rule matches is allowed and not counted.
type Stats struct {
	// Allowed are those that an allow pattern let pass. They are not counted by rule.
	Allowed uint64
	// Audited and Denied are those that a deny pattern was about, or could have been about
	// as far as was known.
	Audited, Denied uint64
	// Undecided are those of Audited and Denied where the guard could not
	// find out enough.
	Undecided uint64
	// Killed are those of Denied whose process was killed.
	Killed uint64
	// Alerts + AlertsLost + AlertsLimited is Audited + Denied. An alert is lost
	// when the kernel's buffer is full, or when nobody listens to its operation
	// but somebody to another; it is limited when its rule has raised as many as
	// its AlertLimit allows.
	Alerts, AlertsLost, AlertsLimited uint64
}

// Stats returns the counters of an operation.
func (m *Manager) Stats(operation policy.Operation) (Stats, error) {
	op, err := operationByName(operation)
	if err != nil {
		return Stats{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return Stats{}, ErrClosed
	}
	if m.object == nil {
		return Stats{}, nil
	}
	// First what is a part of what is read next.
	unheard := m.stream.unheardOf(operation)
	c, err := m.object.Counters(op.id())
	if err != nil {
		return Stats{}, err
	}
	unheard = min(unheard, c.Alerts) // the kernel counts an alert after it sent it
	return Stats{
		Allowed: c.Allowed, Audited: c.Audited, Denied: c.Denied, Undecided: c.Undecided, Killed: c.Killed,
		Alerts: c.Alerts - unheard, AlertsLost: c.AlertsLost + unheard, AlertsLimited: c.AlertsLimited,
	}, nil
}

// Supported reports whether this kernel can enforce the operation: nil, or an
// error that wraps [ErrNotSupported] and says why not.
func (m *Manager) Supported(operation policy.Operation) error {
	op, err := operationByName(operation)
	if err != nil {
		return err
	}
	_, _, err = op.available()
	return err
}

func (m *Manager) detach(op *operation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	if m.attached[op.name] == nil {
		return fmt.Errorf("%s: %w", op.name, ErrNotAttached)
	}
	var set []policy.Policy
	for _, p := range m.set {
		p.Rules = slices.DeleteFunc(slices.Clone(p.Rules), func(r policy.Rule) bool { return r.Operation == op.name })
		if len(p.Rules) > 0 {
			set = append(set, p)
		}
	}
	attached := maps.Clone(m.attached)
	delete(attached, op.name)
	_, err := m.publish(set, attached)
	return err
}

// Close ends all iterations over alerts and, unless it is pinned, enforcement.
func (m *Manager) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.close(false)
}

// Remove ends enforcement, also that which is pinned, and closes the manager.
func (m *Manager) Remove() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	return m.close(true)
}

func (m *Manager) close(remove bool) error {
	if m.closed {
		return nil
	}
	m.closed = true
	m.forget.Stop()
	var err error
	if m.stream != nil {
		err = m.stream.close()
	}
	err = errors.Join(err, m.closeEnrichment())
	m.keepNote(nil)
	if m.object != nil {
		err = errors.Join(err, m.object.Close())
	}
	if m.pins != nil && remove {
		err = errors.Join(err, m.pins.Remove())
	}
	if m.pins != nil {
		err = errors.Join(err, m.pins.Close())
	}
	return err
}
