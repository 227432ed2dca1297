package main

import (
	"fmt"
	"net/netip"

	"github.com/ebpfguard/ebpfguard/policy"
)

// groups are the operations whose rules are measured, each with the most rules
// that it is measured with: a pattern of ports or ids has no room for more that
// differ.
var groups = []struct {
	name      string
	operation policy.Operation
	most      int
	// other returns a pattern that matches nothing that is done, matching one
	// that matches everything.
	other    func(i int) policy.Pattern
	matching policy.Pattern
}{
	{"file", policy.FileOpen, 100_000, func(i int) policy.Pattern {
		return policy.FilePattern{Paths: []string{fmt.Sprintf("/srv/%d/data/%d", i%100, i)}}
	}, policy.FilePattern{Paths: []string{dir + "/"}}},
	{"bind", policy.SocketBind, 10_000, func(i int) policy.Pattern {
		return policy.SocketPattern{Ports: []policy.PortRange{{First: uint16(20_000 + 2*i), Last: uint16(20_000 + 2*i)}}}
	}, policy.SocketPattern{Ports: []policy.PortRange{{First: 8080, Last: 8080}}}},
	{"connect", policy.SocketConnect, 100_000, func(i int) policy.Pattern {
		return policy.SocketPattern{Addresses: []netip.Prefix{network(i)}}
	}, policy.SocketPattern{Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}},
	{"exec", policy.BprmCheckSecurity, 100_000, func(i int) policy.Pattern {
		return policy.ProgramPattern{Paths: []string{fmt.Sprintf("/opt/%d/bin/%d", i%100, i)}}
	}, policy.ProgramPattern{Paths: []string{program}}},
	{"setuid", policy.TaskFixSetuid, 1000, func(i int) policy.Pattern {
		return policy.CredentialsPattern{To: policy.Identity{UIDs: policy.IDs{Ranges: []policy.IDRange{{First: uint32(100_000 + 2*i), Last: uint32(100_000 + 2*i)}}}}}
	}, policy.CredentialsPattern{To: policy.Identity{UIDs: policy.IDs{Ranges: []policy.IDRange{{First: 0, Last: 0}}}}}},
	{"mount", policy.SbMount, 10_000, func(i int) policy.Pattern {
		return policy.MountPattern{Targets: []string{fmt.Sprintf("/media/%d/%d", i%100, i)}}
	}, policy.MountPattern{Targets: []string{target}}},
}

// network returns one of many networks that nobody connects to.
func network(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
}

// manyNetworks is as many as a list of addresses that are known to be bad may have.
const (
	manyNetworks  = 1_000_000
	networksSetup = "1000000 networks"
)

// networks is a policy of one rule that denies so many networks that nobody
// connects to. There is room between them: neighbours would become one.
func networks(count int) []policy.Policy {
	list := make([]netip.Prefix, count)
	for i := range list {
		list[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 12), byte(i >> 4), byte(i << 4)}), 30)
	}
	return []policy.Policy{{
		Name: "bench", Subject: policy.Subject{Everyone: true},
		Rules: []policy.Rule{{Operation: policy.SocketConnect, Deny: []policy.Pattern{policy.SocketPattern{Addresses: list}}}},
	}}
}

// others is a policy of so many rules that concern everyone and match nothing.
func others(operation policy.Operation, pattern func(int) policy.Pattern, count int) []policy.Policy {
	p := policy.Policy{Name: "bench", Subject: policy.Subject{Everyone: true}}
	for i := range count {
		p.Rules = append(p.Rules, policy.Rule{Operation: operation, Deny: []policy.Pattern{pattern(i)}})
	}
	return []policy.Policy{p}
}

// matching is a policy of one rule that allows what the workload does, or denies
// it.
func matching(operation policy.Operation, pattern policy.Pattern, deny bool) []policy.Policy {
	r := policy.Rule{Operation: operation, Allow: []policy.Pattern{pattern}}
	if deny {
		r.Allow, r.Deny = nil, r.Allow
	}
	return []policy.Policy{{Name: "bench", Subject: policy.Subject{Binaries: []string{workloadPath}}, Rules: []policy.Rule{r}}}
}
