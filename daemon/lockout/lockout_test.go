package lockout

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
)

// machine is a situation with programs of the test's own beside those of this machine.
type machine struct {
	dir       string
	situation *Situation
}

func copyProgram(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o700)
	}
	if err == nil {
		err = os.WriteFile(to, data, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// newMachine looks at a machine with an ssh server, on which a shell asks.
func newMachine(t *testing.T) machine {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bin/ebpfguard", "bin/sudo", "sbin/sshd", "sbin/agetty", "bin/login", "bin/systemctl"} {
		copyProgram(t, "/bin/bash", filepath.Join(dir, name))
	}
	for _, name := range []string{"run", "pins", "state", "etc"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"link": dir, "bin/guard": dir + "/bin/ebpfguard", "shell": "/bin/bash"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "bin/ebpfguard"), filepath.Join(dir, "hard")); err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("/bin/bash", "-c", "sleep 1000 & echo $!; read x; kill $!")
	in, err1 := shell.StdinPipe()
	out, err2 := shell.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = io.WriteString(in, "\n")
		_ = shell.Wait()
	})
	var caller uint32
	if _, err := fmt.Fscan(out, &caller); err != nil {
		t.Fatal(err)
	}
	s, err := Look(Options{
		Caller: caller, Command: filepath.Join(dir, "bin/ebpfguard"),
		Changes: []string{filepath.Join(dir, "run/ebpfguard.sock"), filepath.Join(dir, "pins"), filepath.Join(dir, "pins/maps"), filepath.Join(dir, "state/applied.yaml")},
		Reads:   []string{filepath.Join(dir, "etc/config.yaml")},
		Places: &Places{
			Remote: []string{filepath.Join(dir, "sbin/sshd")}, Local: []string{filepath.Join(dir, "sbin/agetty")}, Sessions: []string{filepath.Join(dir, "bin/login")},
			Root: []string{filepath.Join(dir, "bin/sudo")}, Manager: []string{filepath.Join(dir, "bin/systemctl")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return machine{dir, s}
}

// parse reads policies from lines "SUBJECT | OPERATION | the rest of the rule".
func (m machine) parse(t *testing.T, lines ...string) []policy.Policy {
	t.Helper()
	var b strings.Builder
	for i, line := range lines {
		parts := strings.Split(strings.ReplaceAll(line, "DIR", m.dir), " | ")
		fmt.Fprintf(&b, "---\napiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: p%d}\nspec:\n  subject: %s\n  rules:\n  - operation: %s\n", i, parts[0], parts[1])
		for _, key := range parts[2:] {
			fmt.Fprintf(&b, "    %s\n", key)
		}
	}
	set, err := policy.Parse("test.yaml", []byte(strings.TrimPrefix(b.String(), "---\n")))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestLockout tries policies that lock out.
func TestLockout(t *testing.T) {
	m := newMachine(t)
	bash, err := filepath.EvalSymlinks("/bin/bash")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		want     string // of what is told
		policies []string
	}{
		{"starting " + bash, []string{"{} | bprm_check_security | deny: {paths: [/usr/, /bin/]}"}},
		{"DIR/bin/ebpfguard", []string{"{} | bprm_check_security | deny: all"}},
		{"DIR/bin/ebpfguard", []string{"{} | bprm_check_security | deny: {paths: [/]}"}},
		{"DIR/bin/ebpfguard", []string{`{} | bprm_check_security | deny: {paths: ["/**"]}`}},
		{"DIR/bin/ebpfguard", []string{"{} | bprm_check_security | allow: {paths: [/usr/, /bin/, /lib/, /lib64/]} | deny: all"}},
		{"DIR/bin/ebpfguard", []string{"{} | bprm_check_security | deny: {paths: [DIR/bin/ebpfguard]}"}},
		{"DIR/bin/ebpfguard", []string{"{} | bprm_check_security | deny: {paths: [DIR/bin/guard]}"}},
		{"DIR/bin/ebpfguard", []string{"{} | bprm_check_security | deny: {paths: [DIR/link/bin/]}"}},
		{"DIR/bin/ebpfguard", []string{"{} | bprm_check_security | deny: {paths: [DIR/hard]}"}},
		{"DIR/bin/ebpfguard", []string{`{} | bprm_check_security | deny: {paths: ["DIR/*/ebpf*"]}`}},
		{"DIR/bin/ebpfguard", []string{"{} | bprm_check_security | deny: {paths: [DIR/bin/ebpfguard]} | verdict: kill"}},
		{"DIR/bin/ebpfguard", []string{"{users: [0]} | bprm_check_security | deny: all"}},
		{"DIR/bin/ebpfguard", []string{"{binaries: [/bin/bash]} | bprm_check_security | deny: all"}},
		{"DIR/bin/ebpfguard", []string{"{binaries: [DIR/shell]} | bprm_check_security | deny: all"}},
		{"DIR/bin/ebpfguard", []string{"{binaries: [/bin/]} | bprm_check_security | deny: all"}},
		{"DIR/bin/ebpfguard", []string{"{binaries: [DIR/sbin/sshd], descendants: true} | bprm_check_security | deny: {paths: [DIR/bin/ebpfguard]}"}},
		{"DIR/bin/systemctl", []string{"{} | bprm_check_security | deny: {paths: [DIR/bin/systemctl]}"}},
		{"DIR/sbin/sshd", []string{"{} | bprm_check_security | deny: {paths: [DIR/sbin/]}"}},
		{"DIR/bin/login", []string{"{} | bprm_check_security | deny: {paths: [DIR/bin/login]}"}},
		{bash, []string{"{} | bprm_check_security | deny: {paths: [" + bash + "]}", "{binaries: [DIR/sbin/sshd]} | bprm_check_security | allow: {paths: [/bin/bash]}"}},
		{", which needs ", []string{`{} | bprm_check_security | deny: {paths: ["/lib/*/ld-linux*", "/lib64/ld-linux*", "/lib/ld-linux*"]}`}},
		{"libc.so.6", []string{`{} | bprm_check_security | deny: {paths: ["/usr/lib/**/libc.so.6", "/lib/libc.so.6"]}`}},
		{"DIR/bin/ebpfguard", []string{"{} | file_open | deny: {access: [exec]}"}},
		{"DIR/bin/ebpfguard", []string{"{} | file_open | deny: all"}},
		{"loading", []string{"{} | file_open | deny: {paths: [/lib/]}"}},
		{"loading", []string{"{} | file_open | deny: {paths: [/usr/lib/], access: [read]}"}},
		{"/etc/ld.so.cache", []string{"{} | file_open | deny: {paths: [/etc/ld.so.cache]}"}},
		{"/etc/ld.so.cache", []string{"{} | file_open | deny: {paths: [/etc/]}"}},
		{"DIR/pins", []string{"{} | file_open | deny: {paths: [DIR/pins/]}"}},
		{"DIR/pins", []string{"{} | file_open | deny: {paths: [DIR/], access: [write]}", "{binaries: [DIR/bin/other]} | file_open | allow: {paths: [DIR/pins/]}"}},
		{"DIR/run/ebpfguard.sock", []string{"{} | file_open | deny: {paths: [DIR/run/ebpfguard.sock]}"}},
		{"DIR/state/applied.yaml", []string{"{} | file_open | deny: {paths: [DIR/link/state/], access: [write]}"}},
		{"DIR/etc/config.yaml", []string{`{} | file_open | deny: {paths: ["DIR/etc/*.yaml"]}`}},
		{"/dev/null", []string{"{} | file_open | deny: {paths: [/dev/]}"}},
		{"/etc/passwd", []string{"{binaries: [DIR/sbin/sshd]} | file_open | deny: {paths: [/etc/passwd]}"}},
		{"would be killed", []string{"{} | file_open | deny: {paths: [/dev/null]} | verdict: kill"}},
	} {
		name := strings.Join(test.policies, " + ")
		refused, err := m.situation.Refused(nil, m.parse(t, test.policies...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var all []string // of which Describe shows the first
		for _, r := range refused {
			all = append(all, Describe([]Refusal{r}))
		}
		if want := strings.ReplaceAll(test.want, "DIR", m.dir); !strings.Contains(strings.Join(all, "\n"), want) || !strings.Contains(Describe(refused), `policy "p0" rule 0 (test.yaml:`) {
			t.Errorf("%s: refused is %q, want %q", name, Describe(refused), want)
		}
	}
}

// TestNoLockout tries policies that leave what is needed.
func TestNoLockout(t *testing.T) {
	m := newMachine(t)
	for _, policies := range [][]string{
		{"{} | bprm_check_security | deny: {paths: [/tmp/no-such-folder/, /var/tmp/]}"},
		{"{} | bprm_check_security | deny: [{fileless: true}, {no_args: true}] | verdict: kill"},
		{"{binaries: [/usr/bin/perl], descendants: true} | bprm_check_security | deny: all"},
		{"{binaries: [/usr/sbin/nginx]} | file_open | deny: all"},
		{"{cgroups: [/system.slice/nginx.service]} | bprm_check_security | deny: all | verdict: kill"},
		{"{users: [4294967000]} | file_open | deny: all"},
		{"{} | bprm_check_security | allow: {paths: [/usr/, /bin/, /lib/, /lib64/, DIR/]} | deny: all"},
		{"{} | bprm_check_security | deny: all | verdict: audit"},
		{"{} | file_open | deny: {paths: [/etc/shadow, DIR/secret/]}"},
		{"{} | file_open | deny: {paths: [DIR/bin/ebpfguard], access: [write]}"},
		{"{} | socket_bind | deny: {ports: [22]} | verdict: kill"},
		{"{} | socket_bind | deny: all", "{} | socket_connect | deny: all", "{} | sb_mount | deny: all"},
	} {
		refused, err := m.situation.Refused(nil, m.parse(t, policies...))
		if err != nil || len(refused) > 0 {
			t.Errorf("%s: %v, refused is %q", strings.Join(policies, " + "), err, Describe(refused))
		}
	}
	// What is refused already is no news, what an exception had lifted is.
	deny := m.parse(t, "{} | bprm_check_security | deny: {paths: [DIR/bin/ebpfguard]}", "{users: [0]} | bprm_check_security | allow: {paths: [DIR/bin/ebpfguard]}")
	if refused, err := m.situation.Refused(deny[:1], deny[:1]); err != nil || len(refused) > 0 {
		t.Errorf("%v, refused again is %q", err, Describe(refused))
	}
	if refused, err := m.situation.Refused(deny, deny[:1]); err != nil || len(refused) == 0 {
		t.Errorf("%v, without the exception nothing is refused", err)
	}
	over := m.parse(t, "{} | bprm_check_security | deny: all")
	over[0].Until = 1
	if refused, err := m.situation.Refused(nil, over); err != nil || len(refused) > 0 {
		t.Errorf("%v, by a policy that has ended: %q", err, Describe(refused))
	}
}

// TestBecoming expects that root is not denied to those who work by sudo, nor users to those who let them in.
func TestBecoming(t *testing.T) {
	m := newMachine(t)
	user := account{"somebody", "/bin/bash", 1234, 1234}
	l := &look{Situation: Situation{files: newFiles()}, options: Options{Command: m.dir + "/bin/ebpfguard", Places: &Places{Root: []string{m.dir + "/bin/sudo"}}},
		programs: map[place]program{}, accounts: accounts{user}}
	shell := actor{name: "a shell", process: policy.Process{Binary: "/usr/bin/bash", UID: user.uid}}
	l.commands(shell)
	l.becomes(actor{name: "sshd", process: policy.Process{Binary: "/usr/sbin/sshd"}}, nil, account{}, user.uid)
	for rule, want := range map[string]string{
		"{} | task_fix_setuid | deny: all":                                      "becoming user 0",
		"{} | task_fix_setuid | deny: {from: {uids: [1-9999]}}":                 "becoming user 0",
		"{} | task_fix_setuid | deny: {from: {uids: [0]}}":                      "sshd: becoming user 1234",
		"{binaries: [/usr/sbin/sshd]} | task_fix_setuid | deny: all":            "sshd: becoming user 1234",
		"{} | task_fix_setuid | deny: {to: {gids: [0]}}":                        "",
		"{binaries: [/usr/sbin/nginx]} | task_fix_setuid | deny: all":           "",
		"{users: [1234]} | bprm_check_security | deny: {paths: [DIR/bin/sudo]}": "starting DIR/bin/sudo",
	} {
		refused, err := l.Refused(nil, m.parse(t, rule))
		if got := Describe(refused); err != nil || want == "" && got != "" || !strings.Contains(got, strings.ReplaceAll(want, "DIR", m.dir)) {
			t.Errorf("%s: %v, refused is %q, want %q", rule, err, got, want)
		}
	}
}

// TestConnections expects that what carries a session is not cut.
func TestConnections(t *testing.T) {
	m := newMachine(t)
	l := &look{Situation: Situation{files: newFiles()}}
	open := map[string]bool{"77": true}
	sshd := actor{name: "sshd", process: policy.Process{Binary: "/usr/sbin/sshd"}}
	l.connection(sshd, strings.Fields("0: 0100007F:0016 00000000:0000 0A 0:0 0:0 0 0 0 77"), open)
	l.connection(sshd, strings.Fields("0: 0100007F:0016 0200A8C0:8001 01 0:0 0:0 0 0 0 77"), open)
	l.connection(sshd, strings.Fields("0: 0100007F:0050 0200A8C0:8001 01 0:0 0:0 0 0 0 78"), open)
	if len(l.needs) != 2 {
		t.Fatalf("%+v", l.needs)
	}
	for rule, want := range map[string]string{
		"{} | socket_connect | deny: all | revoke: true":                            "its connection to 192.168.0.2:32769",
		"{} | socket_connect | deny: {addresses: [192.168.0.0/16]} | revoke: true":  "its connection to 192.168.0.2:32769",
		"{} | socket_connect | deny: all":                                           "",
		"{} | socket_bind | deny: {ports: [22]} | revoke: true":                     "accepting logins on 127.0.0.1:22",
		"{} | socket_bind | deny: {ports: [80]} | revoke: true":                     "",
		"{binaries: [/usr/sbin/nginx]} | socket_connect | deny: all | revoke: true": "",
	} {
		refused, err := l.Refused(nil, m.parse(t, rule))
		if got := Describe(refused); err != nil || want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %v, refused is %q, want %q", rule, err, got, want)
		}
	}
}

// TestLinked expects the libraries of a program and its loader.
func TestLinked(t *testing.T) {
	p, ok := lookUp(nil, "/bin/bash")
	if !ok || len(p.interpreters) != 1 || !strings.Contains(strings.Join(p.libraries, " "), "libc.so") {
		t.Errorf("%+v, %v", p, ok)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/bash -e\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if s, ok := lookUp(nil, script); !ok || len(s.interpreters) != 2 || s.interpreters[0] != p.path {
		t.Errorf("%+v, %v", s, ok)
	}
	if _, ok := lookUp(nil, "/etc/passwd"); ok {
		t.Error("a file is a program")
	}
}
