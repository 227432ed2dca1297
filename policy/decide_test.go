package policy

import (
	"net/netip"
	"strings"
	"testing"
)

// The fixtures of the tests.

func ports(list ...uint16) SocketPattern {
	var p SocketPattern
	for _, port := range list {
		p.Ports = append(p.Ports, PortRange{port, port})
	}
	return p
}

func portRange(first, last uint16) SocketPattern {
	return SocketPattern{Ports: []PortRange{{first, last}}}
}

func addresses(list ...string) SocketPattern {
	var p SocketPattern
	for _, text := range list {
		p.Addresses = append(p.Addresses, netip.MustParsePrefix(text))
	}
	return p
}

func protocol(list ...Protocol) SocketPattern { return SocketPattern{Protocols: list} }

// both returns the pattern with the keys of all patterns.
func both(patterns ...SocketPattern) SocketPattern {
	var p SocketPattern
	for _, q := range patterns {
		p.Ports = append(p.Ports, q.Ports...)
		p.Addresses = append(p.Addresses, q.Addresses...)
		p.Protocols = append(p.Protocols, q.Protocols...)
	}
	return p
}

func all() SocketPattern { return SocketPattern{All: true} }

type patterns = []Pattern

func everyone(name string, allow, deny patterns) Policy {
	return Policy{
		Name: name, Mode: ModeEnforce, Subject: Subject{Everyone: true},
		Rules: []Rule{{Operation: SocketBind, Allow: allow, Deny: deny}},
	}
}

func only(name, binary string, allow, deny patterns) Policy {
	p := everyone(name, allow, deny)
	p.Subject = Subject{Binaries: []string{binary}}
	return p
}

func audited(p Policy) Policy {
	p.Mode = ModeAudit
	return p
}

// tcp returns a TCP socket at the address and port.
func tcp(addrPort string) Socket {
	ap := netip.MustParseAddrPort(addrPort)
	return Socket{Address: ap.Addr(), Port: ap.Port(), Protocol: TCP}
}

func as(s Socket, p Protocol) Socket {
	s.Protocol = p
	return s
}

func dual(s Socket) Socket {
	s.DualStack = true
	return s
}

func automatic(s Socket, first, last uint16) Socket {
	s.Automatic = PortRange{first, last}
	return s
}

var (
	nginx   = Process{Binary: "/usr/sbin/nginx"}
	sshd    = Process{Binary: "/usr/sbin/sshd"}
	unknown = Process{Unknown: true}
)

func set(policies ...Policy) []Policy { return policies }

// describe returns the verdict and the policy that decided, if one did; a "?"
// in front stands for an undecided one.
func describe(set []Policy, d Decision) string {
	text := d.Verdict.String()
	if d.Undecided {
		text = "?" + text
	}
	if d.Policy >= 0 {
		text += " " + set[d.Policy].Name
	}
	return text
}

