package ebpfguard

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/policy"
)

// waiting is how long a test waits for what must not wait.
const waiting = time.Minute

func nobodyBinds(name string) policy.Policy {
	return policy.Policy{Name: name, Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{
		{Operation: policy.SocketBind, Deny: []policy.Pattern{policy.SocketPattern{All: true}}},
	}}
}

// enforcing returns a manager as if it enforced a set, without the kernel.
func enforcing(t *testing.T) *Manager {
	t.Helper()
	m := newManager(Options{AllowGaps: true}, nil)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	m.takeover = &Takeover{Revision: 7}
	m.current.change(func(s *state) {
		s.revision, s.set = 7, []policy.Policy{nobodyBinds("nobody-binds")}
		s.attached = s.withAttached(policy.SocketBind, []string{"socket_bind"})
		s.counted = ruleCounts{"nobody-binds": {{Hits: 3}}}
	})
	return m
}

func bindHook(m *Manager) *Hook[SocketBind, SocketBindAlert] {
	return &Hook[SocketBind, SocketBindAlert]{
		manager: m, operation: &socketBind,
		toP: func(p policy.Policy, r policy.Rule) SocketBind { return SocketBind(ruleOf[policy.SocketPattern](p, r)) },
	}
}

// TestAttachAgain attaches what is attached already: another handle of the same, for which no
// program is loaded. The object has none, and attaching one would fail.
func TestAttachAgain(t *testing.T) {
	m := enforcing(t)
	m.object = &bpf.Object{}
	defer func() { m.object = nil }()
	hook := bindHook(m)
	for range 2 {
		again, err := m.AttachSocketBind()
		if err != nil {
			t.Fatal(err)
		}
		if again == hook || again.manager != hook.manager || again.operation != hook.operation {
			t.Errorf("got %+v, want a handle of %+v", again, hook)
		}
		if policies := again.Policies(); len(policies) != 1 || policies[0].Name != "nobody-binds" {
			t.Errorf("its policies are %+v", policies)
		}
		hook = again
	}
	if err := m.Attach(policy.SocketBind, policy.SocketBind); err != nil {
		t.Error(err)
	}
	if attached := m.current.peek().attached; len(attached) != 1 {
		t.Errorf("attached are %v", attached)
	}
}

// TestAttachClosed expects that no operation can be attached to a closed manager.
func TestAttachClosed(t *testing.T) {
	m := newManager(Options{}, nil)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	for name, attach := range map[string]func() error{
		"FileOpen":          func() error { _, err := m.AttachFileOpen(); return err },
		"BprmCheckSecurity": func() error { _, err := m.AttachBprmCheckSecurity(); return err },
		"SbMount":           func() error { _, err := m.AttachSbMount(); return err },
		"SbRemount":         func() error { _, err := m.AttachSbRemount(); return err },
		"SbUmount":          func() error { _, err := m.AttachSbUmount(); return err },
		"TaskFixSetuid":     func() error { _, err := m.AttachTaskFixSetuid(); return err },
		"SocketBind":        func() error { _, err := m.AttachSocketBind(); return err },
		"SocketConnect":     func() error { _, err := m.AttachSocketConnect(); return err },
	} {
		if err := attach(); !errors.Is(err, ErrClosed) {
			t.Errorf("Attach%s: %v", name, err)
		}
	}
}

// TestReadersDoNotWait asks a manager everything while a writer holds its lock, as it does
// while it compiles and loads.
func TestReadersDoNotWait(t *testing.T) {
	m := enforcing(t)
	m.mu.Lock()
	defer m.mu.Unlock()
	hook := bindHook(m)
	for name, read := range map[string]func() error{
		"Stats":           func() error { _, err := m.Stats(policy.SocketBind); return err },
		"EnrichmentStats": func() error { _, err := m.EnrichmentStats(); return err },
		"AlertsLost":      func() error { _, err := m.AlertsLost(); return err },
		"Check":           func() error { return m.Check([]policy.Policy{nobodyBinds("other")}) },
		"Sequence":        func() error { m.Sequence().Store(m.Sequence().Load() + 1); return nil },
		"RuleStats": func() error {
			rules, err := m.RuleStats()
			if len(rules) != 1 || rules[0].Hits != 3 {
				t.Errorf("RuleStats: %+v", rules)
			}
			return err
		},
		"Policies": func() error {
			if n := len(m.Policies()); n != 1 {
				t.Errorf("%d policies", n)
			}
			return nil
		},
		"Hook.Policies": func() error {
			if n := len(hook.Policies()); n != 1 {
				t.Errorf("%d policies of the hook", n)
			}
			return nil
		},
		"Takeover": func() error {
			if took, ok := m.Takeover(); !ok || took.Revision != 7 {
				t.Errorf("took over %+v", took)
			}
			return nil
		},
		"Alerts": func() error {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			alerts := hook.Alerts(ctx)
			m.stream.deliver(SocketBindAlert{AlertContext: AlertContext{Operation: policy.SocketBind}})
			for _, err := range alerts {
				cancel()
				if err != nil {
					return err
				}
			}
			return nil
		},
	} {
		done := make(chan error, 1)
		go func() { done <- read() }()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(waiting):
			t.Fatalf("%s waits for the writer", name)
		}
	}
}

