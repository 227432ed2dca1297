package compile

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/policytest"
	"github.com/ebpfguard/ebpfguard/policy"
)

func options() Options {
	return Options{
		Number:  7,
		Key:     Key{0x0706050403020100, 0x0f0e0d0c0b0a0908},
		Resolve: func(path string) Program { return Program{Paths: []string{path}} },
	}
}

// TestTablesAgreeWithDecide reads the tables as the kernel does and compares
// with the reference semantics.
func TestTablesAgreeWithDecide(t *testing.T) {
	const a, b, other = "/bin/a", "/usr/bin/b", "/bin/other"
	for seed := range uint64(3000) {
		r := policytest.New(seed, a, b)
		set := r.Set()
		o := options()
		g, err := Compile(set, o)
		if err != nil {
			t.Fatal(err)
		}
		m := newMachine(g)
		for range 20 {
			process := policy.Process{Binary: []string{a, b, other}[r.IntN(3)], Unknown: r.IntN(5) == 0}
			class := m.class(o.Key.Path(process.Binary), 12345)
			if process.Unknown {
				class = m.generation().Unknown
			}
			socket := r.Socket()
			socket.Protocol = policy.Protocol(1 + r.IntN(int(policy.OtherProtocol)))
			socket.Automatic = []policy.PortRange{policy.DefaultAutomatic, {First: 40000, Last: 40010}, {First: 1, Last: 22}}[r.IntN(3)]
			want := policy.Decide(set, policy.Request{Process: process, Operation: policy.SocketBind, Object: socket})
			got := m.judge(class, socket)
			rule := Rule{-1, -1}
			if got.Rule() >= 0 {
				rule = g.Rules[got.Rule()]
			}
			if want.Verdict == policy.Allow { // nobody is told which rule allowed
				rule = Rule{want.Policy, want.Rule}
			}
			if policy.Verdict(got.Verdict()) != want.Verdict || rule != (Rule{want.Policy, want.Rule}) || got.Undecided() != want.Undecided {
				t.Fatalf("seed %d: %+v %v\n%s\ntables: %v rule %v undecided %v\nDecide: %+v",
					seed, process, socket, policy.Format(set), policy.Verdict(got.Verdict()), rule, got.Undecided(), want)
			}
		}
	}
}

// TestSipHash compares with the vectors of SipHash-1-3 for the key 00 01 … 0f.
func TestSipHash(t *testing.T) {
	// The reference takes the length into the last word, as the top byte.
	reference := func(data []byte) uint64 {
		s := newSip(Key{0x0706050403020100, 0x0f0e0d0c0b0a0908})
		last := uint64(len(data)) << 56
		for i := 0; i < len(data); i += 8 {
			var w uint64
			for j, c := range data[i:min(i+8, len(data))] {
				w |= uint64(c) << (8 * j)
			}
			if i+8 > len(data) {
				last |= w
			} else {
				s.word(w)
			}
		}
		s.word(last)
		return s.finish()
	}
	for n, want := range []string{"abac0158050fc4dc", "c9f49bf37d57ca93", "82cb9b024dc7d44d"} {
		data := []byte{0, 1, 2, 3}[:n]
		if got := fmt.Sprintf("%016x", reference(data)); got != want {
			t.Errorf("SipHash-1-3 of %s: %s, want %s", hex.EncodeToString(data), got, want)
		}
	}
}

func TestOneFileIsOneProgram(t *testing.T) {
	set := []policy.Policy{denyAll("a", "/bin/sh"), denyAll("b", "/usr/bin/dash")}
	o := options()
	o.Resolve = func(path string) Program {
		return Program{Paths: []string{path, "/usr/bin/dash"}, Identity: &Identity{1, 2, 3}}
	}
	g, err := Compile(set, o)
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(g)
	byPath, byIdentity := m.class(o.Key.Path("/usr/bin/dash")), m.class(o.Key.identity(Identity{1, 2, 3}))
	if byPath != byIdentity || byPath == m.generation().Everyone || byPath == m.generation().Unknown {
		t.Errorf("class by path %d, by file %d", byPath, byIdentity)
	}
	if class := m.class(o.Key.identity(Identity{1, 2, 4})); class != m.generation().Everyone {
		t.Errorf("a file with the same number but another generation: class %d", class)
	}
}

// TestManyPorts has more intervals of ports than the kernel looks at for port 0:
// where every port is allowed it need not look.
func TestManyPorts(t *testing.T) {
	var allow []policy.Pattern
	for port := uint16(40000); port < 40200; port += 2 {
		allow = append(allow, policy.SocketPattern{Ports: []policy.PortRange{{First: port, Last: port}}})
	}
	g, err := Compile([]policy.Policy{{
		Name: "p", Subject: policy.Subject{Binaries: []string{"/a"}},
		Rules: []policy.Rule{{Operation: policy.SocketBind, Allow: allow}},
	}}, options())
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(g)
	v := m.judge(m.generation().Everyone, policy.Socket{Address: netip.IPv4Unspecified(), Protocol: policy.TCP, Automatic: policy.DefaultAutomatic})
	if policy.Verdict(v.Verdict()) != policy.Allow || v != v.NamesPort() {
		t.Errorf("verdict %#x", v)
	}
}

func TestTooLarge(t *testing.T) {
	var rules []policy.Rule
	for i := range 3000 {
		rules = append(rules, policy.Rule{Operation: policy.SocketBind, Deny: []policy.Pattern{
			policy.SocketPattern{Ports: []policy.PortRange{{First: uint16(i + 1), Last: uint16(i + 1)}}},
			policy.SocketPattern{Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)}},
		}})
	}
	_, err := Compile([]policy.Policy{{Name: "p", Subject: policy.Subject{Everyone: true}, Rules: rules}}, options())
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v", err)
	}
}

func denyAll(name string, binaries ...string) policy.Policy {
	return policy.Policy{
		Name: name, Subject: policy.Subject{Binaries: binaries},
		Rules: []policy.Rule{{Operation: policy.SocketBind, Deny: []policy.Pattern{policy.SocketPattern{All: true}}}},
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		var prefixes []netip.Prefix
		for i := range n {
			prefixes = append(prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1}), 32))
		}
		set := []policy.Policy{{Name: "p", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{{
			Operation: policy.SocketBind, Deny: []policy.Pattern{policy.SocketPattern{Addresses: prefixes}},
		}}}}
		b.Run(fmt.Sprintf("addresses=%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := Compile(set, options()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
