package compile

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
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
// process is judged as both, and never as one that could not be identified.
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

// TestCompiledProgramsAreNoScripts: where there is no room for every pair, programs of
// machine code are no pairs of each other, but those with scripts are.
func TestCompiledProgramsAreNoScripts(t *testing.T) {
	t.Parallel()
	set := manyBinaries(4)
	for i := range 150 {
		var patterns []policy.Pattern
		for j := range 100 {
			patterns = append(patterns, ofPaths(manyPath(i*100+j)))
		}
		set = append(set, policy.Policy{Name: fmt.Sprintf("q%d", i), Subject: policy.Subject{Binaries: []string{fmt.Sprintf("/usr/bin/b%d", i)}}, Rules: []policy.Rule{deny(policy.FileOpen, patterns...)}})
	}
	isScript := func(path string) bool { return path == "/usr/bin/b0" }
	m := mustCompile(t, set, Options{Number: 1, Key: testKey, Compiled: func(path string) bool { return !isScript(path) }})
	for _, p := range []policy.Process{{Binary: "/usr/bin/b7"}, {Binary: "/usr/bin/b7", Script: "/usr/bin/b0"}, {Binary: "/usr/bin/b149", Script: "/usr/bin/b0"}} {
		for _, i := range []int{0, 50, 700, 14901} {
			object := policy.File{Names: policy.Names{Path: manyPath(i)}, Access: policy.Read}
			want := policy.Decide(set, policy.Request{Process: p, Operation: policy.FileOpen, Object: object})
			got := m.judge(abi.OperationFileOpen, m.classify(p, 0), object, noIdentity)
			if got.Verdict() != uint8(want.Verdict) || got.Undecided() {
				t.Errorf("%+v, %v: %d, undecided %v; want %v", p, object, got.Verdict(), got.Undecided(), want.Verdict)
			}
		}
	}
	// It was replaced by a script since: nobody knows what it is.
	object := policy.File{Names: policy.Names{Path: manyPath(700)}, Access: policy.Read}
	if got := m.judge(abi.OperationFileOpen, m.classify(policy.Process{Binary: "/usr/bin/b7", Script: "/usr/bin/b8"}, 0), object, noIdentity); got.Verdict() != uint8(policy.Deny) || !got.Undecided() {
		t.Errorf("a program that has become a script: %d, undecided %v", got.Verdict(), got.Undecided())
	}
}

// TestTooManyPairs: pairs for which there is no room are an error, which tells the
// number, and not processes that nobody can identify.
func TestTooManyPairs(t *testing.T) {
	users := manyBinaries(300)
	for i := range 40 {
		users = append(users, policy.Policy{Name: fmt.Sprintf("u%d", i), Rules: []policy.Rule{deny(policy.SocketConnect, policy.SocketPattern{All: true})},
			Subject: policy.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: uint32(i), Last: uint32(i)}}}}})
	}
	var paths []policy.Policy
	for i := range 150 {
		var patterns []policy.Pattern
		for j := range 100 {
			patterns = append(patterns, ofPaths(manyPath(i*100+j)))
		}
		paths = append(paths, policy.Policy{Name: fmt.Sprintf("p%d", i), Subject: policy.Subject{Binaries: []string{fmt.Sprintf("/b%d", i)}}, Rules: []policy.Rule{deny(policy.FileOpen, patterns...)}})
	}
	for name, test := range map[string]struct {
		set  []policy.Policy
		want string
	}{
		"users": {users, "45151 kinds of programs (any two of 300"},
		"paths": {paths, "11326 kinds of processes (any two of 150 programs or lists"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(test.set, Options{Number: 1, Key: testKey})
			if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
			t.Log(err)
		})
	}
}

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
				if got := m.judge(id, 0, object, nil).Verdict(); got != uint8(want) || (want == policy.Deny) != (other != nil && port == 22) {
					t.Errorf("%s to port %d: %d, Decide says %v", o, port, got, want)
				}
			}
		}
	}
}

// TestPairsTakeLittle: only pairs have classes, and not every set of programs.
func TestPairsTakeLittle(t *testing.T) {
	var set []policy.Policy
	add := func(name string, s policy.Subject) {
		set = append(set, policy.Policy{Name: name, Subject: s, Rules: []policy.Rule{deny(policy.FileOpen, ofPaths("/srv/"+name))}})
	}
	for i := range 10 {
		add(fmt.Sprintf("b%d", i), policy.Subject{Binaries: []string{fmt.Sprintf("/usr/bin/b%d", i)}})
		add(fmt.Sprintf("c%d", i), policy.Subject{Cgroups: []string{fmt.Sprintf("/c%d.slice", i)}})
		add(fmt.Sprintf("u%d", i), policy.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: uint32(i), Last: uint32(i)}}}})
	}
	g, err := Compile(set, Options{Number: 1, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	if size := len(g.Lines) * abi.LineWords * 4; size > 4<<20 {
		t.Errorf("the tables take %d bytes", size)
	} else {
		t.Logf("the tables take %d bytes", size)
	}
}
