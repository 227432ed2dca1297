package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ebpfguard/ebpfguard/internal/cputime"
	"github.com/ebpfguard/ebpfguard/policy"
)

func portPolicy(name string, ports ...uint16) policy.Policy {
	p := policy.Policy{Name: name, Mode: policy.ModeEnforce, Subject: policy.Subject{Everyone: true}}
	for _, port := range ports {
		p.Rules = append(p.Rules, policy.Rule{
			Operation: policy.SocketBind, Verdict: policy.Deny, Message: fmt.Sprintf("not %d", port),
			Deny: []policy.Pattern{policy.SocketPattern{Ports: []policy.PortRange{{First: port, Last: port}}}},
		})
	}
	return p
}

// TestDiffIsAPatch has patch(1)'s idea of a diff: the former text with it becomes the new one.
func TestDiffIsAPatch(t *testing.T) {
	patch, err := exec.LookPath("patch")
	if err != nil {
		t.Fatal("install patch (scripts/install-tools check)")
	}
	random := rand.New(rand.NewPCG(1, 2))
	some := func() (ports []uint16) {
		for port := range uint16(20) {
			if random.IntN(3) > 0 {
				ports = append(ports, 1+port)
			}
		}
		return append(ports, 99)
	}
	for range 30 {
		before, after := []policy.Policy{portPolicy("p", some()...)}, []policy.Policy{portPolicy("p", some()...)}
		diff, err := policy.Diff(before, after)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "p")
		if err := os.WriteFile(file, policy.Format(before), 0o600); err != nil {
			t.Fatal(err)
		}
		command := exec.Command(patch, "--fuzz=0", file)
		command.Stdin = strings.NewReader(diff)
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s\n%s", err, out, diff)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != string(policy.Format(after)) {
			t.Fatalf("%v: patched to\n%s", err, got)
		}
	}
}

func TestDiff(t *testing.T) {
	before := []policy.Policy{portPolicy("gone", 1), portPolicy("same", 2), portPolicy("changed", 3)}
	after := []policy.Policy{portPolicy("same", 2), portPolicy("changed", 4), portPolicy("new", 5)}
	after[0].Source = "elsewhere"
	got, err := policy.Diff(before, after)
	if err != nil {
		t.Fatal(err)
	}
	want := `--- changed
+++ changed
@@ -7,6 +7,6 @@
   subject: {}
   rules:
   - operation: socket_bind
-    deny: {ports: [3]}
+    deny: {ports: [4]}
     verdict: deny
-    message: "not 3"
+    message: "not 4"
`
	if !strings.HasPrefix(got, want) {
		t.Errorf("the diff is\n%s", got)
	}
	for _, part := range []string{"--- /dev/null\n+++ new\n@@ -0,0 +1,", "--- gone\n+++ /dev/null\n@@ -1,", "\n+    deny: {ports: [5]}\n", "\n-    deny: {ports: [1]}\n"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is not in the diff\n%s", part, got)
		}
	}
	if strings.Contains(got, "same") {
		t.Errorf("what stayed is in the diff\n%s", got)
	}
	if diff, err := policy.Diff(before, before); diff != "" || err != nil {
		t.Errorf("nothing changed: %q, %v", diff, err)
	}
}

// TestDiffOfLists has a file of addresses that changed while its name stayed.
func TestDiffOfLists(t *testing.T) {
	with := func(listed string) []policy.Policy {
		p := portPolicy("p", 1)
		p.Rules[0].Deny = []policy.Pattern{policy.SocketPattern{AddressesFrom: []string{"list.txt"}, Listed: []netip.Prefix{netip.MustParsePrefix(listed)}}}
		return []policy.Policy{p}
	}
	diff, err := policy.Diff(with("10.0.0.0/8"), with("11.0.0.0/8"))
	for _, part := range []string{"\n-# rule 0: deny[0]: addresses_from has 1 addresses, sha256 ", "\n+# rule 0: deny[0]: addresses_from has 1 addresses, sha256 "} {
		if err != nil || !strings.Contains(diff, part) {
			t.Errorf("%q is not in the diff: %v\n%s", part, err, diff)
		}
	}
	if diff, err := policy.Diff(with("10.0.0.0/8"), with("10.0.0.0/8")); diff != "" || err != nil {
		t.Errorf("nothing changed: %q, %v", diff, err)
	}
}

