package compile

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// manySubjects returns policies of so many binaries, cgroups, users and containers, with a rule each.
func manySubjects(binaries, cgroups, users, containers, rulesEach int) []policy.Policy {
	var set []policy.Policy
	add := func(name string, s policy.Subject) {
		p := policy.Policy{Name: name, Subject: s}
		for i := range rulesEach {
			n := len(set)*rulesEach + i
			rule := policy.Rule{Operation: policy.FileOpen, Allow: []policy.Pattern{policy.FilePattern{All: true}}, Deny: []policy.Pattern{ofPaths(manyPath(n))}}
			switch n % 5 {
			case 1:
				port := uint16(1 + n%1000)
				rule = policy.Rule{Operation: policy.SocketConnect, Deny: []policy.Pattern{policy.SocketPattern{Ports: []policy.PortRange{{First: port, Last: port}}}}}
			case 2:
				rule = policy.Rule{Operation: policy.SocketBind, Deny: []policy.Pattern{policy.SocketPattern{All: true}}}
			case 3: // nobody but these
				rule = policy.Rule{Operation: policy.FileOpen, Allow: []policy.Pattern{ofPaths("/srv/shared/")}}
			}
			p.Rules = append(p.Rules, rule)
		}
		set = append(set, p)
	}
	for i := range binaries {
		add(fmt.Sprintf("b%d", i), policy.Subject{Binaries: []string{fmt.Sprintf("/usr/bin/b%d", i)}})
	}
	for i := range cgroups {
		add(fmt.Sprintf("c%d", i), policy.Subject{Cgroups: []string{fmt.Sprintf("/c%d.slice", i)}})
	}
	for i := range users {
		add(fmt.Sprintf("u%d", i), policy.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: uint32(i), Last: uint32(i)}}}})
	}
	for i := range containers {
		add(fmt.Sprintf("n%d", i), policy.Subject{Containers: []policy.ContainerSelector{{Names: []string{fmt.Sprintf("n%d", i)}}}})
	}
	return append(set, everyone(deny(policy.FileOpen, ofPaths("/srv/shared/")))...)
}

// TestManySubjects: what a set takes grows with its policies, and not with a product of its kinds of
// subjects; what the tables say is what Decide does.
func TestManySubjects(t *testing.T) {
	for _, test := range []struct {
		binaries, cgroups, users, containers, rules int
		most                                        int // bytes of tables
		took                                        time.Duration
	}{
		{10, 0, 0, 0, 1, 1 << 20, 20 * time.Millisecond},
		{10, 10, 10, 10, 1, 1 << 20, 20 * time.Millisecond},
		{50, 50, 0, 0, 1, 2 << 20, 50 * time.Millisecond},
		{50, 50, 50, 50, 1, 4 << 20, 100 * time.Millisecond},
		{1000, 1000, 200, 200, 4, 32 << 20, 2 * time.Second},
		{8500, 500, 500, 500, 1, 128 << 20, 5 * time.Second},
	} {
		t.Run(fmt.Sprintf("%d_%d_%d_%d", test.binaries, test.cgroups, test.users, test.containers), func(t *testing.T) {
			if testing.Short() && test.binaries > 100 {
				t.Skip("takes a while")
			}
			set := manySubjects(test.binaries, test.cgroups, test.users, test.containers, test.rules)
			// In other orders: a directory of policies is read by the names of its files.
			for name, order := range map[string]func(i, j int) int{
				"reversed": func(i, j int) int { return j - i },
				"mixed":    func(i, j int) int { return cmp.Compare(uint32(i*2654435761), uint32(j*2654435761)) },
			} {
				places := make([]int, len(set))
				for i := range places {
					places[i] = i
				}
				slices.SortFunc(places, order)
				var other []policy.Policy
				for _, i := range places {
					other = append(other, set[i])
				}
				start := cpu()
				g, err := Compile(other, Options{Number: 1, Key: testKey})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if took, size := cpu()-start, len(g.Lines)*abi.LineWords*4; size > test.most || took > 20*test.took {
					t.Errorf("%s: the tables take %d bytes and %v, at most %d and %v are good", name, size, took, test.most, test.took)
				} else {
					t.Logf("%s: tables of %d KiB in %v", name, size>>10, took.Round(time.Millisecond))
				}
			}
			runtime.GC()
			start := cpu()
			g, err := Compile(set, Options{Number: 1, Key: testKey})
			if err != nil {
				t.Fatal(err)
			}
			took, size := cpu()-start, len(g.Lines)*abi.LineWords*4
			t.Logf("%d policies: tables of %d KiB in %v", len(set), size>>10, took.Round(time.Millisecond))
			// The race detector and a slow machine take several times as long.
			if size > test.most || took > 20*test.took {
				t.Errorf("the tables take %d bytes and %v, at most %d and %v are good", size, took, test.most, test.took)
			}
			m := newMachine(g, testKey)
			random := rand.New(rand.NewPCG(1, 1))
			one := func(prefix string, n int) string { return fmt.Sprintf("%s%d", prefix, random.IntN(n+1)) }
			for range 300 {
				p := policy.Process{
					Binary: "/usr/bin/" + one("b", test.binaries), Cgroup: "/" + one("c", test.cgroups) + ".slice/x", UID: uint32(random.IntN(test.users + 1)),
					Unknown: random.IntN(8) == 0,
				}
				if random.IntN(2) == 0 {
					p.Script = "/usr/bin/" + one("b", test.binaries)
				}
				switch random.IntN(4) {
				case 0:
					p.Unidentified = true
				case 1:
					p.Containers = []policy.Container{{Name: one("n", test.containers)}}
				}
				rules := (len(set) - 1) * test.rules
				port := uint16(1 + random.IntN(1000))
				for _, r := range []policy.Request{
					{Operation: policy.FileOpen, Object: policy.File{Names: policy.Names{Path: manyPath(random.IntN(rules))}, Access: policy.Read}},
					{Operation: policy.FileOpen, Object: policy.File{Names: policy.Names{Path: "/srv/shared/x"}, Access: policy.Write}},
					{Operation: policy.FileOpen, Object: policy.File{Names: policy.Names{Unknown: true}, Access: policy.Write}},
					{Operation: policy.SocketConnect, Object: policy.Socket{Address: netip.MustParseAddr("10.0.0.1"), Port: port, Protocol: policy.TCP}},
					{Operation: policy.SocketBind, Object: policy.Socket{Address: netip.IPv4Unspecified(), Port: port, Protocol: policy.TCP}},
				} {
					r.Process = p
					id := abi.OperationID(string(r.Operation))
					compare(t, 0, g, set, r, m.judge(id, m.classify(p, 0), r.Object, noIdentity), policy.Decide(set, r))
				}
			}
		})
	}
}

