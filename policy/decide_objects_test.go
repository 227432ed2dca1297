package policy

import (
	"net/netip"
	"testing"
)

// More fixtures: rules of one operation.

func ruleOf(name string, s Subject, o Operation, allow, deny patterns) Policy {
	return Policy{Name: name, Subject: s, Rules: []Rule{{Operation: o, Allow: allow, Deny: deny}}}
}

func (p Policy) withVerdict(v Verdict) Policy {
	p.Rules = []Rule{p.Rules[0]}
	p.Rules[0].Verdict = v
	return p
}

func paths(list ...string) FilePattern { return FilePattern{Paths: list} }

func (p FilePattern) to(a Access) FilePattern {
	p.Access = a
	return p
}

func programs(list ...string) ProgramPattern { return ProgramPattern{Paths: list} }

func file(path string, aliases ...string) Names { return Names{Path: path, Aliases: aliases} }

var (
	everybody = Subject{Everyone: true}
	allFiles  = FilePattern{All: true}
)

type decision struct {
	name    string
	set     []Policy
	process Process
	object  Object
	want    string
}

func runDecisions(t *testing.T, o Operation, tests []decision) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := Validate(tt.set); err != nil {
				t.Fatal(err)
			}
			r := Request{Process: tt.process, Operation: o, Object: tt.object}
			d := Decide(tt.set, r)
			if got := describe(tt.set, d); got != tt.want {
				t.Errorf("Decide(%v) = %q, want %q\n%v", tt.object, got, tt.want, Explain(tt.set, r))
			}
			if e := Explain(tt.set, r); e.Decision != d {
				t.Errorf("Explain: %+v, want %+v", e.Decision, d)
			}
		})
	}
}

