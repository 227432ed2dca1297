package ebpfguard

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/internal/compile"
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
	// Enrich adds the arguments, ancestors, user, unit and container to the
	// process of each alert ([Process]). For that the kernel tells of each program
	// that is started; without, starting one costs no more. Arguments may hold
	// secrets.
	Enrich bool
}

// Manager enforces one policy set on this kernel. Several managers, in one
// process or in several, do not disturb each other: what any of them denies is
// denied. Its methods may be called concurrently. When the process ends, in
// whatever way, enforcement ends with it.
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
	// enrichment is nil without Options.Enrich.
	enrichment *enrichment
	// attached are the programs of the attached operations, some of which share
	// programs, and revoke those that only rules with revoke need.
	attached, revoke map[policy.Operation][]string
	set              []policy.Policy
	number           uint32 // of the generation in force
	rules            []compile.Rule
	counted          ruleCounts
	// marks are the bits of lists of binaries whose descendants policies
	// select or selected.
	marks map[string]uint

	// history is under its own lock: alerts are decoded while a policy set
	// is being replaced.
	historyMu sync.Mutex
	history   map[uint32]generation
}

// generation is what alerts need to know of a generation of tables.
type generation struct {
	set   []policy.Policy
	rules []compile.Rule
}

// keptGenerations is how many generations alerts may lag behind and still name
// their policy.
const keptGenerations = 256

// NewManager checks that this kernel can enforce policies; the error wraps
// [ErrNotSupported] and says what is missing and how to enable it. Nothing is
// attached yet.
func NewManager(options Options) (*Manager, error) {
	if err := Probe().Err(); err != nil {
		return nil, err
	}
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
	m := &Manager{options: options, attached: map[policy.Operation][]string{}, revoke: map[policy.Operation][]string{},
		history: map[uint32]generation{}, counted: ruleCounts{}, marks: map[string]uint{}}
	m.users, m.groups = policy.SystemNames()
	m.host, _ = os.Hostname() // alerts are worth more than their host
	m.bootID = bootID()
	var key [16]byte
	rand.Read(key[:]) // never fails
	m.key = compile.Key{binary.NativeEndian.Uint64(key[:]), binary.NativeEndian.Uint64(key[8:])}
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
	object, err := bpf.Open(bpf.Options{HashKey: m.key, AlertBytes: m.options.AlertBytes, Enrich: m.options.Enrich})
	if err != nil {
		return err
	}
	m.object = object
	defer func() {
		if err != nil {
			m.closeEnrichment()
			object.Close()
			m.object = nil
		}
	}()
	if _, err := m.publish(nil); err != nil {
		return err
	}
	if err := object.TrackTasks(); err != nil {
		return err
	}
	if m.options.Enrich {
		if m.enrichment, err = startEnrichment(object); err != nil {
			return err
		}
	}
	reader, err := ringbuf.NewReader(object.Alerts())
	if err != nil {
		return fmt.Errorf("opening the buffer of alerts: %w", err)
	}
	m.stream = newStream(reader, m.decode)
	return nil
}

// Apply replaces the whole policy set in one step: every operation is judged by
// the former set or by the new one, never by a mix of them, and by the new one
// when Apply returns. All operations of the rules must be attached. When
// anything is wrong nothing has changed and the error tells everything that is.
func (m *Manager) Apply(set []policy.Policy) (Changes, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.apply(set)
}

func (m *Manager) apply(set []policy.Policy) (Changes, error) {
	if m.closed {
		return Changes{}, ErrClosed
	}
	set = clone(set)
	if err := policy.Validate(set); err != nil {
		return Changes{}, err
	}
	for _, p := range set {
		for _, r := range p.Rules {
			if m.attached[r.Operation] == nil {
				return Changes{}, fmt.Errorf("policy %q: %s: %w; attach it first", p.Name, r.Operation, ErrNotAttached)
			}
		}
	}
	if !m.options.AllowGaps {
		missing, err := gaps(set)
		if err != nil {
			return Changes{}, err
		}
		if len(missing) > 0 {
			return Changes{}, fmt.Errorf("%w: %s; change the rules, use a later kernel, or set Options.AllowGaps (--allow-gaps) to enforce the rest", ErrNotSupported, strings.Join(missing, "; "))
		}
	}
	if m.object == nil { // an empty set, and nothing attached
		return Changes{}, nil
	}
	return m.publish(set)
}

func (m *Manager) publish(set []policy.Policy) (Changes, error) {
	resolved, err := policy.ResolveNames(set, m.users, m.groups)
	if err != nil {
		return Changes{}, err
	}
	if err := m.forgetMarks(set); err != nil {
		return Changes{}, err
	}
	number := m.number + 1
	compiled, err := compile.Compile(resolved, compile.Options{Number: number, Key: m.key, Resolve: resolve, Mounts: mounts, Mark: m.mark})
	if err != nil {
		return Changes{}, err
	}
	if err := m.attachRevoke(set); err != nil {
		return Changes{}, err
	}
	// Alerts may come before Publish returns.
	m.remember(number, generation{set, compiled.Rules})
	m.number = number // whatever comes of it: the kernel may have seen it
	descendants := slices.ContainsFunc(set, func(p policy.Policy) bool { return p.Subject.Descendants })
	counters, err := m.object.Publish(compiled.Lines, compiled.Counters, len(compiled.Rules), descendants)
	if err != nil {
		return Changes{}, err
	}
	m.counted.add(m.set, set, m.rules, counters)
	changes := compare(m.set, set)
	changes.Generation = number
	m.set, m.rules = set, compiled.Rules
	return changes, m.detachRevoke(set)
}

