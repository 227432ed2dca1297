//go:build vm

package ebpfguard_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// testVerdicts are the verdicts, and what a rule adds to its alerts.
func testVerdicts(t *testing.T, g *fileGuard) {
	dir := t.TempDir()
	program := copyProgram(t, dir+"/program")
	subject := ebpfguard.Binaries(program)
	secret := write(t, dir+"/secret", "x")
	rule := policy.Rule{
		Deny: filePatterns([]string{secret, dir + "/made"}), Message: "nobody \"reads\" this\n", Severity: policy.SeverityHigh, Tags: []string{"a", "b"},
	}
	with := func(mode policy.Mode, verdict policy.Verdict) policy.Policy {
		p := filePolicy("test", subject, rule)
		p.Mode, p.Rules[0].Verdict = mode, verdict
		return p
	}
	// alert wants the next alert to be the rule's.
	alert := func(t *testing.T, d *doer, verdict policy.Verdict, access policy.Access) ebpfguard.FileOpenAlert {
		t.Helper()
		a, ok := g.next(t).(ebpfguard.FileOpenAlert)
		if !ok || a.PID != uint32(d.pid) || a.Verdict != verdict || a.Access != access || a.Policy != "test" || a.Rule != 0 || a.Undecided {
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
		g.apply(t, with(0, 0))
		d := startDoer(t, program)
		for mode, access := range map[string]policy.Access{"r": policy.Read, "w": policy.Write, "rw": policy.Read | policy.Write} {
			if o := d.do("open", secret, mode); o.Errno != syscall.EPERM {
				t.Errorf("%s: %v", mode, o)
			}
			if a := alert(t, d, policy.Deny, access); a.Path != secret || a.Hook != "file_open" {
				t.Errorf("alert %v", a)
			}
		}
		startDoer(t, "/proc/self/exe").passed(t, "open", secret, "rw")
	})
	for name, p := range map[string]policy.Policy{
		"mode audit": with(policy.ModeAudit, 0), "mode audit of kill": with(policy.ModeAudit, policy.Kill), "verdict audit": with(policy.ModeEnforce, policy.Audit),
	} {
		t.Run(name, func(t *testing.T) {
			g.apply(t, p)
			d := startDoer(t, program)
			d.passed(t, "open", secret, "r")
			alert(t, d, policy.Audit, policy.Read)
			d.passed(t, "mknod", dir+"/made")
			if a := alert(t, d, policy.Audit, policy.Write); a.Path != dir+"/made" || a.Hook != "path_mknod" {
				t.Errorf("alert %v", a)
			}
			d.passed(t, "unlink", dir+"/made")
			alert(t, d, policy.Audit, policy.Write)
			startDoer(t, "/proc/self/exe").passed(t, "open", secret, "rw")
		})
	}
	t.Run("kill", func(t *testing.T) {
		g.apply(t, with(0, policy.Kill))
		before, err := g.Stats(policy.FileOpen)
		check(t, err)
		for _, test := range []struct {
			access policy.Access
			args   []string
		}{
			{policy.Read, []string{"open", secret, "r"}}, {policy.Write, []string{"open", dir + "/made", "create"}}, {policy.Write, []string{"unlink", secret}},
			{policy.Write, []string{"rename", program, dir + "/made"}}, {policy.Write, []string{"truncate", secret}},
		} {
			d := startDoer(t, program)
			if o := d.do(test.args[0], test.args[1:]...); o.Errno != syscall.ESRCH {
				t.Errorf("%q: %v", test.args, o)
			}
			if status := d.stop().Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
				t.Errorf("%q: ended with %v", test.args, status)
			}
			alert(t, d, policy.Kill, test.access)
		}
		after, err := g.Stats(policy.FileOpen)
		check(t, err)
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
		startDoer(t, "/proc/self/exe").passed(t, "open", secret, "rw")
	})
	t.Run("stricter of two", func(t *testing.T) {
		kill, deny := with(0, policy.Kill), with(0, 0)
		deny.Name = "deny"
		g.apply(t, deny, kill)
		d := startDoer(t, program)
		if o := d.do("open", secret, "r"); o.Errno != syscall.ESRCH {
			t.Errorf("%v", o)
		}
		alert(t, d, policy.Kill, policy.Read)
	})
}

