package compile

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// TestSipHash compares with the vectors of SipHash-1-3 for the key 00 01 … 0f.
func TestSipHash(t *testing.T) {
	// The reference takes the length into the last word, as the top byte.
	reference := func(data []byte) uint64 {
		s := newSip(testKey)
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

// tree is a system of files for one test: links by path, and inode numbers of
// what exists.
type tree struct {
	links  map[string]string
	inodes map[string]uint64
	mounts []string
	asked  map[string]int
}

func (f *tree) options() Options {
	f.asked = map[string]int{}
	return Options{
		Number: 1, Key: testKey,
		Resolve: func(path string) Resolved {
			f.asked[path]++
			if to := f.links[path]; to != "" {
				return Resolved{Canonical: to, Identity: f.identity(to)}
			}
			if f.inodes[path] == 0 {
				return Resolved{}
			}
			return Resolved{Canonical: path, Identity: f.identity(path)}
		},
		Mounts: func() []Mount {
			var mounts []Mount
			for _, m := range f.mounts {
				mounts = append(mounts, Mount{m, *f.identity(m)})
			}
			return mounts
		},
	}
}

func (f *tree) identity(path string) *Identity {
	if f.inodes[path] == 0 {
		return nil
	}
	return &Identity{Device: 1, Inode: f.inodes[path]}
}

func ofPaths(paths ...string) policy.FilePattern { return policy.FilePattern{Paths: paths} }

// mustCompile compiles and returns the machine.
func mustCompile(t *testing.T, set []policy.Policy, o Options) machine {
	t.Helper()
	if err := policy.Validate(set); err != nil {
		t.Fatal(err)
	}
	g, err := Compile(set, o)
	if err != nil {
		t.Fatal(err)
	}
	return newMachine(g, testKey)
}

// open judges reading a file by a process that no policy names.
func (f *tree) open(m machine, path string) policy.Verdict {
	object := policy.File{Names: policy.Names{Path: path}, Access: policy.Read}
	return policy.Verdict(m.judge(abi.OperationFileOpen, m.classify(policy.Process{}, 0), object, f.identity).Verdict())
}

// TestNamesOfFiles has files reached by names that no policy has.
func TestNamesOfFiles(t *testing.T) {
	f := &tree{
		links: map[string]string{"/bin": "/usr/bin", "/usr/bin/sh": "/usr/bin/dash", "/etc/link": "/srv"},
		inodes: map[string]uint64{
			"/": 1, "/usr": 2, "/usr/bin": 3, "/usr/bin/dash": 4, "/etc": 5, "/etc/shadow": 6, "/srv": 7, "/srv/d": 8,
			"/hard": 6, "/bind": 5, "/bind/shadow": 6, "/bind/other": 9, "/etc/other": 9, "/home": 10, "/home/mnt": 11, "/other": 11,
			"/tmp": 12, "/tmp/hard": 6,
		},
		mounts: []string{"/", "/home/mnt"},
	}
	for _, test := range []struct {
		pattern string
		denied  []string
		allowed []string
	}{
		{"/etc/shadow", []string{"/etc/shadow", "/tmp/hard", "/hard", "/bind/shadow"}, []string{"/etc", "/etc/shadow2", "/etc/shadow/x", "/bind/other", "/"}},
		{"/etc/", []string{"/etc", "/etc/x/y", "/bind/x", "/bind", "/bind/other", "/bind/shadow"}, []string{"/", "/etcx", "/tmp"}},
		{"/bin/sh", []string{"/bin/sh", "/usr/bin/dash"}, []string{"/usr/bin/sh2", "/usr/bin", "/usr/bin/sh"}},
		{"/srv/caf?", []string{"/srv/caf\xe9", "/srv/cafe"}, []string{"/srv/caf\u00e9", "/srv/caf"}},
		{"/bin/*", []string{"/bin/x", "/usr/bin/x", "/usr/bin/dash"}, []string{"/usr/bin", "/usr/bin/x/y"}},
		{"/etc/link/d/", []string{"/srv/d", "/srv/d/x", "/etc/link/d/x"}, []string{"/srv", "/srv/e"}},
		{"/etc/link/new/x", []string{"/srv/new/x", "/etc/link/new/x"}, []string{"/srv/new"}},
		{"/home/**/x", []string{"/home/x", "/home/mnt/x", "/other/x", "/other/a/x", "/home/a/b/x"}, []string{"/home", "/x", "/other"}},
		{"/home/", []string{"/home/mnt/a", "/other/a", "/other"}, []string{"/x"}},
		{"/**", []string{"/x", "/x/y"}, []string{"/"}},
		{"/", []string{"/", "/x"}, nil},
	} {
		m := mustCompile(t, everyone(deny(policy.FileOpen, ofPaths(test.pattern))), f.options())
		for path, times := range f.asked {
			if times > 1 {
				t.Errorf("%s: asked for %s %d times", test.pattern, path, times)
			}
		}
		for _, path := range test.denied {
			if v := f.open(m, path); v != policy.Deny {
				t.Errorf("%s: %s: %v", test.pattern, path, v)
			}
		}
		for _, path := range test.allowed {
			if v := f.open(m, path); v != policy.Allow {
				t.Errorf("%s: %s: %v", test.pattern, path, v)
			}
		}
	}
}

// TestNothingBelowWhatIsAbsent: 100,000 patterns below a directory that does not
// exist cost one look.
func TestNothingBelowWhatIsAbsent(t *testing.T) {
	f := &tree{inodes: map[string]uint64{"/": 1, "/srv": 2}}
	mustCompile(t, everyone(deny(policy.FileOpen, ofPaths(manyPaths(1000)...))), f.options())
	if want := map[string]int{"/": 1, "/srv": 1, "/srv/data": 1}; !reflect.DeepEqual(f.asked, want) {
		t.Errorf("asked for %v", f.asked)
	}
}

// TestNamesAreJudgedApart: an exception for one name of a file is none for the
// other.
func TestNamesAreJudgedApart(t *testing.T) {
	f := &tree{inodes: map[string]uint64{"/": 1, "/a": 2, "/a/f": 3, "/b": 4, "/b/f": 3, "/c": 5, "/c/f": 3}}
	set := everyone(
		policy.Rule{Operation: policy.FileOpen, Deny: []policy.Pattern{ofPaths("/a/f")}},
		policy.Rule{Operation: policy.FileOpen, Allow: []policy.Pattern{ofPaths("/b/f")}, Deny: []policy.Pattern{ofPaths("/b/")}},
	)
	m := mustCompile(t, set, f.options())
	for _, path := range []string{"/a/f", "/b/f", "/c/f"} {
		if v := f.open(m, path); v != policy.Deny {
			t.Errorf("%s: %v", path, v)
		}
	}
}

// TestShm: what lies below /dev/shm is found to be fileless by whatever name.
func TestShm(t *testing.T) {
	f := &tree{inodes: map[string]uint64{"/": 1, "/dev": 2, "/dev/shm": 3, "/mnt": 4, "/mnt/shm": 3}, mounts: []string{"/", "/dev/shm"}}
	m := mustCompile(t, everyone(deny(policy.BprmCheckSecurity, policy.ProgramPattern{Fileless: true})), f.options())
	for path, want := range map[string]policy.Verdict{
		"/dev/shm/x": policy.Deny, "/dev/shm/a/b": policy.Deny, "/mnt/shm/x": policy.Deny, "/dev/x": policy.Allow, "/usr/bin/x": policy.Allow,
	} {
		object := policy.Program{Names: policy.Names{Path: path}}
		v := m.judge(abi.OperationBprmCheckSecurity, m.classify(policy.Process{}, 0), object, f.identity)
		if policy.Verdict(v.Verdict()) != want {
			t.Errorf("%s: %v", path, v)
		}
	}
}

// TestMarks has a process descend from any number of programs with marks.
func TestMarks(t *testing.T) {
	t.Parallel()
	var set []policy.Policy
	for i := range 30 {
		set = append(set, policy.Policy{
			Name: fmt.Sprintf("p%d", i), Subject: policy.Subject{Binaries: []string{fmt.Sprintf("/b%d", i)}, Descendants: true},
			Rules: []policy.Rule{deny(policy.FileOpen, policy.FilePattern{All: true})},
		})
	}
	o := Options{Number: 1, Key: testKey, Mark: func(key string) (uint, bool) {
		var n uint
		fmt.Sscanf(key, "/b%d", &n)
		return 40 - n, true
	}}
	m := mustCompile(t, set, o)
	s := m.subjects()
	if got, want := s.Marks, uint32(41); got != want {
		t.Errorf("marks %#x, want %#x", got, want)
	}
	var ancestors []string
	for i := range 31 {
		v := m.judge(abi.OperationFileOpen, m.classify(policy.Process{Binary: "/x", Ancestors: ancestors}, 0), policy.File{Access: policy.Read}, nil)
		if (policy.Verdict(v.Verdict()) == policy.Deny) != (i > 0) || v.Undecided() {
			t.Errorf("%d marks: %v, undecided %v", i, policy.Verdict(v.Verdict()), v.Undecided())
		}
		ancestors = append(ancestors, fmt.Sprintf("/b%d", i))
	}
	o.Mark = func(string) (uint, bool) { return 0, false }
	if _, err := Compile(set, o); !errors.Is(err, ErrTooLarge) {
		t.Errorf("without a free mark: %v", err)
	}
}

// TestUnknownIsEveryone: without a policy that names what an unknown process
// hides it is as any other of its user.
func TestUnknownIsEveryone(t *testing.T) {
	user := policy.Policy{
		Name: "p", Subject: policy.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: 5, Last: 5}}}},
		Rules: []policy.Rule{deny(policy.FileOpen, policy.FilePattern{All: true})},
	}
	m := mustCompile(t, []policy.Policy{user}, Options{Number: 1, Key: testKey})
	for uid, want := range map[uint32]policy.Verdict{4: policy.Allow, 5: policy.Deny, 6: policy.Allow} {
		class := m.classify(policy.Process{Unknown: true, UID: uid}, 0)
		v := m.judge(abi.OperationFileOpen, class, policy.File{Access: policy.Read}, nil)
		if policy.Verdict(v.Verdict()) != want || v.Undecided() {
			t.Errorf("uid %d: %v", uid, v)
		}
	}
}

