package ebpfguard

import (
	"strings"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/policy"
)

func TestZeroManager(t *testing.T) {
	m := &Manager{}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := m.Remove(); err == nil {
		t.Error("nothing is removed without a word")
	}
	if _, err := m.Apply(nil); err == nil {
		t.Error("nothing is applied without a word")
	}
	if _, err := m.Stats(policy.FileOpen); err == nil {
		t.Error("it counts")
	}
	if _, err := m.Verify(); err == nil {
		t.Error("it is verified")
	}
	if m.Policies() != nil {
		t.Error("it has policies")
	}
}

func TestEnds(t *testing.T) {
	now, err := Boottime()
	if err != nil {
		t.Fatal(err)
	}
	if until, err := EndsIn(time.Minute); err != nil || until < now+uint64(time.Minute) || until > now+uint64(2*time.Minute) {
		t.Errorf("%v, until %d, now is %d", err, until, now)
	}
	if until, err := EndsAt(time.Now().Add(time.Hour)); err != nil || until < now+uint64(59*time.Minute) {
		t.Errorf("%v, until %d, now is %d", err, until, now)
	}
	for want, f := range map[string]func() (uint64, error){
		"Until has passed":  func() (uint64, error) { return EndsIn(-time.Second) },
		"use EndsIn":        func() (uint64, error) { return EndsAt(time.Now().Add(-time.Second)) },
		"Until is 20 years": func() (uint64, error) { return EndsIn(20 * 366 * 24 * time.Hour) },
	} {
		if _, err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestGoAdvice expects errors in words of Go.
func TestGoAdvice(t *testing.T) {
	for want, p := range map[string]policy.Policy{
		"give Ports() a value, or use AllPorts()":       Rule[policy.SocketPattern]{Subject: Everyone(), Deny: Ports()}.policy(policy.SocketBind),
		"give Files() a value, or use AllFiles()":       Rule[policy.FilePattern]{Subject: Everyone(), Deny: Files()}.policy(policy.FileOpen),
		"give Programs() a value, or use AllPrograms()": Rule[policy.ProgramPattern]{Subject: Everyone(), Deny: Programs()}.policy(policy.BprmCheckSecurity),
		"give Mounts() a value, or use AllMounts()":     Rule[policy.MountPattern]{Subject: Everyone(), Deny: Mounts()}.policy(policy.SbMount),
		"Until has passed":                              {Until: 1},
		"nanoseconds since the machine was started":     {Until: uint64(time.Now().UnixNano())},
	} {
		if err := checkAdded(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for _, p := range []policy.Policy{
		Rule[policy.SocketPattern]{Subject: Users("root"), Deny: Ports(22)}.policy(policy.SocketBind),
		Rule[policy.FilePattern]{Subject: UIDs(0, 7), Allow: ReadingFiles("/a"), Deny: AllFiles()}.policy(policy.FileOpen),
		Rule[policy.FilePattern]{Subject: Cgroups("/a.slice"), Deny: WritingFiles("/a")}.policy(policy.FileOpen),
		Rule[policy.FilePattern]{Subject: Containers(policy.ContainerSelector{Images: []string{"nginx"}}), Deny: WritingFiles("/b")}.policy(policy.FileOpen),
		Rule[policy.FilePattern]{Subject: Containers(), Deny: WritingFiles("/c")}.policy(policy.FileOpen),
		Rule[policy.FilePattern]{Subject: Host(), Deny: WritingFiles("/d")}.policy(policy.FileOpen),
		Rule[policy.FilePattern]{Subject: Everyone(), Deny: ExecutingFiles("/a")}.policy(policy.FileOpen),
	} {
		p.Name = "p"
		if err := checkAdded(p); err != nil {
			t.Error(err)
		}
		if err := policy.Validate([]policy.Policy{p}); err != nil {
			t.Error(err)
		}
	}
}