// testRuleStats counts what rules decide.
func testRuleStats(t *testing.T, g *fileGuard) {
	dir := t.TempDir()
	first, second, third := write(t, dir+"/first", ""), write(t, dir+"/second", ""), write(t, dir+"/third", "")
	program := copyProgram(t, dir+"/program")
	d := startDoer(t, program)
	one := denyFiles("one", ebpfguard.Binaries(program), first)
	one.Rules = append(one.Rules, policy.Rule{Operation: policy.FileOpen, Deny: filePatterns([]string{second}), Verdict: policy.Audit})
	other := denyFiles("other", ebpfguard.Binaries(program), third)
	open := func(t *testing.T) {
		t.Helper()
		for _, path := range []string{first, second, second, third, third, third} {
			d.do("open", path, "r")
		}
		d.passed(t, "open", program, "r")
	}
	want := func(t *testing.T, hits ...uint64) {
		t.Helper()
		stats, err := g.RuleStats()
		check(t, err)
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
	check(t, err)
	g.apply(t, one)
	want(t, 0, 0)
	open(t)
	want(t, 1, 2)
	g.apply(t, one, other) // it stays as it is
	want(t, 1, 2, 0)
	open(t)
	want(t, 2, 4, 3)
	g.apply(t, other, one) // in another order
	open(t)
	stats, err := g.RuleStats()
	check(t, err)
	for i, s := range []ebpfguard.RuleStats{
		{Policy: "other", Rule: 0, Operation: policy.FileOpen, Hits: 6}, {Policy: "one", Rule: 0, Operation: policy.FileOpen, Hits: 3},
		{Policy: "one", Rule: 1, Operation: policy.FileOpen, Hits: 6},
	} {
		if stats[i] != s {
			t.Errorf("%+v, want %+v", stats[i], s)
		}
	}
	other.Rules[0].Message = "changed"
	g.apply(t, one, other)
	want(t, 3, 6, 0)
	g.apply(t, other)
	g.apply(t, one)
	want(t, 0, 0)
	g.apply(t)
	want(t)
	after, err := g.Stats(policy.FileOpen)
	check(t, err)
	if after.Denied-before.Denied != 9 || after.Audited-before.Audited != 6 || after.Undecided != before.Undecided {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if n := g.drain(t); n != 15 {
		t.Errorf("%d alerts", n)
	}
}

// testRevoke refuses descriptors that were opened before.
func testRevoke(t *testing.T, g *fileGuard) {
	dir := t.TempDir()
	secret, public := write(t, dir+"/secret", "x"), write(t, dir+"/public", "x")
	program := copyProgram(t, dir+"/program")
	start := func(t *testing.T, program string) *doer {
		t.Helper()
		d := startDoer(t, program)
		d.passed(t, "hold", "secret", secret, "rw")
		d.passed(t, "hold", "public", public, "rw")
		return d
	}
	revoke := filePolicy("revoke", ebpfguard.Binaries(program), policy.Rule{Deny: filePatterns([]string{secret}), Revoke: true})
	d, bystander := start(t, program), start(t, "/proc/self/exe")
	wantAttached := func(t *testing.T, want bool) {
		t.Helper()
		if got := isLoaded(t, "file_permission"); got != want {
			t.Errorf("file_permission is loaded: %v, want %v", got, want)
		}
	}
	wantAttached(t, false)

	t.Run("without", func(t *testing.T) {
		g.apply(t, denyFiles("test", ebpfguard.Binaries(program), secret))
		wantAttached(t, false)
		d.passed(t, "read", "secret")
		d.passed(t, "write", "secret")
		g.refused(t, d, "open", secret, "r")
	})
	t.Run("with", func(t *testing.T) {
		g.apply(t, revoke)
		wantAttached(t, true)
		for errand, access := range map[string]policy.Access{"read": policy.Read, "write": policy.Write} {
			if a := g.refused(t, d, errand, "secret"); a.Hook != "file_permission" || a.Path != secret || a.Access != access || a.Policy != "revoke" {
				t.Errorf("alert %v", a)
			}
			d.passed(t, errand, "public")
			bystander.passed(t, errand, "secret")
		}
		g.refused(t, d, "open", secret, "r")
	})
	t.Run("no longer", func(t *testing.T) {
		wantAttached(t, false)
		d.passed(t, "read", "secret")
	})
	t.Run("one access", func(t *testing.T) {
		p := revoke
		p.Rules = slices.Clone(p.Rules)
		p.Rules[0].Deny = []policy.Pattern{policy.FilePattern{Paths: []string{dir + "/"}, Access: policy.Write}}
		g.apply(t, p)
		d.passed(t, "read", "secret")
		g.refused(t, d, "write", "secret")
		g.refused(t, d, "write", "public")
	})
	t.Run("only the rules that say so", func(t *testing.T) {
		other := denyFiles("other", ebpfguard.Binaries(program), public)
		g.apply(t, revoke, other)
		wantAttached(t, true)
		d.passed(t, "read", "public")
		g.refused(t, d, "open", public, "r")
		g.refused(t, d, "read", "secret")
		g.apply(t, other)
		wantAttached(t, false)
		d.passed(t, "read", "secret")
	})
	t.Run("an exception", func(t *testing.T) {
		everyone := filePolicy("everyone", ebpfguard.Everyone(), policy.Rule{Deny: filePatterns([]string{secret}), Revoke: true})
		g.apply(t, everyone, allowFiles("but", ebpfguard.Binaries(program), secret))
		d.passed(t, "read", "secret")
		g.refused(t, bystander, "read", "secret")
	})
	t.Run("audit", func(t *testing.T) {
		audit := revoke
		audit.Mode = policy.ModeAudit
		g.apply(t, audit)
		d.passed(t, "read", "secret")
		if a := g.next(t).Context(); a.Verdict != policy.Audit || a.Hook != "file_permission" {
			t.Errorf("alert %v", a)
		}
	})
	t.Run("what cannot be decided", func(t *testing.T) {
		deep := write(t, dir+strings.Repeat("/d", 70)+"/file", "")
		other := startDoer(t, copyProgram(t, dir+"/other"))
		for _, d := range []*doer{d, other, bystander} {
			d.passed(t, "hold", "deep", deep, "r")
		}
		g.apply(t, revoke, denyFiles("other", ebpfguard.Binaries(dir+"/other"), secret))
		g.undecided(t, d, "read", "deep")
		g.undecided(t, other, "open", deep, "r")
		other.passed(t, "read", "deep") // no rule about it revokes
		bystander.passed(t, "read", "deep")
	})
	t.Run("renamed and unlinked", func(t *testing.T) {
		g.apply(t, revoke)
		check(t, os.Rename(secret, dir+"/renamed"))
		g.refused(t, d, "read", "secret")
		check(t, os.Remove(dir+"/renamed"))
		g.refused(t, d, "read", "secret")
	})
}

// isLoaded reports whether a program of that name is loaded.
func isLoaded(t *testing.T, name string) bool {
	t.Helper()
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			return false
		}
		check(t, err)
		id = next
		p, err := ebpf.NewProgramFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			continue // gone meanwhile
		}
		check(t, err)
		info, err := p.Info()
		p.Close()
		check(t, err)
		if info.Name == name {
			return true
		}
	}
}

// testUnsupported asks for what cannot be enforced.
func testUnsupported(t *testing.T, g *fileGuard) {
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
	unknown := policy.Policy{Name: "x", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{{Operation: "inode_rename", Deny: filePatterns(nil)}}}
	if err := g.Attach(policy.FileOpen, "inode_rename"); !errors.Is(err, ebpfguard.ErrNotSupported) || !strings.Contains(err.Error(), "inode_rename") {
		t.Error(err)
	}
	if _, err := g.Apply([]policy.Policy{unknown}); err == nil || !strings.Contains(err.Error(), "inode_rename") {
		t.Error(err)
	}
	m, err := ebpfguard.NewManager(ebpfguard.Options{})
	check(t, err)
	defer m.Close()
	if _, err := m.Apply([]policy.Policy{denyFiles("x", ebpfguard.Everyone(), "/secret")}); !errors.Is(err, ebpfguard.ErrNotAttached) || !strings.Contains(err.Error(), "file_open") {
		t.Error(err)
	}
	if _, err := m.Apply(nil); err != nil {
		t.Error(err)
	}
}