// TestManyPorts has more intervals of ports than the kernel looks at for port 0:
// where every port is allowed it need not look.
func TestManyPorts(t *testing.T) {
	var allow []policy.Pattern
	for port := uint16(40000); port < 40200; port += 2 {
		allow = append(allow, policy.SocketPattern{Ports: []policy.PortRange{{First: port, Last: port}}})
	}
	deny := policy.SocketPattern{Protocols: []policy.Protocol{policy.UDP}}
	m := mustCompile(t, everyone(policy.Rule{Operation: policy.SocketBind, Allow: allow, Deny: []policy.Pattern{deny}}), Options{Number: 1, Key: testKey})
	v := m.judge(abi.OperationSocketBind, m.classify(policy.Process{}, 0), policy.Socket{Address: netip.IPv4Unspecified(), Protocol: policy.TCP, Automatic: policy.DefaultAutomatic}, nil)
	if policy.Verdict(v.Verdict()) != policy.Allow || v != v.NamesPort() {
		t.Errorf("verdict %#x", v)
	}
}

// TestSameTables: the same set makes the same tables.
func TestSameTables(t *testing.T) {
	set := everyone(append(manyRules(300), manyGlobs(20), deny(policy.SocketBind, policy.SocketPattern{Ports: []policy.PortRange{{First: 1, Last: 2}}}))...)
	a, err := Compile(set, existing())
	if err != nil {
		t.Fatal(err)
	}
	b, err := Compile(set, existing())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Error("the tables differ")
	}
}

