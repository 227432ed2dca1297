//go:build vm

package sockets

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestPlaces asks in turn about places that differ in one of the things that an answer depends
// on (bpf/cache/place.h; TestSocketBindAgain has protocol, family and automatic ports): what is
// kept of the one that is allowed is not taken for the other.
func TestPlaces(t *testing.T) {
	g := guardtest.Shared(t)
	t.Cleanup(func() { g.Drain(t) })
	performer := func(name string) (*guardtest.Performer, string) {
		program := filepath.Join(t.TempDir(), name)
		guardtest.MakeProgram(t, program, guardtest.PerformerProgram())
		p := guardtest.NewPerformer(t, name)
		p.Start(t, program, "/")
		p.Must(t, unix.SYS_CLOSE_RANGE, guardtest.OpenedFD, uintptr(^uint32(0)), 0)
		return p, program
	}
	p, _ := performer("one")
	other, program := performer("other")
	ask := func(p *guardtest.Performer, what string, add func(*guardtest.Batch) int, refused bool) {
		t.Helper()
		if errno := p.Attempt(t, add); (errno == unix.EPERM) != refused {
			t.Errorf("%s: %v, want refused: %v", what, errno, refused)
		}
	}
	everyone := policy.Subject{Everyone: true}
	set := func(subject policy.Subject, o policy.Operation, deny ...policy.Pattern) policy.Policy {
		return policy.Policy{Name: string(o), Subject: subject, Rules: []policy.Rule{{Operation: o, Deny: deny}}}
	}
	apply := func(policies ...policy.Policy) { t.Helper(); _, err := g.Apply(policies); guardtest.Check(t, err) }
	t.Cleanup(func() { apply() })
	to := func(text string) policy.Pattern {
		return policy.SocketPattern{Addresses: []netip.Prefix{netip.MustParsePrefix(text)}}
	}
	bind := func(text string, port uint16) func(*guardtest.Batch) int {
		return guardtest.BindTo(netip.MustParseAddr(text), port)
	}
	connect := func(text string, port uint16) func(*guardtest.Batch) int {
		return guardtest.ConnectTo(netip.MustParseAddr(text), port)
	}

	// The operation: each forbids what the other allows.
	apply(set(everyone, policy.SocketBind, guardtest.Ports(3001)), set(everyone, policy.SocketConnect, guardtest.Ports(3002)))
	for range 3 {
		ask(p, "connect", connect("127.0.0.1", 3001), false)
		ask(p, "bind", bind("127.0.0.1", 3001), true)
		ask(p, "bind", bind("127.0.0.1", 3002), false)
		ask(p, "connect", connect("127.0.0.1", 3002), true)
	}
	// Each part of an address, with flips that cancel out under a multiplier that is known.
	free := "fd00::1"
	forbidden := []string{"fd00::1:1", "fd00::8000:1", "fd00::1:0:1", "fd00::8000:0:1", "fd00:0:1::1", "fd00:0:0:8000::1", "7d00::1", "7d00::8000:0:0:1", "fd00::2", "127.0.0.2"}
	var patterns []policy.Pattern
	for _, text := range forbidden {
		patterns = append(patterns, to(fmt.Sprintf("%s/%d", text, netip.MustParseAddr(text).BitLen())))
	}
	apply(set(everyone, policy.SocketBind, patterns...))
	for range 3 {
		ask(p, free, bind(free, 3001), false)
		ask(p, "127.0.0.1", bind("127.0.0.1", 3001), false)
		for _, text := range forbidden {
			ask(p, text, bind(text, 3001), true)
		}
	}
	// The set.
	for i := range 4 {
		apply(set(everyone, policy.SocketBind, guardtest.Ports(uint16(3001+i%2))))
		for range 2 {
			ask(p, "the set", bind("127.0.0.1", 3001), i%2 == 0)
			ask(p, "the set", bind("127.0.0.1", 3002), i%2 == 1)
		}
	}
	// Who asks, where only some are concerned and where everyone is, in different ways.
	one := set(policy.Subject{Binaries: []string{program}}, policy.SocketBind, guardtest.Ports(3001))
	all := set(everyone, policy.SocketBind, guardtest.Ports(3002))
	all.Name = "all"
	for _, policies := range [][]policy.Policy{{one}, {one, all}} {
		apply(policies...)
		for range 3 {
			ask(p, "one", bind("127.0.0.1", 3001), false)
			ask(other, "the other", bind("127.0.0.1", 3001), true)
			ask(other, "the other", bind("127.0.0.1", 3003), false)
		}
	}
	// What a rule allows is counted each time.
	all.Rules[0].Allow = []policy.Pattern{guardtest.Ports(3003)}
	apply(all)
	before, err := g.Stats(policy.SocketBind)
	guardtest.Check(t, err)
	for range 5 {
		ask(p, "allowed", bind("127.0.0.1", 3003), false)
	}
	after, err := g.Stats(policy.SocketBind)
	guardtest.Check(t, err)
	if n := after.Allowed - before.Allowed; n != 5 {
		t.Errorf("5 binds that a rule allows were counted as %d", n)
	}
}
