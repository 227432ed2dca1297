//go:build vm

package manager

import (
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
// and loads 12,000 rules, first with another set in force and then with as many: the
// answers come many times while one set is applied, and are whole.
func TestReadersWhileApplied(t *testing.T) {
	const policies, enough = 120, 20
	g := guardtest.Shared(t)
	t.Cleanup(func() { g.Drain(t) })
	before := []int{len(g.Policies()), policies}
	for round, had := range before {
		done := make(chan struct{})
		var group sync.WaitGroup
		times := map[string][]time.Duration{}
		sizes := map[int]bool{}
		group.Go(func() {
			for {
				for name, read := range map[string]func() error{
					"Stats":    func() error { _, err := g.Stats(policy.FileOpen); return err },
					"Policies": func() error { sizes[len(g.Policies())] = true; return nil },
					"RuleStats": func() error {
						rules, err := g.RuleStats()
						if n := len(rules); n != 100*policies && round > 0 {
							t.Errorf("counters of %d rules", n)
						}
						return err
					},
				} {
					begun := time.Now()
					if err := read(); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					select {
					case <-done: // it may have waited
						return
					default:
						times[name] = append(times[name], time.Since(begun))
					}
				}
			}
		})
		begun := time.Now()
		_, err := g.Apply(manyRules(policies, round))
		applied := time.Since(begun)
		close(done)
		group.Wait()
		if err != nil {
			t.Fatal(err)
		}
		for name, all := range times {
			slices.Sort(all)
			fmt.Printf("%d rules applied in %v, %d policies before; meanwhile %d times %s: half of them in %v, all in %v\n",
				100*policies, applied.Round(time.Millisecond), had, len(all), name, all[len(all)/2], all[len(all)-1])
			if slowest := all[len(all)-1]; len(all) < enough || slowest > applied/4 {
				t.Errorf("%s was answered %d times while a set was applied in %v, the slowest took %v; want %d times, each in a fraction of that", name, len(all), applied, slowest, enough)
			}
		}
		if len(times) != 3 {
			t.Errorf("answered were %v", times)
		}
		for size := range sizes {
			if size != had && size != policies {
				t.Errorf("%d policies while %d were replaced by %d", size, had, policies)
			}
		}
	}
	if _, err := g.Apply(nil); err != nil {
		t.Error(err)
	}
}