// TestCounters finds the limit of alerts of each rule in its line.
func TestCounters(t *testing.T) {
	set := everyone(deny(policy.SocketBind, policy.SocketPattern{All: true}))
	set[0].Rules = append(set[0].Rules, set[0].Rules[0])
	set[0].Rules[1].AlertLimit = 7
	g, err := Compile(set, Options{Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i, limit := range []uint32{0, 7} {
		line := g.Lines[int(g.Counters)/abi.LineWords+i].Words[:]
		if want := encode(abi.RuleCounters{AlertLimit: limit}); !slices.Equal(line, want) {
			t.Errorf("rule %d: %v, want %v", i, line, want)
		}
	}
}

func TestEmptySet(t *testing.T) {
	m := mustCompile(t, nil, Options{Number: 3, Key: testKey})
	if m.revision().Number != 3 {
		t.Errorf("number %d", m.revision().Number)
	}
	if p := m.classify(policy.Process{Unknown: true, UID: 7}, 0); p.atoms[0] != 1 {
		t.Errorf("atoms %b", p.atoms)
	}
}

func TestTooLarge(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	word := func() string { return fmt.Sprintf("%c%c", 'a'+random.IntN(26), 'a'+random.IntN(26)) }
	var stars, sockets, binaries []policy.Rule
	for range 60 {
		stars = append(stars, deny(policy.FileOpen, ofPaths("/*"+word()+"*"+word()+"*")))
	}
	for i := range 5000 {
		sockets = append(sockets, deny(policy.SocketBind,
			policy.SocketPattern{Ports: []policy.PortRange{{First: uint16(i + 1), Last: uint16(i + 1)}}},
			policy.SocketPattern{Addresses: []netip.Prefix{prefix(i)}}))
	}
	var masks []policy.Rule
	for i := range 9 {
		masks = append(masks, deny(policy.SbMount, policy.MountPattern{Flags: 1 << i}))
	}
	binaries = []policy.Rule{deny(policy.FileOpen, policy.FilePattern{All: true})}
	var programs []policy.Policy
	for i := range 64 * abi.AtomWords {
		programs = append(programs, policy.Policy{Name: fmt.Sprintf("p%d", i), Subject: policy.Subject{Binaries: []string{fmt.Sprintf("/b%d", i)}}, Rules: binaries})
	}
	for name, test := range map[string]struct {
		set  []policy.Policy
		want string
	}{
		"globs":    {everyone(stars...), "automaton"},
		"sockets":  {everyone(sockets...), "socket_bind tell apart"},
		"flags":    {everyone(masks...), "sets of flags"},
		"programs": {programs, "10240 different subjects"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(test.set, Options{Number: 1, Key: testKey})
			if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v", err)
			}
			t.Log(err)
		})
	}
}

