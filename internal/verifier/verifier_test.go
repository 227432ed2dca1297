package verifier

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const counts = "processed 44349 insns (limit 1000000) max_states_per_insn 11 total_states 1329 peak_states 1209 mark_read 61\n"
	for _, log := range []string{
		"verification time 824938 usec\nstack depth 96+0+16\n" + counts,
		"verification time 9 usec\nstack depth max 112\nsubprog 0 (capset) main insns_self 3 insns_total 9 stack 96\n" +
			"subprog 1 (judge) global insns_self 1 insns_total 2 stack 0\nsubprog 2 (send) static insns_self 6 insns_total 6 stack 16\n" + counts,
	} {
		f, stacks, err := Parse(log)
		if err != nil || f != (Figures{Processed: 44349, PeakStates: 1209}) || !slices.Equal(stacks, []int{96, 0, 16}) {
			t.Errorf("%+v, %v, %v", f, stacks, err)
		}
	}
	for _, log := range []string{"", "processed 1 insns (limit 1000000)", "processed 1 insns peak_states 2", "processed 1 insns peak_states 2\nstack depth 1++2", "processed 1 insns peak_states 2\nstack depth max 7"} {
		if _, _, err := Parse(log); err == nil {
			t.Errorf("%q is taken for statistics", log)
		}
	}
}

func TestDeepest(t *testing.T) {
	functions, stacks := []string{"main", "a", "b", "leaf"}, []int{40, 0, 100, 33}
	for name, c := range map[string]struct {
		calls map[string][]string
		want  int
	}{
		"no calls":       {nil, 64},
		"one":            {map[string][]string{"main": {"a"}}, 96},
		"the deeper":     {map[string][]string{"main": {"a", "b"}, "a": {"leaf"}, "b": nil}, 192},
		"a chain":        {map[string][]string{"main": {"a", "b"}, "a": {"leaf"}, "b": {"leaf"}}, 256},
		"one cut out":    {map[string][]string{"main": {"gone"}}, 64},
		"calls itself":   {map[string][]string{"main": {"a"}, "a": {"a"}}, 128},
		"of another one": {map[string][]string{"other": {"b"}}, 64},
	} {
		if got, err := Deepest(functions, stacks, c.calls); err != nil || got != c.want {
			t.Errorf("%s: %d, %v, want %d", name, got, err, c.want)
		}
	}
	if _, err := Deepest(functions, stacks[1:], nil); err == nil {
		t.Error("functions without a stack are accepted")
	}
}

func TestCompare(t *testing.T) {
	processed := func(n int) map[string]Figures { return map[string]Figures{"file_open": {Processed: n, Stack: 512}} }
	for name, c := range map[string]struct {
		before, now map[string]Figures
		want        string
	}{
		"the same":            {processed(50_000), processed(50_000), ""},
		"less":                {processed(50_000), processed(10_000), ""},
		"a tenth more":        {processed(50_000), processed(55_000), ""},
		"over a tenth more":   {processed(50_000), processed(55_001), "processed 55001 instructions, 50000 before"},
		"a thousand more":     {processed(500), processed(1500), ""},
		"over a thousand":     {processed(500), processed(1501), "1501 instructions, 500 before"},
		"near the limit":      {processed(500_000), processed(500_001), "more than 500000"},
		"deep":                {processed(1), map[string]Figures{"file_open": {Processed: 1, Stack: 513}}, "513 bytes of stack"},
		"unknown":             {nil, processed(1), "file_open on 6.12: no figures are written down; `make bench-verifier`"},
		"no longer a program": {processed(1), nil, "was not loaded"},
	} {
		got := strings.Join(Compare("6.12", c.before, c.now), "\n")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
