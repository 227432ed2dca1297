//go:build vm

package files

import (
	"os"
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testKinds opens what has no name by the process's own descriptors, as /dev/stdout
// does.
func testKinds(t *testing.T, g *guardtest.FileGuard) {
	f := guardtest.NewPair(t)
	own := f.Dir + "/own"
	guardtest.Check(t, os.Mkdir(own, 0o755))
	all := [][]string{{"pipe"}, {"memfd"}, {"deleted", own + "/x"}, {"tmpfile", own}}
	rule := func(allow, deny policy.FilePattern) policy.Policy {
		r := policy.Rule{Deny: []policy.Pattern{deny}}
		if allow.Paths != nil || allow.Kinds != 0 {
			r.Allow = []policy.Pattern{allow}
		}
		return guardtest.FilePolicy("test", f.Subject, r)
	}
	passed := func(t *testing.T, args ...string) {
		t.Helper()
		f.Actor.Passed(t, "reopen", args...)
	}
	t.Run("an allow-list", func(t *testing.T) {
		g.Enforce(t, rule(policy.FilePattern{Paths: []string{own + "/"}}, policy.FilePattern{All: true}))
		for _, args := range all {
			passed(t, args...)
		}
		g.Refused(t, f.Actor, "open", f.Dir, "r")
	})
	t.Run("a denial by access", func(t *testing.T) {
		g.Enforce(t, rule(policy.FilePattern{Paths: []string{own + "/"}}, policy.FilePattern{Access: policy.Write}))
		for _, args := range all {
			passed(t, args...)
		}
	})
	t.Run("kinds that are denied", func(t *testing.T) {
		g.Enforce(t, rule(policy.FilePattern{}, policy.FilePattern{Kinds: policy.Pipe | policy.Deleted}))
		for _, args := range all {
			f.Other.Passed(t, "reopen", args...)
			if args[0] == "memfd" {
				passed(t, args...)
			} else {
				g.Refused(t, f.Actor, "reopen", args...)
			}
		}
		g.Enforce(t, rule(policy.FilePattern{}, policy.FilePattern{Kinds: policy.Memfd, Access: policy.Write}))
		g.Refused(t, f.Actor, "reopen", "memfd")
		passed(t, "pipe")
		passed(t, "tmpfile", own)
	})
	t.Run("kinds that are excepted", func(t *testing.T) {
		g.Enforce(t, rule(policy.FilePattern{Kinds: policy.Pipe}, policy.FilePattern{Kinds: policy.Pipe | policy.Memfd, Access: policy.Read}))
		passed(t, "pipe")
		passed(t, "memfd") // for writing
	})
}
