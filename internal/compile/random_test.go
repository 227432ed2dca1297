package compile

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/policytest"
	"github.com/ebpfguard/ebpfguard/policy"
)

var testKey = Key{0x0706050403020100, 0x0f0e0d0c0b0a0908}

// world is a system of files for the paths of policytest: some of them are hard
// links of one file, and b/a shows the directory a once more.
type world struct {
	root   string
	inodes map[string]uint64
	// links maps the path of a file to that of which it is a hard link.
	links map[string]string
}

func newWorld(r policytest.Random) *world {
	w := &world{root: r.Root, inodes: map[string]uint64{}, links: map[string]string{}}
	if w.root == "" {
		w.root = "/srv/policytest"
	}
	_, files := r.Paths()
	for range r.IntN(3) {
		a, b := files[r.IntN(len(files))], files[r.IntN(len(files))]
		if a, b = w.real(a), w.real(b); a != b {
			w.links[a] = b
		}
	}
	return w
}

// real returns the path of a file where it really is.
func (w *world) real(path string) string {
	if rest, ok := strings.CutPrefix(path, w.root+"/b/a"); ok && (rest == "" || rest[0] == '/') {
		path = w.root + "/a" + rest
	}
	for i := 0; i < 10 && w.links[path] != ""; i++ {
		path = w.links[path]
	}
	return path
}

func (w *world) identity(path string) *Identity {
	path = w.real(path)
	if w.inodes[path] == 0 {
		w.inodes[path] = uint64(100 + len(w.inodes)*37)
	}
	return &Identity{Device: 8 << 20, Inode: w.inodes[path]}
}

func (w *world) mountPoint() string { return w.root + "/b/a" }

func (w *world) options() Options {
	return Options{
		Number:  7,
		Key:     testKey,
		Resolve: func(path string) Resolved { return Resolved{Canonical: path, Identity: w.identity(path)} },
		Mounts: func() []Mount {
			return []Mount{{w.mountPoint(), *w.identity(w.mountPoint())}, {"/", *w.identity("/")}}
		},
	}
}

// aliases returns the names that policies of an operation have for a file, by
// itself or by a directory above it.
func (w *world) aliases(set []policy.Policy, operation policy.Operation, name string) []string {
	known := map[string]bool{w.mountPoint(): true, "/": true}
	for _, e := range entriesOf(set)[operation] {
		if e.delegated {
			continue
		}
		for _, text := range policy.PathsOf(e.pattern) {
			p, _ := policy.ParsePathPattern(text)
			at := "/"
			known[at] = true
			for _, c := range p.Literal() {
				at = path.Join(at, c)
				known[at] = true
			}
		}
	}
	names := []string{name}
	seen := map[string]bool{name: true}
	for i := 0; i < len(names); i++ {
		for at, rest := names[i], ""; ; {
			for k := range known {
				alias := path.Join(k, rest)
				if *w.identity(k) == *w.identity(at) && !seen[alias] {
					seen[alias] = true
					names = append(names, alias)
				}
			}
			if at == "/" {
				break
			}
			rest = path.Join(path.Base(at), rest)
			at = path.Dir(at)
		}
	}
	return names[1:]
}

// TestTablesAgreeWithDecide reads the tables as the kernel does and compares with
// the reference semantics.
func TestTablesAgreeWithDecide(t *testing.T) {
	sets := uint64(800)
	if os.Getenv("EBPFGUARD_TEST_FULL") != "" { // by make test-full
		sets = 4000
	}
	const parts = 4
	for part := range uint64(parts) {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			compareSets(t, part*sets/parts, (part+1)*sets/parts)
		})
	}
}

