package policy

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebpfguard/ebpfguard/internal/cputime"
	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

func TestReadAddresses(t *testing.T) {
	const text = "\uFEFF; Spamhaus DROP List\r\n# a list\n\n10.0.0.1\r\n  10.1.2.3/8 # masked\n::ffff:192.168.0.0/112\n2001:DB8::1/32\n::1 ; SBL1\n10.0.0.1/32;SBL2 # x\n0.0.0.0/0\n::ffff:10.0.0.1\n"
	got, err := readAddresses("list", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := "[0.0.0.0/0 10.0.0.0/8 10.0.0.1/32 192.168.0.0/16 ::1/128 2001:db8::/32]"
	if fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
	if err := (SocketPattern{AddressesFrom: []string{"list"}, Listed: got}).validate(); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		"10.0.0.1\nexample.org": `list:2: "example.org" is no address; write an address or CIDR such as 10.0.0.0/8 or ::1`,
		"10.0.0.300\n10.0.0.0/33\nfe80::1%eth0": `list:1: "10.0.0.300" is no address; write an address or CIDR such as 10.0.0.0/8 or ::1
list:2: the length of "10.0.0.0/33" is wrong; write a number from 0 to 32 after the slash
list:3: address "fe80::1%eth0" has a zone, which policies cannot match; remove the % and what follows`,
		"\xff\xfe1\x00":                            `list:1: the file is UTF-16; save it as UTF-8`,
		"::ffff:0.0.0.0/90":                        `list:1: ::ffff:0.0.0.0/90 is an IPv4 address with a prefix shorter than 96 bits; write 0.0.0.0/0 for every IPv4 address or ::/0 for every IPv6 address`,
		"1.1.1.1\n" + strings.Repeat("a", 100_000): `list:2: the line is too long for an address; check that this is a file of addresses`,
	} {
		got, err := readAddresses("list", strings.NewReader(text))
		if err == nil || err.Error() != want || got != nil {
			t.Errorf("%.40q: %v, %v; want %s", text, got, err, want)
		}
		if e := new(Error); !errors.As(err, &e) {
			t.Errorf("%v is no *Error", err)
		}
	}
	_, err = readAddresses("list", strings.NewReader(strings.Repeat("x\n", 1000)))
	if n := len(strictyaml.Unjoin(err)); n != strictyaml.MaxProblems {
		t.Errorf("%d problems", n)
	}
}

// TestNoAddress: a feed that has become empty matches nothing, and is no error. It
// stays what it is in every form that policies are kept in.
func TestNoAddress(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "", "comments": "# nothing\n; today\r\n\n", "mark": "\uFEFF"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "p.yaml")
	const text = "apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n  subject: {}\n  rules:\n" +
		"  - operation: socket_connect\n    deny: {addresses_from: [empty, comments, mark]}\n  - operation: socket_bind\n    deny: {addresses_from: [empty], ports: [22]}\n"
	set, err := Parse(file, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string][]Policy{"parsed": set, "cloned": Clone(set)}
	state, err := EncodeState(set)
	if err != nil {
		t.Fatal(err)
	}
	if forms["state"], err = DecodeState(state); err != nil {
		t.Fatal(err)
	}
	if forms["formatted"], err = Parse(file, Format(set)); err != nil {
		t.Fatal(err)
	}
	marshalled, err := Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	if forms["marshalled"], err = Parse("elsewhere", marshalled); err != nil {
		t.Fatalf("%v\n%s", err, marshalled)
	}
	for name, set := range forms {
		if err := Validate(set); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, o := range []Operation{SocketConnect, SocketBind} {
			if d := Decide(set, Request{Operation: o, Object: tcp("10.0.0.1:22")}); d.Verdict != Allow {
				t.Errorf("%s: %v", name, d)
			}
		}
		warnings := Warnings(set)
		if len(warnings) != 2 || !strings.Contains(warnings[0].Text, "contain no address now; if that is not meant") {
			t.Errorf("%s: %v", name, warnings)
		}
	}
}

