//go:build vm

package manager

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// manyRules returns a set with as many rules as policies times 100, which differs for
// every seed.
func manyRules(policies, seed int) []policy.Policy {
	var set []policy.Policy
	for i := range policies {
		p := policy.Policy{Name: fmt.Sprintf("many-%d", i), Subject: policy.Subject{Everyone: true}}
		for j := range 100 {
			path := fmt.Sprintf("/tmp/many/%d/%d/%d", seed, i, j)
			p.Rules = append(p.Rules, policy.Rule{Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: []string{path}}}})
		}
		set = append(set, p)
	}
	return set
}

// TestReadersWhileApplied asks a manager for its counters and policies while it compiles
// and loads 12,000 rules. First nothing else is in force, so that an answer costs little:
// there are many answers, each in a fraction of the time that the set takes. Then as many
// rules are in force, which have to be copied and counted, in emulation for a second or
// more: still an answer comes before the set is applied, more than once, and is whole.
func TestReadersWhileApplied(t *testing.T) {
	const policies = 120
	g := guardtest.Shared(t)
	t.Cleanup(func() { g.Drain(t) })
	if _, err := g.Apply(nil); err != nil {
		t.Fatal(err)
	}
	for round, had := range []int{0, policies} {
		whole := func(n, each int) error {
			if n != each*had && n != each*policies {
				return fmt.Errorf("%d while %d were replaced by %d", n, each*had, each*policies)
			}
			return nil
		}
		readers := map[string]func() error{
			"Stats":    func() error { _, err := g.Stats(policy.FileOpen); return err },
			"Policies": func() error { return whole(len(g.Policies()), 1) },
			"RuleStats": func() error {
				rules, err := g.RuleStats()
				return errors.Join(err, whole(len(rules), 100))
			},
		}
		var answers sync.Map // by name, those that came before the set was applied
		done := make(chan struct{})
		var group sync.WaitGroup
		for name, read := range readers {
			group.Go(func() {
				var times []time.Duration
				for {
					begun := time.Now()
					if err := read(); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					took := time.Since(begun)
					select {
					case <-done: // it may have waited
						answers.Store(name, times)
						return
					case <-time.After(time.Millisecond):
						times = append(times, took)
					}
				}
			})
		}
		begun := time.Now()
		_, err := g.Apply(manyRules(policies, round))
		applied := time.Since(begun)
		close(done)
		group.Wait()
		if err != nil {
			t.Fatal(err)
		}
		for name := range readers {
			all, _ := answers.Load(name)
			checkAnswers(t, name, all.([]time.Duration), applied, had > 0 && name != "Stats")
		}
	}
	if _, err := g.Apply(nil); err != nil {
		t.Error(err)
	}
}

// checkAnswers expects many quick answers while a set was applied, or some where each
// costs a lot. One that had to wait for the set would not be among them.
func checkAnswers(t *testing.T, name string, all []time.Duration, applied time.Duration, costly bool) {
	t.Helper()
	slices.Sort(all)
	fmt.Printf("12,000 rules applied in %v; %s answered %d times meanwhile, in %v\n", applied.Round(time.Millisecond), name, len(all), spread(all))
	enough, limit := 20, applied/4
	if costly {
		enough, limit = 2, applied
	}
	if len(all) < enough || all[len(all)-1] > limit {
		t.Errorf("%s was answered %d times while a set was applied in %v, in %v; want %d times, in %v at most", name, len(all), applied, spread(all), enough, limit)
	}
}

// spread returns the median and the longest of sorted times.
func spread(all []time.Duration) []time.Duration {
	if len(all) == 0 {
		return nil
	}
	return []time.Duration{all[len(all)/2].Round(time.Microsecond), all[len(all)-1].Round(time.Microsecond)}
}