func TestDecideFileOpen(t *testing.T) {
	f := func(name string, allow, deny patterns) Policy { return ruleOf(name, everybody, FileOpen, allow, deny) }
	read := func(n Names) File { return File{Names: n, Access: Read} }
	etc := set(f("etc", nil, patterns{paths("/etc/")}), f("ssl", patterns{paths("/etc/ssl/")}, nil))
	runDecisions(t, FileOpen, []decision{
		{"no rule selects it", etc, nginx, read(file("/usr/a")), "allow"},
		{"a directory is all below", etc, nginx, read(file("/etc/a/b")), "deny etc"},
		{"a directory is itself", etc, nginx, read(file("/etc")), "deny etc"},
		{"a longer directory wins", etc, nginx, read(file("/etc/ssl/a")), "allow ssl"},
		{"exact > directory", set(f("dir", nil, patterns{paths("/etc/ssl/")}), f("exact", patterns{paths("/etc/ssl/a")}, nil)), nginx, read(file("/etc/ssl/a")), "allow exact"},
		{"directory > glob", set(f("dir", patterns{paths("/a/")}, nil), f("glob", nil, patterns{paths("/a/b/c/*")})), nginx, read(file("/a/b/c/d")), "allow dir"},
		{"/ > glob", set(f("root", patterns{paths("/")}, nil), f("glob", nil, patterns{paths("/a/b/c/*")})), nginx, read(file("/a/b/c/d")), "allow root"},
		{"glob > all", set(f("glob", patterns{paths("/**")}, nil), f("all", nil, patterns{allFiles})), nginx, read(file("/a")), "allow glob"},
		{"of globs the one with more literal components", set(f("two", patterns{paths("/a/b/*")}, nil), f("one", nil, patterns{paths("/a/*/c")})), nginx, read(file("/a/b/c")), "deny one"},
		{"of globs the one with more literal components, else deny", set(f("more", patterns{paths("/a/b/c/*")}, nil), f("less", nil, patterns{paths("/a/**/d")})), nginx, read(file("/a/b/c/d")), "allow more"},
		{"the greatest of several paths counts", set(f("list", patterns{paths("/a/", "/a/b/c")}, nil), f("dir", nil, patterns{paths("/a/b/")})), nginx, read(file("/a/b/c")), "allow list"},
		{"an access that is named", set(f("p", nil, patterns{paths("/a").to(Write)})), nginx, File{Names: file("/a"), Access: Write}, "deny p"},
		{"an access that is not named", set(f("p", nil, patterns{paths("/a").to(Write | Exec)})), nginx, read(file("/a")), "allow"},
		{"an access without paths", set(f("p", nil, patterns{FilePattern{Access: Exec}})), nginx, File{Names: file("/a"), Access: Exec}, "deny p"},
		{"a named access is more specific than none", set(f("p", nil, patterns{paths("/a/")}), f("read", patterns{paths("/a/").to(Read)}, nil)), nginx, read(file("/a/b")), "allow read"},
		{"path and access are compared key by key", set(f("path", nil, patterns{paths("/a/b")}), f("read", patterns{paths("/a/").to(Read)}, nil)), nginx, read(file("/a/b")), "deny path"},
		{"several accesses: the strictest", set(f("p", patterns{paths("/a").to(Read)}, patterns{paths("/a").to(Write)})), nginx, File{Names: file("/a"), Access: Read | Write}, "deny p"},
		{"no access cannot be judged", set(f("p", nil, patterns{paths("/a")})), nginx, File{Names: file("/b"), Access: 0}, "?deny p"},

		{"another name: denied by either", etc, nginx, read(file("/tmp/link", "/etc/shadow")), "deny etc"},
		{"another name: by the name it has here", etc, nginx, read(file("/etc/shadow", "/nowhere")), "deny etc"},
		{"a name that no path selects is dropped", set(f("p", patterns{paths("/srv/")}, patterns{allFiles})), nginx, read(file("/srv/a", "/elsewhere")), "allow p"},
		{"unless none is left", set(f("p", patterns{paths("/srv/")}, patterns{allFiles})), nginx, read(file("/elsewhere", "/other")), "deny p"},
		{"a name that is selected for others is not dropped", set(f("p", patterns{paths("/srv/")}, patterns{allFiles}), ruleOf("x", Subject{Binaries: []string{"/x"}}, FileOpen, patterns{paths("/elsewhere")}, nil)), nginx, read(file("/srv/a", "/elsewhere")), "deny p"},
		{"the strictest of the names", set(f("p", patterns{paths("/b")}, patterns{paths("/a")})), nginx, read(file("/b", "/a")), "deny p"},
		{"no name here, another by identity", etc, nginx, read(file("", "/etc/a")), "deny etc"},
		{"no name at all is no error", etc, nginx, read(file("")), "allow"},
		{"no name at all is judged by all", set(f("p", patterns{paths("/")}, patterns{allFiles})), nginx, read(file("")), "deny p"},
		{"a relative name is none", set(f("p", nil, patterns{paths("/")})), nginx, read(file("a")), "allow"},

		{"unknown name: a denial may apply", etc, nginx, read(Names{Unknown: true}), "?deny etc"},
		{"unknown name: no denial can apply", set(f("p", patterns{paths("/a")}, nil)), nginx, read(Names{Unknown: true}), "allow"},
		{"unknown name: an exception may not apply", set(f("p", patterns{paths("/a")}, patterns{allFiles})), nginx, read(Names{Unknown: true}), "?deny p"},
		{"unknown name: what no path is needed for is certain", set(f("p", patterns{FilePattern{Access: Read}}, patterns{allFiles})), nginx, read(Names{Unknown: true}), "allow p"},
		{"unknown name: a path that may be named overrides the subject", set(f("p", nil, patterns{FilePattern{Access: Read}}), f("q", nil, patterns{paths("/a")}), ruleOf("n", Subject{Binaries: []string{nginx.Binary}}, FileOpen, patterns{FilePattern{Access: Read}}, nil)), nginx, read(Names{Unknown: true}), "?deny q"},
		{"unknown name beside a known one", set(f("p", nil, patterns{paths("/a")})), nginx, read(Names{Path: "/b", Unknown: true}), "?deny p"},

		{"kill > deny", set(f("deny", nil, patterns{paths("/a")}), f("kill", nil, patterns{paths("/a")}).withVerdict(Kill)), nginx, read(file("/a")), "kill kill"},
		{"deny > audit", set(f("audit", nil, patterns{paths("/a")}).withVerdict(Audit), f("deny", nil, patterns{paths("/a")})), nginx, read(file("/a")), "deny deny"},
		{"verdict audit", set(f("audit", nil, patterns{paths("/a")}).withVerdict(Audit)), nginx, read(file("/a")), "audit audit"},
		{"mode audit turns kill into audit", set(audited(f("kill", nil, patterns{paths("/a")}).withVerdict(Kill))), nginx, read(file("/a")), "audit kill"},
		{"a verdict does not touch what is allowed", set(f("kill", patterns{paths("/a")}, patterns{allFiles}).withVerdict(Kill)), nginx, read(file("/a")), "allow kill"},
		{"another type of object", etc, nginx, Socket{}, "?deny etc"},
	})
}

