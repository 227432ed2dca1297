//go:build vm

package vm

import (
	"context"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/coverage"
)

func TestMain(m *testing.M) {
	coverage.ActIfAsked()
	os.Exit(m.Run())
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
	m, err := ebpfguard.NewManager(ebpfguard.Options{AlertBytes: 32 << 20, AllowGaps: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	start := time.Now()
	if err := m.Attach(policy.Operations()...); err != nil {
		t.Fatalf("%+v", err)
	}
	t.Logf("all operations attached in %v", time.Since(start).Round(time.Millisecond))
	// Each refusal is an alert; some of them have to be read, or all are lost.
	alerts := m.Alerts(context.Background())
	counts := make(chan int)
	go func() {
		n := 0
		for _, err := range alerts {
			if err == nil {
				n++
			}
		}
		counts <- n
	}()
	results := coverage.Run(t, o, func(yaml string) (func(), error) {
		set, err := policy.Parse("coverage.yaml", []byte(yaml))
		if err != nil {
			return nil, err
		}
		if _, err := m.Apply(set); err != nil {
			return nil, err
		}
		return func() {
			if _, err := m.Apply(nil); err != nil {
				t.Error(err)
			}
		}, nil
	})
	refused := 0
	for _, r := range results {
		r.Print(os.Stdout)
		if r.Outcome == coverage.Refused {
			refused++
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if n := <-counts; n < refused {
		t.Errorf("%d ways were refused, but there were %d alerts only", refused, n)
	} else {
		t.Logf("%d ways refused, %d alerts", refused, n)
	}
}
