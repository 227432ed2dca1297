package policy

import (
	"strings"
	"testing"
)

// TestMove gives files and directories other names under rules that know them by name.
func TestMove(t *testing.T) {
	deny := func(access Access, paths ...string) Policy {
		return Policy{Name: "p", Subject: Subject{Everyone: true}, Rules: []Rule{{Operation: FileOpen, Deny: []Pattern{FilePattern{Paths: paths, Access: access}}}}}
	}
	ssh, srv, keys := "/home/*/.ssh/id_*", "/srv/**/*.key", "/srv/keys/"
	for _, test := range []struct {
		policy   Policy
		from, to string
		known    string
		want     Verdict
	}{
		{deny(Read, ssh), "/home/u/.ssh/", "/home/u/x", "", Deny},
		{deny(0, ssh), "/home/u/", "/tmp/u", "", Deny},
		{deny(Read, ssh), "/home/u/", "/home/v", "", Allow},
		{deny(0, ssh), "/home/u/projects/", "/home/u/old", "", Allow},
		{deny(0, ssh), "/home/u/projects/", "/tmp/old", "", Allow},
		{deny(Read, ssh), "/home/u/projects/", "/home/u/.ssh", "", Allow},
		{deny(Write, ssh), "/home/u/projects/", "/home/u/.ssh", "", Deny},
		{deny(Write, ssh), "/home/u/file", "/home/u/.ssh", "", Allow},
		{deny(Read, ssh), "/home/u/.ssh/id_rsa", "/home/u/.ssh/id_other", "", Allow},
		{deny(Read, ssh), "/home/u/.ssh/id_rsa", "/home/u/.ssh/key", "", Deny},
		{deny(Read, ssh), "/home/u/.ssh/config", "/tmp/config", "", Allow},
		{deny(Read, srv), "/srv/app/", "/tmp/app", "", Deny},
		{deny(Read, srv), "/srv/app/", "/srv/b", "", Allow},
		{deny(Read, srv), "/srv/app", "/tmp/app", "", Allow}, // no directory
		{deny(Write, srv), "/tmp/app/", "/srv/app", "", Deny},
		{deny(Read, keys), "/srv/keys/a", "/tmp/a", "", Deny},
		{deny(Exec, keys), "/srv/keys/a", "/tmp/a", "", Deny},
		{deny(Read, keys), "/srv/keys/a", "/tmp/a", "/srv/keys/a", Allow},
		{deny(Read, keys), "/srv/keys/a", "/srv/keys/sub/b", "", Allow},
		{deny(Read, keys), "/srv/", "/old", "", Deny},
		{deny(Read, keys), "/srv/", "/old", "/srv", Allow},
		{deny(Read, keys, "/other/"), "/srv/keys/a", "/other/a", "", Allow},
		{deny(Read, "/a/", "/b/*"), "/a/f", "/b/f", "", Allow},
	} {
		move := &Move{To: Names{Path: test.to}, Directory: strings.HasSuffix(test.from, "/")}
		if test.known != "" {
			move.Known = []string{test.known}
		}
		file := File{Names: Names{Path: strings.TrimSuffix(test.from, "/")}, Moved: move}
		d := Decide([]Policy{test.policy}, Request{Operation: FileOpen, Object: file})
		if d.Verdict != test.want || d.Undecided {
			t.Errorf("%v: %v: %+v, want %v", test.policy.Rules[0].Deny, file, d, test.want)
		}
	}
	file := File{Names: Names{Path: "/home/u/x"}, Access: Write, Moved: &Move{To: Names{Path: "/srv/keys/x"}}}
	if d := Decide([]Policy{deny(Write, keys)}, Request{Operation: FileOpen, Object: file}); d.Verdict != Deny {
		t.Errorf("writing to the new name: %+v", d)
	}
	// Whoever is denied to read there only by a delegated policy takes nothing there.
	there := deny(Read, "/tmp/")
	for _, there.Delegated = range []bool{false, true} {
		want := map[bool]Verdict{false: Allow, true: Deny}[there.Delegated]
		file := File{Names: Names{Path: "/srv/keys/a"}, Moved: &Move{To: Names{Path: "/tmp/a"}}}
		if d := Decide([]Policy{deny(Read, keys), there}, Request{Operation: FileOpen, Object: file}); d.Verdict != want {
			t.Errorf("delegated %v: %+v", there.Delegated, d)
		}
		if d := Decide([]Policy{there}, Request{Operation: FileOpen, Object: File{Names: Names{Path: "/tmp/b"}, Moved: file.Moved}}); d.Verdict != Allow {
			t.Errorf("delegated %v, alone: %+v", there.Delegated, d)
		}
	}
	w := Warnings([]Policy{deny(Read, srv)})
	if len(w) != 1 || !strings.Contains(w[0].Text, "move any directory below /srv") {
		t.Errorf("warnings %v", w)
	}
	if w := Warnings([]Policy{deny(Read, ssh, "/**/x", "/srv/**")}); len(w) != 0 {
		t.Errorf("warnings %v", w)
	}
}
