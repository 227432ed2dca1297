//go:build vm

package subjects

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// ahead returns a time that comes soon after a set that is applied now can be in force
// and be looked at, however slow this machine is.
func ahead(t *testing.T, g *guardtest.FileGuard, set ...policy.Policy) uint64 {
	t.Helper()
	start := guardtest.Boottime(t)
	g.Enforce(t, set...)
	return guardtest.Boottime(t) + 3*(guardtest.Boottime(t)-start) + uint64(3*time.Second)
}

// sleepUntil returns when the time has come.
func sleepUntil(t *testing.T, when uint64) {
	t.Helper()
	for now := guardtest.Boottime(t); now < when; now = guardtest.Boottime(t) {
		time.Sleep(time.Duration(when - now))
	}
}

// ending returns the policy with an end.
func ending(p policy.Policy, until uint64) policy.Policy {
	p.Until = until
	return p
}

// TestUntil applies policies that end by themselves: no process of the guard acts then.
func TestUntil(t *testing.T) {
	g := guardtest.NewFileGuard(t)
	t.Run("a denial", func(t *testing.T) { testEnds(t, g) })
	t.Run("an exception", func(t *testing.T) { testExceptionEnds(t, g) })
	t.Run("one after the other", func(t *testing.T) { testEndInTurn(t, g) })
	t.Run("while sets are replaced", func(t *testing.T) { testEndsUnderPolicies(t, g) })
	t.Run("before it begins", func(t *testing.T) {
		secret := guardtest.WriteFile(t, t.TempDir()+"/secret", "")
		d := guardtest.StartDoer(t, "/proc/self/exe")
		g.Enforce(t, ending(guardtest.DenyFiles("over", ebpfguard.Everyone(), secret), 1))
		d.Passed(t, "open", secret, "r")
		g.Quiet(t)
	})
}

// testEnds has a policy about each kind of subject that ends, at the same time.
func testEnds(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	guardtest.Check(t, os.Chmod(filepath.Dir(dir), 0o755))
	one, two := guardtest.CopyProgram(t, dir+"/one"), guardtest.CopyProgram(t, dir+"/two")
	makeCgroup(t, "/ending")
	user := func(uid uint32) *guardtest.Doer {
		return guardtest.StartDoerWith(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid}}, "/proc/self/exe")
	}
	chosen := guardtest.StartDoer(t, two)
	process, err := ebpfguard.RunningProcess(chosen.PID)
	guardtest.Check(t, err)
	descendant := guardtest.StartDoer(t, one)
	descendant.Passed(t, "spawn", two)
	tests := []struct {
		name      string
		subject   ebpfguard.Subject
		d, nobody *guardtest.Doer
	}{
		{"everyone", ebpfguard.Everyone(), guardtest.StartDoer(t, two), nil},
		{"binary", ebpfguard.Binaries(one), guardtest.StartDoer(t, one), guardtest.StartDoer(t, two)},
		{"directory", ebpfguard.Binaries(dir + "/"), guardtest.StartDoer(t, one), guardtest.StartDoer(t, "/proc/self/exe")},
		{"descendants", ebpfguard.Descendants(one), descendant, guardtest.StartDoer(t, two)},
		{"user", ebpfguard.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: 1234, Last: 1234}}}}, user(1234), user(1235)},
		{"cgroup", ebpfguard.Subject{Cgroups: []string{"/ending"}}, startInCgroup(t, "/ending", two), guardtest.StartDoer(t, two)},
		{"process", ebpfguard.Processes(process), chosen, guardtest.StartDoer(t, two)},
	}
	var set []policy.Policy
	secrets := map[string]string{}
	for _, test := range tests {
		secrets[test.name] = guardtest.WriteFile(t, dir+"/secrets/"+test.name, "")
		set = append(set, guardtest.DenyFiles(test.name, test.subject, secrets[test.name]))
	}
	apply := func(until uint64) {
		for i := range set {
			set[i].Until = until
		}
		g.Enforce(t, set...)
	}
	start := guardtest.Boottime(t)
	apply(start + uint64(time.Hour))
	for _, test := range tests {
		g.Refused(t, test.d, "open", secrets[test.name], "r")
	}
	until := guardtest.Boottime(t) + 3*(guardtest.Boottime(t)-start) + uint64(3*time.Second)
	apply(until)
	before, err := g.Stats(policy.FileOpen)
	guardtest.Check(t, err)
	for _, test := range tests {
		if alert := g.Refused(t, test.d, "open", secrets[test.name], "r"); alert.Policy != test.name {
			t.Errorf("%s: alert %v", test.name, alert)
		}
		g.RefusedChild(t, test.d, secrets[test.name])
		if test.nobody != nil {
			test.nobody.Passed(t, "open", secrets[test.name], "r")
		}
	}
	if now := guardtest.Boottime(t); now >= until {
		t.Fatalf("all of it took %v too long", time.Duration(now-until))
	}
	g.Quiet(t)
	sleepUntil(t, until)
	for _, test := range tests {
		test.d.Passed(t, "open", secrets[test.name], "r")
		test.d.Passed(t, "fork", secrets[test.name])
	}
	guardtest.StartDoer(t, one).Passed(t, "open", secrets["binary"], "r")
	g.Quiet(t)
	after, err := g.Stats(policy.FileOpen)
	guardtest.Check(t, err)
	if got, want := after.Denied-before.Denied, uint64(2*len(tests)); got != want {
		t.Errorf("%d denials, want %d", got, want)
	}
	if n := len(g.Policies()); n != len(set) {
		t.Errorf("%d policies, want %d: they have ended, but nobody removed them", n, len(set))
	}
}

