package policy

import (
	"net/netip"
	"strings"
	"testing"
)

// TestDelegated says whose word wins between delegated policies and others.
func TestDelegated(t *testing.T) {
	ports := func(list ...uint16) patterns {
		var p SocketPattern
		for _, port := range list {
			p.Ports = append(p.Ports, PortRange{port, port})
		}
		return patterns{p}
	}
	bind := func(name string, delegated bool, allow, deny patterns) Policy {
		return Policy{Name: name, Delegated: delegated, Subject: Subject{Everyone: true}, Rules: []Rule{{Operation: SocketBind, Allow: allow, Deny: deny}}}
	}
	everything := patterns{all()}
	for _, c := range []struct {
		name string
		set  []Policy
		port uint16
		want Verdict
		by   string
	}{
		{"an exception lifts no denial of others", []Policy{bind("others", false, nil, everything), bind("own", true, ports(22), nil)}, 22, Deny, "others"},
		{"nor one that is less specific", []Policy{bind("others", false, nil, ports(22)), bind("own", true, everything, nil)}, 22, Deny, "others"},
		{"it lifts those of delegated ones", []Policy{bind("default", true, nil, everything), bind("own", true, ports(22), nil)}, 22, Allow, "own"},
		{"the others' exceptions lift all", []Policy{bind("others", false, ports(22), nil), bind("own", true, nil, everything)}, 22, Allow, "others"},
		{"but no more specific denial", []Policy{bind("others", false, everything, nil), bind("own", true, nil, ports(22))}, 22, Deny, "own"},
		{"a denial adds to the others'", []Policy{bind("others", false, nil, ports(22)), bind("own", true, nil, ports(80))}, 80, Deny, "own"},
		{"an audit lifts none either", []Policy{bind("others", false, nil, everything), func() Policy {
			p := bind("own", true, nil, ports(22))
			p.Mode = ModeAudit
			return p
		}()}, 22, Deny, "others"},
		{"port 0 may become what others deny", []Policy{bind("others", false, nil, ports(22)), bind("own", true, ports(0), everything)}, 0, Deny, "others"},
		{"unless they say what port 0 is", []Policy{bind("others", false, ports(0), ports(22)), bind("own", true, ports(0), everything)}, 0, Allow, "others"},
		{"port 0 is theirs where others deny nothing", []Policy{bind("others", false, ports(22), nil), bind("own", true, ports(0), everything)}, 0, Allow, "own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := Validate(c.set); err != nil {
				t.Fatal(err)
			}
			r := Request{Operation: SocketBind, Object: Socket{Address: netip.MustParseAddr("10.0.0.1"), Port: c.port, Protocol: TCP}}
			got := Decide(c.set, r)
			if by := c.set[got.Policy].Name; got.Verdict != c.want || by != c.by {
				t.Errorf("%v by %s; want %v by %s", got.Verdict, by, c.want, c.by)
			}
			if e := Explain(c.set, r); e.Winner == nil || e.Winner.Policy != c.by || strings.Count(e.String(), ": won") != 1 {
				t.Errorf("explained as\n%v", e)
			}
		})
	}
}

// TestDelegatedExplained tells why an exception that is more specific lost.
func TestDelegatedExplained(t *testing.T) {
	set := []Policy{
		{Name: "own", Delegated: true, Subject: Subject{Everyone: true}, Rules: []Rule{{Operation: FileOpen, Allow: []Pattern{FilePattern{Paths: []string{"/etc/shadow"}}}}}},
		{Name: "others", Subject: Subject{Everyone: true}, Rules: []Rule{{Operation: FileOpen, Deny: []Pattern{FilePattern{Paths: []string{"/etc/"}}}}}},
	}
	e := Explain(set, Request{Operation: FileOpen, Object: File{Names: Names{Path: "/etc/shadow"}, Access: Read}})
	if want := "its policy is delegated, so it lifts nothing of those that are not"; len(e.Candidates) != 2 || e.Candidates[0].Reason != want || !e.Candidates[1].Won {
		t.Errorf("explained as\n%v", e)
	}
	warnings := Warnings(set)
	if len(warnings) != 1 || warnings[0].Policy != "own" || !strings.Contains(warnings[0].Text, "has no effect") {
		t.Errorf("warned of %v", warnings)
	}
}

// TestRevokeStays has a denial that revokes beside a stricter one that does not.
func TestRevokeStays(t *testing.T) {
	rule := func(verdict Verdict, revoke bool) []Rule {
		return []Rule{{Operation: FileOpen, Deny: []Pattern{FilePattern{Paths: []string{"/etc/shadow"}}}, Verdict: verdict, Revoke: revoke}}
	}
	others := Policy{Name: "others", Subject: Subject{Everyone: true}, Rules: rule(Deny, true)}
	own := Policy{Name: "own", Delegated: true, Subject: Subject{Everyone: true}, Rules: rule(Kill, false)}
	r := Request{Operation: FileOpen, Object: File{Names: Names{Path: "/etc/shadow"}, Access: Read}}
	if d := Decide([]Policy{others, own}, r); d.Verdict != Kill || d.Policy != 1 || !d.Revoke {
		t.Errorf("%+v", d)
	}
	others.Mode = ModeAudit
	if d := Decide([]Policy{others, own}, r); d.Verdict != Kill || d.Revoke {
		t.Errorf("beside what is audited: %+v", d)
	}
}