func TestDecideBprm(t *testing.T) {
	b := func(name string, allow, deny patterns) Policy {
		return ruleOf(name, everybody, BprmCheckSecurity, allow, deny)
	}
	run := func(path string) Program { return Program{Names: file(path)} }
	noArgs, fileless := ProgramPattern{NoArgs: true}, ProgramPattern{Fileless: true}
	bothTraits := ProgramPattern{NoArgs: true, Fileless: true}
	runDecisions(t, BprmCheckSecurity, []decision{
		{"path", set(b("p", nil, patterns{programs("/tmp/")})), nginx, run("/tmp/x"), "deny p"},
		{"another path", set(b("p", nil, patterns{programs("/tmp/")})), nginx, run("/bin/x"), "allow"},
		{"fileless", set(b("p", nil, patterns{fileless})), nginx, Program{Fileless: true}, "deny p"},
		{"not fileless", set(b("p", nil, patterns{fileless})), nginx, run("/bin/x"), "allow"},
		{"no arguments", set(b("p", nil, patterns{noArgs})), nginx, Program{Names: file("/bin/x"), NoArgs: true}, "deny p"},
		{"both traits > one", set(b("both", patterns{bothTraits}, nil), b("one", nil, patterns{noArgs})), nginx, Program{NoArgs: true, Fileless: true}, "allow both"},
		{"one trait of two", set(b("p", nil, patterns{bothTraits})), nginx, Program{NoArgs: true}, "allow"},
		{"path and trait are compared key by key", set(b("path", patterns{programs("/bin/x")}, nil), b("trait", nil, patterns{noArgs})), nginx, Program{Names: file("/bin/x"), NoArgs: true}, "deny trait"},
		{"only these programs", set(b("p", patterns{programs("/usr/bin/")}, patterns{ProgramPattern{All: true}})), nginx, run("/usr/bin/a"), "allow p"},
		{"unknown name", set(b("p", patterns{programs("/usr/bin/")}, patterns{ProgramPattern{All: true}})), nginx, Program{Names: Names{Unknown: true}}, "?deny p"},
	})
}

