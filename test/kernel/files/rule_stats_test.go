//go:build vm

package files

import (
	"slices"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testRuleStats counts what rules decide.
func testRuleStats(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	first, second, third := guardtest.WriteFile(t, dir+"/first", ""), guardtest.WriteFile(t, dir+"/second", ""), guardtest.WriteFile(t, dir+"/third", "")
	program := guardtest.CopyProgram(t, dir+"/program")
	d := guardtest.StartDoer(t, program)
	one := guardtest.DenyFiles("one", ebpfguard.Binaries(program), first)
	one.Rules = append(one.Rules, policy.Rule{Operation: policy.FileOpen, Deny: guardtest.FilePatterns([]string{second}), Verdict: policy.Audit})
	other := guardtest.DenyFiles("other", ebpfguard.Binaries(program), third)
	open := func(t *testing.T) {
		t.Helper()
		for _, path := range []string{first, second, second, third, third, third} {
			d.Do("open", path, "r")
		}
		d.Passed(t, "open", program, "r")
	}
	want := func(t *testing.T, hits ...uint64) {
		t.Helper()
		stats, err := g.RuleStats()
		guardtest.Check(t, err)
		var got []uint64
		for i, s := range stats {
			got = append(got, s.Hits)
			if s.Operation != policy.FileOpen || s.Policy == "one" && s.Rule != i%2 || s.Policy == "" {
				t.Errorf("%+v", s)
			}
		}
		if !slices.Equal(got, hits) {
			t.Errorf("hits %v, want %v", got, hits)
		}
	}
	before, err := g.Stats(policy.FileOpen)
	guardtest.Check(t, err)
	g.Enforce(t, one)
	want(t, 0, 0)
	open(t)
	want(t, 1, 2)
	g.Enforce(t, one, other) // it stays as it is
	want(t, 1, 2, 0)
	open(t)
	want(t, 2, 4, 3)
	g.Enforce(t, other, one) // in another order
	open(t)
	stats, err := g.RuleStats()
	guardtest.Check(t, err)
	for i, s := range []ebpfguard.RuleStats{
		{Policy: "other", Rule: 0, Operation: policy.FileOpen, Hits: 6}, {Policy: "one", Rule: 0, Operation: policy.FileOpen, Hits: 3},
		{Policy: "one", Rule: 1, Operation: policy.FileOpen, Hits: 6},
	} {
		if stats[i] != s {
			t.Errorf("%+v, want %+v", stats[i], s)
		}
	}
	other.Rules[0].Message = "changed"
	g.Enforce(t, one, other)
	want(t, 3, 6, 0)
	g.Enforce(t, other)
	g.Enforce(t, one)
	want(t, 0, 0)
	g.Enforce(t)
	want(t)
	after, err := g.Stats(policy.FileOpen)
	guardtest.Check(t, err)
	if after.Denied-before.Denied != 9 || after.Audited-before.Audited != 6 || after.Undecided != before.Undecided {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if n := g.Drain(t); n != 15 {
		t.Errorf("%d alerts", n)
	}
}
