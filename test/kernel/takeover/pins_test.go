//go:build vm

package takeover

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestPinned kills the manager: what it enforced goes on, for processes that are
// started later as well, and the next one takes it over with the alerts.
func TestPinned(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	cleanPins(t)
	a := guardtest.StartActor(t, "/proc/self/exe")
	named := policy.Policy{Name: "by-name", Subject: policy.Subject{Binaries: []string{guardtest.CopyProgram(t, filepath.Join(t.TempDir(), "named"))}}, Rules: []policy.Rule{
		{Operation: policy.SocketBind, Deny: []policy.Pattern{guardtest.Ports(2024)}},
	}}
	set := []policy.Policy{nobodyBinds("everyone", 2022), named}
	killed, _ := startPinned(t, order{Set: set})
	a.WantRefused(t, 2022, "while it lives")
	if info, err := os.Stat(pinPath); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the pins have mode %v, %v", info.Mode(), err)
	}
	if _, err := ebpfguard.NewManager(pinnedOptions()); !errors.Is(err, ebpfguard.ErrPinsInUse) {
		t.Errorf("a second manager: %v", err)
	}
	killed.kill(t)
	for range 3 {
		a.WantRefused(t, 2022, "after it was killed")
	}
	a.WantBound(t, 2023, "what is allowed, after it was killed")
	late := guardtest.StartActor(t, named.Subject.Binaries[0])
	late.WantRefused(t, 2024, "a program that was started after")
	a.WantBound(t, 2024, "another program")

	m, err := ebpfguard.NewManager(pinnedOptions())
	guardtest.Check(t, err)
	former, ok := m.Takeover()
	if !ok || former.Revision == 0 || former.Renewed || former.Migrated || former.Lost != 0 {
		t.Errorf("took over %+v, %v", former, ok)
	}
	if names := policyNames(former.Policies); !slices.Equal(names, []string{"everyone", "by-name"}) {
		t.Errorf("took over the policies %v", names)
	}
	stats, err := m.Stats(policy.SocketBind)
	if err != nil || stats.Denied != 5 || stats.AlertsLost != 0 {
		t.Errorf("taken over: %+v, %v", stats, err)
	}
	rules, err := m.RuleStats()
	if err != nil || len(rules) != 2 || rules[0].Hits != 4 || rules[1].Hits != 1 {
		t.Errorf("taken over: %+v, %v", rules, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), guardtest.Patience)
	defer cancel()
	var policies []string
	for alert, err := range m.Alerts(ctx) {
		guardtest.Check(t, err)
		policies = append(policies, alert.Context().Policy)
		if len(policies) == 5 {
			break
		}
	}
	if !slices.Equal(policies, []string{"everyone", "everyone", "everyone", "everyone", "by-name"}) {
		t.Errorf("alerts of the policies %v", policies)
	}
	changes, err := m.Apply([]policy.Policy{set[0], nobodyBinds("more", 2023)})
	if err != nil || changes.Revision <= former.Revision || !slices.Equal(changes.Added, []string{"more"}) || !slices.Equal(changes.Removed, []string{"by-name"}) || changes.Changed != nil {
		t.Errorf("changes %+v, %v", changes, err)
	}
	a.WantRefused(t, 2023, "what the new set forbids")
	if rules, err := m.RuleStats(); err != nil || len(rules) != 2 || rules[0].Hits != 4 || rules[1].Hits != 1 {
		t.Errorf("after another set: %+v, %v", rules, err)
	}
	m.Sequence().Store(17)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	a.WantRefused(t, 2023, "after it was closed")
	if m, err = ebpfguard.NewManager(pinnedOptions()); err != nil {
		t.Fatal(err)
	}
	if rules, err := m.RuleStats(); err != nil || len(rules) != 2 || rules[0].Hits != 4 || rules[1].Hits != 2 {
		t.Errorf("taken over again: %+v, %v", rules, err)
	}
	if n := m.Sequence().Load(); n != 17 {
		t.Errorf("the sequence is %d", n)
	}
	if err := m.Remove(); err != nil {
		t.Error(err)
	}
	if pins, err := filepath.Glob("/sys/fs/bpf/*"); err != nil || len(pins) != 0 {
		t.Errorf("pins %v, %v", pins, err)
	}
	a.WantBound(t, 2022, "after it was removed")
}
