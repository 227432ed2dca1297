package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const originalText = `
- !setuid
  subject: all
  allow: false
- !task_fix_setuid {subject: !binary /usr/bin/sudo, allow: true, deny: false}
- !file_open
  subject: all
  allow: all
  deny: !paths
    - /tmp/test
    - "/srv/"
- !socket_bind
  subject: !binary /usr/bin/nginx
  allow: !ports
    - 8080
  deny: all
- !socket_connect
  subject: all
  allow: all
  deny: !addresses
    - 142.250.185.206
    - 2a00:1450:4016:809::200e
- !sb_mount {subject: all, allow: false, deny: true}
- !sb_remount {subject: all, deny: true}
- !sb_umount {subject: !binary "/usr/bin/umount", allow: true}
- !bprm_check_security {subject: all}
- !file_open {subject: all, allow: !paths [], deny: !paths [/]}
`

func TestParseOriginal(t *testing.T) {
	one := func(name string, s Subject, o Operation, allow, deny patterns) Policy {
		p := ruleOf(name, s, o, allow, deny)
		p.Mode = ModeEnforce
		return p
	}
	bin := func(path string) Subject { return Subject{Binaries: []string{path}} }
	credentials, mounts := patterns{CredentialsPattern{All: true}}, patterns{MountPattern{All: true}}
	want := []Policy{
		one("old-file-1-task_fix_setuid", everybody, TaskFixSetuid, nil, credentials),
		one("old-file-2-task_fix_setuid", bin("/usr/bin/sudo"), TaskFixSetuid, credentials, nil),
		one("old-file-3-file_open", everybody, FileOpen, patterns{allFiles}, patterns{paths("/tmp/test", "/tmp/test/", "/srv", "/srv/")}),
		one("old-file-4-socket_bind", bin("/usr/bin/nginx"), SocketBind, patterns{ports(8080)}, patterns{all()}),
		one("old-file-5-socket_connect", everybody, SocketConnect, patterns{all()}, patterns{addresses("142.250.185.206/32", "2a00:1450:4016:809::200e/128")}),
		one("old-file-6-sb_mount", everybody, SbMount, nil, mounts),
		one("old-file-7-sb_remount", everybody, SbRemount, nil, mounts),
		one("old-file-8-sb_umount", bin("/usr/bin/umount"), SbUmount, mounts, nil),
		one("old-file-9-bprm_check_security", everybody, BprmCheckSecurity, nil, patterns{ProgramPattern{NoArgs: true}}),
		one("old-file-10-file_open", everybody, FileOpen, nil, patterns{paths("/")}),
	}
	got, err := Parse("dir/Old File.yaml", []byte(originalText))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, ignoreSource); diff != "" {
		t.Error(diff)
	}
	if got[2].Source != "dir/Old File.yaml:6:3" || got[2].Rules[0].Source != got[2].Source {
		t.Errorf("source %s", got[2].Source)
	}
	again, err := Parse("p.yaml", Format(got))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, again, ignoreSource); diff != "" {
		t.Error(diff)
	}
	// Beside documents of the other form, and several lists.
	both, err := Parse("p.yaml", []byte(ruled("operation: socket_bind\ndeny: all")+"---\n- !sb_mount {subject: all, allow: false}\n---\n- !sb_mount {subject: all, allow: false}\n"))
	if err != nil || len(both) != 3 || both[2].Name != "p-2-sb_mount" {
		t.Errorf("%v, %v", both, err)
	}
}

func TestParseOriginalErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"- !open {subject: all}", `p.yaml:1:3: unknown operation !open; did you mean file_open?`},
		{"- !socket_bnd {subject: all}", `p.yaml:1:3: unknown operation !socket_bnd; did you mean socket_bind?`},
		{"- all", `p.yaml:1:3: a policy in a list must be tagged with its operation, as in the original ebpfguard library; write - !socket_bind, or begin with apiVersion: ebpfguard.io/v1alpha1 instead of a list`},
		{"- !file_open all", `p.yaml:1:3: policy "p-1-file_open": !file_open must be a mapping, not "all"; write - !file_open {subject: all, ...}`},
		{"- !file_open {deny: all}", `p.yaml:1:3: policy "p-1-file_open": subject is missing; write subject: all`},
		{"- !file_open {subject: all}", `p.yaml:1:3: policy "p-1-file_open": the policy neither allows nor denies anything; remove it`},
		{"- !file_open {subject: all, deny: !paths []}", `p.yaml:1:3: policy "p-1-file_open": the policy neither allows nor denies anything; remove it`},
		{"- !file_open {subject: any, deny: all}", `p.yaml:1:24: policy "p-1-file_open": subject cannot be "any"; write all or !binary /usr/bin/name`},
		{"- !file_open {subject: !path /a, deny: all}", `p.yaml:1:24: policy "p-1-file_open": subject cannot be !path; write all or !binary /usr/bin/name`},
		{"- !file_open {subject: !binary nginx, deny: all}", `p.yaml:1:24: policy "p-1-file_open": binary "nginx" is not absolute; write the whole path, such as /usr/bin/nginx`},
		{"- !file_open {subject: !binary /usr/*, deny: all}", `p.yaml:1:24: policy "p-1-file_open": "/usr/*" has a * or ?, which stands for itself in this form; write a policy with apiVersion: ebpfguard.io/v1alpha1`},
		{"- !file_open {subject: !binary /, deny: all}", `p.yaml:1:24: policy "p-1-file_open": subject cannot be the directory /; write all or !binary /usr/bin/name`},
		{"- !file_open {subject: all, denied: all}", `p.yaml:1:3: policy "p-1-file_open": the policy neither allows nor denies anything; remove it
p.yaml:1:29: policy "p-1-file_open": unknown field "denied" of !file_open; choose from subject, allow, deny`},
		{"- !file_open {subject: all, deny: !ports [1]}", `p.yaml:1:35: policy "p-1-file_open": deny cannot be !ports; write all or !paths [...]`},
		{"- !file_open {subject: all, deny: [/a]}", `p.yaml:1:35: policy "p-1-file_open": deny cannot be a list; write all or !paths [...]`},
		{"- !file_open {subject: all, deny: !paths [a]}", `p.yaml:1:43: policy "p-1-file_open": path "a" is not absolute; write the whole path, such as /a`},
		{"- !file_open {subject: all, deny: !paths /etc}", `p.yaml:1:35: policy "p-1-file_open": !paths must be a list; write !paths [/etc]`},
		{"- !file_open {subject: all, deny: !paths }", `p.yaml:1:35: policy "p-1-file_open": deny cannot be !paths; write all or !paths [...]`},
		{"- !file_open {subjcet: all, deny: all}", `p.yaml:1:15: policy "p-1-file_open": unknown field "subjcet" of !file_open; did you mean subject?`},
		{"- !socket_bind {subject: all, deny: !ports [70000]}", `p.yaml:1:45: policy "p-1-socket_bind": port 70000 is too large; write a number from 0 to 65535`},
		{"- !socket_bind {subject: all, deny: !ports [1-2]}", `p.yaml:1:45: policy "p-1-socket_bind": a port cannot be "1-2"; write a number from 0 to 65535`},
		{"- !socket_connect {subject: all, deny: !addresses [x]}", `p.yaml:1:52: policy "p-1-socket_connect": "x" is no address; write an address or CIDR such as 10.0.0.0/8 or ::1`},
		{"- !sb_mount {subject: all, allow: all}", `p.yaml:1:35: policy "p-1-sb_mount": allow must be true or false, not "all"; write one of them`},
		{"- !sb_mount {subject: all, allow: false, deny: false}", `p.yaml:1:3: policy "p-1-sb_mount": the policy neither allows nor denies anything; remove it`},
		{"- !bprm_check_security {subject: all, deny: all}", `p.yaml:1:39: policy "p-1-bprm_check_security": unknown field "deny" of !bprm_check_security; the only one is subject`},
	} {
		set, err := Parse("p.yaml", []byte(tt.text))
		if err == nil {
			t.Errorf("no error for %s", tt.text)
			continue
		}
		if diff := cmp.Diff(tt.want, err.Error()); diff != "" || set != nil {
			t.Errorf("%s\n%v\n%s", tt.text, set, diff)
		}
	}
}