// TestManySubjectsOfOneOperation: 10,000 policies whose rules may all match the same, each of a subject of its own.
func TestManySubjectsOfOneOperation(t *testing.T) {
	const policies = 10_000
	file := func(i int) policy.Rule {
		return policy.Rule{Operation: policy.FileOpen, Allow: []policy.Pattern{ofPaths(manyPath(i))}, Deny: []policy.Pattern{policy.FilePattern{All: true}}}
	}
	socket := func(i int) policy.Rule {
		port := uint16(1 + i)
		return policy.Rule{
			Operation: policy.SocketBind, Allow: []policy.Pattern{policy.SocketPattern{Ports: []policy.PortRange{{First: port, Last: port}}}},
			Deny: []policy.Pattern{policy.SocketPattern{All: true}},
		}
	}
	for name, test := range map[string]struct {
		subject func(i int) policy.Subject
		rule    func(i int) policy.Rule
	}{
		"binaries": {func(i int) policy.Subject { return policy.Subject{Binaries: []string{fmt.Sprintf("/usr/bin/b%d", i)}} }, file},
		"containers": {func(i int) policy.Subject {
			return policy.Subject{Containers: []policy.ContainerSelector{{Names: []string{fmt.Sprintf("n%d", i)}}}}
		}, file},
		"cgroups": {func(i int) policy.Subject { return policy.Subject{Cgroups: []string{fmt.Sprintf("/c%d.slice", i)}} }, socket},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() {
				t.Skip("takes a while")
			}
			var set []policy.Policy
			for i := range policies {
				set = append(set, policy.Policy{Name: fmt.Sprintf("p%d", i), Subject: test.subject(i), Rules: []policy.Rule{test.rule(i)}})
			}
			start := cpu()
			g, err := Compile(set, Options{Number: 1, Key: testKey})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("tables of %d KiB in %v", len(g.Lines)*abi.LineWords*4>>10, (cpu() - start).Round(time.Millisecond))
			m, random := newMachine(g, testKey), rand.New(rand.NewPCG(1, 2))
			for range 40 {
				i := random.IntN(policies + 1)
				p := policy.Process{
					Binary: fmt.Sprintf("/usr/bin/b%d", i), Cgroup: fmt.Sprintf("/c%d.slice/x", i), Containers: []policy.Container{{Name: fmt.Sprintf("n%d", i)}},
					Unknown: random.IntN(8) == 0,
				}
				for _, i := range []int{i, random.IntN(policies)} {
					for _, r := range []policy.Request{
						{Operation: policy.FileOpen, Object: policy.File{Names: policy.Names{Path: manyPath(i)}, Access: policy.Read}},
						{Operation: policy.FileOpen, Object: policy.File{Names: policy.Names{Unknown: true}, Access: policy.Write}},
						{Operation: policy.SocketBind, Object: policy.Socket{Address: netip.IPv4Unspecified(), Port: uint16(1 + i), Protocol: policy.TCP}},
					} {
						r.Process = p
						compare(t, 0, g, set, r, m.judge(abi.OperationID(string(r.Operation)), m.classify(p, 0), r.Object, noIdentity), policy.Decide(set, r))
					}
				}
			}
		})
	}
}

// BenchmarkManyPolicies is what it takes to change one of 10,000 policies.
func BenchmarkManyPolicies(b *testing.B) {
	set := manySubjects(8500, 500, 500, 500, 1)
	for b.Loop() {
		if _, err := Compile(set, Options{Number: 1, Key: testKey}); err != nil {
			b.Fatal(err)
		}
	}
}
