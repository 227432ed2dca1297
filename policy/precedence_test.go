package policy

import (
	"strings"
	"testing"
)

// TestPrecedence has, for each operation with keys that tell the kind, both
// directions: an exception for one program that does not repeat the kind of the
// denial for everyone, and a denial for one program that an exception for everyone
// with a kind does not lift. Names come first, and of rules about the same names and
// processes the narrower kind wins.
func TestPrecedence(t *testing.T) {
	for _, tt := range []struct {
		operation Operation
		// name is a pattern of a name, kind the same with a kind, deeper one of
		// a more specific name, object what all of them select.
		name, kind, deeper Pattern
		object             Object
		// key is the key that tells the kind.
		key string
	}{
		{FileOpen, paths("/srv/log/"), paths("/srv/log/").to(Write), paths("/srv/log/a"), File{Names: file("/srv/log/a"), Access: Write}, "access"},
		{FileOpen, FilePattern{All: true}, FilePattern{Access: Write}, paths("/srv/"), File{Names: file("/srv/log/a"), Access: Write}, "access"},
		{SbMount, MountPattern{Targets: []string{"/mnt/"}}, MountPattern{Targets: []string{"/mnt/"}, Types: []string{"ext4"}},
			MountPattern{Targets: []string{"/mnt/a"}}, Mount{Target: file("/mnt/a"), Type: "ext4", Flags: MountNew}, "types"},
		{SbMount, MountPattern{Sources: []string{"/dev/"}}, MountPattern{Sources: []string{"/dev/"}, Flags: MountNew},
			MountPattern{Sources: []string{"/dev/sda1"}}, Mount{Source: "/dev/sda1", Target: file("/mnt/a"), Type: "ext4", Flags: MountNew}, "flags"},
		{SbMount, MountPattern{All: true}, MountPattern{Types: []string{"ext4"}, Flags: MountNew},
			MountPattern{Targets: []string{"/mnt/a"}}, Mount{Target: file("/mnt/a"), Type: "ext4", Flags: MountNew}, "types, flags"},
		{SbRemount, MountPattern{Targets: []string{"/"}}, MountPattern{Targets: []string{"/"}, Flags: MountReadWrite},
			MountPattern{Targets: []string{"/usr"}}, Mount{Target: file("/usr"), Type: "ext4", Flags: MountReadWrite}, "flags"},
		{SbUmount, MountPattern{Targets: []string{"/"}}, MountPattern{Targets: []string{"/"}, Flags: MountDetach},
			MountPattern{Targets: []string{"/usr"}}, Mount{Target: file("/usr"), Type: "ext4", Flags: MountDetach}, "flags"},
		{SocketBind, ports(22), both(ports(22), protocol(TCP)), both(ports(22), addresses("10.0.0.1/32")), tcp("10.0.0.1:22"), "protocols"},
		{SocketConnect, addresses("10.0.0.0/8"), both(addresses("10.0.0.0/8"), protocol(TCP)), addresses("10.0.0.1/32"), tcp("10.0.0.1:22"), "protocols"},
		{SocketConnect, all(), protocol(TCP), ports(22), tcp("10.0.0.1:22"), "protocols"},
	} {
		t.Run(string(tt.operation)+" "+tt.key, func(t *testing.T) {
			one := Subject{Binaries: []string{nginx.Binary}}
			all := func(allow, deny patterns) Policy { return ruleOf("all", everybody, tt.operation, allow, deny) }
			for _, c := range []struct {
				name string
				set  []Policy
				want string
				// why is the reason of the one that lost.
				why string
			}{
				{"an exception need not name the kind", set(all(nil, patterns{tt.kind}), ruleOf("one", one, tt.operation, patterns{tt.name}, nil)), "allow one", `its subject is less specific than that of policy "one" rule 0`},
				{"a denial is not lifted by the kind", set(all(patterns{tt.kind}, nil), ruleOf("one", one, tt.operation, nil, patterns{tt.name})), "deny one", `its subject is less specific than that of policy "one" rule 0`},
				{"a name comes before the subject", set(all(nil, patterns{tt.deeper}), ruleOf("one", one, tt.operation, patterns{tt.kind}, nil)), "deny all", `less specific than policy "all" rule 0 (`},
				{"a name comes before the kind", set(all(patterns{tt.deeper}, nil), ruleOf("two", everybody, tt.operation, nil, patterns{tt.kind})), "allow all", `less specific than policy "all" rule 0 (`},
				{"of the same names and subjects the kind wins", set(all(nil, patterns{tt.name}), ruleOf("two", everybody, tt.operation, patterns{tt.kind}, nil)), "allow two", `its kind is less specific than that of policy "two" rule 0 (` + tt.key + `)`},
				{"then the strictest verdict", set(all(nil, patterns{tt.kind}), ruleOf("two", everybody, tt.operation, patterns{tt.kind}, nil)), "deny all", `deny wins over allow`},
			} {
				t.Run(c.name, func(t *testing.T) {
					if err := Validate(c.set); err != nil {
						t.Fatal(err)
					}
					r := Request{Process: nginx, Operation: tt.operation, Object: tt.object}
					e := Explain(c.set, r)
					if got := describe(c.set, Decide(c.set, r)); got != c.want {
						t.Errorf("Decide: %s, want %s\n%v", got, c.want, e)
					}
					lost := ""
					for _, candidate := range e.Candidates {
						if !candidate.Won {
							lost = candidate.Reason
						}
					}
					if !strings.HasPrefix(lost, c.why) {
						t.Errorf("the loser's reason is %q, want %q", lost, c.why)
					}
				})
			}
		})
	}
}