// TestDecide has a case or several for every sentence of the semantics that
// concerns decisions.
func TestDecide(t *testing.T) {
	sshHole := everyone("holes", patterns{all()}, patterns{ports(22)})
	only80 := everyone("only80", patterns{ports(80)}, patterns{all()})
	for _, tt := range []struct {
		name    string
		set     []Policy
		process Process
		object  Socket
		want    string
	}{
		// 1. Nothing attached, or no rule concerns the operation: allowed.
		{"1 no policy", nil, nginx, tcp("1.2.3.4:22"), "allow"},
		{"1 no rule concerns the operation", set(Policy{Name: "p", Subject: Subject{Everyone: true}, Rules: []Rule{{Operation: "other", Deny: patterns{all()}}}}), nginx, tcp("1.2.3.4:22"), "allow"},
		{"1 no rule concerns the process", set(only("sshd", sshd.Binary, nil, patterns{all()})), nginx, tcp("1.2.3.4:22"), "allow"},
		{"1 no rule concerns the object", set(everyone("p", nil, patterns{ports(22)})), nginx, tcp("1.2.3.4:23"), "allow"},
		{"1 the zero subject selects nobody", set(Policy{Name: "p", Rules: []Rule{{Operation: SocketBind, Deny: patterns{all()}}}}), nginx, tcp("1.2.3.4:22"), "allow"},

		// 2a. The most specific object pattern.
		{"2a longer CIDR > shorter", set(everyone("long", patterns{addresses("10.1.0.0/16")}, nil), everyone("short", nil, patterns{addresses("10.0.0.0/8")})), nginx, tcp("10.1.2.3:1"), "allow long"},
		{"2a outside the longer CIDR", set(everyone("long", patterns{addresses("10.1.0.0/16")}, nil), everyone("short", nil, patterns{addresses("10.0.0.0/8")})), nginx, tcp("10.2.2.3:1"), "deny short"},
		{"2a the longest prefix of a list counts", set(everyone("list", patterns{addresses("10.0.0.0/8", "10.1.2.0/24")}, nil), everyone("mid", nil, patterns{addresses("10.1.0.0/16")})), nginx, tcp("10.1.2.3:1"), "allow list"},
		{"2a CIDR > all", set(everyone("cidr", patterns{addresses("0.0.0.0/0")}, nil), everyone("all", nil, patterns{all()})), nginx, tcp("10.1.2.3:1"), "allow cidr"},
		{"2a exact port > range", set(everyone("exact", patterns{ports(22)}, nil), everyone("range", nil, patterns{portRange(21, 22)})), nginx, tcp("1.2.3.4:22"), "allow exact"},
		{"2a narrower range > wider", set(everyone("wide", nil, patterns{portRange(1, 100)}), everyone("narrow", patterns{portRange(2, 100)}, nil)), nginx, tcp("1.2.3.4:22"), "allow narrow"},
		{"2a the narrowest range of a list counts", set(everyone("list", patterns{both(portRange(1, 1000), ports(22))}, nil), everyone("mid", nil, patterns{portRange(20, 30)})), nginx, tcp("1.2.3.4:22"), "allow list"},
		{"2a range > all", set(everyone("range", patterns{portRange(0, 65535)}, nil), everyone("all", nil, patterns{all()})), nginx, tcp("1.2.3.4:22"), "allow range"},
		{"2a a named protocol > all", set(everyone("udp", patterns{protocol(UDP)}, nil), everyone("all", nil, patterns{all()})), nginx, as(tcp("1.2.3.4:22"), UDP), "allow udp"},
		{"2a two keys > one", set(everyone("two", patterns{both(ports(22), protocol(TCP))}, nil), everyone("one", nil, patterns{ports(22)})), nginx, tcp("1.2.3.4:22"), "allow two"},
		{"2a the object decides before the subject", set(only("nginx", nginx.Binary, patterns{portRange(1, 1023)}, nil), everyone("all", nil, patterns{ports(22)})), nginx, tcp("1.2.3.4:22"), "deny all"},

		// 2b. Then the most specific subject.
		{"2b exact binary > all", set(everyone("all", nil, patterns{ports(22)}), only("sshd", sshd.Binary, patterns{ports(22)}, nil)), sshd, tcp("1.2.3.4:22"), "allow sshd"},
		{"2b exact binary > all, the other way", set(everyone("all", patterns{ports(22)}, nil), only("sshd", sshd.Binary, nil, patterns{ports(22)})), sshd, tcp("1.2.3.4:22"), "deny sshd"},
		{"2b a bystander is not concerned", set(everyone("all", nil, patterns{ports(22)}), only("sshd", sshd.Binary, patterns{ports(22)}, nil)), nginx, tcp("1.2.3.4:22"), "deny all"},

		// 2c. Then deny > audit > allow.
		{"2c deny > audit", set(audited(everyone("audit", nil, patterns{ports(22)})), everyone("deny", nil, patterns{ports(22)})), sshd, tcp("1.2.3.4:22"), "deny deny"},
		{"2c audit > allow", set(everyone("allow", patterns{ports(22)}, nil), audited(everyone("audit", nil, patterns{ports(22)}))), sshd, tcp("1.2.3.4:22"), "audit audit"},
		{"2c deny > allow in one rule", set(everyone("both", patterns{ports(22)}, patterns{ports(22)})), sshd, tcp("1.2.3.4:22"), "deny both"},

		// 3. So allow: all, deny: {ports: [22]} blocks just 22 …
		{"3 blocks 22", set(sshHole), nginx, tcp("1.2.3.4:22"), "deny holes"},
		{"3 blocks just 22", set(sshHole), nginx, tcp("1.2.3.4:23"), "allow holes"},
		{"3 allows 80", set(only80), nginx, tcp("1.2.3.4:80"), "allow only80"},
		{"3 allows just 80", set(only80), nginx, tcp("1.2.3.4:81"), "deny only80"},
		{"3 denied for all, allowed for one", set(everyone("all", nil, patterns{portRange(1, 1023)}), only("nginx", nginx.Binary, patterns{ports(80)}, nil)), nginx, tcp("1.2.3.4:80"), "allow nginx"},
		{"3 an exception names the object in every key: less specific in ports", set(everyone("ssh", nil, patterns{ports(22)}), everyone("lan", patterns{addresses("10.0.0.0/8")}, nil)), nginx, tcp("10.0.0.1:22"), "deny ssh"},
		{"3 an exception names the object in every key: as specific in ports", set(everyone("ssh", nil, patterns{ports(22)}), everyone("lan", patterns{both(addresses("10.0.0.0/8"), ports(22))}, nil)), nginx, tcp("10.0.0.1:22"), "allow lan"},
		{"3 an exception that is less specific lifts nothing", set(everyone("ssh", nil, patterns{ports(22)}), everyone("low", patterns{portRange(1, 1023)}, nil)), nginx, tcp("10.0.0.1:22"), "deny ssh"},
		{"3 an allow without any deny forbids nothing", set(everyone("p", patterns{ports(80)}, nil)), nginx, tcp("1.2.3.4:81"), "allow"},

		// 4. mode: audit turns denials into audits.
		{"4 would have been denied", set(audited(sshHole)), nginx, tcp("1.2.3.4:22"), "audit holes"},
		{"4 allow stays allow", set(audited(sshHole)), nginx, tcp("1.2.3.4:23"), "allow holes"},
		{"4 the zero mode enforces", set(Policy{Name: "p", Subject: Subject{Everyone: true}, Rules: []Rule{{Operation: SocketBind, Deny: patterns{all()}}}}), nginx, tcp("1.2.3.4:22"), "deny p"},

		// 5. Protected by identity: the address of an object, however written.
		{"5 v4-mapped counts as IPv4", set(everyone("p", nil, patterns{addresses("10.0.0.0/8")})), nginx, tcp("[::ffff:10.1.1.1]:22"), "deny p"},
		{"5 ::/0 is IPv6 only", set(everyone("p", nil, patterns{addresses("::/0")})), nginx, tcp("10.1.1.1:22"), "allow"},
		{"5 ::/0 does not select v4-mapped", set(everyone("p", nil, patterns{addresses("::/0")})), nginx, tcp("[::ffff:10.1.1.1]:22"), "allow"},
		{"5 0.0.0.0/0 is IPv4 only", set(everyone("p", nil, patterns{addresses("0.0.0.0/0")})), nginx, tcp("[2001:db8::1]:22"), "allow"},
		{"5 a zone does not matter", set(everyone("p", nil, patterns{addresses("fe80::/10")})), nginx, tcp("[fe80::1%eth0]:22"), "deny p"},
		{"5 a protocol without ports has none: icmp", set(everyone("p", nil, patterns{portRange(0, 65535)})), nginx, as(tcp("10.1.1.1:22"), ICMP), "allow"},
		{"5 a protocol without ports has none: raw", set(everyone("p", nil, patterns{ports(0)})), nginx, as(tcp("10.1.1.1:0"), Raw), "allow"},
		{"5 a protocol without ports has none: other", set(everyone("p", nil, patterns{ports(0)})), nginx, as(tcp("10.1.1.1:0"), OtherProtocol), "allow"},
		{"5 other protocols are judged by patterns that name none", set(everyone("p", nil, patterns{addresses("10.0.0.0/8")})), nginx, as(tcp("10.1.1.1:0"), OtherProtocol), "deny p"},
		{"5 the port is ignored without ports", set(everyone("p", nil, patterns{addresses("10.0.0.0/8")})), nginx, as(tcp("10.1.1.1:99"), Raw), "deny p"},

		// 6. When the guard cannot decide …
		{"6 unknown process, a deny rule could apply", set(only("sshd", sshd.Binary, nil, patterns{ports(22)})), unknown, tcp("1.2.3.4:22"), "?deny sshd"},
		{"6 unknown process, no deny rule could apply", set(only("sshd", sshd.Binary, nil, patterns{ports(22)})), unknown, tcp("1.2.3.4:23"), "allow"},
		{"6 unknown process, an audit could apply", set(audited(only("sshd", sshd.Binary, nil, patterns{ports(22)}))), unknown, tcp("1.2.3.4:22"), "?audit sshd"},
		{"6 unknown process, everyone is denied", set(everyone("all", nil, patterns{ports(22)})), unknown, tcp("1.2.3.4:22"), "deny all"},
		{"6 unknown process, the exception is for one binary", set(everyone("all", nil, patterns{ports(22)}), only("sshd", sshd.Binary, patterns{ports(22)}, nil)), unknown, tcp("1.2.3.4:22"), "?deny all"},
		{"6 unknown process, the exception is for everyone", set(only("sshd", sshd.Binary, nil, patterns{all()}), everyone("all", patterns{ports(22)}, nil)), unknown, tcp("1.2.3.4:22"), "allow all"},
		{"6 unknown object, a deny rule could apply", set(everyone("p", nil, patterns{ports(22)})), nginx, Socket{}, "?deny p"},
		{"6 unknown object, a deny rule for others", set(only("sshd", sshd.Binary, nil, patterns{ports(22)})), nginx, Socket{}, "allow"},
		{"6 unknown protocol", set(everyone("p", patterns{all()}, patterns{ports(22)})), nginx, as(tcp("1.2.3.4:80"), 99), "?deny p"},

		// The unspecified address and port 0 stand for every value …
		{"unspecified: 0.0.0.0 stands for every address", set(everyone("p", nil, patterns{addresses("10.0.0.1/32")})), nginx, tcp("0.0.0.0:22"), "deny p"},
		{"unspecified: 0.0.0.0 does not stand for IPv6", set(everyone("p", nil, patterns{addresses("2001:db8::/32")})), nginx, tcp("0.0.0.0:22"), "allow"},
		{"unspecified: :: stands for every IPv6 address", set(everyone("p", nil, patterns{addresses("2001:db8::/32")})), nginx, tcp("[::]:22"), "deny p"},
		{"unspecified: :: does not stand for IPv4", set(everyone("p", nil, patterns{addresses("10.0.0.0/8")})), nginx, tcp("[::]:22"), "allow"},
		{"unspecified: dual-stack :: stands for IPv4 as well", set(everyone("p", nil, patterns{addresses("10.0.0.0/8")})), nginx, dual(tcp("[::]:22")), "deny p"},
		{"unspecified: dual stack matters for :: only", set(everyone("p", nil, patterns{addresses("10.0.0.0/8")})), nginx, dual(tcp("[::1]:22")), "allow"},
		{"unspecified: v4-mapped 0.0.0.0 is 0.0.0.0", set(everyone("p", nil, patterns{addresses("10.0.0.0/8")})), nginx, tcp("[::ffff:0.0.0.0]:22"), "deny p"},
		{"unspecified: all addresses but one are denied", set(everyone("p", patterns{addresses("127.0.0.1/32")}, patterns{addresses("0.0.0.0/0")})), nginx, tcp("0.0.0.0:22"), "deny p"},
		{"unspecified: a rule that names 0.0.0.0 decides", set(everyone("p", nil, patterns{addresses("10.0.0.1/32")}), everyone("any", patterns{addresses("0.0.0.0/32")}, nil)), nginx, tcp("0.0.0.0:22"), "allow any"},
		{"unspecified: a rule that names :: decides", set(everyone("p", nil, patterns{addresses("2001:db8::/32")}), everyone("any", patterns{addresses("::/128")}, nil)), nginx, tcp("[::]:22"), "allow any"},
		{"unspecified: a rule that names :: decides for IPv6 only", set(everyone("p", nil, patterns{addresses("10.0.0.0/8")}), everyone("any", patterns{addresses("::/128")}, nil)), nginx, dual(tcp("[::]:22")), "deny p"},
		{"unspecified: a prefix that contains 0.0.0.0 does not name it", set(everyone("p", nil, patterns{addresses("10.0.0.1/32")}), everyone("any", patterns{addresses("0.0.0.0/31")}, nil)), nginx, tcp("0.0.0.0:22"), "deny p"},
		{"unspecified: denying 0.0.0.0 outright", set(everyone("p", nil, patterns{addresses("0.0.0.0/32")})), nginx, tcp("0.0.0.0:22"), "deny p"},
		{"unspecified: denying 0.0.0.0 denies no other", set(everyone("p", nil, patterns{addresses("0.0.0.0/32")})), nginx, tcp("10.0.0.1:22"), "allow"},
		{"port 0 stands for every automatic port", set(everyone("p", nil, patterns{ports(40000)})), nginx, tcp("1.2.3.4:0"), "deny p"},
		{"port 0 does not become a port outside the default range", set(everyone("p", nil, patterns{ports(22)})), nginx, tcp("1.2.3.4:0"), "allow"},
		{"port 0 does not become a port outside the socket's range", set(everyone("p", nil, patterns{ports(40000)})), nginx, automatic(tcp("1.2.3.4:0"), 50000, 50001), "allow"},
		{"port 0: the last port of the range", set(everyone("p", nil, patterns{ports(60999)})), nginx, tcp("1.2.3.4:0"), "deny p"},
		{"port 0: after the last port of the range", set(everyone("p", nil, patterns{ports(61000)})), nginx, tcp("1.2.3.4:0"), "allow"},
		{"port 0: a broken range could be any port", set(everyone("p", nil, patterns{ports(22)})), nginx, automatic(tcp("1.2.3.4:0"), 2, 1), "deny p"},
		{"port 0: all but one is denied", set(everyone("p", patterns{ports(40000)}, patterns{all()})), nginx, tcp("1.2.3.4:0"), "deny p"},
		{"port 0: all but the whole range is denied", set(everyone("p", patterns{portRange(32768, 60999)}, patterns{portRange(1, 65535)})), nginx, tcp("1.2.3.4:0"), "allow"},
		{"port 0: a rule that names 0 decides", set(everyone("p", nil, patterns{ports(40000)}), everyone("zero", patterns{ports(0)}, nil)), nginx, tcp("1.2.3.4:0"), "allow zero"},
		{"port 0: a range that contains 0 does not name it", set(everyone("p", nil, patterns{ports(40000)}), everyone("zero", patterns{portRange(0, 1)}, nil)), nginx, tcp("1.2.3.4:0"), "deny p"},
		{"port 0: denying 0 outright", set(everyone("p", nil, patterns{ports(0)})), nginx, tcp("1.2.3.4:0"), "deny p"},
		{"port 0 and 0.0.0.0 together", set(everyone("p", nil, patterns{both(ports(40000), addresses("10.0.0.1/32"))})), nginx, tcp("0.0.0.0:0"), "deny p"},
		{"port 0 is named for some of the addresses only", set(everyone("zero", patterns{both(ports(0), addresses("10.0.0.0/8"))}, nil), everyone("all", patterns{all()}, nil), everyone("p", nil, patterns{both(ports(40000), addresses("192.168.0.0/16"))})), nginx, tcp("0.0.0.0:0"), "deny p"},
		{"port 0 is named, but the winner does not name it", set(everyone("zero", patterns{ports(0)}, nil), only("nginx", nginx.Binary, patterns{addresses("10.0.0.0/8")}, nil), everyone("p", nil, patterns{ports(40000)})), nginx, tcp("10.0.0.1:0"), "allow nginx"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Request{Process: tt.process, Operation: SocketBind, Object: tt.object}
			d := Decide(tt.set, r)
			if got := describe(tt.set, d); got != tt.want {
				t.Errorf("Decide(%v by %+v) = %q, want %q", tt.object, tt.process, got, tt.want)
			}
			e := Explain(tt.set, r)
			if e.Decision != d {
				t.Errorf("Explain: decision %+v, want %+v", e.Decision, d)
			}
			won := 0
			for _, c := range e.Candidates {
				if c.Won {
					won++
				}
			}
			if identified := tt.object.valid(); identified && (won == 1) != (d.Policy >= 0) {
				t.Errorf("%d candidates won:\n%v", won, e)
			}
		})
	}
}

