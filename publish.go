package ebpfguard

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/policy"
)

// revision is what alerts need to know of a revision of tables.
type revision struct {
	set   []policy.Policy
	rules []compile.Rule
}

// keptRevisions is how many revisions alerts may lag behind and still name
// their policy.
const keptRevisions = 256

// keptRules bounds the rules of those revisions, but for the last two.
const keptRules = 100_000

// Apply replaces the whole policy set in one step: every operation is judged by
// the former set or by the new one, never by a mix of them, and by the new one
// when Apply returns. All operations of the rules must be attached, unless
// [Options.AutoAttach] is set. When anything is wrong nothing has changed and the error tells everything that is.
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
	attached, err := m.admit(set)
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

// Check reports whether [Manager.Apply] would take a policy set, and changes nothing: the
// error is the one that Apply would return for an invalid set, for operations that are
// not attached, for what this kernel cannot enforce, for names that do not resolve, and
// for a set that does not fit into the tables. What only trying it shows is not found: that
// the kernel refuses programs, or memory.
func (m *Manager) Check(set []policy.Policy) error {
	set = clone(set)
	attached, marks, number, err := m.next(set)
	if err != nil {
		return err
	}
	// Compiling may take long, and needs nothing that is in force.
	resolved, err := policy.ResolveNames(set, m.users, m.groups)
	if err != nil {
		return err
	}
	if _, err := m.compile(resolved, number, marks); err != nil {
		return err
	}
	_, err = programsFor(set, attached)
	return err
}

// next returns what a set would be compiled with if it were the next one.
func (m *Manager) next(set []policy.Policy) (attached map[policy.Operation][]string, own marks, number uint32, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, nil, 0, ErrClosed
	}
	if attached, err = m.admit(set); err != nil {
		return nil, nil, 0, err
	}
	own, _ = m.marks.forSets(m.set, set)
	return attached, maps.Clone(own), m.number + 1, nil
}

// admit returns the programs of the operations that are to be attached for a set, or what
// is wrong with it, as far as can be told without compiling it.
func (m *Manager) admit(set []policy.Policy) (map[policy.Operation][]string, error) {
	if err := policy.Validate(set); err != nil {
		return nil, err
	}
	attached, err := m.attachedFor(set)
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

// compile makes the tables of a set whose names are resolved. It uses nothing of the
// manager that changes.
func (m *Manager) compile(resolved []policy.Policy, number uint32, marks marks) (*compile.Revision, error) {
	return compile.Compile(resolved, compile.Options{Number: number, Key: m.key, Resolve: resolve, Mounts: mounts, Mark: marks.mark})
}

// attachedFor returns the programs of the operations that are to be attached for a set.
func (m *Manager) attachedFor(set []policy.Policy) (map[policy.Operation][]string, error) {
	attached := m.attached
	if m.options.AutoAttach {
		attached = map[policy.Operation][]string{}
	}
	for _, p := range set {
		for _, r := range p.Rules {
			switch {
			case attached[r.Operation] != nil:
			case !m.options.AutoAttach:
				return nil, fmt.Errorf("policy %q: %s: %w; attach it first", p.Name, r.Operation, ErrNotAttached)
			case m.attached[r.Operation] != nil:
				attached[r.Operation] = m.attached[r.Operation]
			default:
				op, err := operationByName(r.Operation)
				if err != nil {
					return nil, err
				}
				if attached[r.Operation], _, err = op.available(); err != nil {
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
	resolved, err := policy.ResolveNames(set, m.users, m.groups)
	if err != nil {
		return Changes{}, err
	}
	if err := m.forgetMarks(set); err != nil {
		return Changes{}, err
	}
	number := m.number + 1
	compiled, err := m.compile(resolved, number, m.marks)
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
	var payload []byte
	if m.pins != nil {
		if payload, err = m.payload(set, attached, compiled.Rules); err != nil {
			return Changes{}, err
		}
	}
	// Alerts may come before Publish returns.
	m.remember(number, revision{set, compiled.Rules})
	m.number = number // whatever comes of it: the kernel may have seen it
	counters, err := m.object.Publish(compiled.Lines, compiled.Counters, len(compiled.Rules), programs, payload)
	if err != nil {
		return Changes{}, err
	}
	m.counted.add(m.set, set, m.rules, counters)
	changes := compare(m.set, set)
	changes.Revision = number
	m.set, m.rules, m.attached = set, compiled.Rules, attached
	m.forget.Reset(forgetTime)
	return changes, m.object.DetachExcept(programs)
}

// programsFor returns the programs that a set needs.
func programsFor(set []policy.Policy, attached map[policy.Operation][]string) ([]string, error) {
	programs := slices.Concat(slices.Collect(maps.Values(attached))...)
	for _, op := range operations {
		if !needsRevoke(set, op.name) {
			continue
		}
		_, revoke, err := op.available()
		if err != nil {
			return nil, err
		}
		programs = append(programs, revoke...)
	}
	slices.Sort(programs)
	return slices.Compact(programs), nil
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

func (m *Manager) remember(number uint32, g revision) {
	m.historyMu.Lock()
	defer m.historyMu.Unlock()
	m.history[number] = g
	delete(m.history, number-keptRevisions)
	rules := 0
	for _, n := range slices.Backward(slices.Sorted(maps.Keys(m.history))) {
		if rules += len(m.history[n].rules); rules > keptRules && n != number && n != m.number {
			delete(m.history, n)
		}
	}
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
