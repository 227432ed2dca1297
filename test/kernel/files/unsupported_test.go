//go:build vm

package files

import (
	"errors"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testUnsupported asks for what cannot be enforced.
func testUnsupported(t *testing.T, g *guardtest.FileGuard) {
	for _, report := range ebpfguard.Probe().Operations {
		err := g.Supported(report.Operation)
		if report.Supported != (err == nil) || !report.Supported && report.Detail == "" {
			t.Errorf("%+v, %v", report, err)
		}
		if err != nil && !errors.Is(err, ebpfguard.ErrNotSupported) {
			t.Error(err)
		}
		for _, h := range report.Hooks {
			if !h.Available {
				t.Logf("%s: no hook %s (%s)", report.Operation, h.Name, h.Effect)
			}
		}
	}
	unknown := policy.Policy{Name: "x", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{{Operation: "inode_rename", Deny: guardtest.FilePatterns(nil)}}}
	if err := g.Attach(policy.FileOpen, "inode_rename"); !errors.Is(err, ebpfguard.ErrNotSupported) || !strings.Contains(err.Error(), "inode_rename") {
		t.Error(err)
	}
	if _, err := g.Apply([]policy.Policy{unknown}); err == nil || !strings.Contains(err.Error(), "inode_rename") {
		t.Error(err)
	}
	m, err := ebpfguard.NewManager(ebpfguard.Options{})
	guardtest.Check(t, err)
	defer m.Close()
	if _, err := m.Apply([]policy.Policy{guardtest.DenyFiles("x", ebpfguard.Everyone(), "/secret")}); !errors.Is(err, ebpfguard.ErrNotAttached) || !strings.Contains(err.Error(), "file_open") {
		t.Error(err)
	}
	if _, err := m.Apply(nil); err != nil {
		t.Error(err)
	}
}