// TestDiffIsBounded has sets that would take long to compare and too much text to tell.
func TestDiffIsBounded(t *testing.T) {
	var ports []uint16
	for port := range uint16(60_000) {
		ports = append(ports, port)
	}
	var before, after []policy.Policy
	for i := range 8 {
		name := fmt.Sprintf("p%d", i)
		before = append(before, portPolicy(name, ports[:30_000]...))
		after = append(after, portPolicy(name, ports[30_000:]...))
	}
	start := cputime.Used()
	diff, err := policy.Diff(before, after)
	if err != nil {
		t.Fatal(err)
	}
	// Far less than comparing each line with each would take, on a slow machine too.
	if spent := cputime.Used() - start; spent > time.Minute {
		t.Errorf("it took %v of processor time", spent)
	}
	if len(diff) > 17<<20 || !strings.Contains(diff, "--- p7\n+++ p7\n# too much to tell: 120008 lines become 120008\n") {
		t.Errorf("a diff of %d bytes that ends %q", len(diff), diff[max(0, len(diff)-200):])
	}
}

// TestMarshalReadsBack has what people write into policies, and each example.
func TestMarshalReadsBack(t *testing.T) {
	sets := make(map[string][]policy.Policy)
	for _, text := range []string{
		"\n", "a\nb", "\r\n", "\t", "\x00", "\x01 b", "\x7f", "\u0085", "\u2028", "\ufeff", "\ufffd", "\ufffe", "\U0010ffff", "é😀", " x ", "- x", "a: b",
		"#", "x # y", "null", "~", "yes", "true", "1", "1e3", "0x1", "2020-01-01", "'", `"`, `\`, "%x", "@", "`", "[", "]", "{", ",", "a, b", "<<", "=", "!t", "&a", "*a", "---", "...",
	} {
		p := portPolicy("p", 1)
		p.Rules[0].Message, p.Rules[0].Tags = text, []string{text}
		sets[fmt.Sprintf("%q", text)] = []policy.Policy{p}
	}
	examples, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatal(err, "no examples")
	}
	for _, file := range examples {
		if sets[file], err = policy.Load(file); err != nil {
			t.Fatal(err)
		}
	}
	for name, set := range sets {
		text, err := policy.Marshal(set)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := policy.Parse("p.yaml", text)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
			continue
		}
		for i := range set {
			for j := range set[i].Rules {
				for k, pattern := range set[i].Rules[j].Deny {
					if s, ok := pattern.(policy.SocketPattern); ok && len(s.AddressesFrom) > 0 && len(s.Addresses) == 0 {
						s.Addresses, s.AddressesFrom, s.Listed = s.Listed, nil, nil
						set[i].Rules[j].Deny[k] = s
					}
				}
			}
		}
		options := cmp.Options{cmpopts.IgnoreFields(policy.Policy{}, "Source"), cmpopts.IgnoreFields(policy.Rule{}, "Source"), cmpopts.EquateComparable(netip.Prefix{})}
		if diff := cmp.Diff(set, got, options); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestMarshalStandsForItself has addresses of a file that is gone.
func TestMarshalStandsForItself(t *testing.T) {
	prefix := func(s string) netip.Prefix { return netip.MustParsePrefix(s) }
	p := policy.Policy{Name: "p", Mode: policy.ModeEnforce, Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{{
		Operation: policy.SocketConnect, Verdict: policy.Deny, Deny: []policy.Pattern{policy.SocketPattern{
			Addresses: []netip.Prefix{prefix("10.0.0.0/8")}, AddressesFrom: []string{"list.txt"},
			Listed: []netip.Prefix{prefix("10.0.0.0/8"), prefix("192.0.2.0/24")},
		}},
	}}}
	text, err := policy.Marshal([]policy.Policy{p})
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Parse("p.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	want := []policy.Pattern{policy.SocketPattern{Addresses: []netip.Prefix{prefix("10.0.0.0/8"), prefix("192.0.2.0/24")}}}
	if diff := cmp.Diff(want, set[0].Rules[0].Deny, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if _, ok := p.Rules[0].Deny[0].(policy.SocketPattern); !ok || len(p.Rules[0].Deny[0].(policy.SocketPattern).Listed) != 2 {
		t.Error("the policy itself was changed")
	}
	if _, err := policy.Marshal([]policy.Policy{{Name: "no subject"}}); err == nil {
		t.Error("what is not valid was written")
	}
}