// compareSets compares the sets of some seeds.
func compareSets(t *testing.T, first, end uint64) {
	ambiguous, compared, large := 0, 0, 0
	for seed := first; seed < end; seed++ {
		o := policytest.Options{Binaries: []string{"/bin/a", "/usr/bin/b", "/usr/bin/c", "/opt/x.sh"}, UIDs: []uint32{0, 1, 5, 1000},
			Processes:  []policy.ProcessID{{PID: 1, Start: 10}, {PID: 300, Start: 5_000_000_001}, {PID: 300, Start: 7_000_000_000}, {PID: 301, Start: 5_000_000_001}},
			Containers: policytest.Containers(),
			Times:      []uint64{1, 5, 1 << 32, 1<<32 + 5, 1 << 63},
			Delegated:  seed%3 == 0}
		if seed%2 == 0 { // many rules for one operation
			o.Operations = []policy.Operation{policy.Operations()[seed/2%8]}
		}
		r := policytest.With(seed, o)
		w := newWorld(r)
		set := r.Set()
		g, err := Compile(set, w.options())
		if errors.Is(err, ErrTooLarge) { // too many sets of flags
			large++
			continue
		}
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, policy.Format(set))
		}
		m := newMachine(g, testKey)
		for range 40 {
			request := r.Request()
			request.Object = w.place(set, r, request)
			want := policy.Decide(set, request)
			got, ok := w.judge(m, request)
			compared++
			if !ok { // too many names: it fails closed, as an unknown path
				ambiguous++
				if policy.Verdict(got.Verdict()) < want.Verdict {
					t.Fatalf("seed %d: %v: ambiguous and %v, Decide: %+v", seed, request.Object, got.Verdict(), want)
				}
				continue
			}
			compare(t, seed, g, set, request, got, want)
		}
	}
	t.Logf("%d requests compared, %d with too many names", compared, ambiguous)
	if large > 5 {
		t.Errorf("%d sets are too large", large)
	}
	if ambiguous > compared/20 {
		t.Errorf("%d of %d have too many names", ambiguous, compared)
	}
}

// place makes the object one of the world: of a name follow the aliases, and what
// is unknown has no name.
func (w *world) place(set []policy.Policy, r policytest.Random, request policy.Request) policy.Object {
	names := func(n policy.Names) policy.Names {
		switch {
		case n.Unknown:
			return policy.Names{Unknown: true}
		case n.Path == "":
			return policy.Names{}
		}
		return policy.Names{Path: n.Path, Aliases: w.aliases(set, request.Operation, n.Path)}
	}
	if o, ok := request.Object.(policy.Socket); ok {
		o.Protocol = policy.Protocol(1 + r.IntN(int(policy.OtherProtocol)))
		o.Automatic = []policy.PortRange{policy.DefaultAutomatic, {First: 40000, Last: 40010}, {First: 1, Last: 22}}[r.IntN(3)]
		return o
	}
	n, _ := policy.NamesOf(request.Object)
	return policy.WithNames(request.Object, names(n))
}

// judge judges a request by the tables; false if the object has too many names.
func (w *world) judge(m machine, r policy.Request) (abi.Verdict, bool) {
	id := abi.OperationID(string(r.Operation))
	v := m.judge(id, m.classify(r.Process, r.Now), r.Object, w.identity)
	if n, ok := policy.NamesOf(r.Object); ok && n.Path != "" && m.concerns(id) {
		return v, !m.walk(uint32(id), m.operation(id).Automata[0], n.Path, w.identity, false).ambiguous
	}
	return v, true
}

// compare fails the test if a word of the tables is not the decision.
func compare(t *testing.T, seed uint64, g *Revision, set []policy.Policy, r policy.Request, got abi.Verdict, want policy.Decision) {
	t.Helper()
	rule := Rule{-1, -1}
	if got.Rule() >= 0 {
		rule = g.Rules[got.Rule()]
	}
	if want.Verdict == policy.Allow { // no alert names the rule that allowed
		rule = Rule{want.Policy, want.Rule}
	}
	if policy.Verdict(got.Verdict()) != want.Verdict || rule != (Rule{want.Policy, want.Rule}) || got.Undecided() != want.Undecided ||
		want.Verdict != policy.Allow && (got&abi.Verdict(abi.FlagNamesObject) != 0) != want.NamesObject ||
		want.Verdict >= policy.Deny && (got&abi.Verdict(abi.FlagRevoke) != 0) != want.Revoke { // an audit revokes nothing
		t.Fatalf("seed %d: %+v %s %v\n%s\ntables: %v rule %v undecided %v word %#x\nDecide: %+v",
			seed, r.Process, r.Operation, r.Object, policy.Format(set), policy.Verdict(got.Verdict()), rule, got.Undecided(), uint32(got), want)
	}
}