func TestDecideMounts(t *testing.T) {
	m := func(name string, allow, deny patterns) Policy { return ruleOf(name, everybody, SbMount, allow, deny) }
	disk := Mount{Source: "/dev/sda1", Target: file("/mnt/a"), Type: "ext4", Flags: MountNew | MountReadWrite | MountSUID}
	bind := Mount{Source: "/srv", Target: file("/mnt/b"), Flags: MountBind}
	deny := func(p MountPattern) []Policy { return set(m("p", nil, patterns{p})) }
	runDecisions(t, SbMount, []decision{
		{"all", deny(MountPattern{All: true}), nginx, disk, "deny p"},
		{"source", deny(MountPattern{Sources: []string{"/dev/"}}), nginx, disk, "deny p"},
		{"another source", deny(MountPattern{Sources: []string{"/dev/sdb", "tmpfs"}}), nginx, disk, "allow"},
		{"no source", deny(MountPattern{Sources: []string{"**"}}), nginx, Mount{Target: file("/mnt")}, "allow"},
		{"target", deny(MountPattern{Targets: []string{"/mnt/"}}), nginx, disk, "deny p"},
		{"target by another name", deny(MountPattern{Targets: []string{"/media/"}}), nginx, Mount{Target: file("/mnt/a", "/media/a")}, "deny p"},
		{"no target", deny(MountPattern{Targets: []string{"/"}}), nginx, Mount{Type: "ext4", Flags: MountNew}, "allow"},
		{"no target, but a type", deny(MountPattern{Types: []string{"ext4"}}), nginx, Mount{Type: "ext4", Flags: MountNew}, "deny p"},
		{"type", deny(MountPattern{Types: []string{"proc", "ext4"}}), nginx, disk, "deny p"},
		{"a bind mount has no type", deny(MountPattern{Types: []string{"ext4"}}), nginx, bind, "allow"},
		{"any of the flags", deny(MountPattern{Flags: MountSUID | MountDev}), nginx, disk, "deny p"},
		{"none of the flags", deny(MountPattern{Flags: MountNoSUID | MountBind}), nginx, disk, "allow"},
		{"keys are ANDed", deny(MountPattern{Types: []string{"ext4"}, Flags: MountBind}), nginx, disk, "allow"},
		{"a more specific target wins", set(m("dir", nil, patterns{MountPattern{Targets: []string{"/mnt/"}}}), m("exact", patterns{MountPattern{Targets: []string{"/mnt/a"}}}, nil)), nginx, disk, "allow exact"},
		{"a more specific source wins", set(m("dir", nil, patterns{MountPattern{Sources: []string{"/dev/"}}}), m("exact", patterns{MountPattern{Sources: []string{"/dev/sda1"}}}, nil)), nginx, disk, "allow exact"},
		{"source and target are not comparable", set(m("src", patterns{MountPattern{Sources: []string{"/dev/sda1"}}}, nil), m("dst", nil, patterns{MountPattern{Targets: []string{"/mnt/"}}})), nginx, disk, "deny dst"},
		{"unknown flags cannot be judged", deny(MountPattern{Types: []string{"proc"}}), nginx, Mount{Flags: 1 << 31}, "?deny p"},
		{"unknown target", deny(MountPattern{Targets: []string{"/mnt/"}}), nginx, Mount{Target: Names{Unknown: true}}, "?deny p"},
	})
	runDecisions(t, SbUmount, []decision{
		{"flags", set(ruleOf("p", everybody, SbUmount, nil, patterns{MountPattern{Flags: MountDetach}})), nginx, Mount{Target: file("/mnt"), Type: "ext4", Flags: MountDetach}, "deny p"},
		{"type", set(ruleOf("p", everybody, SbUmount, nil, patterns{MountPattern{Types: []string{"ext4"}}})), nginx, Mount{Target: file("/mnt"), Type: "ext4"}, "deny p"},
	})
	runDecisions(t, SbRemount, []decision{
		{"flags", set(ruleOf("p", everybody, SbRemount, nil, patterns{MountPattern{Flags: MountReadWrite}})), nginx, Mount{Target: file("/"), Type: "ext4", Flags: MountReadWrite}, "deny p"},
		{"another operation", deny(MountPattern{All: true}), nginx, disk, "allow"},
	})
}

func ids(list ...uint32) IDs {
	var ids IDs
	for i := 0; i+1 < len(list); i += 2 {
		ids.Ranges = append(ids.Ranges, IDRange{list[i], list[i+1]})
	}
	return ids
}

