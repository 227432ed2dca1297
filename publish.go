package ebpfguard

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Apply replaces the whole policy set in one step: every operation is judged by
// the former set or by the new one, never by a mix of them, and by the new one
// when Apply returns. All operations of the rules must be attached, unless
// [Options.AutoAttach] is set. An empty set allows everything.
//
// On an error the former set stays in force; the error names everything that is wrong
// with the set. There is one exception: if the new set is in force and something of the
// former one could not be cleaned up, the error comes with [Changes] whose Revision is not
// 0.
func (m *Manager) Apply(set []policy.Policy) (Changes, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.apply(set)
}

func (m *Manager) apply(set []policy.Policy) (Changes, error) {
	now := m.current.peek()
	if now.closed {
		return Changes{}, ErrClosed
	}
	set = policy.Clone(set)
	attached, err := m.admit(now, set)
	if err != nil {
		return Changes{}, err
	}
	if m.object == nil && len(attached) == 0 { // an empty set, and nothing attached
		return Changes{}, m.dropFormer()
	}
	if err := m.open(); err != nil {
		return Changes{}, err
	}
	changes, err := m.publish(set, attached)
	if err != nil {
		return changes, err
	}
	return changes, m.dropFormer()
}

// Check reports whether [Manager.Apply] would take a policy set, and changes nothing. It
// returns the error that Apply would return for an invalid set, for operations that are
// not attached, for what this kernel cannot enforce, for names that do not resolve, and
// for a set that does not fit into the tables ([ErrTooLarge]). It does not find what only
// the kernel can tell: that it refuses a program, or has no memory. It takes as long as
// compiling the set does, and does not wait for an Apply.
func (m *Manager) Check(set []policy.Policy) error {
	now := m.current.peek()
	if now.closed {
		return ErrClosed
	}
	set = policy.Clone(set)
	attached, err := m.admit(now, set)
	if err != nil {
		return err
	}
	resolved, err := policy.ResolveNames(set, m.users, m.groups)
	if err != nil {
		return err
	}
	marks, _ := now.marks.forSets(now.set, set)
	compiled, _, err := m.compile(resolved, now.revision+1, maps.Clone(marks))
	if err != nil {
		return err
	}
	if err := m.containers.check(compiled.Containers); err != nil {
		return err
	}
	_, err = programsFor(set, attached)
	return err
}

// admit returns the programs of the operations that are to be attached for a set, or what
// is wrong with it, as far as can be told without compiling it.
func (m *Manager) admit(now *state, set []policy.Policy) (map[policy.Operation][]string, error) {
	if err := policy.Validate(set); err != nil {
		return nil, err
	}
	if err := m.checkPodDetails(set); err != nil {
		return nil, err
	}
	attached, err := m.attachedFor(now, set)
	if err != nil || m.options.AllowGaps {
		return attached, err
	}
	missing, err := gaps(set)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%w: %s; change the rules, use a later kernel, or set Options.AllowGaps (--allow-gaps) to enforce the rest", ErrNotSupported, strings.Join(missing, "; "))
	}
	return attached, nil
}