// mark returns the bit by which tasks remember that they descend from a list of
// binaries.
func (m *Manager) mark(binaries string) (uint, bool) {
	if bit, ok := m.marks[binaries]; ok {
		return bit, true
	}
	taken := uint64(0)
	for _, bit := range m.marks {
		taken |= 1 << bit
	}
	bit := bits.TrailingZeros64(^taken)
	if bit >= bpf.MaxMarks {
		return 0, false
	}
	m.marks[binaries] = uint(bit)
	return uint(bit), true
}

// forgetMarks frees the bits of lists of binaries of former sets when there are
// too few for the next one. Until then tasks remember what they descend from,
// in case that a policy comes back.
func (m *Manager) forgetMarks(next []policy.Policy) error {
	used, fresh := map[string]bool{}, 0
	for _, p := range slices.Concat(m.set, next) {
		if key := compile.MarkKey(p.Subject); p.Subject.Descendants && !used[key] {
			used[key] = true
			if _, ok := m.marks[key]; !ok {
				fresh++
			}
		}
	}
	if len(m.marks)+fresh <= bpf.MaxMarks {
		return nil
	}
	kept, forgotten := map[string]uint{}, uint64(0)
	for key, bit := range m.marks {
		if used[key] {
			kept[key] = bit
		} else {
			forgotten |= 1 << bit
		}
	}
	if err := m.object.ForgetMarks(forgotten); err != nil {
		return err
	}
	m.marks = kept
	return nil
}

// attachRevoke attaches the hooks that rules with revoke need, before the set is
// in force.
func (m *Manager) attachRevoke(set []policy.Policy) error {
	for _, op := range operations {
		if !needsRevoke(set, op.name) || m.revoke[op.name] != nil {
			continue
		}
		_, programs, err := op.available()
		if err != nil {
			return err
		}
		if err := m.object.Attach(programs...); err != nil {
			return fmt.Errorf("attaching %s: %w", op.name, err)
		}
		m.revoke[op.name] = programs
	}
	return nil
}

// detachRevoke detaches the hooks that no rule needs any more.
func (m *Manager) detachRevoke(set []policy.Policy) error {
	var err error
	for name, programs := range m.revoke {
		if !needsRevoke(set, name) {
			err = errors.Join(err, m.object.Detach(programs...))
			delete(m.revoke, name)
		}
	}
	return err
}

func needsRevoke(set []policy.Policy, name policy.Operation) bool {
	for _, p := range set {
		for _, r := range p.Rules {
			if r.Operation == name && r.Revoke {
				return true
			}
		}
	}
	return false
}

func (m *Manager) remember(number uint32, g generation) {
	m.historyMu.Lock()
	defer m.historyMu.Unlock()
	m.history[number] = g
	delete(m.history, number-keptGenerations)
}

// rule finds the policy and rule of an alert.
func (m *Manager) rule(number uint32, index int) (policy.Policy, int, bool) {
	m.historyMu.Lock()
	defer m.historyMu.Unlock()
	g, ok := m.history[number]
	if !ok || index < 0 || index >= len(g.rules) {
		return policy.Policy{}, 0, false
	}
	r := g.rules[index]
	return g.set[r.Policy], r.Rule, true
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

// Stats counts the decisions of an operation since it was first attached.
// Operations that no rule of the set concerns are not judged and not counted.
type Stats struct {
	Allowed, Audited, Denied uint64
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
	c, err := m.object.Counters(op.id)
	if err != nil {
		return Stats{}, err
	}
	unheard = min(unheard, c.Alerts) // the kernel counts an alert after it sent it
	return Stats{
		Allowed: c.Allowed, Audited: c.Audited, Denied: c.Denied, Undecided: c.Undecided, Killed: c.Killed,
		Alerts: c.Alerts - unheard, AlertsLost: c.AlertsLost + unheard, AlertsLimited: c.AlertsLimited,
	}, nil
}

// Supported tells whether this kernel can enforce the operation: nil, or an
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
	if _, err := m.publish(set); err != nil {
		return err
	}
	unused := m.attached[op.name]
	delete(m.attached, op.name)
	for _, programs := range m.attached {
		unused = slices.DeleteFunc(unused, func(name string) bool { return slices.Contains(programs, name) })
	}
	return m.object.Detach(unused...)
}

// Close ends enforcement and all iterations over alerts.
func (m *Manager) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	if m.object == nil {
		return nil
	}
	var err error
	if m.stream != nil {
		err = errors.Join(err, m.stream.close())
	}
	return errors.Join(err, m.closeEnrichment(), m.object.Close())
}