// testExceptionEnds has an exception that ends, with all that is kept of what it allowed:
// with files, programs and sockets.
func testExceptionEnds(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	secret := guardtest.WriteFile(t, dir+"/secret", "")
	one := guardtest.CopyProgram(t, dir+"/one")
	ports := []policy.Pattern{guardtest.Ports(2022)}
	denial := policy.Policy{Name: "nobody", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{
		{Operation: policy.FileOpen, Deny: guardtest.FilePatterns([]string{secret})},
		{Operation: policy.SocketBind, Deny: ports},
		{Operation: policy.BprmCheckSecurity, Deny: []policy.Pattern{policy.ProgramPattern{Paths: []string{one}}}},
	}}
	// Of two that are alike the denial wins, so the exception is about a user.
	root := policy.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: 0, Last: 0}}}}
	exception := policy.Policy{Name: "but", Subject: root, Rules: []policy.Rule{
		{Operation: policy.FileOpen, Allow: guardtest.FilePatterns([]string{secret})},
		{Operation: policy.SocketBind, Allow: ports},
		{Operation: policy.BprmCheckSecurity, Allow: []policy.Pattern{policy.ProgramPattern{Paths: []string{one}}}},
	}}
	d, a, starter := guardtest.StartDoer(t, "/proc/self/exe"), guardtest.StartActor(t, "/proc/self/exe"), guardtest.StartDoer(t, "/proc/self/exe")
	until := ahead(t, g, denial, ending(exception, guardtest.Boottime(t)+uint64(time.Hour)))
	g.Enforce(t, denial, ending(exception, until))
	for range 3 {
		d.Passed(t, "open", secret, "r")
		if r := a.Do(guardtest.TCP(guardtest.Lo4, 2022)); r.Errno != 0 {
			t.Fatal(r)
		}
	}
	for range 2 {
		starter.Passed(t, "spawn", one)
	}
	if now := guardtest.Boottime(t); now >= until {
		t.Fatalf("all of it took %v too long", time.Duration(now-until))
	}
	g.Quiet(t)
	sleepUntil(t, until)
	for range 2 {
		g.Refused(t, d, "open", secret, "r")
		r := a.Do(guardtest.TCP(guardtest.Lo4, 2022))
		if alert := g.Next(t).Context(); !r.Refused() || alert.Policy != "nobody" {
			t.Errorf("bind: %v, alert %v", r, alert)
		}
		o := starter.Do("spawn", one)
		if alert := g.Next(t).Context(); o.Errno != syscall.EPERM || alert.Operation != policy.BprmCheckSecurity || alert.Policy != "nobody" || alert.Verdict != policy.Deny {
			t.Errorf("spawn: %v, alert %v", o, alert)
		}
	}
}