// TestMovesAgreeWithDecide moves files and directories, which the tables judge as the
// reference semantics does, or more strictly where a file has several names.
func TestMovesAgreeWithDecide(t *testing.T) {
	t.Parallel()
	sets := uint64(600)
	if testing.Short() {
		sets = 100
	}
	id := abi.OperationID(string(policy.FileOpen))
	compared, refused, several, stricter := 0, 0, 0, 0
	for seed := range sets {
		r := policytest.With(seed, policytest.Options{Operations: []policy.Operation{policy.FileOpen}, Delegated: seed%4 == 0})
		w := newWorld(r)
		if seed%2 == 0 {
			w.links = map[string]string{}
		}
		set := r.Set()
		options := w.options()
		if seed%2 == 0 { // one name each, and no identity
			options = Options{Number: 7, Key: testKey}
		}
		g, err := Compile(set, options)
		if err != nil {
			t.Fatal(err)
		}
		m := newMachine(g, testKey)
		if !m.concerns(id) {
			continue
		}
		dirs, files := r.Paths()
		for range 40 {
			request := r.Request()
			request.Operation = policy.FileOpen
			move := &policy.Move{Directory: r.IntN(2) == 0}
			list := files
			if move.Directory {
				list = dirs[1:]
			}
			from := list[r.IntN(len(list))]
			to := []string{list[r.IntN(len(list))], r.Path(), path.Join(path.Dir(from), "new"), "/elsewhere"}[r.IntN(4)]
			identity := func(string) *Identity { return nil }
			names := policy.Names{Path: from}
			move.To = policy.Names{Path: to}
			if seed%2 != 0 {
				identity = w.identity
				above := func(at string) []string {
					list := []string{}
					for _, alias := range append(w.aliases(set, policy.FileOpen, path.Dir(at)), path.Dir(at)) {
						list = append(list, path.Join(alias, path.Base(at)))
					}
					return list
				}
				names.Aliases, move.To.Aliases = above(from), above(to)
				move.Known = append(move.Known, w.own(set, from)...)
			}
			request.Object = policy.File{Names: names, Moved: move}
			want := policy.Decide(set, request)
			got := m.judge(id, m.classify(request.Process, request.Now), request.Object, identity)
			compared++
			if want.Verdict >= policy.Deny {
				refused++
			}
			if seed%2 != 0 {
				several++
				switch {
				case policy.Verdict(got.Verdict()) < want.Verdict:
					t.Fatalf("seed %d: %+v: %v\n%s\ntables: %v\nDecide: %+v", seed, request.Object.(policy.File).Names, move, policy.Format(set), got.Verdict(), want)
				case policy.Verdict(got.Verdict()) > want.Verdict:
					stricter++
				}
				continue
			}
			if policy.Verdict(got.Verdict()) != want.Verdict {
				t.Fatalf("seed %d: %+v: %v %+v\n%s\ntables: %v\nDecide: %+v", seed, request.Object.(policy.File).Names, move, request.Process, policy.Format(set), policy.Verdict(got.Verdict()), want)
			}
		}
	}
	t.Logf("%d moves compared, %d refused; of %d with several names %d judged more strictly", compared, refused, several, stricter)
	if refused < compared/50 || stricter > several/10 {
		t.Error("too few refused, or too many judged more strictly")
	}
}

// own returns the names that policies have for the very file.
func (w *world) own(set []policy.Policy, name string) []string {
	var own []string
	add := func(at string) {
		if *w.identity(at) == *w.identity(name) {
			own = append(append(own, at), w.aliases(set, policy.FileOpen, at)...)
		}
	}
	add(w.mountPoint())
	for _, e := range entriesOf(set)[policy.FileOpen] {
		if e.delegated {
			continue
		}
		for _, text := range policy.PathsOf(e.pattern) {
			p, _ := policy.ParsePathPattern(text)
			at := "/"
			for _, c := range p.Literal() {
				at = path.Join(at, c)
				add(at)
			}
		}
	}
	return own
}