// FuzzReadAddresses finds no list that panics, and whatever is read is sorted and valid.
func FuzzReadAddresses(f *testing.F) {
	for _, text := range []string{"", "\uFEFF; x\r\n10.0.0.0/8 ; SBL1\n::1#\n", "\xff\xfe1\x00", "::ffff:1.2.3.4/96\n1.2.3.4/33\n", ";#;\n", strings.Repeat("1.1.1.1\n", 50)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := readAddresses("list", strings.NewReader(text))
		if err != nil {
			return
		}
		if err := (SocketPattern{AddressesFrom: []string{"list"}, Listed: list}).validate(); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func TestFindListedAgainstContains(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for range 3000 {
		var list []netip.Prefix
		for range r.IntN(20) {
			a := netip.AddrFrom4([4]byte{10, byte(r.IntN(3)), byte(r.IntN(3)), byte(r.IntN(4))})
			list = append(list, netip.PrefixFrom(a, r.IntN(33)).Masked())
		}
		list = sortPrefixes(list)
		a := netip.AddrFrom4([4]byte{10, byte(r.IntN(3)), byte(r.IntN(3)), byte(r.IntN(4))})
		best := -1
		for _, p := range list {
			if p.Contains(a) {
				best = max(best, p.Bits())
			}
		}
		got, ok := findListed(list, a)
		if ok != (best >= 0) || ok && got.Bits() != best {
			t.Fatalf("%v in %v: %v, %v; want %d bits", a, list, got, ok, best)
		}
	}
}

func TestAddressesFrom(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write("a.txt", "10.0.0.1\n")
	write("b.txt", "10.0.0.1\n9.0.0.0/8\n")
	write("bad.txt", "\nx\n")
	connect := func(deny string) string {
		return strings.ReplaceAll(ruled("operation: socket_connect\ndeny: "+deny), "socket_bind", "socket_connect")
	}
	file := write("p.yaml", connect(`{addresses: ["::1"], addresses_from: [a.txt, ./b.txt], ports: [80]}`))
	set, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	want := SocketPattern{
		Ports: []PortRange{{80, 80}}, Addresses: []netip.Prefix{netip.MustParsePrefix("::1/128")}, AddressesFrom: []string{"a.txt", "./b.txt"},
		Listed: []netip.Prefix{netip.MustParsePrefix("9.0.0.0/8"), netip.MustParsePrefix("10.0.0.1/32")},
	}
	if diff := cmp.Diff(patterns{want}, set[0].Rules[0].Deny, ignoreSource); diff != "" {
		t.Error(diff)
	}
	if got := want.String(); got != `{ports: [80], addresses: ["::1"], addresses_from: [a.txt, "./b.txt"]}` {
		t.Error(got)
	}
	again, err := Parse(file, Format(set))
	if err != nil {
		t.Error(err)
	} else if diff := cmp.Diff(set, again, ignoreSource); diff != "" {
		t.Error(diff)
	}
	bad := write("bad.yaml", connect("{addresses_from: [bad.txt, none.txt]}"))
	_, err = Load(bad)
	wantErr := fmt.Sprintf("%[1]s/bad.yaml:8:29: policy \"p\": rule 0: %[1]s/bad.txt:2: \"x\" is no address; write an address or CIDR such as 10.0.0.0/8 or ::1\n"+
		"%[1]s/bad.yaml:8:38: policy \"p\": rule 0: load addresses: open %[1]s/none.txt: no such file or directory; check the path and its permissions", dir)
	if err == nil || err.Error() != wantErr {
		t.Errorf("got  %v\nwant %s", err, wantErr)
	}
}

func TestLoadAddressesOfAMillion(t *testing.T) {
	if testing.Short() {
		t.Skip("a million addresses")
	}
	var b bytes.Buffer
	r := rand.New(rand.NewPCG(7, 7))
	for range 1_000_000 {
		n := r.Uint32()
		fmt.Fprintf(&b, "%d.%d.%d.%d\n", byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	name := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	start := cputime.Used()
	list, err := LoadAddresses(name)
	used := cputime.Used() - start
	if err != nil || len(list) < 990_000 || used > 10*time.Second {
		t.Errorf("%d addresses in %v of processor time: %v", len(list), used, err)
	}
	t.Logf("%d addresses in %v of processor time", len(list), used)
}
