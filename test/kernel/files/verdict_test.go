//go:build vm

package files

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testVerdicts are the verdicts, and what a rule adds to its alerts.
func testVerdicts(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	program := guardtest.CopyProgram(t, dir+"/program")
	subject := ebpfguard.Binaries(program)
	secret := guardtest.WriteFile(t, dir+"/secret", "x")
	rule := policy.Rule{
		Deny: guardtest.FilePatterns([]string{secret, dir + "/made"}), Message: "nobody \"reads\" this\n", Severity: policy.SeverityHigh, Tags: []string{"a", "b"},
	}
	with := func(mode policy.Mode, verdict policy.Verdict) policy.Policy {
		p := guardtest.FilePolicy("test", subject, rule)
		p.Mode, p.Rules[0].Verdict = mode, verdict
		return p
	}
	// alert wants the next alert to be the rule's.
	alert := func(t *testing.T, d *guardtest.Doer, verdict policy.Verdict, access policy.Access) ebpfguard.FileOpenAlert {
		t.Helper()
		a, ok := g.Next(t).(ebpfguard.FileOpenAlert)
		if !ok || a.PID != uint32(d.PID) || a.Verdict != verdict || a.Access != access || a.Policy != "test" || a.Rule != 0 || a.Undecided {
			t.Fatalf("alert %v", a)
		}
		if a.Message != rule.Message || a.Severity != rule.Severity || !slices.Equal(a.Tags, rule.Tags) {
			t.Errorf("message %q, severity %s, tags %q", a.Message, a.Severity, a.Tags)
		}
		if a.Binary != program || a.ParentBinary == "" || a.UID != 0 || a.Operation != policy.FileOpen || a.Hook == "" {
			t.Errorf("alert %+v", a)
		}
		if json, err := a.MarshalJSON(); err != nil || !strings.Contains(string(json), `"verdict":"`+verdict.String()+`"`) {
			t.Errorf("%s, %v", json, err)
		}
		return a
	}

	t.Run("deny", func(t *testing.T) {
		g.Enforce(t, with(0, 0))
		d := guardtest.StartDoer(t, program)
		for mode, access := range map[string]policy.Access{"r": policy.Read, "w": policy.Write, "rw": policy.Read | policy.Write} {
			if o := d.Do("open", secret, mode); o.Errno != syscall.EPERM {
				t.Errorf("%s: %v", mode, o)
			}
			if a := alert(t, d, policy.Deny, access); a.Path != secret || a.Hook != "file_open" {
				t.Errorf("alert %v", a)
			}
		}
		guardtest.StartDoer(t, "/proc/self/exe").Passed(t, "open", secret, "rw")
	})
	for name, p := range map[string]policy.Policy{
		"mode audit": with(policy.ModeAudit, 0), "mode audit of kill": with(policy.ModeAudit, policy.Kill), "verdict audit": with(policy.ModeEnforce, policy.Audit),
	} {
		t.Run(name, func(t *testing.T) {
			g.Enforce(t, p)
			d := guardtest.StartDoer(t, program)
			d.Passed(t, "open", secret, "r")
			alert(t, d, policy.Audit, policy.Read)
			d.Passed(t, "mknod", dir+"/made")
			if a := alert(t, d, policy.Audit, policy.Write); a.Path != dir+"/made" || a.Hook != "path_mknod" {
				t.Errorf("alert %v", a)
			}
			d.Passed(t, "unlink", dir+"/made")
			alert(t, d, policy.Audit, policy.Write)
			guardtest.StartDoer(t, "/proc/self/exe").Passed(t, "open", secret, "rw")
		})
	}
	t.Run("kill", func(t *testing.T) {
		g.Enforce(t, with(0, policy.Kill))
		before, err := g.Stats(policy.FileOpen)
		guardtest.Check(t, err)
		for _, test := range []struct {
			access policy.Access
			args   []string
		}{
			{policy.Read, []string{"open", secret, "r"}}, {policy.Write, []string{"open", dir + "/made", "create"}}, {policy.Write, []string{"unlink", secret}},
			{policy.Write, []string{"rename", program, dir + "/made"}}, {policy.Write, []string{"truncate", secret}},
		} {
			d := guardtest.StartDoer(t, program)
			if o := d.Do(test.args[0], test.args[1:]...); o.Errno != syscall.ESRCH {
				t.Errorf("%q: %v", test.args, o)
			}
			if status := d.Stop().Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
				t.Errorf("%q: ended with %v", test.args, status)
			}
			alert(t, d, policy.Kill, test.access)
		}
		after, err := g.Stats(policy.FileOpen)
		guardtest.Check(t, err)
		if after.Killed-before.Killed != 5 || after.Denied-before.Denied != 5 {
			t.Errorf("%d denied and %d killed, want 5", after.Denied-before.Denied, after.Killed-before.Killed)
		}
		// Nothing of that has happened.
		if content, err := os.ReadFile(secret); string(content) != "x" || err != nil {
			t.Errorf("%q, %v", content, err)
		}
		if _, err := os.Stat(dir + "/made"); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		if _, err := os.Stat(program); err != nil {
			t.Error(err)
		}
		guardtest.StartDoer(t, "/proc/self/exe").Passed(t, "open", secret, "rw")
	})
	t.Run("stricter of two", func(t *testing.T) {
		kill, deny := with(0, policy.Kill), with(0, 0)
		deny.Name = "deny"
		g.Enforce(t, deny, kill)
		d := guardtest.StartDoer(t, program)
		if o := d.Do("open", secret, "r"); o.Errno != syscall.ESRCH {
			t.Errorf("%v", o)
		}
		alert(t, d, policy.Kill, policy.Read)
	})
}

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

