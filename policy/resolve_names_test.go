package policy

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResolveNames(t *testing.T) {
	errNone := errors.New("unknown")
	lookup := func(known map[string]uint32) func(string) (uint32, error) {
		return func(name string) (uint32, error) {
			if id, ok := known[name]; ok {
				return id, nil
			}
			return 0, errNone
		}
	}
	users := lookup(map[string]uint32{"root": 0, "www": 33, "none": 0xffffffff})
	groups := lookup(map[string]uint32{"root": 0, "www": 34})
	named := func(list ...string) IDs { return IDs{Names: list} }
	make := func(subject IDs, from, to Identity) []Policy {
		return []Policy{{Name: "p", Source: "p.yaml:1:1", Subject: Subject{Users: subject}, Rules: []Rule{
			{Operation: SocketBind, Deny: patterns{all()}},
			{Operation: TaskFixSetuid, Source: "p.yaml:9:1", Allow: patterns{CredentialsPattern{All: true}}, Deny: patterns{CredentialsPattern{From: from, To: to}}},
		}}}
	}
	original := make(IDs{Ranges: []IDRange{{5, 6}}, Names: []string{"www"}}, Identity{UIDs: named("root"), GIDs: named("www", "root")}, Identity{GIDs: named("www")})
	before := fmt.Sprint(original)
	got, err := ResolveNames(original, users, groups)
	if err != nil {
		t.Fatal(err)
	}
	want := make(ids(5, 6, 33, 33), Identity{UIDs: ids(0, 0), GIDs: ids(34, 34, 0, 0)}, Identity{GIDs: ids(34, 34)})
	if diff := cmp.Diff(want, got, ignoreSource[2]); diff != "" {
		t.Error(diff)
	}
	if after := fmt.Sprint(original); after != before {
		t.Errorf("the original has changed:\n%s\n%s", before, after)
	}
	_, err = ResolveNames(make(named("a"), Identity{UIDs: named("www", "none")}, Identity{GIDs: named("b")}), users, groups)
	wantErr := `p.yaml:1:1: policy "p": user "a": unknown; create it, write its number or remove it
p.yaml:9:1: policy "p": rule 1: user "none" has the id 4294967295, which means none; write another
p.yaml:9:1: policy "p": rule 1: group "b": unknown; create it, write its number or remove it`
	if err == nil || err.Error() != wantErr || !errors.Is(err, errNone) {
		t.Errorf("got  %v\nwant %s", err, wantErr)
	}
}

func TestResolveUnknownNames(t *testing.T) {
	users, groups := SystemNames()
	set := []Policy{{Name: "p", Source: "p.yaml:1:1", Subject: Subject{Users: IDs{Names: []string{"no-such-user"}}}, Rules: []Rule{
		{Operation: TaskFixSetuid, Source: "p.yaml:9:1", Deny: patterns{CredentialsPattern{To: Identity{GIDs: IDs{Names: []string{"no-such-group"}}}}}},
	}}}
	_, err := ResolveNames(set, users, groups)
	want := `p.yaml:1:1: policy "p": user "no-such-user" is unknown; create it, write its number or remove it
p.yaml:9:1: policy "p": rule 0: group "no-such-group" is unknown; create it, write its number or remove it`
	if err == nil || err.Error() != want || !errors.Is(err, ErrUnknownName) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestSystemNames(t *testing.T) {
	users, groups := SystemNames()
	for range 2 {
		if id, err := users("root"); id != 0 || err != nil {
			t.Errorf("root: %d, %v", id, err)
		}
		if id, err := groups("root"); id != 0 || err != nil {
			t.Errorf("group root: %d, %v", id, err)
		}
		for _, lookup := range []func(string) (uint32, error){users, groups} {
			if _, err := lookup("no-such-name"); !errors.Is(err, ErrUnknownName) {
				t.Errorf("a name that does not exist: %v", err)
			}
		}
	}
}

// TestGetent has a name that only another source than /etc knows: a getent of its own
// stands for one that asks it.
func TestGetent(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		want   string // the id, or the end of the error
	}{
		"known":     {"[ $1-$2 = passwd-ldapuser ] && echo 'ldapuser:x:5000:5001::/:/bin/sh'", "5000"},
		"not known": {"exit 2", `user "ldapuser" is unknown; create it, write its number or remove it`},
		"broken":    {"exit 1", `user "ldapuser" is unknown: getent passwd failed: exit status 1; create it, write its number or remove it`},
		"nonsense":  {"echo ldapuser:x:-1", `user "ldapuser" is unknown: getent passwd: the answer has no id; create it, write its number or remove it`},
		"none":      {"", `user "ldapuser" is unknown: only the files of /etc were read, since getent, which asks LDAP and SSSD too, is not installed; create it, write its number or remove it`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("PATH", dir)
			if test.script != "" {
				if err := os.WriteFile(dir+"/getent", []byte("#!/bin/sh\n"+test.script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			users, groups := SystemNames()
			set, err := ResolveNames([]Policy{{Name: "p", Subject: Subject{Users: IDs{Names: []string{"ldapuser"}}}}}, users, groups)
			got := ""
			if err != nil {
				got = strings.TrimPrefix(err.Error(), `policy "p": `)
			} else {
				got = set[0].Subject.Users.Ranges[0].String()
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func FuzzParseAccount(f *testing.F) {
	f.Add([]byte("root:x:0:0:root:/root:/bin/bash\n"))
	f.Add([]byte("a:b"))
	f.Fuzz(func(t *testing.T, output []byte) {
		if id, err := parseAccount(output); err == nil && strings.Trim(id, "0123456789") != "" {
			t.Errorf("%q has the id %q", output, id)
		}
	})
}