// TestGlobs compares the automaton over bytes with the patterns one by one.
func TestGlobs(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	text := func(alphabet string) string {
		var b strings.Builder
		for range random.IntN(6) {
			b.WriteByte(alphabet[random.IntN(len(alphabet))])
		}
		return b.String()
	}
	for seed := range 300 {
		g := newGlobs()
		components, sources := map[string]int32{}, map[policy.SourcePattern]int32{}
		for range 1 + random.IntN(6) {
			if p := text("ab*?\xff"); strings.ContainsAny(p, "*?") && !strings.Contains(p, "**") {
				components[p] = g.add(p)
			}
			if p, err := policy.ParseSourcePattern(text("ab/*?*")); err == nil && p.Kind() == policy.PathGlob {
				sources[p] = g.add(p.String())
			}
		}
		if err := g.build(); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			name := text("abc\xff")
			for p, id := range components {
				if got := slices.Contains(g.classes[g.class(name)], id); got != policy.MatchComponent(p, name) {
					t.Fatalf("seed %d: %q matches %q: %v", seed, p, name, got)
				}
			}
			source := text("ab/c")
			for p, id := range sources {
				if got := slices.Contains(g.classes[g.class(source)], id); source != "" && got != p.Match(source) {
					t.Fatalf("seed %d: %q matches %q: %v", seed, p, source, got)
				}
			}
		}
	}
}

// TestDictionary fills a dictionary as far as it goes.
func TestDictionary(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{0, 1, 4, 100, 29_400, 117_900} {
		d := &dictionary{}
		for i := range n {
			d.add(random.Uint64(), abi.State{Number: uint32(i + 1)})
		}
		words, err := d.lines()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d entries in %d lines", n, len(words)/abi.LineWords)
		m := machine{words: append(make([]uint32, abi.LineWords), words...)}
		m.revision().Dictionary = abi.LineWords
		m.revision().DictionaryLines = uint32(len(words) / abi.LineWords)
		for i, key := range d.keys {
			if s, ok := m.find(key); !ok || s.Number != uint32(i+1) {
				t.Fatalf("%d: %v %v", i, s, ok)
			}
		}
	}
	d := &dictionary{}
	d.add(5, abi.State{Number: 1})
	d.add(5, abi.State{Number: 2})
	if _, err := d.lines(); err == nil {
		t.Error("two values for one key")
	}
}

func TestEveryOperationHasTables(t *testing.T) {
	for _, o := range policy.Operations() {
		if preparer(o) == nil {
			t.Errorf("preparers has none for %T of %s", policy.Everything(o), o)
		}
	}
}
