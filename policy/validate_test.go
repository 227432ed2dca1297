package policy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValidate(t *testing.T) {
	good := func() Policy { return everyone("p", nil, patterns{ports(22)}) }
	withPolicy := func(change func(*Policy)) []Policy {
		p := good()
		change(&p)
		return set(p)
	}
	withRule := func(change func(*Rule)) []Policy {
		return withPolicy(func(p *Policy) { change(&p.Rules[0]) })
	}
	withDeny := func(pattern Pattern) []Policy {
		return withRule(func(r *Rule) { r.Deny = patterns{pattern} })
	}
	withBinaries := func(list ...string) []Policy {
		return withPolicy(func(p *Policy) { p.Subject = Subject{Binaries: list} })
	}
	prefix := func(s string) Pattern {
		return SocketPattern{Addresses: []netip.Prefix{netip.MustParsePrefix(s)}}
	}
	const rule0 = `policy "p": rule 0: `
	for _, tt := range []struct {
		name string
		set  []Policy
		want string
	}{
		{"good", set(good()), ``},
		{"no policies", nil, ``},
		{"no name", withPolicy(func(p *Policy) { p.Name = "" }), `the policy has no name; give it one`},
		{"bad name", withPolicy(func(p *Policy) { p.Name = "-p" }), `policy "-p": "-p" is no policy name; use a-z, 0-9, '-', '.', '_' and '/', first and last a letter or digit`},
		{"name with a newline", withPolicy(func(p *Policy) { p.Name = "p\n" }), `policy "p\n": "p\n" is no policy name; use a-z, 0-9, '-', '.', '_' and '/', first and last a letter or digit`},
		{"duplicate name", set(good(), good()), `policy "p": another policy has the same name; rename one of them`},
		{"mode", withPolicy(func(p *Policy) { p.Mode = 9 }), `policy "p": unknown mode Mode(9); use ModeEnforce or ModeAudit`},
		{"zero mode", withPolicy(func(p *Policy) { p.Mode = 0 }), ``},
		{"no subject", withPolicy(func(p *Policy) { p.Subject = Subject{} }), `policy "p": the policy has no subject; select everyone or name binaries, users, cgroups, containers, pods, the host or processes`},
		{"no binaries", withBinaries(), `policy "p": the policy has no subject; select everyone or name binaries, users, cgroups, containers, pods, the host or processes`},
		{"empty binaries", withPolicy(func(p *Policy) { p.Subject.Everyone = false; p.Subject.Binaries = []string{} }), `policy "p": the subject's binaries are empty, which selects no process; name at least one or select everyone`},
		{"two subjects", withPolicy(func(p *Policy) { p.Subject.Binaries = []string{"/a"} }), `policy "p": the subject is everyone and binaries at the same time; leave out one of them`},
		{"empty binary", withBinaries(""), `policy "p": binary "" is empty; write an absolute path such as /usr/sbin/sshd`},
		{"relative binary", withBinaries("a/b"), `policy "p": binary "a/b" is not absolute; write the whole path, such as /a/b`},
		{"unclean binary", withBinaries("/a/../b"), `policy "p": binary "/a/../b" is not a clean path; write /b`},
		{"root", withBinaries("/"), ``},
		{"NUL", withBinaries("/a\x00b"), `policy "p": binary "/a\x00b" contains a NUL, which no path can; remove it`},
		{"not UTF-8", withBinaries("/a\xff"), `policy "p": binary "/a\xff" is not valid UTF-8; such paths cannot be written in a policy, rename the file or use a glob`},
		{"longest component", withBinaries("/" + strings.Repeat("a", 255)), ``},
		{"long component", withBinaries("/" + strings.Repeat("a", 256)), `policy "p": binary "/` + strings.Repeat("a", 63) + `…" has a component of 256 bytes, but none is longer than 255; shorten it`},
		{"longest path", withBinaries(strings.Repeat("/"+strings.Repeat("a", 255), 15) + "/" + strings.Repeat("a", 254)), ``},
		{"most components", withBinaries(strings.Repeat("/a", 64)), ``},
		{"many components", withBinaries(strings.Repeat("/a", 65)), `policy "p": binary "` + strings.Repeat("/a", 32) + `…" has 65 components; the guard follows paths of at most 64, name a directory above`},
		{"long path", withBinaries(strings.Repeat("/a", 2048)), `policy "p": binary "` + strings.Repeat("/a", 32) + `…" has 4096 bytes, but no path is longer than 4095; shorten it`},
		{"twice", withBinaries("/a", "/a"), `policy "p": binary "/a" is listed twice; remove one`},
		{"processes", withPolicy(func(p *Policy) {
			p.Subject = Subject{Processes: []ProcessID{{1, 0}, {4711, 5 * tick}, {4711, 6 * tick}}}
		}), ``},
		{"no processes", withPolicy(func(p *Policy) { p.Subject = Subject{Processes: []ProcessID{}} }), `policy "p": the subject's processes are empty, which selects no process; name at least one or select everyone`},
		{"everyone and processes", withPolicy(func(p *Policy) { p.Subject.Processes = []ProcessID{{1, 0}} }), `policy "p": the subject is everyone and processes at the same time; leave out one of them`},
		{"process 0", withPolicy(func(p *Policy) { p.Subject = Subject{Processes: []ProcessID{{0, 1}}} }), `policy "p": pid 0 is out of range; write 1 to 4194304`},
		{"process without start", withPolicy(func(p *Policy) { p.Subject = Subject{Processes: []ProcessID{{4711, 0}}} }), `policy "p": process 4711 has no start; write when it was started, or another process might get its pid`},
		{"process twice", withPolicy(func(p *Policy) { p.Subject = Subject{Processes: []ProcessID{{4711, 5 * tick}, {4711, 5*tick + 1}}} }), `policy "p": process 4711 is listed twice; remove one`},
		{"until", withPolicy(func(p *Policy) { p.Until = 1 }), ``},
		{"no rules", withPolicy(func(p *Policy) { p.Rules = nil }), `policy "p": the policy has no rules; add one`},
		{"no operation", withRule(func(r *Rule) { r.Operation = "" }), rule0 + `the rule has no operation; name one of: file_open, bprm_check_security, sb_mount, sb_remount, sb_umount, task_fix_setuid, socket_bind, socket_connect`},
		{"pattern of another operation", withRule(func(r *Rule) { r.Operation = "file_open" }), rule0 + `deny[0]: file_open does not take a policy.SocketPattern; use a FilePattern (a value, not a pointer)`},
		{"unknown operation", withRule(func(r *Rule) { r.Operation = "x" }), rule0 + `unknown operation "x"; choose from file_open, bprm_check_security, sb_mount, sb_remount, sb_umount, task_fix_setuid, socket_bind, socket_connect`},
		{"no patterns", withRule(func(r *Rule) { r.Deny = nil }), rule0 + `the rule neither allows nor denies anything; add allow or deny`},
		{"nil pattern", withDeny(nil), rule0 + `deny[0]: the pattern is nil; remove it`},
		{"pointer pattern", withDeny(&SocketPattern{All: true}), rule0 + `deny[0]: socket_bind does not take a *policy.SocketPattern; use a SocketPattern (a value, not a pointer)`},
		{"zero pattern", withDeny(SocketPattern{}), rule0 + `deny[0]: the pattern names nothing; write all to select every socket`},
		{"all and more", withDeny(SocketPattern{All: true, Protocols: []Protocol{TCP}}), rule0 + `deny[0]: all cannot be combined with ports, addresses or protocols; leave out one or the other`},
		{"empty list", withDeny(SocketPattern{Ports: []PortRange{}, Protocols: []Protocol{TCP}}), rule0 + `deny[0]: ports is an empty list; name at least one value or leave it out (nil), which selects all`},
		{"reversed range", withDeny(portRange(2, 1)), rule0 + `deny[0]: port range 2-1 is empty; write 1-2`},
		{"invalid prefix", withDeny(SocketPattern{Addresses: []netip.Prefix{{}}}), rule0 + `deny[0]: an address prefix is invalid; write an address or CIDR such as 10.0.0.0/8`},
		{"unmasked prefix", withDeny(prefix("10.0.0.1/8")), rule0 + `deny[0]: 10.0.0.1/8 has bits set after the prefix; write 10.0.0.0/8 or 10.0.0.1`},
		{"mapped prefix", withDeny(prefix("::ffff:10.0.0.0/104")), rule0 + `deny[0]: ::ffff:10.0.0.0/104 is v4-mapped; write 10.0.0.0/8`},
		{"short mapped prefix", withDeny(prefix("::ffff:0.0.0.0/90")), rule0 + `deny[0]: ::ffff:0.0.0.0/90 is an IPv4 address with a prefix shorter than 96 bits; write 0.0.0.0/0 for every IPv4 address or ::/0 for every IPv6 address`},
		{"zero protocol", withDeny(protocol(0)), rule0 + `deny[0]: a policy cannot name protocol Protocol(0); name one of TCP to Raw`},
		{"other protocol", withDeny(protocol(OtherProtocol)), rule0 + `deny[0]: a policy cannot name protocol other; name one of TCP to Raw`},
		{"two problems of one pattern", withDeny(both(portRange(2, 1), protocol(99))), rule0 + "deny[0]: port range 2-1 is empty; write 1-2\n" + rule0 + "deny[0]: a policy cannot name protocol Protocol(99); name one of TCP to Raw"},
		{"verdict", withRule(func(r *Rule) { r.Verdict = Kill }), ``},
		{"verdict allow", withRule(func(r *Rule) { r.Verdict = Allow }), rule0 + `a rule's verdict says what its deny means, so it cannot be allow; use audit, deny or kill`},
		{"unknown verdict", withRule(func(r *Rule) { r.Verdict = 9 }), rule0 + `unknown verdict Verdict(9); use audit, deny or kill`},
		{"revoke", withRule(func(r *Rule) {
			r.Operation, r.Deny, r.Revoke = SbMount, []Pattern{MountPattern{All: true}}, true
		}), rule0 + `revoke is about files and sockets that are open already, so it belongs to file_open, socket_bind and socket_connect; leave it out`},
		{"everyone and users", withPolicy(func(p *Policy) { p.Subject.Users = ids(0, 0) }), `policy "p": the subject is everyone and users at the same time; leave out one of them`},
		{"everyone and descendants", withPolicy(func(p *Policy) { p.Subject.Descendants = true }), `policy "p": the subject is everyone, which includes all descendants; leave out descendants`},
		{"descendants alone", withPolicy(func(p *Policy) { p.Subject = Subject{Descendants: true, Users: ids(0, 0)} }), `policy "p": the subject has descendants, but no binaries; name the binaries whose descendants are meant`},
		{"empty users", withPolicy(func(p *Policy) { p.Subject = Subject{Users: IDs{Names: []string{}}} }), `policy "p": the subject's users are empty, which selects no process; name at least one or select everyone`},
		{"empty cgroups beside binaries", withPolicy(func(p *Policy) { p.Subject = Subject{Binaries: []string{"/a"}, Cgroups: []string{}} }), `policy "p": the subject's cgroups are empty, which selects no process; name at least one or select everyone`},
		{"users", withPolicy(func(p *Policy) {
			p.Subject = Subject{Users: IDs{Ranges: []IDRange{{2, 1}, {0, 0xffffffff}}, Names: []string{"a:b", "5"}}}
		}), `policy "p": users: the range 2-1 is empty; write 1-2
policy "p": users: there is no id 4294967295; the largest is 4294967294
policy "p": users: "a:b" is no name of a user or group; write a name, a number or a range such as 1000-2000
policy "p": users: "5" is a number or range and no name; write it as such`},
		{"cgroup", withPolicy(func(p *Policy) { p.Subject = Subject{Cgroups: []string{"/a/../b", ""}} }), `policy "p": cgroup "/a/../b" is not a clean path; write /b
policy "p": cgroup "" is empty; write its path such as /system.slice/nginx.service`},
		{"all and paths", withRule(func(r *Rule) {
			r.Operation = FileOpen
			r.Deny = patterns{FilePattern{All: true, Paths: []string{"/a"}}}
		}), rule0 + `deny[0]: all cannot be combined with paths, access or kinds; leave out one or the other`},
		{"unknown access", withRule(func(r *Rule) { r.Operation = FileOpen; r.Deny = patterns{FilePattern{Access: 9}} }), rule0 + `deny[0]: unknown access Access(0x8); combine Read, Write and Exec`},
		{"empty paths", withRule(func(r *Rule) {
			r.Operation = BprmCheckSecurity
			r.Deny = patterns{ProgramPattern{Paths: []string{}, NoArgs: true}}
		}), rule0 + `deny[0]: paths is an empty list; name at least one value or leave it out (nil), which selects all`},
		{"zero patterns", withRule(func(r *Rule) { r.Operation = SbMount; r.Deny = patterns{MountPattern{}} }), rule0 + `deny[0]: the pattern names nothing; write all to select every mount`},
		{"unknown flags", withRule(func(r *Rule) { r.Operation = SbMount; r.Deny = patterns{MountPattern{Flags: 1 << 30}} }), rule0 + `deny[0]: unknown flags MountFlags(0x40000000); combine MountNew to MountForce`},
		{"flags of another operation", withRule(func(r *Rule) { r.Operation = SbUmount; r.Deny = patterns{MountPattern{Flags: MountNew}} }), rule0 + `deny[0]: sb_umount has no flag new; its flags are detach, force`},
		{"credentials", withRule(func(r *Rule) { r.Operation = TaskFixSetuid; r.Deny = patterns{CredentialsPattern{}} }), rule0 + `deny[0]: the pattern names nothing; write all to select every change of identity`},
		{"addresses not loaded", withDeny(SocketPattern{AddressesFrom: []string{"a"}}), rule0 + `deny[0]: the addresses of addresses_from are not loaded; set Listed to what LoadAddresses returns`},
		{"listed without a file", withDeny(SocketPattern{Listed: addresses("10.0.0.0/8").Addresses}), rule0 + `deny[0]: the pattern has Listed, which is for the addresses of files; name the files in AddressesFrom or use Addresses`},
		{"listed unsorted", withDeny(SocketPattern{AddressesFrom: []string{"a"}, Listed: addresses("10.0.0.0/8", "9.0.0.0/8").Addresses}), rule0 + `deny[0]: the addresses of addresses_from are not sorted; set Listed to what LoadAddresses returns`},
		{"message", withRule(func(r *Rule) { r.Message = strings.Repeat("a", 1025) }), rule0 + `the message has 1025 bytes; shorten it to 1024`},
		{"severity", withRule(func(r *Rule) { r.Severity = "urgent" }), rule0 + `unknown severity "urgent"; choose from info, low, medium, high, critical`},
		{"limit of alerts", withRule(func(r *Rule) { r.AlertLimit = 1_000_001 }), rule0 + `alert_limit is 1000001; write 1 to 1000000 alerts a second, or leave it out for no limit`},
		{"tags", withRule(func(r *Rule) { r.Tags = strings.Split(strings.Repeat("a", 17), "") }), rule0 + `the rule has 17 tags; keep at most 16`},
		{"empty tag", withRule(func(r *Rule) { r.Tags = []string{""} }), rule0 + `a tag is empty; remove it`},
		{"long tag", withRule(func(r *Rule) { r.Tags = []string{strings.Repeat("a", 65)} }), rule0 + `tag "` + strings.Repeat("a", 65) + `" has 65 bytes; shorten it to 64`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Validate(tt.set)
			got := ""
			if err != nil {
				got = err.Error()
				if e := new(Error); !errors.As(err, &e) {
					t.Errorf("%v is no *Error", err)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseOperation(t *testing.T) {
	if o, err := ParseOperation("file_open"); o != FileOpen || err != nil {
		t.Errorf("%q, %v", o, err)
	}
	for name, want := range map[string]string{
		"bind":     `unknown operation "bind"; did you mean socket_bind?`,
		"umount":   `unknown operation "umount"; did you mean sb_umount?`,
		"file_opn": `unknown operation "file_opn"; did you mean file_open?`,
		"x":        `unknown operation "x"; choose from file_open, bprm_check_security, sb_mount, sb_remount, sb_umount, task_fix_setuid, socket_bind, socket_connect`,
	} {
		if o, err := ParseOperation(name); o != "" || err == nil || err.Error() != want {
			t.Errorf("%q, %v, want %s", o, err, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	const (
		nothingToLift = `rule 0: warning: the rule has no effect: no rule denies socket_bind, so this allow lifts nothing; add a denial or remove the rule`
		ruleIdle      = `rule 0: warning: the rule has no effect: everything that it matches gets the same verdict without it; remove it or make its patterns more specific`
		ruleIdleP     = `rule 0: warning: the rule has no effect: everything that it matches gets the same verdict without it, because of policy "p" rule 0; remove it or make its patterns more specific`
		ruleIdleQ     = `rule 0: warning: the rule has no effect: everything that it matches gets the same verdict without it, because of policy "q" rule 0; remove it or make its patterns more specific`
		patternIdle   = ` has no effect: everything that it matches gets the same verdict without it, because of another pattern of this rule; remove it or make it more specific`
	)
	for _, tt := range []struct {
		name string
		set  []Policy
		want string
	}{
		{"allow all but 22", set(everyone("p", patterns{all()}, patterns{ports(22)})), ``},
		{"allow just 80", set(everyone("p", patterns{ports(80)}, patterns{all()})), ``},
		{"nothing is denied", set(everyone("p", patterns{ports(80)}, nil), everyone("q", patterns{all()}, nil)), "policy \"p\": " + nothingToLift + "\npolicy \"q\": " + nothingToLift},
		{"nothing that it could lift", set(everyone("p", nil, patterns{ports(22)}), everyone("q", patterns{ports(80)}, nil)), `policy "q": ` + ruleIdle},
		{"less specific than what it should lift", set(everyone("p", nil, patterns{ports(22)}), everyone("q", patterns{portRange(1, 1023)}, nil)), `policy "q": ` + ruleIdleP},
		{"denied for everyone and again for one", set(everyone("p", nil, patterns{ports(22)}), only("q", "/a", nil, patterns{ports(22)})), ``}, // another rule is reported
		{"the same denial in two policies", set(everyone("p", nil, patterns{ports(22)}), everyone("q", nil, patterns{ports(22)})), `policy "q": ` + ruleIdleP},
		{"an audit under a denial", set(everyone("p", nil, patterns{ports(22)}), audited(everyone("q", nil, patterns{ports(22)}))), `policy "q": ` + ruleIdleP},
		{"a denial over an audit", set(audited(everyone("p", nil, patterns{ports(22)})), everyone("q", nil, patterns{ports(22)})), `policy "p": ` + ruleIdleQ},
		{"a denial that is lifted entirely", set(everyone("p", nil, patterns{portRange(20, 21)}), everyone("q", patterns{ports(20, 21)}, nil)), `policy "p": ` + ruleIdleQ},
		{"a denial that is lifted entirely in its rule", set(everyone("p", patterns{ports(20, 21)}, patterns{ports(22), portRange(20, 21)})), `policy "p": rule 0: warning: deny {ports: [20-21]}` + patternIdle},
		{"a denial that is lifted for one", set(everyone("p", nil, patterns{ports(22)}), only("q", "/a", patterns{ports(22)}, nil)), ``},
		{"a denial that is lifted in part", set(everyone("p", nil, patterns{portRange(20, 22)}), everyone("q", patterns{ports(20, 21)}, nil)), ``},
		{"port 0 is denied to lift nothing", set(everyone("p", patterns{ports(0)}, patterns{ports(40000)})), ``},
		{"0.0.0.0 is allowed outright", set(everyone("p", patterns{addresses("0.0.0.0/32")}, patterns{addresses("10.0.0.0/8")})), ``},
		{"a pattern twice", set(everyone("p", nil, patterns{ports(22), ports(23), ports(22)})), `policy "p": rule 0: warning: deny lists {ports: [22]} twice; remove one`},
		{"a pattern within another", set(everyone("p", nil, patterns{ports(22), both(ports(22), protocol(UDP))})), `policy "p": rule 0: warning: deny {ports: [22], protocols: [udp]}` + patternIdle},
		{"a pattern within another, which has to be more specific", set(everyone("p", patterns{portRange(1, 30)}, patterns{portRange(1, 100), ports(22)})), ``},
		{"ports of a protocol without", set(everyone("p", nil, patterns{both(ports(22), protocol(ICMP)), ports(23)})), `policy "p": rule 0: warning: deny {ports: [22], protocols: [icmp]}` + strings.Replace(patternIdle, ", because of another pattern of this rule", "", 1)},
		{"an exact path under its directory", set(fileRule("p", nil, patterns{paths("/a/"), paths("/a/b")})), `policy "p": rule 0: warning: deny {paths: [/a/b]}` + patternIdle},
		{"an exact path that makes a name count", set(fileRule("p", patterns{paths("/b")}, patterns{allFiles, paths("/a")})), ``},
		{"an access within another", set(fileRule("p", nil, patterns{paths("/a"), paths("/a").to(Read)})), `policy "p": rule 0: warning: deny {paths: [/a], access: [read]}` + patternIdle},
		{"one of a pair is redundant", set(placed("p", everyone("p", patterns{ports(80)}, patterns{all()})), placed("q", everyone("q", patterns{ports(80)}, patterns{portRange(0, 9)}))), `q:7:5: policy "q": rule 0: warning: allow {ports: [80]} has no effect: everything that it matches gets the same verdict without it, because of policy "p" rule 0 (p:7:5); remove it or make it more specific`},
		{"one of three", set(everyone("p", nil, patterns{ports(80)}), everyone("q", nil, patterns{ports(81, 82)}), everyone("r", nil, patterns{ports(80, 81, 82)})), `policy "r": rule 0: warning: the rule has no effect: everything that it matches gets the same verdict without it, because of policy "q" rule 0 and another rule; remove it or make its patterns more specific`},
		{"globs are not followed", set(fileRule("p", nil, patterns{paths("/*"), paths("/?")})), ``},
		{"but they may be there twice", set(fileRule("p", nil, patterns{paths("/*"), paths("/*")})), `policy "p": rule 0: warning: deny lists {paths: ["/*"]} twice; remove one`},
		{"nothing is denied of files", set(fileRule("p", patterns{paths("/*")}, nil)), strings.ReplaceAll("policy \"p\": "+nothingToLift, "socket_bind", "file_open")},
		{"ids within others", set(ruleOf("p", everybody, TaskFixSetuid, nil, patterns{CredentialsPattern{To: Identity{UIDs: ids(0, 9)}}, CredentialsPattern{To: Identity{UIDs: ids(5, 5)}}})), `policy "p": rule 0: warning: deny {to: {uids: [5]}}` + patternIdle},
		{"names are not known", set(ruleOf("p", everybody, TaskFixSetuid, nil, patterns{CredentialsPattern{To: Identity{UIDs: ids(0, 9)}}, CredentialsPattern{To: Identity{UIDs: IDs{Names: []string{"a"}}}}})), ``},
		{"flags within others", set(ruleOf("p", everybody, SbMount, nil, patterns{MountPattern{Flags: MountSUID | MountDev}, MountPattern{Flags: MountDev}})), `policy "p": rule 0: warning: deny {flags: [dev]}` + patternIdle},
		{"sources are easily evaded", set(ruleOf("p", everybody, SbMount, nil, patterns{MountPattern{Sources: []string{"/dev/sda"}}})), `policy "p": rule 0: warning: deny {sources: [/dev/sda]} compares the source as the process writes it, so a symbolic link or another path to the same source evades it; deny targets or types, or deny all and allow sources`},
		{"sources of an exception", set(ruleOf("p", everybody, SbMount, patterns{MountPattern{Sources: []string{"/dev/sda"}}}, patterns{MountPattern{All: true}})), ``},
		{"an allow that globs cannot win with", set(fileRule("p", nil, patterns{paths("/home/*/.ssh/id_*")}), ruleOf("q", Subject{Binaries: []string{"/a"}}, FileOpen, patterns{paths("/home/**")}, nil)),
			`policy "q": rule 0: warning: allow {paths: ["/home/**"]} has no effect: where it matches, policy "p" rule 0 denies and always wins, since it names the object more specifically (paths or kinds); name it at least as specifically`},
		{"an allow that globs may win with", set(fileRule("p", nil, patterns{paths("/home/*/.ssh/id_*")}), ruleOf("q", Subject{Binaries: []string{"/a"}}, FileOpen, patterns{paths("/home/*/.ssh/")}, nil)), ``},
		{"an allow of what no glob denies", set(fileRule("p", nil, patterns{paths("/home/*/.ssh/id_*")}), fileRule("q", patterns{paths("/home/*/x/*")}, nil)),
			`policy "q": rule 0: warning: allow {paths: ["/home/*/x/*"]} has no effect: no rule denies anything that it matches; remove it, or deny something`},
		{"an allow with a less specific subject, with globs", set(ruleOf("p", Subject{Binaries: []string{"/a"}}, FileOpen, nil, patterns{paths("/home/*/x")}), fileRule("q", patterns{paths("/home/*/x")}, nil)),
			`policy "q": rule 0: warning: allow {paths: ["/home/*/x"]} has no effect: where it matches, policy "p" rule 0 denies and always wins, since its subject is more specific; name a subject that is more specific still`},
		{"an allow without the kind, with globs", set(fileRule("p", nil, patterns{paths("/home/*/x").to(AllAccess)}), fileRule("q", patterns{paths("/home/*/x")}, nil)),
			`policy "q": rule 0: warning: allow {paths: ["/home/*/x"]} has no effect: where it matches, policy "p" rule 0 denies and always wins, since it names the kind more specifically (access); name it too, or a more specific subject`},
		{"an allow that is as specific, with globs", set(fileRule("p", nil, patterns{paths("/home/*/x")}), fileRule("q", patterns{paths("/home/*/x")}, nil)),
			`policy "q": rule 0: warning: allow {paths: ["/home/*/x"]} has no effect: where it matches, policy "p" rule 0 denies and always wins, since of rules that are equally specific the strictest wins; name the object or the subject more specifically`},
		{"an exception that lifts one denial and not the other", set(fileRule("p", nil, patterns{paths("/srv/")}), fileRule("s", nil, patterns{paths("/srv/log/secret").to(Write)}), ruleOf("q", Subject{Binaries: []string{"/a"}}, FileOpen, patterns{paths("/srv/log/")}, nil)),
			`policy "q": rule 0: warning: allow {paths: [/srv/log/]} does not lift deny {paths: [/srv/log/secret], access: [write]} of policy "s" rule 0, which always wins where both match, since it names the object more specifically (paths or kinds); name it at least as specifically`},
		{"an allow-list beside a denial", set(fileRule("s", nil, patterns{paths("/srv/log/secret")}), ruleOf("q", Subject{Binaries: []string{"/a"}}, FileOpen, patterns{paths("/srv/log/")}, patterns{allFiles})), ``},
		{"an exception for one without the kind", set(fileRule("p", nil, patterns{paths("/srv/log/").to(Write)}), ruleOf("q", Subject{Binaries: []string{"/a"}}, FileOpen, patterns{paths("/srv/log/")}, nil)), ``},
		{"an exception for everyone without the kind", set(fileRule("p", nil, patterns{paths("/srv/log/").to(Write)}), fileRule("q", patterns{paths("/srv/log/")}, nil)), `policy "q": ` + ruleIdleP},
		{"an exception for everyone with a kind, from a denial for one", set(ruleOf("p", Subject{Binaries: []string{"/a"}}, FileOpen, nil, patterns{paths("/x")}), fileRule("q", patterns{paths("/x").to(Read)}, nil)), `policy "q": ` + ruleIdleP},
		{"sockets: an exception that names less", set(everyone("p", nil, patterns{ports(22)}), only("q", "/a", patterns{addresses("10.0.0.0/8")}, nil)), ``},
		{"paths and fileless", set(ruleOf("p", everybody, BprmCheckSecurity, nil, patterns{ProgramPattern{Paths: []string{"/tmp/"}, Fileless: true, NoArgs: true}})),
			`policy "p": rule 0: warning: deny {paths: [/tmp/], fileless: true, no_args: true} matches nothing: all keys of a pattern must match, and a program that no file of the system holds has no path; write two patterns: [{fileless: true}, {paths: [/tmp/], no_args: true}]`},
		{"paths of shared memory and fileless", set(ruleOf("p", everybody, BprmCheckSecurity, nil, patterns{ProgramPattern{Paths: []string{"/dev/shm/"}, Fileless: true}})), ``},
		{"a bind mount with a type", set(ruleOf("p", everybody, SbMount, nil, patterns{MountPattern{Types: []string{"ext4"}, Flags: MountBind}})),
			`policy "p": rule 0: warning: deny {types: [ext4], flags: [bind]} matches nothing: all keys of a pattern must match, and what has these flags has no type; leave one of them out`},
		{"a remount with a type", set(ruleOf("p", everybody, SbRemount, nil, patterns{MountPattern{Types: []string{"ext4"}, Flags: MountBind}})), ``},
		{"less specific subjects", set(ruleOf("p", Subject{Binaries: []string{"/a/"}}, FileOpen, nil, patterns{paths("/x")}), ruleOf("q", Subject{Binaries: []string{"/a/b"}}, FileOpen, patterns{paths("/x")}, nil)), ``},
		{"an exception for a less specific subject", set(ruleOf("p", everybody, FileOpen, nil, patterns{paths("/x")}), ruleOf("q", Subject{Users: ids(0, 0)}, FileOpen, patterns{paths("/")}, nil)), `policy "q": ` + ruleIdleP},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := Validate(tt.set); err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, w := range Warnings(tt.set) {
				lines = append(lines, w.String())
			}
			if diff := cmp.Diff(tt.want, strings.Join(lines, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWarningsBoundItsWork(t *testing.T) {
	var large []Policy
	for i := range 400 {
		p := everyone("p", patterns{all()}, patterns{ports(uint16(i)), portRange(uint16(i), uint16(2*i))})
		if i%2 == 0 {
			p.Subject = Subject{Binaries: []string{"/a" + string(rune('a'+i))}}
		}
		large = append(large, p)
	}
	w := warner{set: large, gone: make(map[patternIndex]bool)}
	w.operation(SocketBind)
	if w.work > maxWarningWork*11/10 {
		t.Errorf("%d matches", w.work)
	}
}

// placed returns the policy with a place for its rule.
func placed(file string, p Policy) Policy {
	p.Rules[0].Source = file + ":7:5"
	return p
}

func fileRule(name string, allow, deny patterns) Policy {
	return ruleOf(name, everybody, FileOpen, allow, deny)
}
