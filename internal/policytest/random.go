// Package policytest makes random policies and operations for the tests that
// compare what decides: the reference semantics, the compiled tables and the
// kernel.
package policytest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/ebpfguard/ebpfguard/policy"
)

// Random draws from few values, so that patterns and objects meet.
type Random struct {
	*rand.Rand
	// Binaries are the programs that policies name and that act.
	Binaries []string
}

// New returns the random values of a seed.
func New(seed uint64, binaries ...string) Random {
	return Random{rand.New(rand.NewPCG(seed, seed)), binaries}
}

func pick[T any](r Random, values ...T) T { return values[r.IntN(len(values))] }

var (
	ports    = []uint16{0, 1, 22, 23, 80, 40000, 40001, 40010, 65535}
	prefixes = []string{
		"0.0.0.0/0", "0.0.0.0/32", "0.0.0.0/8", "127.0.0.0/8", "127.0.0.1/32", "127.0.0.0/31", "10.0.0.0/8", "10.1.0.0/16",
		"255.255.255.255/32", "128.0.0.0/1", "::/0", "::/128", "::1/128", "::/80", "2001:db8::/32", "2001:db8::/33", "8000::/1",
	}
	addresses = []string{
		"0.0.0.0", "0.0.0.1", "127.0.0.1", "127.0.0.2", "10.0.0.1", "10.1.0.1",
		"::", "::1", "2001:db8::1", "2001:db8:8000::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0.0.0.0",
	}
)

// Set returns a valid policy set of up to four policies.
func (r Random) Set() []policy.Policy {
	for {
		var set []policy.Policy
		for i := range r.IntN(5) {
			p := policy.Policy{
				Name:    fmt.Sprintf("p%d", i),
				Mode:    pick(r, policy.ModeEnforce, policy.ModeEnforce, policy.ModeAudit),
				Subject: policy.Subject{Everyone: true},
			}
			if len(r.Binaries) > 0 && r.IntN(2) == 0 {
				p.Subject = policy.Subject{Binaries: []string{pick(r, r.Binaries...)}}
			}
			for range 1 + r.IntN(2) {
				p.Rules = append(p.Rules, policy.Rule{Operation: policy.SocketBind, Allow: r.patterns(), Deny: r.patterns()})
			}
			set = append(set, p)
		}
		if policy.Validate(set) == nil {
			return set
		}
	}
}

func (r Random) patterns() []policy.Pattern {
	var list []policy.Pattern
	for range r.IntN(3) {
		list = append(list, r.pattern())
	}
	return list
}

func (r Random) pattern() policy.Pattern {
	var p policy.SocketPattern
	if r.IntN(2) == 0 {
		for range 1 + r.IntN(2) {
			a := pick(r, ports...)
			b := pick(r, a, a, pick(r, ports...))
			p.Ports = append(p.Ports, policy.PortRange{First: min(a, b), Last: max(a, b)})
		}
	}
	if r.IntN(2) == 0 {
		for range 1 + r.IntN(2) {
			p.Addresses = append(p.Addresses, netip.MustParsePrefix(pick(r, prefixes...)))
		}
	}
	if r.IntN(4) == 0 {
		p.Protocols = append(p.Protocols, pick(r, policy.TCP, policy.UDP))
	}
	p.All = p.Ports == nil && p.Addresses == nil && p.Protocols == nil
	return p
}

// Socket returns a socket that could be bound.
func (r Random) Socket() policy.Socket {
	return policy.Socket{
		Address:   netip.MustParseAddr(pick(r, addresses...)),
		Port:      pick(r, ports...),
		Protocol:  pick(r, policy.TCP, policy.UDP),
		Automatic: policy.DefaultAutomatic,
		DualStack: r.IntN(2) == 0,
	}
}
