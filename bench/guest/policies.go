package main

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"time"

	"github.com/ebpfguard/ebpfguard"
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

// condition is a set of policies that is measured besides numbers of rules.
type condition struct {
	name string
	// works tells which workloads it concerns, by their names, and operation whose
	// rules it has.
	works     *regexp.Regexp
	operation policy.Operation
	set       func() []policy.Policy
}

// beside is how many rules a condition has besides what makes it one.
const beside = 1000

// conditions are what the numbers of rules leave out: that all else is allowed, that
// rules can match anywhere, that they concern other programs, that processes must be told
// apart, and that open files are judged at each use.
var conditions = []condition{
	{"allow: all, 1000 rules", regexp.MustCompile(`^(open|stat|read|write|mkdir|create|rename|link|chmod|utimes|truncate|mmap|mprotect)`), policy.FileOpen, func() []policy.Policy {
		return allowAll(policy.FileOpen, policy.FilePattern{All: true})
	}},
	{"allow: all, 1000 rules", regexp.MustCompile(`bind.close`), policy.SocketBind, func() []policy.Policy {
		return allowAll(policy.SocketBind, policy.SocketPattern{All: true})
	}},
	{"allow: all, 1000 rules", regexp.MustCompile(`connect|sendto`), policy.SocketConnect, func() []policy.Policy {
		return allowAll(policy.SocketConnect, policy.SocketPattern{All: true})
	}},
	{"allow: all, 100 globs", regexp.MustCompile(`^open`), policy.FileOpen, globs},
	{"1000 rules of another program", regexp.MustCompile(`^open.close, (depth|never seen before$)`), policy.FileOpen, func() []policy.Policy {
		set := others(policy.FileOpen, pattern(policy.FileOpen), beside)
		set[0].Subject = policy.Subject{Binaries: []string{"/usr/sbin/other"}}
		return set
	}},
	{"10 subjects", regexp.MustCompile(`^fork`), policy.BprmCheckSecurity, func() []policy.Policy { return subjects(10, false) }},
	{"descendants", regexp.MustCompile(`^fork`), policy.BprmCheckSecurity, func() []policy.Policy { return subjects(1, true) }},
	{containersSetup, regexp.MustCompile(`^fork`), policy.BprmCheckSecurity, func() []policy.Policy { return containers() }},
	{"revoke", regexp.MustCompile(`^(open.close, depth|stat|read|write)`), policy.FileOpen, func() []policy.Policy {
		set := allowAll(policy.FileOpen, policy.FilePattern{All: true})
		set[0].Rules[0].Revoke = true
		return set
	}},
}

// pattern returns what makes the patterns of an operation that match nothing.
func pattern(operation policy.Operation) func(int) policy.Pattern {
	for _, g := range groups {
		if g.operation == operation {
			return g.other
		}
	}
	panic("no group of " + operation)
}

// allowAll is a policy of rules that match nothing, and one that allows everything.
func allowAll(operation policy.Operation, all policy.Pattern) []policy.Policy {
	set := others(operation, pattern(operation), beside)
	set[0].Rules = append(set[0].Rules, policy.Rule{Operation: operation, Allow: []policy.Pattern{all}})
	return set
}

// globs is a policy of rules that can match a file in any directory, and match none.
func globs() []policy.Policy {
	set := others(policy.FileOpen, func(i int) policy.Pattern {
		return policy.FilePattern{Paths: []string{fmt.Sprintf("/tmp/**/key-%d*", i), fmt.Sprintf("/**/*.secret%d", i)}}
	}, 50)
	set[0].Rules = append(set[0].Rules, policy.Rule{Operation: policy.FileOpen, Allow: []policy.Pattern{policy.FilePattern{All: true}}})
	return set
}

// containersSetup is a machine with so many containers, of which the workload is in none.
const (
	containersSetup = "10000 containers"
	manyContainers  = 10_000
)

// containers are policies for ten of the containers, each with a rule that matches nothing.
func containers() []policy.Policy {
	set := subjects(10, false)
	for i := range set {
		set[i].Subject = policy.Subject{Containers: []policy.ContainerSelector{{Names: []string{fmt.Sprintf("container-%d", i)}}}}
	}
	return set
}

// addContainers tells of the containers, whose control groups are not there.
func addContainers(m *ebpfguard.Manager) {
	start := time.Now()
	for i := range manyContainers {
		must(m.AddContainer(1<<40+uint64(i), policy.Container{
			ID: fmt.Sprintf("%064x", i), Name: fmt.Sprintf("container-%d", i), Image: "docker.io/library/nginx:1.27", Labels: map[string]string{"app": "web"}, Runtime: "containerd",
		}))
	}
	fmt.Fprintf(os.Stderr, "# %d containers were told of in %d million instructions\n", manyContainers, time.Since(start).Milliseconds())
}

// subjects are so many policies for a program each, of which the workload is the first,
// with rules that match nothing.
func subjects(count int, descendants bool) []policy.Policy {
	var set []policy.Policy
	for i := range count {
		p := others(policy.BprmCheckSecurity, pattern(policy.BprmCheckSecurity), 1)[0]
		p.Name = fmt.Sprintf("bench-%d", i)
		p.Subject = policy.Subject{Binaries: []string{workloadPath}, Descendants: descendants}
		if i > 0 {
			p.Subject.Binaries = []string{fmt.Sprintf("/usr/sbin/service-%d", i)}
		}
		set = append(set, p)
	}
	return set
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
