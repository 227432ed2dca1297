//go:build vm

package ebpfguard_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// boottime returns the time that policies end by.
func boottime(t *testing.T) uint64 {
	t.Helper()
	now, err := ebpfguard.Boottime()
	check(t, err)
	return now
}

// ahead returns a time that comes soon after a set that is applied now can be in force
// and be looked at, however slow this machine is.
func ahead(t *testing.T, g *fileGuard, set ...policy.Policy) uint64 {
	t.Helper()
	start := boottime(t)
	g.apply(t, set...)
	return boottime(t) + 3*(boottime(t)-start) + uint64(3*time.Second)
}

// sleepUntil returns when the time has come.
func sleepUntil(t *testing.T, when uint64) {
	t.Helper()
	for now := boottime(t); now < when; now = boottime(t) {
		time.Sleep(time.Duration(when - now))
	}
}

// ending returns the policy with an end.
func ending(p policy.Policy, until uint64) policy.Policy {
	p.Until = until
	return p
}

// TestUntil applies policies that end. Nobody does anything when they do.
func TestUntil(t *testing.T) {
	g := newFileGuard(t)
	t.Run("whoever", func(t *testing.T) { testEnds(t, g) })
	t.Run("an exception", func(t *testing.T) { testExceptionEnds(t, g) })
	t.Run("one after the other", func(t *testing.T) { testEndInTurn(t, g) })
	t.Run("while sets are replaced", func(t *testing.T) { testEndsUnderPolicies(t, g) })
	t.Run("before it begins", func(t *testing.T) {
		secret := write(t, t.TempDir()+"/secret", "")
		d := startDoer(t, "/proc/self/exe")
		g.apply(t, ending(denyFiles("over", ebpfguard.Everyone(), secret), 1))
		d.passed(t, "open", secret, "r")
		g.quiet(t)
	})
}

// testEnds has a policy about each kind of subject that ends, at the same time.
func testEnds(t *testing.T, g *fileGuard) {
	dir := t.TempDir()
	check(t, os.Chmod(filepath.Dir(dir), 0o755))
	one, two := copyProgram(t, dir+"/one"), copyProgram(t, dir+"/two")
	makeCgroup(t, "/ending")
	user := func(uid uint32) *doer {
		return startDoerWith(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid}}, "/proc/self/exe")
	}
	chosen := startDoer(t, two)
	process, err := ebpfguard.RunningProcess(chosen.pid)
	check(t, err)
	descendant := startDoer(t, one)
	descendant.passed(t, "spawn", two)
	tests := []struct {
		name      string
		subject   ebpfguard.Subject
		d, nobody *doer
	}{
		{"everyone", ebpfguard.Everyone(), startDoer(t, two), nil},
		{"binary", ebpfguard.Binaries(one), startDoer(t, one), startDoer(t, two)},
		{"directory", ebpfguard.Binaries(dir + "/"), startDoer(t, one), startDoer(t, "/proc/self/exe")},
		{"descendants", ebpfguard.Descendants(one), descendant, startDoer(t, two)},
		{"user", ebpfguard.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: 1234, Last: 1234}}}}, user(1234), user(1235)},
		{"cgroup", ebpfguard.Subject{Cgroups: []string{"/ending"}}, startInCgroup(t, "/ending", two), startDoer(t, two)},
		{"process", ebpfguard.Processes(process), chosen, startDoer(t, two)},
	}
	var set []policy.Policy
	secrets := map[string]string{}
	for _, test := range tests {
		secrets[test.name] = write(t, dir+"/secrets/"+test.name, "")
		set = append(set, denyFiles(test.name, test.subject, secrets[test.name]))
	}
	apply := func(until uint64) {
		for i := range set {
			set[i].Until = until
		}
		g.apply(t, set...)
	}
	start := boottime(t)
	apply(start + uint64(time.Hour))
	for _, test := range tests {
		g.refused(t, test.d, "open", secrets[test.name], "r")
	}
	until := boottime(t) + 3*(boottime(t)-start) + uint64(3*time.Second)
	apply(until)
	before, err := g.Stats(policy.FileOpen)
	check(t, err)
	for _, test := range tests {
		if alert := g.refused(t, test.d, "open", secrets[test.name], "r"); alert.Policy != test.name {
			t.Errorf("%s: alert %v", test.name, alert)
		}
		if o := test.d.do("fork", secrets[test.name]); o.Errno != syscall.EPERM {
			t.Errorf("a child of %s: %v", test.name, o)
		}
		g.next(t)
		if test.nobody != nil {
			test.nobody.passed(t, "open", secrets[test.name], "r")
		}
	}
	if now := boottime(t); now >= until {
		t.Fatalf("all of it took %v too long", time.Duration(now-until))
	}
	g.quiet(t)
	sleepUntil(t, until)
	for _, test := range tests {
		test.d.passed(t, "open", secrets[test.name], "r")
		test.d.passed(t, "fork", secrets[test.name])
	}
	startDoer(t, one).passed(t, "open", secrets["binary"], "r")
	g.quiet(t)
	after, err := g.Stats(policy.FileOpen)
	check(t, err)
	if got, want := after.Denied-before.Denied, uint64(2*len(tests)); got != want {
		t.Errorf("%d denials, want %d", got, want)
	}
	if n := len(g.Policies()); n != len(set) {
		t.Errorf("%d policies, want %d: they have ended, but nobody removed them", n, len(set))
	}
}