func TestDecideTaskFixSetuid(t *testing.T) {
	c := func(name string, allow, deny patterns) Policy {
		return ruleOf(name, everybody, TaskFixSetuid, allow, deny)
	}
	toUID := func(list ...uint32) CredentialsPattern { return CredentialsPattern{To: Identity{UIDs: ids(list...)}} }
	toGID := func(list ...uint32) CredentialsPattern { return CredentialsPattern{To: Identity{GIDs: ids(list...)}} }
	fromUID := func(list ...uint32) CredentialsPattern { return CredentialsPattern{From: Identity{UIDs: ids(list...)}} }
	root := Credentials{FromUID: 1000, FromGID: 100, To: 0}
	wheel := Credentials{FromUID: 1000, FromGID: 100, To: 10, Group: true}
	runDecisions(t, TaskFixSetuid, []decision{
		{"to", set(c("p", nil, patterns{toUID(0, 0)})), nginx, root, "deny p"},
		{"to another", set(c("p", nil, patterns{toUID(1, 5)})), nginx, root, "allow"},
		{"a group is no user", set(c("p", nil, patterns{toUID(0, MaxID)})), nginx, wheel, "allow"},
		{"a user is no group", set(c("p", nil, patterns{toGID(0, MaxID)})), nginx, root, "allow"},
		{"to group", set(c("p", nil, patterns{toGID(10, 10)})), nginx, wheel, "deny p"},
		{"from user", set(c("p", nil, patterns{fromUID(1000, 2000)})), nginx, wheel, "deny p"},
		{"from another user", set(c("p", nil, patterns{fromUID(0, 999)})), nginx, root, "allow"},
		{"from group", set(c("p", nil, patterns{CredentialsPattern{From: Identity{GIDs: ids(100, 100)}}})), nginx, root, "deny p"},
		{"from a user of a group", set(c("p", nil, patterns{CredentialsPattern{From: Identity{UIDs: ids(1000, 1000), GIDs: ids(5, 5)}}})), nginx, root, "allow"},
		{"all", set(c("p", nil, patterns{CredentialsPattern{All: true}})), nginx, wheel, "deny p"},
		{"single > range", set(c("all", nil, patterns{toUID(0, MaxID)}), c("one", patterns{toUID(0, 0)}, nil)), nginx, root, "allow one"},
		{"narrower > wider", set(c("wide", nil, patterns{toUID(0, 100)}), c("narrow", patterns{toUID(0, 99)}, nil)), nginx, root, "allow narrow"},
		{"from and to are not comparable", set(c("from", patterns{fromUID(1000, 1000)}, nil), c("to", nil, patterns{toUID(0, 0)})), nginx, root, "deny to"},
		{"unknown process", set(ruleOf("p", Subject{Binaries: []string{"/usr/bin/sudo"}}, TaskFixSetuid, nil, patterns{toUID(0, 0)})), unknown, root, "?deny p"},
	})
}

func TestIDSpecificity(t *testing.T) {
	for r, want := range map[IDRange]uint32{
		{0, MaxID}: 1, {0, MaxID + 1}: 1, {1, MaxID}: 2, {5, 5}: 0xffffffff, {MaxID, MaxID}: 0xffffffff, {5, 6}: 0xfffffffe, {2, 1}: 0,
	} {
		if got := IDSpecificity(r); got != want {
			t.Errorf("IDSpecificity(%v) = %d, want %d", r, got, want)
		}
	}
}

