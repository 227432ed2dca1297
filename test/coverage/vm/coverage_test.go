//go:build vm

package vm

import (
	"os"
	"regexp"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/coverage"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

func TestMain(m *testing.M) {
	coverage.ActIfAsked()
	os.Exit(guardtest.Run(m))
}

// TestCoverage runs every way without a policy, when it has to succeed, and
// under one that forbids it. It prints the rows of docs/coverage.md.
func TestCoverage(t *testing.T) {
	vmtest.Require(t, "file_open")
	k, _ := vmtest.Guest()
	o := coverage.Options{Kernel: k.Name}
	if pattern := os.Getenv("EBPFGUARD_WAYS"); pattern != "" {
		o.Match = regexp.MustCompile(pattern)
	}
	g := guardtest.Shared(t)
	alerts := g.Divert(t)
	results := coverage.Run(t, o, func(yaml string) (func(), error) {
		set, err := policy.Parse("coverage.yaml", []byte(yaml))
		if err != nil {
			return nil, err
		}
		if _, err := g.Apply(set); err != nil {
			return nil, err
		}
		return func() {
			if _, err := g.Apply(nil); err != nil {
				t.Error(err)
			}
		}, nil
	})
	if len(results) == 0 {
		t.Fatalf("no way is called %v", o.Match)
	}
	refused := 0
	for _, r := range results {
		r.Print(os.Stdout)
		if r.Outcome == coverage.Refused {
			refused++
		}
	}
	g.Settle(t)
	if n := len(alerts); n < refused {
		t.Errorf("%d ways were refused, but there were %d alerts only", refused, n)
	} else {
		t.Logf("%d ways refused, %d alerts", refused, n)
	}
}
