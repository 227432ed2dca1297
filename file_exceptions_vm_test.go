//go:build vm

package ebpfguard_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// testExceptions writes denials with exceptions.
func testExceptions(t *testing.T, g *fileGuard) {
	f := newFileTest(t)
	p := func(name string) string { return f.dir + "/" + name }
	for _, name := range []string{"etc/shadow", "etc/ssl/key", "etc/ssl/private/key", "own/a", "own/sub/b", "else"} {
		write(t, p(name), "")
	}
	t.Run("a directory for all but one", func(t *testing.T) {
		set := []policy.Policy{denyFiles("etc", ebpfguard.Everyone(), p("etc/")), allowFiles("ssl", f.subject, p("etc/ssl/"))}
		g.apply(t, set...)
		f.actor.passed(t, "open", p("etc/ssl/key"), "rw")
		f.actor.passed(t, "open", p("etc/ssl/private/key"), "r")
		for _, name := range []string{"etc", "etc/shadow"} {
			g.refused(t, f.actor, "open", p(name), "r")
		}
		for _, name := range []string{"etc", "etc/shadow", "etc/ssl", "etc/ssl/key", "etc/ssl/private/key"} {
			g.refused(t, f.other, "open", p(name), "r")
		}
		f.other.passed(t, "open", p("else"), "r")
		g.apply(t, append(set, denyFiles("private", ebpfguard.Everyone(), p("etc/ssl/private/")))...)
		g.refused(t, f.actor, "open", p("etc/ssl/private/key"), "r")
		f.actor.passed(t, "open", p("etc/ssl/key"), "r")
		// A less specific exception lifts nothing.
		g.apply(t, set[0], allowFiles("all", f.subject))
		g.refused(t, f.actor, "open", p("etc/shadow"), "r")
	})
	t.Run("read but not write", func(t *testing.T) {
		g.apply(t, filePolicy("write", f.subject, policy.Rule{Deny: []policy.Pattern{policy.FilePattern{Paths: []string{p("own/")}, Access: policy.Write}}}))
		f.actor.passed(t, "open", p("own/a"), "r")
		for _, e := range [][]string{{"open", p("own/a"), "w"}, {"open", p("own/a"), "rw"}, {"open", p("own/a"), "trunc"}, {"unlink", p("own/a")}, {"chmod", p("own/a")}, {"utimes", p("own/a")}, {"setxattr", p("own/a")}} {
			g.refused(t, f.actor, e[0], e[1:]...)
		}
	})
	t.Run("run but not read", func(t *testing.T) {
		write(t, p("own/tool"), "")
		tool := copyProgram(t, p("own/tool"))
		g.apply(t, filePolicy("read", f.subject, policy.Rule{Deny: []policy.Pattern{policy.FilePattern{Paths: []string{p("own/")}, Access: policy.Read | policy.Write}}}))
		g.refused(t, f.actor, "open", tool, "r")
		d := startDoer(t, f.program)
		d.passed(t, "exec", tool)
		d.passed(t, "open", tool, "r")
		g.apply(t, filePolicy("exec", f.subject, policy.Rule{Deny: []policy.Pattern{policy.FilePattern{Paths: []string{p("own/")}, Access: policy.Exec}}}))
		f.actor.passed(t, "open", tool, "r")
		if alert := g.refused(t, f.actor, "exec", tool); alert.Access != policy.Exec {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("nothing but its own", func(t *testing.T) {
		deny := denyFiles("all", f.subject)
		// What the program needs to start is learnt from alerts.
		learn := deny
		learn.Mode = policy.ModeAudit
		g.apply(t, learn)
		startDoer(t, f.program).passed(t, "open", p("own/a"), "r")
		needs := map[string]bool{}
		for done := false; !done; {
			alert := g.next(t).(ebpfguard.FileOpenAlert)
			pid := fmt.Sprintf("/%d/", alert.PID)
			needs[strings.Replace(alert.Path, pid, "/*/", 1)] = true
			done = alert.Path == p("own/a")
		}
		delete(needs, p("own/a"))
		t.Logf("a Go program opens %v", needs)
		if !needs[f.program] {
			t.Errorf("it does not need itself: %v", needs)
		}
		paths := []string{p("own/")}
		for path := range needs {
			paths = append(paths, path)
		}
		g.apply(t, deny, allowFiles("own", f.subject, paths...))
		d := startDoer(t, f.program)
		for _, name := range []string{"own/a", "own/sub/b"} {
			d.passed(t, "open", p(name), "rw")
		}
		d.passed(t, "open", p("own/new"), "create")
		for _, path := range []string{p("else"), p("etc"), "/etc/passwd", "/dev/null", "/proc/self/status", "/"} {
			alert := g.refused(t, d, "open", path, "r")
			if path == "/proc/self/status" {
				path = fmt.Sprintf("/proc/%d/status", d.pid)
			}
			if alert.Path != path {
				t.Errorf("alert %v, want path %s", alert, path)
			}
			f.other.passed(t, "open", path, "r")
		}
		g.refused(t, d, "open", p("elsewhere"), "create")
		g.refused(t, d, "rename", p("own/new"), p("elsewhere"))
		g.refused(t, d, "link", p("else"), p("own/else"))
		// Without what it needs it does not come far.
		g.apply(t, deny, allowFiles("own", f.subject, p("own/")))
		if err := exec.Command(f.program).Run(); err == nil || !strings.Contains(err.Error(), "signal: ") {
			t.Errorf("it was started: %v", err)
		}
		if n := g.drain(t); n == 0 {
			t.Error("no alert")
		}
	})
	t.Run("nothing but its own, on overlayfs", func(t *testing.T) {
		// Since 6.6 overlayfs opens its own files below, where nothing names them.
		for _, name := range []string{"lower/own/a", "lower/own/secret", "lower/else", "empty/x", "merged/x"} {
			write(t, p(name), "")
		}
		d := startDoer(t, f.program)
		d.passed(t, "unshare")
		d.passed(t, "overlay", p("lower")+":"+p("empty"), p("merged"))
		list := []policy.Policy{denyFiles("all", f.subject), allowFiles("own", f.subject, p("merged/own/"))}
		g.apply(t, list...)
		d.passed(t, "open", p("merged/own/a"), "r")
		d.passed(t, "open", p("merged/own/secret"), "r")
		g.refused(t, d, "open", p("merged/else"), "r")
		g.refused(t, d, "open", p("lower/own/a"), "r")
		// What is denied by name below stays denied.
		g.apply(t, append(list, denyFiles("secret", f.subject, p("lower/own/secret")))...)
		g.refused(t, d, "open", p("merged/own/secret"), "r")
		d.passed(t, "open", p("merged/own/a"), "r")
		g.refused(t, d, "open", p("merged/else"), "r")
		g.quiet(t)
	})
	t.Run("many processes", func(t *testing.T) {
		g.apply(t, f.deny("own/"))
		for i := range 8 {
			d := startDoer(t, f.program)
			g.refused(t, d, "open", p("own/a"), "r")
			o := startDoer(t, "/proc/self/exe").passed(t, "hammer", strconv.Itoa(100), p("own/a"), p("own/a"))
			if slices.Max(o.Counts) != 0 {
				t.Errorf("%d: refused %v times", i, o.Counts)
			}
		}
	})
}
