package compile

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// manyBinaries returns a policy for each of so many binaries, of which some deny and
// some lift what others deny, and one for everyone.
func manyBinaries(n int) []policy.Policy {
	port := func(i int) policy.SocketPattern {
		return policy.SocketPattern{Ports: []policy.PortRange{{First: uint16(i), Last: uint16(i)}}}
	}
	set := []policy.Policy{{Name: "everyone", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{deny(policy.SocketConnect, port(1), port(2))}}}
	for i := range n {
		rule := policy.Rule{Operation: policy.SocketConnect, Deny: []policy.Pattern{port(10 + i%7)}}
		switch i % 3 {
		case 1:
			rule = policy.Rule{Operation: policy.SocketConnect, Allow: []policy.Pattern{port(1), port(10 + i%5)}}
		case 2:
			rule.Deny, rule.Verdict = []policy.Pattern{policy.SocketPattern{All: true}}, policy.Kill
		}
		set = append(set, policy.Policy{Name: fmt.Sprintf("p%d", i), Subject: policy.Subject{Binaries: []string{fmt.Sprintf("/usr/bin/b%d", i)}}, Rules: []policy.Rule{rule}})
	}
	return set
}

// TestPairsOfPrograms has every program run every other one as its script: the
// process is judged as both.
func TestPairsOfPrograms(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 8, 44, 45, 60, 200} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			set := manyBinaries(n)
			m := mustCompile(t, set, Options{Number: 1, Key: testKey})
			step := 1 + n/100 // of very many some
			for a := 0; a < n; a++ {
				for b := 0; b < n; b += step {
					p := policy.Process{Binary: fmt.Sprintf("/usr/bin/b%d", a), Script: fmt.Sprintf("/usr/bin/b%d", b)}
					class := m.classify(p, 0)
					for _, port := range []uint16{1, 2, 10, 13, 16, 99} {
						object := policy.Socket{Address: netip.MustParseAddr("10.0.0.1"), Port: port, Protocol: policy.TCP}
						want := policy.Decide(set, policy.Request{Process: p, Operation: policy.SocketConnect, Object: object})
						got := m.judge(abi.OperationSocketConnect, class, object, nil)
						if got.Verdict() != uint8(want.Verdict) || got.Undecided() {
							t.Fatalf("%s for %s to port %d: %v, undecided %v; want %v", p.Binary, p.Script, port, got.Verdict(), got.Undecided(), want)
						}
					}
				}
			}
		})
	}
}

func noIdentity(string) *Identity { return nil }

// TestNoAddressCompiles: a pattern of files without addresses matches nothing, and not
// everything.
func TestNoAddressCompiles(t *testing.T) {
	none := policy.SocketPattern{AddressesFrom: []string{"list"}, Listed: []netip.Prefix{}}
	for id, o := range map[int]policy.Operation{abi.OperationSocketConnect: policy.SocketConnect, abi.OperationSocketBind: policy.SocketBind} {
		for _, other := range []policy.Pattern{nil, policy.SocketPattern{Ports: []policy.PortRange{{First: 22, Last: 22}}}} {
			set := everyone(policy.Rule{Operation: o, Deny: []policy.Pattern{none, other}})
			if other == nil {
				set = everyone(deny(o, none))
			}
			m := mustCompile(t, set, Options{Number: 1, Key: testKey})
			for _, port := range []uint16{0, 22, 80} {
				object := policy.Socket{Address: netip.MustParseAddr("10.0.0.1"), Port: port, Protocol: policy.TCP}
				want := policy.Decide(set, policy.Request{Operation: o, Object: object}).Verdict
				if got := m.judge(id, m.classify(policy.Process{}, 0), object, nil).Verdict(); got != uint8(want) || (want == policy.Deny) != (other != nil && port == 22) {
					t.Errorf("%s to port %d: %d, Decide says %v", o, port, got, want)
				}
			}
		}
	}
}