func TestDecideSocketConnect(t *testing.T) {
	c := func(name string, allow, deny patterns) Policy {
		return ruleOf(name, everybody, SocketConnect, allow, deny)
	}
	listed := SocketPattern{AddressesFrom: []string{"x"}, Listed: []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("2001:db8::/32"),
	}}
	runDecisions(t, SocketConnect, []decision{
		{"0.0.0.0 is 127.0.0.1", set(c("p", nil, patterns{addresses("127.0.0.1/32")})), nginx, tcp("0.0.0.0:80"), "deny p"},
		{"0.0.0.0 is no other address", set(c("p", nil, patterns{addresses("10.0.0.1/32")})), nginx, tcp("0.0.0.0:80"), "allow"},
		{"0.0.0.0 is not itself", set(c("p", nil, patterns{addresses("0.0.0.0/32")})), nginx, tcp("0.0.0.0:80"), "allow"},
		{"mapped 0.0.0.0", set(c("p", nil, patterns{addresses("127.0.0.0/8")})), nginx, tcp("[::ffff:0.0.0.0]:80"), "deny p"},
		{":: is ::1", set(c("p", nil, patterns{addresses("::1/128")})), nginx, tcp("[::]:80"), "deny p"},
		{":: is no IPv4", set(c("p", nil, patterns{addresses("0.0.0.0/0")})), nginx, dual(tcp("[::]:80")), "allow"},
		{"port 0 is just 0", set(c("p", nil, patterns{ports(40000)})), nginx, tcp("1.2.3.4:0"), "allow"},
		{"port 0", set(c("p", nil, patterns{ports(0)})), nginx, tcp("1.2.3.4:0"), "deny p"},
		{"v4-mapped", set(c("p", nil, patterns{addresses("10.0.0.0/8")})), nginx, tcp("[::ffff:10.1.1.1]:80"), "deny p"},
		{"bind is another operation", set(everyone("p", nil, patterns{all()})), nginx, tcp("1.2.3.4:80"), "allow"},
		{"a listed address", set(c("p", nil, patterns{listed})), nginx, tcp("10.9.9.9:80"), "deny p"},
		{"a listed IPv6 address", set(c("p", nil, patterns{listed})), nginx, tcp("[2001:db8::1]:80"), "deny p"},
		{"no listed address", set(c("p", nil, patterns{listed})), nginx, tcp("11.0.0.1:80"), "allow"},
		{"the longest listed prefix counts", set(c("list", nil, patterns{listed}), c("24", patterns{addresses("10.0.0.0/24")}, nil)), nginx, tcp("10.0.0.1:80"), "deny list"},
		{"a longer prefix than the listed", set(c("list", nil, patterns{listed}), c("24", patterns{addresses("10.0.0.0/24")}, nil)), nginx, tcp("10.0.0.2:80"), "allow 24"},
	})
}

func TestDecideSubjects(t *testing.T) {
	deny := func(name string, s Subject) Policy { return ruleOf(name, s, FileOpen, nil, patterns{paths("/a")}) }
	allow := func(name string, s Subject) Policy { return ruleOf(name, s, FileOpen, patterns{paths("/a")}, nil) }
	users := func(list ...uint32) Subject { return Subject{Users: ids(list...)} }
	cgroups := func(list ...string) Subject { return Subject{Cgroups: list} }
	bins := func(list ...string) Subject { return Subject{Binaries: list} }
	below := func(list ...string) Subject { return Subject{Binaries: list, Descendants: true} }
	script := Process{Binary: "/usr/bin/bash", Script: "/opt/x.sh", UID: 1000, Cgroup: "/system.slice/a.service/b"}
	child := Process{Binary: "/usr/bin/id", Ancestors: []string{"/usr/bin/bash", "/opt/x.sh"}}
	object := File{Names: file("/a"), Access: Read}
	runDecisions(t, FileOpen, []decision{
		{"binary", set(deny("p", bins("/usr/bin/bash"))), script, object, "deny p"},
		{"script", set(deny("p", bins("/opt/x.sh"))), script, object, "deny p"},
		{"directory", set(deny("p", bins("/opt/"))), script, object, "deny p"},
		{"glob", set(deny("p", bins("/**/*.sh"))), script, object, "deny p"},
		{"another binary", set(deny("p", bins("/usr/bin/sh", "/opt"))), script, object, "allow"},
		{"users", set(deny("p", users(1000, 2000))), script, object, "deny p"},
		{"other users", set(deny("p", users(0, 999))), script, object, "allow"},
		{"cgroup", set(deny("p", cgroups("/system.slice/a.service"))), script, object, "deny p"},
		{"cgroup glob", set(deny("p", cgroups("/system.slice/?.serv*"))), script, object, "deny p"},
		{"the root cgroup", set(deny("p", cgroups("/"))), script, object, "deny p"},
		{"a cgroup with the same beginning", set(deny("p", cgroups("/system.slice/a"))), script, object, "allow"},
		{"a cgroup below", set(deny("p", cgroups("/system.slice/a.service/b/c"))), script, object, "allow"},
		{"descendants: the binary itself", set(deny("p", below("/usr/bin/bash"))), script, object, "deny p"},
		{"descendants: of a binary", set(deny("p", below("/usr/bin/bash"))), child, object, "deny p"},
		{"descendants: of a script", set(deny("p", below("/opt/*.sh"))), child, object, "deny p"},
		{"descendants: not of", set(deny("p", below("/usr/bin/sh"))), child, object, "allow"},
		{"without descendants", set(deny("p", bins("/usr/bin/bash"))), child, object, "allow"},
		{"kinds are ANDed", set(deny("p", Subject{Binaries: []string{"/usr/bin/bash"}, Users: ids(0, 0)})), script, object, "allow"},
		{"exact binary > pattern", set(deny("dir", bins("/usr/bin/")), allow("exact", bins("/usr/bin/bash"))), script, object, "allow exact"},
		{"pattern > descendant", set(deny("descendant", below("/opt/x.sh")), allow("dir", bins("/usr/bin/"))), child, object, "allow dir"},
		{"descendant > cgroup and user", set(deny("both", Subject{Cgroups: []string{"/"}, Users: ids(0, 0)}), allow("descendant", below("/opt/x.sh"))), Process{Binary: "/x", Ancestors: []string{"/opt/x.sh"}, Cgroup: "/"}, object, "allow descendant"},
		{"cgroup > user", set(deny("user", users(1000, 1000)), allow("cgroup", cgroups("/system.slice"))), script, object, "allow cgroup"},
		{"user > all", set(deny("all", everybody), allow("user", users(1000, 1000))), script, object, "allow user"},
		{"two selectors > one of them", set(deny("one", bins("/opt/x.sh")), allow("two", Subject{Binaries: []string{"/opt/x.sh"}, Users: ids(1000, 1000)})), script, object, "allow two"},
		{"unknown: binaries", set(deny("p", bins("/x"))), unknown, object, "?deny p"},
		{"unknown: cgroups", set(deny("p", cgroups("/x"))), unknown, object, "?deny p"},
		{"unknown: users are known", set(deny("p", users(5, 5))), unknown, object, "allow"},
		{"unknown: the user matches", set(deny("p", users(0, 0))), unknown, object, "deny p"},
		{"unknown: an exception for a user is certain", set(deny("all", everybody), allow("user", users(0, 0)), allow("bin", bins("/x"))), unknown, object, "allow user"},
		{"unknown: a user that does not match", set(deny("p", Subject{Binaries: []string{"/x"}, Users: ids(5, 5)})), unknown, object, "allow"},
	})
}

