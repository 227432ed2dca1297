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
