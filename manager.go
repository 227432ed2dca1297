package ebpfguard

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/internal/ring"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Options are the options of a [Manager]. The zero value is useful.
type Options struct {
	// AlertBytes is the size of the kernel's buffer of alerts, rounded up to
	// a power of two of at least a page; 8 MiB if zero. An alert takes about
	// 300 bytes. Alerts that do not fit are counted and lost; their verdicts
	// stand.
	AlertBytes uint32
	// AllowGaps applies policies that this kernel cannot enforce fully, and takes
	// a place in which policies or alerts are worth less ([Check.Gap]), such as a
	// container that lacks a capability. Without it they are refused with an error
	// that wraps [ErrNotSupported] and says what is not covered.
	AllowGaps bool
	// AutoAttach makes [Manager.Apply] attach what the policies need, before they are in
	// force, and detach what they need no longer, after: operations, and of file_open and
	// bprm_check_security the hooks that only some rules need, such as those of mmap(2) for
	// a rule about executing. A hook costs each system call that comes to it.
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
	// PodDetails says that the containers that are added tell the service account and the owners of their
	// pods, or that these are not known yet ([policy.Pod]). Without it policies that select pods by these are
	// refused: runtimes do not know them, so such a policy would select nothing.
	PodDetails bool
	// HostRoot is where the host's root directory is, for a guard in a container: /proc/1/root in the
	// host's pid namespace ([FindHostRoot] finds out), or where the host's / is mounted. The paths of
	// policies, users and groups, control groups and the host's name are looked up there. Empty is the
	// root directory of this process.
	HostRoot string
	// Enrich adds the arguments, ancestors, user, unit and container to the
	// process of each alert ([Process]). For that the kernel tells of each program
	// that is started; without, starting one costs no more. Arguments may hold
	// secrets.
	Enrich bool
}

// Manager enforces one policy set on this kernel. Several managers, in one
// process or in several, do not disturb each other: what any of them denies is
// denied. Without [Options.PinPath] enforcement ends with the process, in
// whatever way that ends.
//
// Its methods may be called concurrently. Those that change what is enforced
// ([Manager.Apply], [Manager.Attach], those of [Hook] that do, [Manager.Close],
// [Manager.Remove]) take turns; large sets and the first programs take
// seconds. All others answer at once meanwhile, of the set that is in force.
type Manager struct {
	options Options
	// root is the host's.
	root    *hostroot.Root
	cgroups cgroupPaths
	// users and groups find the numbers of names.
	users, groups func(name string) (uint32, error)
	// host and bootID are told in each alert.
	host, bootID string
	stream       *stream
	history      history
	sequence     Sequence
	containers   *containers
	// key and takeover are set before anybody else has the manager.
	key      compile.Key
	takeover *Takeover

	// current is what readers see.
	current current

	// mu is held by the one who changes what is enforced, also while programs are
	// compiled and loaded, and it guards the fields below. Readers never take it.
	mu     sync.Mutex
	object *bpf.Object // nil until the first operation is attached
	pins   *bpf.Pins   // nil without a PinPath
	// former says that pins which could not be taken over may still enforce.
	former bool
	// number is that of the last revision that the kernel may have seen.
	number uint32
	// enrichment is nil without Options.Enrich. It is set before alerts are read.
	enrichment *enrichment
	// forget gives memory back some time after a change.
	forget *time.Timer
}

// forgetTime is how long what was read to load programs is kept after a change, for another
// one that follows.
const forgetTime = time.Second

// NewManager checks that this kernel can enforce policies; the error wraps
// [ErrNotSupported] and says what is missing and how to enable it, also on systems other
// than Linux, for which the package can be built. Nothing is
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
	if c := probeSystem(runtime.GOOS); !c.OK {
		return nil, Report{Checks: []Check{c}}.Err()
	}
	root, err := hostroot.Open(options.HostRoot)
	if err != nil {
		return nil, err
	}
	if err := placeErr(options, probePlace(options, root)); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	m := newManager(options, root)
	if options.PinPath != "" {
		if err := m.takeOver(); err != nil {
			return nil, err
		}
	}
	if m.takeover != nil { // a kernel that enforces needs no probing
		return m, nil
	}
	if err := probeKernel(root).Err(); err != nil {
		return nil, errors.Join(err, m.close(false))
	}
	return m, nil
}

