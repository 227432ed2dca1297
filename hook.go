package ebpfguard

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/ebpfguard/ebpfguard/policy"
)

// Hook is an attached operation: P is its policy and A its alert. All hooks of
// a [Manager] share one policy set. To attach an operation again gives another
// handle of the same operation and costs nothing: it has the same policies and
// counters, and [Hook.Detach] of one ends both. When the operation is attached
// again after that, both work again, without the former policies.
type Hook[P any, A Alert] struct {
	manager   *Manager
	operation *operation
	toPolicy  func(P) policy.Policy
	toP       func(policy.Policy, policy.Rule) P
}

func attach[P any, A Alert](m *Manager, op *operation, toPolicy func(P) policy.Policy, toP func(policy.Policy, policy.Rule) P) (*Hook[P, A], error) {
	if err := m.Attach(op.name); err != nil {
		return nil, err
	}
	return &Hook[P, A]{m, op, toPolicy, toP}, nil
}

// AddPolicy adds a policy to the set. It is in force when AddPolicy returns nil;
// otherwise the former set is, see [Manager.Apply]. A policy without a name gets one:
// the operation and the first number that is free, such as socket_bind-1. It compiles
// the whole set; to add many policies, use Apply once.
func (h *Hook[P, A]) AddPolicy(p P) error {
	m := h.manager
	m.mu.Lock()
	defer m.mu.Unlock()
	added := h.toPolicy(p)
	if err := checkAdded(added); err != nil {
		return fmt.Errorf("%s: %w", h.operation.name, err)
	}
	if added.Name == "" {
		added.Name = m.freeName(h.operation.name)
	}
	_, err := m.apply(append(slices.Clone(m.current.peek().set), added))
	return err
}

// RemovePolicy removes a policy from the set. It enforces nothing any more when
// RemovePolicy returns nil; otherwise it still does. The error wraps [ErrNoPolicy] when
// there is none of that name. A policy with rules for other operations too is refused:
// replace the set with [Manager.Apply].
func (h *Hook[P, A]) RemovePolicy(name string) error {
	m := h.manager
	m.mu.Lock()
	defer m.mu.Unlock()
	set := m.current.peek().set
	for i, p := range set {
		if p.Name != name {
			continue
		}
		for _, r := range p.Rules {
			if r.Operation != h.operation.name {
				return fmt.Errorf("policy %q: it has rules for %s too; replace the set with Manager.Apply", name, r.Operation)
			}
		}
		_, err := m.apply(slices.Delete(slices.Clone(set), i, i+1))
		return err
	}
	return fmt.Errorf("policy %q: %w", name, ErrNoPolicy)
}

// Policies returns the rules for the operation in the set, each as a policy.
func (h *Hook[P, A]) Policies() []P {
	var policies []P
	for _, p := range h.manager.Policies() {
		for _, r := range p.Rules {
			if r.Operation == h.operation.name {
				policies = append(policies, h.toP(p, r))
			}
		}
	}
	return policies
}

// Alerts returns an iterator over the operation's alerts, see [Manager.Alerts].
func (h *Hook[P, A]) Alerts(ctx context.Context) iter.Seq2[A, error] {
	alerts := h.manager.alerts(ctx, h.operation.name)
	return func(yield func(A, error) bool) {
		for alert, err := range alerts {
			typed, _ := alert.(A)
			if !yield(typed, err) {
				return
			}
		}
	}
}

// Stats returns the operation's counters.
func (h *Hook[P, A]) Stats() (Stats, error) { return h.manager.Stats(h.operation.name) }

// Detach stops judging the operation and removes its rules from the set; a
// policy that has rules for other operations keeps those. The error wraps
// [ErrNotAttached] when the operation is not attached any more.
func (h *Hook[P, A]) Detach() error { return h.manager.detach(h.operation) }
