//go:build vm

package files

import (
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testMoves gives files and directories other names. What a rule knows by its name
// alone does not get away from it; everything else may move.
func testMoves(t *testing.T, g *guardtest.FileGuard) {
	f := guardtest.NewPair(t)
	p := func(name string) string { return f.Dir + "/" + name }
	for _, name := range []string{"home/u/.ssh/id_rsa", "home/u/.ssh/config", "home/u/projects/x/y", "home/v/x", "srv/app/a.key",
		"srv/app/data/f", "tmp/d/f", "keys/a", "keys/sub/b", "else/f"} {
		guardtest.WriteFile(t, p(name), "")
	}
	rule := func(access policy.Access, paths ...string) policy.Policy {
		for i := range paths {
			paths[i] = p(paths[i])
		}
		return guardtest.FilePolicy("test", f.Subject, policy.Rule{Deny: []policy.Pattern{policy.FilePattern{Paths: paths, Access: access}}})
	}
	back := func(from, to string) { // by another program, which no policy concerns
		t.Helper()
		f.Other.Passed(t, "rename", p(from), p(to))
		f.Other.Passed(t, "rename", p(to), p(from))
	}
	// free passes, and goes back.
	free := func(t *testing.T, from, to string) {
		t.Helper()
		f.Actor.Passed(t, "rename", p(from), p(to))
		f.Other.Passed(t, "rename", p(to), p(from))
	}
	for _, access := range []policy.Access{policy.Read, policy.Read | policy.Write, 0} {
		t.Run("the directory below a wildcard, "+access.String(), func(t *testing.T) {
			g.Enforce(t, rule(access, "home/*/.ssh/id_*"))
			if alert := g.Refused(t, f.Actor, "rename", p("home/u/.ssh"), p("home/u/x")); alert.Hook != "path_rename" || alert.Path != p("home/u/.ssh") || alert.Access&policy.Read == 0 {
				t.Errorf("alert %v", alert)
			}
			g.Refused(t, f.Actor, "rename", p("home/u/.ssh"), p("tmp/ssh"))
			g.Refused(t, f.Actor, "rename", p("home/u"), p("tmp/u"))
			g.Refused(t, f.Actor, "exchange", p("home/u/.ssh"), p("tmp/d"))
			g.Refused(t, f.Actor, "exchange", p("tmp/d"), p("home/u/.ssh"))
			g.Refused(t, f.Actor, "rename", p("home/u/.ssh/id_rsa"), p("tmp/id"))
			g.Refused(t, f.Actor, "link", p("home/u/.ssh/id_rsa"), p("tmp/id"))
			back("home/u/.ssh", "home/u/x")
			free(t, "home/u/projects", "home/u/old")
			free(t, "home/u/projects", "tmp/projects")
			free(t, "home/u/projects/x", "home/u/projects/z")
			free(t, "home/u/.ssh/config", "home/u/config")
			free(t, "home/u", "home/w") // where the same rule names it
			free(t, "home", "casa")     // known by what it is
			f.Actor.Passed(t, "exchange", p("home/u/projects"), p("tmp/d"))
			f.Actor.Passed(t, "exchange", p("home/u/projects"), p("tmp/d"))
		})
	}
	t.Run("any directory", func(t *testing.T) {
		g.Enforce(t, rule(policy.Read, "srv/**/*.key"))
		g.Refused(t, f.Actor, "rename", p("srv/app"), p("tmp/app"))
		g.Refused(t, f.Actor, "rename", p("srv/app/data"), p("tmp/data")) // it could hold one
		g.Refused(t, f.Actor, "rename", p("srv/app/a.key"), p("tmp/a.key"))
		g.Refused(t, f.Actor, "rename", p("srv/app/a.key"), p("srv/app/a"))
		free(t, "srv/app", "srv/other")
		free(t, "srv/app/data", "srv/data")
		free(t, "srv/app/data/f", "tmp/f")
		free(t, "srv/app/a.key", "srv/b.key")
		free(t, "tmp/d", "srv/d")
		g.Enforce(t, rule(policy.Write, "srv/**/*.key"))
		g.Refused(t, f.Actor, "rename", p("tmp/d"), p("srv/d")) // it could bring one
		free(t, "tmp/d/f", "srv/f")
	})
	t.Run("a directory that may not be read", func(t *testing.T) {
		g.Enforce(t, rule(policy.Read, "keys/"))
		for _, to := range []string{"tmp/a", "else/a"} {
			if alert := g.Refused(t, f.Actor, "rename", p("keys/a"), p(to)); alert.Access != policy.Read {
				t.Errorf("alert %v", alert)
			}
			g.Refused(t, f.Actor, "link", p("keys/a"), p(to))
		}
		g.Refused(t, f.Actor, "rename", p("keys/sub"), p("tmp/sub"))
		g.Refused(t, f.Actor, "exchange", p("else/f"), p("keys/a"))
		free(t, "keys/a", "keys/sub/a")
		free(t, "keys/sub", "keys/new")
		free(t, "keys", "tmp/keys") // known by what it is
		free(t, "else/f", "keys/f")
		f.Actor.Passed(t, "unlink", guardtest.WriteFile(t, p("keys/gone"), ""))
		// What may be read may be taken away.
		g.Enforce(t, rule(policy.Read, "keys/"), guardtest.FilePolicy("mine", f.Subject, policy.Rule{Allow: []policy.Pattern{
			policy.FilePattern{Paths: []string{p("keys/sub/")}, Access: policy.Read},
		}}))
		free(t, "keys/sub/b", "tmp/b")
		g.Refused(t, f.Actor, "rename", p("keys/a"), p("tmp/a"))
	})
	t.Run("a place that a delegated policy denies to the mover", func(t *testing.T) {
		there := guardtest.FilePolicy("there", f.Subject, policy.Rule{Deny: []policy.Pattern{policy.FilePattern{Paths: []string{p("tmp/")}, Access: policy.Read}}})
		g.Enforce(t, rule(policy.Read, "keys/"), there)
		free(t, "keys/a", "tmp/a")
		there.Delegated = true
		g.Enforce(t, rule(policy.Read, "keys/"), there)
		g.Refused(t, f.Actor, "rename", p("keys/a"), p("tmp/a"))
		g.Refused(t, f.Actor, "link", p("keys/a"), p("tmp/a"))
		free(t, "keys/a", "keys/sub/a")
	})
	t.Run("to be executed", func(t *testing.T) {
		g.Enforce(t, rule(policy.Exec, "else/*"))
		g.Refused(t, f.Actor, "link", p("else/f"), p("tmp/f2"))
		free(t, "else/f", "else/g")
	})
	t.Run("for others", func(t *testing.T) {
		g.Enforce(t, rule(policy.Read, "home/*/.ssh/"))
		f.Other.Passed(t, "rename", p("home/u/.ssh"), p("tmp/ssh"))
		f.Other.Passed(t, "rename", p("tmp/ssh"), p("home/u/.ssh"))
	})
	t.Run("audit", func(t *testing.T) {
		audit := rule(policy.Read, "home/*/.ssh/")
		audit.Mode = policy.ModeAudit
		g.Enforce(t, audit)
		free(t, "home/u/.ssh", "tmp/ssh")
		if alert := g.Next(t).Context(); alert.Verdict != policy.Audit || alert.Undecided {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("an allow-list", func(t *testing.T) {
		guardtest.WriteFile(t, p("own/log/a"), "")
		guardtest.WriteFile(t, p("own/b"), "")
		needs := guardtest.FilePolicy("own", f.Subject, policy.Rule{Allow: []policy.Pattern{
			policy.FilePattern{Paths: []string{p("own/log/")}, Access: policy.Write}, policy.FilePattern{Paths: []string{p("own/")}},
		}, Deny: []policy.Pattern{policy.FilePattern{All: true}}})
		g.Enforce(t, needs)
		free(t, "own/log/a", "own/log/b")
		free(t, "own/b", "own/c")
		g.Refused(t, f.Actor, "rename", p("own/b"), p("else/b"))
	})
}