func TestDecisionNamesObjectAndRevoke(t *testing.T) {
	p := func(name string, revoke bool, o Operation, deny ...Pattern) Policy {
		p := ruleOf(name, everybody, o, nil, deny)
		p.Rules[0].Revoke = revoke
		return p
	}
	a := File{Names: file("/a", "/b"), Access: Read}
	for _, tt := range []struct {
		name        string
		set         []Policy
		operation   Operation
		object      Object
		namesObject bool
		revoke      bool
	}{
		{"by path", set(p("p", false, FileOpen, paths("/a"))), FileOpen, a, true, false},
		{"by all", set(p("p", true, FileOpen, allFiles)), FileOpen, a, false, true},
		{"the more specific", set(p("all", true, FileOpen, allFiles), p("path", false, FileOpen, paths("/a"))), FileOpen, a, true, false},
		{"two equal denials, one revokes", set(p("p", false, FileOpen, paths("/a")), p("q", true, FileOpen, paths("/a"))), FileOpen, a, true, true},
		{"two names, one revokes", set(p("p", false, FileOpen, paths("/a")), p("q", true, FileOpen, paths("/b"))), FileOpen, a, true, true},
		{"fileless", set(p("p", false, BprmCheckSecurity, ProgramPattern{Fileless: true})), BprmCheckSecurity, Program{Fileless: true}, true, false},
		{"no_args", set(p("p", false, BprmCheckSecurity, ProgramPattern{NoArgs: true})), BprmCheckSecurity, Program{NoArgs: true}, false, false},
	} {
		d := Decide(tt.set, Request{Operation: tt.operation, Object: tt.object})
		if d.Verdict != Deny || d.NamesObject != tt.namesObject || d.Revoke != tt.revoke {
			t.Errorf("%s: %+v", tt.name, d)
		}
	}
}
