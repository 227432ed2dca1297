//go:build vm

package files

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testExceptions writes denials with exceptions.
func testExceptions(t *testing.T, g *guardtest.FileGuard) {
	f := guardtest.NewPair(t)
	p := func(name string) string { return f.Dir + "/" + name }
	for _, name := range []string{"etc/shadow", "etc/ssl/key", "etc/ssl/private/key", "own/a", "own/sub/b", "else"} {
		guardtest.WriteFile(t, p(name), "")
	}
	t.Run("a directory for all but one", func(t *testing.T) {
		set := []policy.Policy{guardtest.DenyFiles("etc", ebpfguard.Everyone(), p("etc/")), guardtest.AllowFiles("ssl", f.Subject, p("etc/ssl/"))}
		g.Enforce(t, set...)
		f.Actor.Passed(t, "open", p("etc/ssl/key"), "rw")
		f.Actor.Passed(t, "open", p("etc/ssl/private/key"), "r")
		for _, name := range []string{"etc", "etc/shadow"} {
			g.Refused(t, f.Actor, "open", p(name), "r")
		}
		for _, name := range []string{"etc", "etc/shadow", "etc/ssl", "etc/ssl/key", "etc/ssl/private/key"} {
			g.Refused(t, f.Other, "open", p(name), "r")
		}
		f.Other.Passed(t, "open", p("else"), "r")
		g.Enforce(t, append(set, guardtest.DenyFiles("private", ebpfguard.Everyone(), p("etc/ssl/private/")))...)
		g.Refused(t, f.Actor, "open", p("etc/ssl/private/key"), "r")
		f.Actor.Passed(t, "open", p("etc/ssl/key"), "r")
		// A less specific exception lifts nothing.
		g.Enforce(t, set[0], guardtest.AllowFiles("all", f.Subject))
		g.Refused(t, f.Actor, "open", p("etc/shadow"), "r")
	})
	t.Run("read but not write", func(t *testing.T) {
		g.Enforce(t, guardtest.FilePolicy("write", f.Subject, policy.Rule{Deny: []policy.Pattern{policy.FilePattern{Paths: []string{p("own/")}, Access: policy.Write}}}))
		f.Actor.Passed(t, "open", p("own/a"), "r")
		for _, e := range [][]string{{"open", p("own/a"), "w"}, {"open", p("own/a"), "rw"}, {"open", p("own/a"), "trunc"}, {"unlink", p("own/a")}, {"chmod", p("own/a")}, {"utimes", p("own/a")}, {"setxattr", p("own/a")}} {
			g.Refused(t, f.Actor, e[0], e[1:]...)
		}
	})
	t.Run("run but not read", func(t *testing.T) {
		guardtest.WriteFile(t, p("own/tool"), "")
		tool := guardtest.CopyProgram(t, p("own/tool"))
		g.Enforce(t, guardtest.FilePolicy("read", f.Subject, policy.Rule{Deny: []policy.Pattern{policy.FilePattern{Paths: []string{p("own/")}, Access: policy.Read | policy.Write}}}))
		g.Refused(t, f.Actor, "open", tool, "r")
		d := guardtest.StartDoer(t, f.Program)
		d.Passed(t, "exec", tool)
		d.Passed(t, "open", tool, "r")
		g.Enforce(t, guardtest.FilePolicy("exec", f.Subject, policy.Rule{Deny: []policy.Pattern{policy.FilePattern{Paths: []string{p("own/")}, Access: policy.Exec}}}))
		f.Actor.Passed(t, "open", tool, "r")
		if alert := g.Refused(t, f.Actor, "exec", tool); alert.Access != policy.Exec {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("nothing but its own", func(t *testing.T) {
		deny := guardtest.DenyFiles("all", f.Subject)
		// What the program needs to start is learnt from alerts.
		learn := deny
		learn.Mode = policy.ModeAudit
		g.Enforce(t, learn)
		guardtest.StartDoer(t, f.Program).Passed(t, "open", p("own/a"), "r")
		needs := map[string]bool{}
		for done := false; !done; {
			alert := g.Next(t).(ebpfguard.FileOpenAlert)
			pid := fmt.Sprintf("/%d/", alert.PID)
			needs[strings.Replace(alert.Path, pid, "/*/", 1)] = true
			done = alert.Path == p("own/a")
		}
		delete(needs, p("own/a"))
		t.Logf("a Go program opens %v", needs)
		if needs[f.Program] { // who starts it needs that, and is judged for it
			t.Errorf("it needs itself: %v", needs)
		}
		paths := []string{p("own/")}
		for path := range needs {
			paths = append(paths, path)
		}
		g.Enforce(t, deny, guardtest.AllowFiles("own", f.Subject, paths...))
		d := guardtest.StartDoer(t, f.Program)
		for _, name := range []string{"own/a", "own/sub/b"} {
			d.Passed(t, "open", p(name), "rw")
		}
		d.Passed(t, "open", p("own/new"), "create")
		for _, path := range []string{p("else"), p("etc"), "/etc/passwd", "/dev/null", "/proc/self/status", "/"} {
			alert := g.Refused(t, d, "open", path, "r")
			if path == "/proc/self/status" {
				path = fmt.Sprintf("/proc/%d/status", d.PID)
			}
			if alert.Path != path {
				t.Errorf("alert %v, want path %s", alert, path)
			}
			f.Other.Passed(t, "open", path, "r")
		}
		g.Refused(t, d, "open", p("elsewhere"), "create")
		g.Refused(t, d, "rename", p("own/new"), p("elsewhere"))
		g.Refused(t, d, "link", p("else"), p("own/else"))
		// Without what it needs it does not come far.
		g.Enforce(t, deny, guardtest.AllowFiles("own", f.Subject, p("own/")))
		if err := exec.Command(f.Program).Run(); err == nil {
			t.Error("it ran to its end")
		}
		if n := g.Drain(t); n == 0 {
			t.Error("no alert")
		}
	})
	t.Run("nothing but its own, on overlayfs", func(t *testing.T) {
		// Since 6.6 overlayfs opens its own files below, where nothing names them.
		for _, name := range []string{"lower/own/a", "lower/own/secret", "lower/else", "empty/x", "merged/x"} {
			guardtest.WriteFile(t, p(name), "")
		}
		d := guardtest.StartDoer(t, f.Program)
		d.Passed(t, "unshare")
		d.Passed(t, "overlay", p("lower")+":"+p("empty"), p("merged"))
		list := []policy.Policy{guardtest.DenyFiles("all", f.Subject), guardtest.AllowFiles("own", f.Subject, p("merged/own/"))}
		g.Enforce(t, list...)
		d.Passed(t, "open", p("merged/own/a"), "r")
		d.Passed(t, "open", p("merged/own/secret"), "r")
		g.Refused(t, d, "open", p("merged/else"), "r")
		g.Refused(t, d, "open", p("lower/own/a"), "r")
		// What is denied by name below stays denied.
		g.Enforce(t, append(list, guardtest.DenyFiles("secret", f.Subject, p("lower/own/secret")))...)
		g.Refused(t, d, "open", p("merged/own/secret"), "r")
		d.Passed(t, "open", p("merged/own/a"), "r")
		g.Refused(t, d, "open", p("merged/else"), "r")
		g.Quiet(t)
	})
	t.Run("many processes", func(t *testing.T) {
		g.Enforce(t, f.Deny("own/"))
		for i := range 8 {
			d := guardtest.StartDoer(t, f.Program)
			g.Refused(t, d, "open", p("own/a"), "r")
			o := guardtest.StartDoer(t, "/proc/self/exe").Passed(t, "hammer", strconv.Itoa(100), p("own/a"), p("own/a"))
			if slices.Max(o.Counts) != 0 {
				t.Errorf("%d: refused %v times", i, o.Counts)
			}
		}
	})
}