// testRevoke refuses descriptors that were opened before.
func testRevoke(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	secret, public := guardtest.WriteFile(t, dir+"/secret", "x"), guardtest.WriteFile(t, dir+"/public", "x")
	program := guardtest.CopyProgram(t, dir+"/program")
	start := func(t *testing.T, program string) *guardtest.Doer {
		t.Helper()
		d := guardtest.StartDoer(t, program)
		d.Passed(t, "hold", "secret", secret, "rw")
		d.Passed(t, "hold", "public", public, "rw")
		return d
	}
	revoke := guardtest.FilePolicy("revoke", ebpfguard.Binaries(program), policy.Rule{Deny: guardtest.FilePatterns([]string{secret}), Revoke: true})
	d, bystander := start(t, program), start(t, "/proc/self/exe")
	wantAttached := func(t *testing.T, want bool) {
		t.Helper()
		if got := guardtest.IsLoaded(t, "file_permission"); got != want {
			t.Errorf("file_permission is loaded: %v, want %v", got, want)
		}
	}
	wantAttached(t, false)

	t.Run("without", func(t *testing.T) {
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Binaries(program), secret))
		wantAttached(t, false)
		d.Passed(t, "read", "secret")
		d.Passed(t, "write", "secret")
		g.Refused(t, d, "open", secret, "r")
	})
	t.Run("with", func(t *testing.T) {
		g.Enforce(t, revoke)
		wantAttached(t, true)
		for errand, access := range map[string]policy.Access{"read": policy.Read, "write": policy.Write} {
			if a := g.Refused(t, d, errand, "secret"); a.Hook != "file_permission" || a.Path != secret || a.Access != access || a.Policy != "revoke" {
				t.Errorf("alert %v", a)
			}
			d.Passed(t, errand, "public")
			bystander.Passed(t, errand, "secret")
		}
		g.Refused(t, d, "open", secret, "r")
	})
	t.Run("no longer", func(t *testing.T) {
		wantAttached(t, false)
		d.Passed(t, "read", "secret")
	})
	t.Run("one access", func(t *testing.T) {
		p := revoke
		p.Rules = slices.Clone(p.Rules)
		p.Rules[0].Deny = []policy.Pattern{policy.FilePattern{Paths: []string{dir + "/"}, Access: policy.Write}}
		g.Enforce(t, p)
		d.Passed(t, "read", "secret")
		g.Refused(t, d, "write", "secret")
		g.Refused(t, d, "write", "public")
	})
	t.Run("only the rules that say so", func(t *testing.T) {
		other := guardtest.DenyFiles("other", ebpfguard.Binaries(program), public)
		g.Enforce(t, revoke, other)
		wantAttached(t, true)
		d.Passed(t, "read", "public")
		g.Refused(t, d, "open", public, "r")
		g.Refused(t, d, "read", "secret")
		g.Enforce(t, other)
		wantAttached(t, false)
		d.Passed(t, "read", "secret")
	})
	t.Run("an exception", func(t *testing.T) {
		everyone := guardtest.FilePolicy("everyone", ebpfguard.Everyone(), policy.Rule{Deny: guardtest.FilePatterns([]string{secret}), Revoke: true})
		g.Enforce(t, everyone, guardtest.AllowFiles("but", ebpfguard.Binaries(program), secret))
		d.Passed(t, "read", "secret")
		g.Refused(t, bystander, "read", "secret")
	})
	t.Run("audit", func(t *testing.T) {
		audit := revoke
		audit.Mode = policy.ModeAudit
		g.Enforce(t, audit)
		d.Passed(t, "read", "secret")
		if a := g.Next(t).Context(); a.Verdict != policy.Audit || a.Hook != "file_permission" {
			t.Errorf("alert %v", a)
		}
	})
	t.Run("what cannot be decided", func(t *testing.T) {
		deep := guardtest.WriteFile(t, dir+strings.Repeat("/d", 70)+"/file", "")
		other := guardtest.StartDoer(t, guardtest.CopyProgram(t, dir+"/other"))
		for _, d := range []*guardtest.Doer{d, other, bystander} {
			d.Passed(t, "hold", "deep", deep, "r")
		}
		g.Enforce(t, revoke, guardtest.DenyFiles("other", ebpfguard.Binaries(dir+"/other"), secret))
		g.Undecided(t, d, "read", "deep")
		g.Undecided(t, other, "open", deep, "r")
		other.Passed(t, "read", "deep") // no rule about it revokes
		bystander.Passed(t, "read", "deep")
	})
	t.Run("renamed and unlinked", func(t *testing.T) {
		g.Enforce(t, revoke)
		guardtest.Check(t, os.Rename(secret, dir+"/renamed"))
		g.Refused(t, d, "read", "secret")
		guardtest.Check(t, os.Remove(dir+"/renamed"))
		g.Refused(t, d, "read", "secret")
	})
}

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