func TestDecideUnknownOperation(t *testing.T) {
	denied := set(Policy{Name: "p", Subject: Subject{Everyone: true}, Rules: []Rule{{Operation: "file_open", Deny: patterns{all()}}}})
	d := Decide(denied, Request{Operation: "file_open", Object: tcp("1.2.3.4:1")})
	if got := describe(denied, d); got != "?deny p" {
		t.Errorf("an operation that cannot be judged: %q", got)
	}
	d = Decide(denied, Request{Operation: SocketBind})
	if got := describe(denied, d); got != "allow" {
		t.Errorf("no rule for the operation and no object: %q", got)
	}
}

func TestExplain(t *testing.T) {
	policies := set(
		everyone("web", nil, patterns{all()}),
		only("nginx", nginx.Binary, patterns{ports(80), all()}, nil),
		everyone("ssh", nil, patterns{ports(80)}),
	)
	policies[0].Source = "web.yaml:1:1"
	policies[1].Rules[0].Source = "web.yaml:9:3"
	policies[1].Rules[0].Message = "the web server"
	for _, tt := range []struct {
		name string
		r    Request
		want string
	}{
		{"known", Request{Process: nginx, Operation: SocketBind, Object: tcp("0.0.0.0:80")}, `
allow: socket_bind of tcp 0.0.0.0:80 by /usr/sbin/nginx
decided by policy "nginx" rule 0 at web.yaml:9:3
message: the web server
the patterns that match:
  deny  all
        policy "web" rule 0 at web.yaml:1:1: less specific than policy "nginx" rule 0 (ports)
  allow {ports: [80]}
        policy "nginx" rule 0 at web.yaml:9:3: won
  allow all
        policy "nginx" rule 0 at web.yaml:9:3: less specific than policy "nginx" rule 0 (ports)
  deny  {ports: [80]}
        policy "ssh" rule 0: its subject is less specific than that of policy "nginx" rule 0
`},
		{"unknown", Request{Process: unknown, Operation: SocketBind, Object: tcp("0.0.0.0:80")}, `
deny: socket_bind of tcp 0.0.0.0:80 by an unknown process
decided by policy "ssh" rule 0
note: the process is unknown, so the strictest verdict that may apply is taken
the patterns that match:
  deny  all
        policy "web" rule 0 at web.yaml:1:1: less specific than policy "ssh" rule 0 (ports)
  allow {ports: [80]}
        policy "nginx" rule 0 at web.yaml:9:3: deny wins over allow
  allow all
        policy "nginx" rule 0 at web.yaml:9:3: less specific than policy "ssh" rule 0 (ports)
  deny  {ports: [80]}
        policy "ssh" rule 0: won
`},
		{"automatic port", Request{Process: sshd, Operation: SocketBind, Object: automatic(dual(tcp("[::]:0")), 80, 81)}, `
deny: socket_bind of tcp [::]:0 (IPv6 and IPv4) by /usr/sbin/sshd
decided by policy "web" rule 0 at web.yaml:1:1
the patterns that match:
  deny  all
        policy "web" rule 0 at web.yaml:1:1: won
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Explain(policies, tt.r).String(); got != strings.TrimPrefix(tt.want, "\n") {
				t.Errorf("got:\n%s\nwant:%s", got, tt.want)
			}
		})
	}
	notes := Explain(set(everyone("p", nil, patterns{both(ports(40000), addresses("10.0.0.1/32"))})),
		Request{Process: nginx, Operation: SocketBind, Object: dual(tcp("[::]:0"))}).Notes
	want := "the socket takes IPv4 as well\naddress 0.0.0.0 stands for every IPv4 address, also 10.0.0.1\nport 0 may become 40000"
	if got := strings.Join(notes, "\n"); got != want {
		t.Errorf("notes:\n%s\nwant:\n%s", got, want)
	}
}
