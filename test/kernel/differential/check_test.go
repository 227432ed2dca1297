//go:build vm

package differential

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// isTwice reports whether an alert is about a program that is judged when it is
// opened as well, since the process failed to start another before: until 6.8 it
// cannot always be told that the program is no interpreter
// (bpf/hooks/bprm_check_security.h, is_under_way).
func isTwice(a ebpfguard.Alert) bool {
	k, _ := vmtest.Guest()
	context := a.Context()
	return (k.Name == "5.10" || k.Name == "6.1") && context.Operation == policy.BprmCheckSecurity && context.Hook == "file_open"
}

// collect takes the alerts that have to come, by the process that they are about,
// and reports whether all came.
func (c *comparison) collect(alerts <-chan ebpfguard.Alert, count int) (got map[uint32][]ebpfguard.Alert, complete bool) {
	got = map[uint32][]ebpfguard.Alert{}
	take := func(a ebpfguard.Alert) {
		context := a.Context()
		if isTwice(a) && context.Verdict == policy.Audit {
			c.hits[fmt.Sprint(context.Policy, context.Rule)]++
			return
		}
		got[context.PID] = append(got[context.PID], a)
		count--
	}
	timeout := time.After(guardtest.Patience)
	for {
		select {
		case a := <-alerts:
			take(a)
		default:
			if count <= 0 {
				return got, true
			}
			select {
			case a := <-alerts:
				take(a)
			case <-timeout:
				return got, false
			}
		}
	}
}

// check compares what came of a trial, and takes its alerts.
func (c *comparison) check(e *expected, got map[uint32][]ebpfguard.Alert, s *score) string {
	result := e.Result(e.call)
	errno := unix.Errno(0)
	if result < 0 {
		errno = unix.Errno(-result)
	}
	outcome := "done"
	if errno != 0 {
		outcome = unix.ErrnoName(errno)
	}
	s.outcome(e.what, outcome)
	killed := e.status != 0 && e.Load(e.status)&0x7f == uint32(unix.SIGKILL)
	switch {
	case e.want == policy.Kill && !killed:
		return "not killed: " + outcome
	case e.want == policy.Deny && errno != unix.EPERM:
		return "not refused: " + outcome
	case e.want < policy.Deny && result == guardtest.NotMade:
		return "the call was not made or did not return"
	case e.want < policy.Deny && errno == unix.EPERM:
		return "refused"
	case e.want < policy.Deny && errno != 0 && !slices.Contains(e.fails, errno):
		return "failed: " + outcome
	}
	for i, d := range e.decisions {
		if d.Verdict == policy.Allow {
			continue
		}
		a := e.take(got)
		if a == nil {
			return fmt.Sprintf("no alert about question %d", i)
		}
		context := a.Context()
		if isTwice(a) && e.want >= policy.Deny { // refused before it was asked about the rest
			for _, d := range e.decisions[i:] {
				if d.Verdict != policy.Allow {
					c.hits[fmt.Sprint(c.set[d.Policy].Name, d.Rule)]--
				}
			}
			c.hits[fmt.Sprint(context.Policy, context.Rule)]++
			return ""
		}
		if context.Operation != e.asked[i].operation || context.Verdict != d.Verdict || context.Policy != c.set[d.Policy].Name || context.Rule != d.Rule || context.Undecided != d.Undecided {
			return fmt.Sprintf("alert about question %d: %v", i, a)
		}
		if problem := differs(a, e.asked[i]); problem != "" {
			return fmt.Sprintf("alert about question %d: %s: %v (hook %s)", i, problem, a, context.Hook)
		}
	}
	return ""
}

// take returns the next alert about the performer or, if a child makes the call,
// about a child.
func (e *expected) take(got map[uint32][]ebpfguard.Alert) ebpfguard.Alert {
	pid := uint32(e.PID)
	if e.status != 0 {
		pid = 0
		for child, list := range got {
			if len(list) > 0 && !e.performers[child] && list[0].Context().PPID == uint32(e.PID) && (pid == 0 || child < pid) {
				pid = child
			}
		}
	}
	list := got[pid]
	if len(list) == 0 {
		return nil
	}
	got[pid] = list[1:]
	return list[0]
}

// differs reports whether the alert's object is another than that of the question.
func differs(a ebpfguard.Alert, q question) string {
	var got, want string
	switch o := q.object.(type) {
	case policy.File:
		a := a.(ebpfguard.FileOpenAlert)
		if got, want = a.Access.String(), o.Access.String(); o.Moved != nil {
			want = got // what goes away
		}
		got, want = addPath(q, o.Names, got, want, a.Path)
	case policy.Program:
		a := a.(ebpfguard.BprmCheckSecurityAlert)
		got, want = fmt.Sprint(a.Fileless, a.NoArgs), fmt.Sprint(o.Fileless, o.NoArgs)
		got, want = addPath(q, o.Names, got, want, a.Path)
	case policy.Mount:
		var target string
		var flags policy.MountFlags
		switch a := a.(type) {
		case ebpfguard.SbMountAlert:
			got, target, flags = fmt.Sprintf("%q %q", a.Source, a.Type), a.Target, a.Flags
		case ebpfguard.SbRemountAlert:
			got, target, flags = fmt.Sprintf("%q %q", a.Source, a.Type), a.Target, a.Flags
		case ebpfguard.SbUmountAlert:
			got, target, flags = fmt.Sprintf("%q %q", a.Source, a.Type), a.Target, a.Flags&(policy.MountDetach|policy.MountForce)
		}
		got, want = addPath(q, o.Target, got, fmt.Sprintf("%q %q", o.Source, o.Type), target)
		got, want = got+flags.String(), want+(o.Flags|o.Either).String()
	case policy.Credentials:
		a := a.(ebpfguard.TaskFixSetuidAlert)
		got, want = fmt.Sprint(a.FromUID, a.FromGID, a.To), fmt.Sprint(o.FromUID, o.FromGID, o.To)
	}
	if got != want {
		return fmt.Sprintf("%s instead of %s", got, want)
	}
	return ""
}

func addPath(q question, names policy.Names, got, want, path string) (string, string) {
	if q.pathless || names.Unknown || names.Path == "" {
		return got, want
	}
	return got + " " + path, want + " " + names.Path
}

// explain tells what was asked and what Decide says.
func (c *comparison) explain(e *expected) string {
	var b strings.Builder
	for i, d := range e.decisions {
		fmt.Fprintf(&b, "question %d: %s: %+v\n  Decide: %+v\n", i, e.asked[i].operation, e.asked[i].object, d)
	}
	return b.String()
}

// checkHits compares the counters of the set's rules.
func (c *comparison) checkHits(t *testing.T, g *guardtest.Guard) bool {
	t.Helper()
	same := true
	for _, r := range ruleStats(t, g) {
		if want := c.hits[fmt.Sprint(r.Policy, r.Rule)]; r.Hits != want {
			t.Errorf("seed %d: %d hits of policy %s rule %d, not %d\n%s", c.seed, r.Hits, r.Policy, r.Rule, want, policy.Format(c.set))
			same = false
		}
	}
	return same
}

func ruleStats(t *testing.T, g *guardtest.Guard) []ebpfguard.RuleStats {
	t.Helper()
	stats, err := g.RuleStats()
	guardtest.Check(t, err)
	return stats
}