// TestReplacedState replaces a state again and again while others use it: what only the
// former one used is closed, and nobody may find it closed.
func TestReplacedState(t *testing.T) {
	const states, readers = 2000, 4
	var closed [states + 1]atomic.Bool
	var c current
	c.replace(newState())
	done := make(chan struct{})
	var group sync.WaitGroup
	for range readers {
		group.Go(func() {
			last := uint32(0)
			for {
				s := c.take()
				if s.revision < last {
					t.Errorf("state %d after state %d", s.revision, last)
				}
				if last = s.revision; closed[last].Load() {
					t.Errorf("state %d is used and closed", last)
				}
				s.give()
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range uint32(states) {
		c.change(func(s *state) { s.revision = i + 1 })
		closed[i].Store(true)
	}
	close(done)
	group.Wait()
	// Who still uses a state is waited for.
	s, replaced := c.take(), make(chan struct{})
	go func() { c.replace(state{closed: true}); close(replaced) }()
	for !c.peek().closed {
		time.Sleep(time.Millisecond)
	}
	select {
	case <-replaced:
		t.Error("a state that is used was given up")
	default:
	}
	s.give()
	<-replaced
}

// TestClosedManager closes a manager from two sides while others ask it. Afterwards all
// that can fail says so, and all iterations end.
func TestClosedManager(t *testing.T) {
	m := enforcing(t)
	var group sync.WaitGroup
	begun := make(chan struct{})
	group.Go(func() {
		alerts := m.Alerts(context.Background())
		close(begun)
		for _, err := range alerts {
			t.Errorf("an alert, %v", err)
		}
	})
	<-begun
	for range 2 {
		group.Go(func() {
			for {
				if _, err := m.RuleStats(); errors.Is(err, ErrClosed) {
					return
				} else if err != nil {
					t.Error(err)
				}
			}
		})
		group.Go(func() {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	_, applied := m.Apply(nil)
	_, stats := m.Stats(policy.SocketBind)
	_, rules := m.RuleStats()
	_, enriched := m.EnrichmentStats()
	_, lost := m.AlertsLost()
	for name, err := range map[string]error{
		"Apply": applied, "Stats": stats, "RuleStats": rules, "EnrichmentStats": enriched, "AlertsLost": lost,
		"Attach": m.Attach(policy.SocketBind), "Check": m.Check(nil), "Remove": m.Remove(),
		"Detach": bindHook(m).Detach(),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for alert, err := range m.Alerts(context.Background()) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("alert %v, %v", alert, err)
		}
	}
	if n := len(m.Policies()); n != 1 {
		t.Errorf("%d policies", n)
	}
}

// TestHistory keeps what alerts may still be about: not too many rules, but always those of
// the last two revisions.
func TestHistory(t *testing.T) {
	var h history
	large := nobodyBinds("large")
	for len(large.Rules) <= keptRules {
		large.Rules = append(large.Rules, large.Rules...)
	}
	small := nobodyBinds("small")
	known := func(number uint32) bool { _, _, ok := h.rule(number, 0); return ok }
	for n := uint32(1); n <= keptRevisions+1; n++ {
		h.add(n, []policy.Policy{small, nobodyBinds("other")})
	}
	if known(1) || !known(2) {
		t.Errorf("of %d revisions the first is known: %v, the second: %v", keptRevisions+1, known(1), known(2))
	}
	if p, rule, ok := h.rule(2, 1); !ok || p.Name != "other" || rule != 0 {
		t.Errorf("rule 1 is %d of %q, %v", rule, p.Name, ok)
	}
	for _, index := range []int{-1, 2} {
		if _, _, ok := h.rule(2, index); ok {
			t.Errorf("rule %d is known", index)
		}
	}
	h.add(1000, []policy.Policy{large})
	h.add(1001, []policy.Policy{large})
	if known(keptRevisions+1) || !known(1000) || !known(1001) {
		t.Error("the rules of former sets are kept beside two large ones, or those of the large ones are not")
	}
	h.add(1002, []policy.Policy{small})
	if known(1000) || !known(1001) || !known(1002) {
		t.Error("the last two are not those that are kept")
	}
}