// testExceptionEnds has an exception that ends, with all that is kept of what it allowed:
// with files, programs and sockets.
func testExceptionEnds(t *testing.T, g *fileGuard) {
	dir := t.TempDir()
	secret := write(t, dir+"/secret", "")
	one := copyProgram(t, dir+"/one")
	ports := []policy.Pattern{policy.SocketPattern{Ports: []policy.PortRange{{First: 2022, Last: 2022}}}}
	denial := policy.Policy{Name: "nobody", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{
		{Operation: policy.FileOpen, Deny: filePatterns([]string{secret})},
		{Operation: policy.SocketBind, Deny: ports},
		{Operation: policy.BprmCheckSecurity, Deny: []policy.Pattern{policy.ProgramPattern{Paths: []string{one}}}},
	}}
	// Of two that are alike the denial wins, so the exception is about a user.
	root := policy.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: 0, Last: 0}}}}
	exception := policy.Policy{Name: "but", Subject: root, Rules: []policy.Rule{
		{Operation: policy.FileOpen, Allow: filePatterns([]string{secret})},
		{Operation: policy.SocketBind, Allow: ports},
		{Operation: policy.BprmCheckSecurity, Allow: []policy.Pattern{policy.ProgramPattern{Paths: []string{one}}}},
	}}
	d, a, starter := startDoer(t, "/proc/self/exe"), startActor(t, "/proc/self/exe"), startDoer(t, "/proc/self/exe")
	until := ahead(t, g, denial, ending(exception, boottime(t)+uint64(time.Hour)))
	g.apply(t, denial, ending(exception, until))
	for range 3 {
		d.passed(t, "open", secret, "r")
		if r := a.do(tcp(lo4, 2022)); r.Errno != 0 {
			t.Fatal(r)
		}
	}
	for range 2 {
		starter.passed(t, "spawn", one)
	}
	if now := boottime(t); now >= until {
		t.Fatalf("all of it took %v too long", time.Duration(now-until))
	}
	g.quiet(t)
	sleepUntil(t, until)
	for range 2 {
		g.refused(t, d, "open", secret, "r")
		r := a.do(tcp(lo4, 2022))
		if alert := g.next(t).Context(); !r.denied() || alert.Policy != "nobody" {
			t.Errorf("bind: %v, alert %v", r, alert)
		}
		o := starter.do("spawn", one)
		if alert := g.next(t).Context(); o.Errno != syscall.EPERM || alert.Operation != policy.BprmCheckSecurity {
			t.Errorf("spawn: %v, alert %v", o, alert)
		}
	}
}

// testEndInTurn has policies about many processes that end one after the other.
func testEndInTurn(t *testing.T, g *fileGuard) {
	const count = 16
	dir := t.TempDir()
	secret := write(t, dir+"/secret", "")
	var doers []*doer
	for range count {
		doers = append(doers, startDoer(t, "/proc/self/exe"))
	}
	bystander := startDoer(t, "/proc/self/exe")
	set := func(first, step uint64) []policy.Policy {
		var set []policy.Policy
		for i, d := range doers {
			process, err := ebpfguard.RunningProcess(d.pid)
			check(t, err)
			set = append(set, ending(denyFiles(fmt.Sprintf("p%d", i), ebpfguard.Processes(process), secret), first+uint64(i)*step))
		}
		return set
	}
	first, step := ahead(t, g, set(boottime(t)+uint64(time.Hour), 1)...), uint64(500*time.Millisecond)
	policies := set(first, step)
	g.apply(t, policies...)
	denied := make([]int, count)
	for over := 0; over < count; {
		over = 0
		bystander.passed(t, "open", secret, "r")
		for i, d := range doers {
			before := boottime(t)
			o := d.do("open", secret, "r")
			after := boottime(t)
			switch {
			case o.Errno == syscall.EPERM:
				denied[i]++
				if before >= policies[i].Until {
					t.Fatalf("process %d is refused a file %v after the end", i, time.Duration(before-policies[i].Until))
				}
				if alert := g.next(t).Context(); alert.Policy != policies[i].Name || alert.Undecided {
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
	g.quiet(t)
}

// testEndsUnderPolicies replaces the set before a policy ends.
func testEndsUnderPolicies(t *testing.T, g *fileGuard) {
	dir := t.TempDir()
	secret, second := write(t, dir+"/secret", ""), write(t, dir+"/second", "")
	d := startDoer(t, "/proc/self/exe")
	process, err := ebpfguard.RunningProcess(d.pid)
	check(t, err)
	timed := denyFiles("timed", ebpfguard.Processes(process), secret)
	other := denyFiles("other", ebpfguard.Everyone(), second)
	until := ahead(t, g, ending(timed, boottime(t)+uint64(time.Hour)))
	until += until - boottime(t)
	g.apply(t, ending(timed, until))
	g.refused(t, d, "open", secret, "r")
	g.apply(t, other, ending(timed, until))
	g.refused(t, d, "open", secret, "r")
	g.refused(t, d, "open", second, "r")
	if now := boottime(t); now >= until {
		t.Fatalf("all of it took %v too long", time.Duration(now-until))
	}
	sleepUntil(t, until)
	d.passed(t, "open", secret, "r")
	g.refused(t, d, "open", second, "r")
	// It begins again.
	g.apply(t, timed)
	g.refused(t, d, "open", secret, "r")
	d.passed(t, "open", second, "r")
	g.apply(t, other)
	d.passed(t, "open", secret, "r")
}