// testEndInTurn has policies about many processes that end one after the other.
func testEndInTurn(t *testing.T, g *guardtest.FileGuard) {
	const count = 16
	dir := t.TempDir()
	secret := guardtest.WriteFile(t, dir+"/secret", "")
	var doers []*guardtest.Doer
	for range count {
		doers = append(doers, guardtest.StartDoer(t, "/proc/self/exe"))
	}
	bystander := guardtest.StartDoer(t, "/proc/self/exe")
	set := func(first, step uint64) []policy.Policy {
		var set []policy.Policy
		for i, d := range doers {
			process, err := ebpfguard.RunningProcess(d.PID)
			guardtest.Check(t, err)
			set = append(set, ending(guardtest.DenyFiles(fmt.Sprintf("p%d", i), ebpfguard.Processes(process), secret), first+uint64(i)*step))
		}
		return set
	}
	first, step := ahead(t, g, set(guardtest.Boottime(t)+uint64(time.Hour), 1)...), uint64(500*time.Millisecond)
	policies := set(first, step)
	g.Enforce(t, policies...)
	denied := make([]int, count)
	for over := 0; over < count; {
		over = 0
		bystander.Passed(t, "open", secret, "r")
		for i, d := range doers {
			before := guardtest.Boottime(t)
			o := d.Do("open", secret, "r")
			after := guardtest.Boottime(t)
			switch {
			case o.Errno == syscall.EPERM:
				denied[i]++
				if before >= policies[i].Until {
					t.Fatalf("process %d is refused a file %v after the end", i, time.Duration(before-policies[i].Until))
				}
				if alert := g.Next(t).Context(); alert.Policy != policies[i].Name || alert.Undecided {
					t.Errorf("process %d: alert %v", i, alert)
				}
			case o.Errno != 0:
				t.Fatal(o)
			case after < policies[i].Until:
				t.Fatalf("process %d opens a file %v before the end", i, time.Duration(policies[i].Until-after))
			default:
				over++
			}
		}
	}
	for i, n := range denied {
		if n == 0 {
			t.Errorf("process %d was never refused anything", i)
		}
	}
	g.Quiet(t)
}

// testEndsUnderPolicies replaces the set before a policy ends.
func testEndsUnderPolicies(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	secret, second := guardtest.WriteFile(t, dir+"/secret", ""), guardtest.WriteFile(t, dir+"/second", "")
	d := guardtest.StartDoer(t, "/proc/self/exe")
	process, err := ebpfguard.RunningProcess(d.PID)
	guardtest.Check(t, err)
	timed := guardtest.DenyFiles("timed", ebpfguard.Processes(process), secret)
	other := guardtest.DenyFiles("other", ebpfguard.Everyone(), second)
	until := ahead(t, g, ending(timed, guardtest.Boottime(t)+uint64(time.Hour)))
	until += until - guardtest.Boottime(t)
	g.Enforce(t, ending(timed, until))
	g.Refused(t, d, "open", secret, "r")
	g.Enforce(t, other, ending(timed, until))
	g.Refused(t, d, "open", secret, "r")
	g.Refused(t, d, "open", second, "r")
	if now := guardtest.Boottime(t); now >= until {
		t.Fatalf("all of it took %v too long", time.Duration(now-until))
	}
	sleepUntil(t, until)
	d.Passed(t, "open", secret, "r")
	g.Refused(t, d, "open", second, "r")
	// It begins again.
	g.Enforce(t, timed)
	g.Refused(t, d, "open", secret, "r")
	d.Passed(t, "open", second, "r")
	g.Enforce(t, other)
	d.Passed(t, "open", secret, "r")
}
