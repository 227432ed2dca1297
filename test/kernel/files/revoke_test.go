//go:build vm

package files

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

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
	deep := guardtest.WriteFile(t, dir+strings.Repeat("/d", 100)+"/file", "")
	stranger := guardtest.StartDoer(t, guardtest.CopyProgram(t, dir+"/other"))
	for _, d := range []*guardtest.Doer{d, stranger, bystander} {
		d.Passed(t, "hold", "deep", deep, "r")
	}
	g.Enforce(t, revoke) // until the end, so that its programs are loaded once
	t.Run("with", func(t *testing.T) {
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
	t.Run("one access", func(t *testing.T) {
		p := revoke
		p.Rules = slices.Clone(p.Rules)
		p.Rules[0].Deny = []policy.Pattern{policy.FilePattern{Paths: []string{dir + "/"}, Access: policy.Write}}
		g.Enforce(t, p)
		d.Passed(t, "read", "secret")
		g.Refused(t, d, "write", "secret")
		g.Refused(t, d, "write", "public")
	})
	other := guardtest.DenyFiles("other", ebpfguard.Binaries(program), public)
	t.Run("only the rules that say so", func(t *testing.T) {
		g.Enforce(t, revoke, other)
		wantAttached(t, true)
		d.Passed(t, "read", "public")
		g.Refused(t, d, "open", public, "r")
		g.Refused(t, d, "read", "secret")
	})
	t.Run("and another name that kills", func(t *testing.T) {
		alias := dir + "/alias"
		guardtest.Check(t, os.Link(secret, alias))
		defer os.Remove(alias)
		g.Enforce(t, guardtest.FilePolicy("revoke", ebpfguard.Binaries(program), policy.Rule{Deny: guardtest.FilePatterns([]string{public}), Revoke: true}))
		d := guardtest.StartDoer(t, program)
		d.Passed(t, "hold", "alias", alias, "r")
		kill := guardtest.FilePolicy("kill", ebpfguard.Binaries(program), policy.Rule{Deny: guardtest.FilePatterns([]string{dir + "/ali*"}), Verdict: policy.Kill})
		kill.Delegated = true
		g.Enforce(t, revoke, kill)
		if o := d.Do("read", "alias"); o.Errno != syscall.ESRCH {
			t.Errorf("%v", o)
		}
		if a := g.Next(t).Context(); a.Verdict != policy.Kill || a.Hook != "file_permission" || a.Policy != "kill" {
			t.Errorf("alert %v", a)
		}
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
		unknown := guardtest.FilePatterns([]string{dir + "/**/nothing"})
		g.Enforce(t, revoke, guardtest.FilePolicy("unknown", ebpfguard.Binaries(program), policy.Rule{Deny: unknown, Revoke: true}),
			guardtest.DenyFiles("others", ebpfguard.Binaries(dir+"/other"), dir+"/**/nothing"))
		g.Undecided(t, d, "read", "deep")
		g.Undecided(t, stranger, "open", deep, "r")
		stranger.Passed(t, "read", "deep") // no rule about it revokes
		bystander.Passed(t, "read", "deep")
	})
	t.Run("renamed and unlinked", func(t *testing.T) {
		g.Enforce(t, revoke)
		guardtest.Check(t, os.Rename(secret, dir+"/renamed"))
		g.Refused(t, d, "read", "secret")
		guardtest.Check(t, os.Remove(dir+"/renamed"))
		g.Refused(t, d, "read", "secret")
	})
	g.Enforce(t, other)
	t.Run("no longer", func(t *testing.T) {
		wantAttached(t, false)
		d.Passed(t, "read", "secret")
	})
}