// newManager makes a manager that enforces nothing, without asking the kernel.
func newManager(options Options, root *hostroot.Root) *Manager {
	m := &Manager{options: options, root: root, cgroups: cgroupPaths{root: root}, containers: newContainers()}
	m.current.replace(newState())
	m.stream = newStream(m.decode)
	m.forget = time.AfterFunc(forgetTime, m.tidy)
	m.users, m.groups = root.Names()
	m.host = root.Hostname()
	m.bootID = procfs.BootID()
	var key [16]byte
	rand.Read(key[:]) // never fails
	m.key = compile.Key{binary.NativeEndian.Uint64(key[:]), binary.NativeEndian.Uint64(key[8:])}
	return m
}

// remember keeps what is read to load programs while a change is made, and for a while after: it
// returns what to call then.
func (m *Manager) remember() (until func()) {
	m.forget.Stop()
	return func() { m.forget.Reset(forgetTime) }
}

// tidy gives memory back that a change took.
func (m *Manager) tidy() {
	m.mu.Lock()
	loaded := m.object != nil && !m.current.peek().closed
	if loaded {
		m.object.ReleaseSpec()
	}
	m.mu.Unlock()
	if loaded { // to compile and to load takes several times the memory that is needed after
		debug.FreeOSMemory()
	}
}

// Attach loads and attaches the programs that enforce the operations; operations
// that are attached already stay as they are. Everything is allowed until policies
// are applied. The first call takes seconds: the kernel checks every program. An
// operation that this kernel cannot enforce is an error that wraps
// [ErrNotSupported]; the operations named before it are attached then.
func (m *Manager) Attach(names ...policy.Operation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.remember()()
	if err := m.open(); err != nil {
		return err
	}
	for _, name := range names {
		op, err := operationByName(name)
		if err != nil {
			return err
		}
		if m.current.peek().attached[name] != nil {
			continue
		}
		programs, err := op.basics(m.options.AutoAttach)
		if err != nil {
			return err
		}
		if err := m.object.Attach(programs...); err != nil {
			return fmt.Errorf("attaching %s: %w", name, err)
		}
		m.current.change(func(s *state) { s.attached = s.withAttached(name, programs) })
	}
	return nil
}

// open makes the maps, publishes the empty set and begins to track tasks, all
// before the first operation is judged.
func (m *Manager) open() (err error) {
	now := m.current.peek()
	if now.closed {
		return ErrClosed
	}
	if m.object != nil {
		return nil
	}
	object, err := bpf.Open(bpf.Options{HashKey: m.key, AlertBytes: m.options.AlertBytes, Enrich: m.options.Enrich, Pins: m.pins, HostRoot: m.root.Name()})
	if err != nil {
		return err
	}
	m.object = object
	defer func() {
		if err != nil {
			m.current.change(func(s *state) { s.kernel = nil })
			m.object = nil
			m.containers.closeKernel(false)
			err = errors.Join(err, m.closeEnrichment(), object.Close())
		}
	}()
	if err := m.containers.open(object); err != nil {
		return err
	}
	if _, err := m.publish(nil, now.attached); err != nil {
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
		if m.enrichment, err = startEnrichment(m.object, m.root); err != nil {
			return err
		}
	}
	reader, err := ring.NewReader(m.object.Alerts())
	if err != nil {
		return fmt.Errorf("opening the buffer of alerts: %w", err)
	}
	m.current.change(func(s *state) { s.kernel.enrichment = m.enrichment })
	m.sequence.keepIn(m.object.Note(bpf.NoteSequence))
	m.stream.start(reader)
	return nil
}

func (m *Manager) freeName(operation policy.Operation) string {
	set := m.current.peek().set
	for i := 1; ; i++ {
		name := fmt.Sprintf("%s-%d", operation, i)
		if !slices.ContainsFunc(set, func(p policy.Policy) bool { return p.Name == name }) {
			return name
		}
	}
}

// Policies returns the policy set in force, of a closed manager the last one.
func (m *Manager) Policies() []policy.Policy { return policy.Clone(m.current.peek().set) }

// Alerts returns an iterator over the alerts of all operations from now on, for
// one loop. Call it before you apply policies. Alerts that are in the kernel's
// buffer because nobody listened come first. Up to 16,384 alerts wait for the
// loop; when it is too slow for that, it gets a [*LostAlertsError] in place of
// what was lost, and the verdicts stand. The loop ends when the context ends or
// the manager is closed, and with an error when alerts cannot be read. Without a
// loop the subscription lasts until then, too.
func (m *Manager) Alerts(ctx context.Context) iter.Seq2[Alert, error] { return m.alerts(ctx, "") }

