package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestTargetsNameWhatIsMeasured(t *testing.T) {
	for _, target := range targets {
		if !slices.Contains(workloadOrder, target.workload) || !slices.Contains(setupOrder, target.setup) {
			t.Errorf("%s, %s: no table has it", target.workload, target.setup)
		}
	}
}

// TestTablesNameWhatTheGuestMeasures compares names that two programs must spell alike.
func TestTablesNameWhatTheGuestMeasures(t *testing.T) {
	workloads, err := os.ReadFile("guest/workload.go")
	if err != nil {
		t.Fatal(err)
	}
	policies, err := os.ReadFile("guest/policies.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range workloadOrder {
		if !bytes.Contains(workloads, []byte(`name: "`+strings.TrimSuffix(name, meanOf)+`"`)) {
			t.Errorf("the guest has no workload %q", name)
		}
	}
	for _, name := range []string{allowAll, globs, another, subjects, lineage, revoke} {
		if !bytes.Contains(policies, []byte(`{"`+name+`", `)) {
			t.Errorf("the guest has no condition %q", name)
		}
	}
}

func TestPrintTargets(t *testing.T) {
	figures := map[string]map[string]float64{
		"open+close, depth 3":            {nothing: 5000, allowAll: 5300, "Landlock, 10 rules": 6000},
		"open+close after a lazy umount": {nothing: 5000, allowAll: 6400},
		"fork+exec+wait":                 {nothing: 100_000, lineage: 102_000, "empty programs": 100_500},
		"read":                           {nothing: 1000, allowAll: 1000, revoke: 1480},
	}
	for kernel, want := range map[string]string{
		"6.12": `
Targets on kernel 6.12: 3 of 5 are missed. The worst comes first.

| | with | measured | target | met | empty programs | Landlock, 10 rules | AppArmor, 10 rules |
|---|---|---:|---:|---|---:|---:|---:|
| fork+exec+wait | descendants | 2.0 % | 0.9 % | **no** | 0.5 % | | |
| open+close after a lazy umount | allow: all, 1000 rules | 1400 | 700 | **no** | | | |
| read | revoke | 480 | 300 | **no** | | | |
| open+close, depth 3 | allow: all, 1000 rules | 300 | 330 | yes | | 1000 | |
| read | allow: all, 1000 rules | 0 | 0 | yes | | | |
`,
		"6.1": "\nTargets on kernel 6.1: 2 of 5 are missed. The worst comes first.\n",
	} {
		var b strings.Builder
		if printTargets(&b, kernel, figures); !strings.HasPrefix(b.String(), want) {
			t.Errorf("%s:\n%s\nwant\n%s", kernel, b.String(), want)
		}
	}
}