// checkPodDetails returns an error if policies ask for what nobody tells of pods.
func (m *Manager) checkPodDetails(set []policy.Policy) error {
	if m.options.PodDetails {
		return nil
	}
	var errs []error
	for i := range set {
		if set[i].Subject.Inside().NeedsAPI() {
			errs = append(errs, fmt.Errorf("policy %q selects pods by service account or owner, which runtimes do not tell; select by namespaces, names or labels instead", set[i].Name))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%w: %w", ErrNotSupported, errors.Join(errs...))
	}
	return nil
}

// compile makes the tables of a set whose names are resolved. It uses nothing of the
// manager that changes.
func (m *Manager) compile(resolved []policy.Policy, number uint32, marks marks) (*compile.Revision, *links, error) {
	paths := recorder{root: m.root}
	compiled, err := compile.Compile(resolved, compile.Options{
		Number: number, Key: m.key, Resolve: paths.resolve, Mark: marks.mark,
		Mounts:  func() []compile.Mount { return mounts(m.root) },
		Devices: func() []compile.Mount { return devices(m.root) },
	})
	if err != nil {
		return nil, nil, err
	}
	return compiled, paths.links(), nil
}

// attachedFor returns the programs of the operations that are to be attached for a set.
func (m *Manager) attachedFor(now *state, set []policy.Policy) (map[policy.Operation][]string, error) {
	attached := now.attached
	if m.options.AutoAttach {
		attached = map[policy.Operation][]string{}
	}
	for _, p := range set {
		for _, r := range p.Rules {
			switch {
			case attached[r.Operation] != nil:
			case !m.options.AutoAttach:
				return nil, fmt.Errorf("policy %q: %s: %w; attach it first", p.Name, r.Operation, ErrNotAttached)
			case now.attached[r.Operation] != nil:
				attached[r.Operation] = now.attached[r.Operation]
			default:
				op, err := operationByName(r.Operation)
				if err != nil {
					return nil, err
				}
				if attached[r.Operation], err = op.basics(m.options.AutoAttach); err != nil {
					return nil, err
				}
			}
		}
	}
	return attached, nil
}

// publish puts a set in force with the operations that are to be attached then. Others
// are detached after that.
func (m *Manager) publish(set []policy.Policy, attached map[policy.Operation][]string) (Changes, error) {
	defer m.remember()()
	resolved, err := policy.ResolveNames(set, m.users, m.groups)
	if err != nil {
		return Changes{}, err
	}
	now := m.current.peek()
	kept, forgotten := now.marks.forSets(now.set, set)
	marks := maps.Clone(kept)
	number := m.number + 1
	compiled, links, err := m.compile(resolved, number, marks)
	if err != nil {
		return Changes{}, err
	}
	programs, err := programsFor(set, attached)
	if err != nil {
		return Changes{}, err
	}
	if err := m.object.Attach(programs...); err != nil {
		return Changes{}, fmt.Errorf("attaching what the policies need: %w", err)
	}
	if len(forgotten) > 0 { // there are too few marks: tasks forget those that no policy has
		if err := m.object.ForgetMarks(forgotten); err != nil {
			return Changes{}, err
		}
		m.current.change(func(s *state) { s.marks = kept })
		now = m.current.peek()
	}
	var payload []byte
	if m.pins != nil {
		left := pinned{
			key: m.key, set: set, attached: attached, marks: marks, counted: now.counted, hooks: bpf.KnownHooks(),
		}
		if payload, err = left.encode(); err != nil {
			return Changes{}, err
		}
	}
	if err := m.containers.prepare(number, compiled.Containers); err != nil {
		return Changes{}, errors.Join(err, m.containers.retire(now.revision))
	}
	// Alerts may come before Publish returns.
	m.history.add(number, set)
	m.number = number // whatever comes of it: the kernel may have seen it
	former := m.object.RuleCounterMap()
	inForce, err := m.object.Publish(compiled.Lines, compiled.Counters, len(compiled.Rules), programs, payload)
	if !inForce {
		return Changes{}, errors.Join(err, m.containers.retire(now.revision))
	}
	err = errors.Join(err, m.containers.retire(number))
	counted := now.counted
	if former != nil {
		counters, readErr := former.Read()
		err = errors.Join(err, readErr)
		counted = counted.after(now.set, set, counters)
	}
	changes := compare(now.set, set)
	changes.Revision = number
	m.current.change(func(s *state) {
		s.revision, s.set, s.attached, s.marks, s.counted, s.links = number, set, attached, marks, counted, links
		s.kernel = m.kernel()
	})
	if former != nil {
		err = errors.Join(err, former.Close()) // nobody reads it any more
	}
	return changes, errors.Join(err, m.object.DetachExcept(programs))
}

// kernel returns what readers use of the object.
func (m *Manager) kernel() *kernel {
	return &kernel{m.object.CounterMap(), m.object.RuleCounterMap(), m.object.Note(bpf.NoteLost), m.enrichment}
}

// programsFor returns the programs that a set needs.
func programsFor(set []policy.Policy, attached map[policy.Operation][]string) ([]string, error) {
	programs := slices.Concat(slices.Collect(maps.Values(attached))...)
	for _, op := range operations {
		needed, err := op.neededBy(set)
		if err != nil {
			return nil, err
		}
		programs = append(programs, needed...)
	}
	slices.Sort(programs)
	return slices.Compact(programs), nil
}