func (m *Manager) alerts(ctx context.Context, operation policy.Operation) iter.Seq2[Alert, error] {
	if m.current.peek().closed {
		return func(yield func(Alert, error) bool) { yield(nil, ErrClosed) }
	}
	return m.stream.alerts(ctx, operation)
}

// Stats counts the decisions of rules about an operation since it was first attached. What
// no pattern of a rule matches is allowed and not counted, and so is what only a pattern
// matches that allows everything.
type Stats struct {
	// Allowed are those that an allow pattern let pass which names something. They are not
	// counted by rule.
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

// Stats returns the counters of an operation; zeros if it was never attached. The
// error wraps [ErrNotSupported] for an operation that this version does not know.
func (m *Manager) Stats(operation policy.Operation) (Stats, error) {
	op, err := operationByName(operation)
	if err != nil {
		return Stats{}, err
	}
	now := m.current.take()
	defer now.give()
	if now.closed {
		return Stats{}, ErrClosed
	}
	if now.kernel == nil {
		return Stats{}, nil
	}
	// First what is a part of what is read next.
	unheard := m.stream.unheardOf(operation)
	c, err := now.kernel.counters.Read(op.id())
	if err != nil {
		return Stats{}, err
	}
	unheard = min(unheard, c.Alerts) // the kernel counts an alert after it sent it
	return Stats{
		Allowed: c.Allowed, Audited: c.Audited, Denied: c.Denied, Undecided: c.Undecided, Killed: c.Killed,
		Alerts: c.Alerts - unheard, AlertsLost: c.AlertsLost + unheard, AlertsLimited: c.AlertsLimited,
	}, nil
}

// Verify compares what the kernel enforces with the set that was applied last. Others may have changed
// it: a process with CAP_SYS_ADMIN can open a map by its number and write it, and one that may write
// /proc/sys/kernel/ftrace_enabled can stop all programs. Verify puts right what differs, and returns what
// that was, a sentence each; the error says what could not be put right. It takes microseconds but for the
// first time, and returns nothing while a set is being applied.
func (m *Manager) Verify() ([]string, error) {
	if !m.mu.TryLock() {
		return nil, nil
	}
	defer m.mu.Unlock()
	if m.current.peek().closed {
		return nil, ErrClosed
	}
	if m.object == nil {
		return nil, nil
	}
	return m.object.Verify()
}

// Supported reports whether this kernel can enforce the operation: nil, or an
// error that wraps [ErrNotSupported] and says why not.
func (m *Manager) Supported(operation policy.Operation) error {
	op, err := operationByName(operation)
	if err != nil {
		return err
	}
	_, err = op.available()
	return err
}

func (m *Manager) detach(op *operation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.current.peek()
	if now.closed {
		return ErrClosed
	}
	if now.attached[op.name] == nil {
		return fmt.Errorf("%s: %w", op.name, ErrNotAttached)
	}
	var set []policy.Policy
	for _, p := range now.set {
		p.Rules = slices.DeleteFunc(slices.Clone(p.Rules), func(r policy.Rule) bool { return r.Operation == op.name })
		if len(p.Rules) > 0 {
			set = append(set, p)
		}
	}
	attached := maps.Clone(now.attached)
	delete(attached, op.name)
	_, err := m.publish(set, attached)
	return err
}

// Close ends all iterations over alerts and, unless it is pinned, enforcement. It waits
// for a set that is being applied. Afterwards every method that can fail returns
// [ErrClosed]; another Close does nothing.
func (m *Manager) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stream == nil { // the zero value enforces nothing
		return nil
	}
	return m.close(false)
}

// Remove ends enforcement, also what is pinned, and closes the manager. It returns when
// the kernel has detached all programs; that takes up to 30 seconds. After an error some
// of them may still enforce: call [RemovePins].
func (m *Manager) Remove() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stream == nil || m.current.peek().closed {
		return ErrClosed
	}
	return m.close(true)
}

func (m *Manager) close(remove bool) error {
	if m.current.peek().closed {
		return nil
	}
	// From here on nobody reads what is closed below.
	m.current.change(func(s *state) { *s = state{closed: true, revision: s.revision, set: s.set} })
	m.forget.Stop()
	err := errors.Join(m.stream.close(), m.closeEnrichment())
	m.sequence.keepIn(nil)
	m.containers.closeKernel(true)
	if m.object != nil {
		err = errors.Join(err, m.object.Close())
	}
	if m.pins != nil && remove {
		err = errors.Join(err, m.pins.Remove())
	}
	if m.pins != nil {
		err = errors.Join(err, m.pins.Close())
	}
	return errors.Join(err, m.root.Close())
}
