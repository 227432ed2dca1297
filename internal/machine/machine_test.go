package machine

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/policy"
)

// newRoot makes a small system.
func newRoot(t *testing.T) string {
	t.Helper()
	root, err := os.MkdirTemp("", "machine") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, directory := range []string{"etc/ssl/private", "usr/bin", "usr/lib", "usr/lib/systemd", "opt/app-1/bin", "opt/venv/bin", "home/a/.ssh", "run", "proc", "srv/[x]", "sys/fs/cgroup/system.slice/nginx.service"} {
		check(os.MkdirAll(filepath.Join(root, directory), 0o755))
	}
	for name, content := range map[string]string{
		"etc/shadow": "", "usr/bin/python3.11": "\x7fELF", "usr/bin/nc": "\x7fELF", "usr/bin/sed": "\x7fELF", "opt/app-1/bin/app": "", "srv/[x]/f": "",
		"usr/bin/bysudo": "#!/usr/bin/sudo -u x sh\n", "usr/bin/wrapper": "#! /bin/sh\nexec 2>&1\n# exec no\n  exec -a x \"$PROG\"\n",
		"usr/bin/direct": "#!/usr/bin/python3\n", "usr/bin/byenv": "#! /usr/bin/env -S A=1 python3 -u\n", "usr/bin/empty": "", "usr/lib/systemd/systemd-executor": "\x7fELF",
		"sys/fs/cgroup/cgroup.controllers": "",
	} {
		check(os.WriteFile(filepath.Join(root, name), []byte(content), 0o755))
	}
	for name, target := range map[string]string{
		"bin": "usr/bin", "usr/bin/python3": "python3.11", "opt/venv/bin/python": "/usr/bin/python3", "opt/app": "app-1",
		"opt/next": "/opt/app-2", "etc/mtab": "../proc/self/mounts", "opt/loop": "loop", "etc/up": "../etc/shadow",
	} {
		check(os.Symlink(target, filepath.Join(root, name)))
	}
	listener, err := net.Listen("unix", filepath.Join(root, "run/docker"))
	check(err)
	t.Cleanup(func() { listener.Close() })
	return root
}

func at(t *testing.T, dir string) *Machine {
	t.Helper()
	root, err := hostroot.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return At(root)
}

func TestWarnings(t *testing.T) {
	root := newRoot(t)
	const (
		itself = ` is a directory, and the rule is about the directory itself, not about what is in it; did you mean `
		both   = `: the rule is about both, as the link leads now`
		none   = `; correct it, unless it comes later or the policy is for another machine`
	)
	files := func(paths ...string) policy.Policy {
		return policy.Policy{Rules: []policy.Rule{{Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: paths}}}}}
	}
	programs := func(paths ...string) policy.Policy {
		return policy.Policy{Rules: []policy.Rule{{Operation: policy.BprmCheckSecurity, Deny: []policy.Pattern{policy.ProgramPattern{Paths: paths}}}}}
	}
	by := func(binaries ...string) policy.Policy {
		return policy.Policy{Subject: policy.Subject{Binaries: binaries}}
	}
	const ends = `, and is no longer the script: the subject does not select it; name that program, or add descendants: true`
	except := func(s policy.Subject) policy.Policy {
		return policy.Policy{Subject: s, Rules: []policy.Rule{{Operation: policy.SocketConnect, Allow: []policy.Pattern{policy.SocketPattern{All: true}}}}}
	}
	unit := func(allow ...string) policy.Policy {
		return policy.Policy{Subject: policy.Subject{Cgroups: []string{"/system.slice/nginx.service"}}, Rules: []policy.Rule{{Operation: policy.BprmCheckSecurity,
			Deny: []policy.Pattern{policy.ProgramPattern{All: true}}, Allow: []policy.Pattern{policy.ProgramPattern{Paths: allow}}}}}
	}
	in := func(cgroups ...string) policy.Policy { return policy.Policy{Subject: policy.Subject{Cgroups: cgroups}} }
	for _, tt := range []struct {
		name   string
		policy policy.Policy
		want   string
	}{
		{"files that are there", files("/etc/shadow", "/etc/", "/usr/bin/nc", "/bin/nc", "/", "/home/*/.ssh/", "/**/*.key", "/etc/*"), ``},
		{"a directory", files("/etc"), `/etc` + itself + `/etc/?`},
		{"a list of programs for a unit", unit("/usr/bin/nc"), `/system.slice/nginx.service will not start: systemd starts its program through /usr/lib/systemd/systemd-executor in the unit's own cgroup; add that path to the rule's allow`},
		{"a list that has what systemd starts", unit("/usr/bin/nc", "/usr/lib/systemd/systemd-executor"), ``},
		{"a directory of programs", programs("/usr/bin"), `/usr/bin` + itself + `/usr/bin/?`},
		{"a directory beside what is in it", files("/etc", "/etc/"), ``},
		{"a directory that is likely", files("/home/*/.ssh"), `/home/*/.ssh` + itself + `/home/*/.ssh/?`},
		{"a directory that is likely elsewhere", files("/etc/nginx/conf.d"), `/etc/nginx/conf.d` + itself + `/etc/nginx/conf.d/?`},
		{"a mount point", policy.Policy{Rules: []policy.Rule{{Operation: policy.SbMount, Deny: []policy.Pattern{policy.MountPattern{Targets: []string{"/etc"}}}}}}, ``},
		{"no such file", files("/etc/passwd-like"), `on this machine there is no /etc/passwd-like` + none},
		{"no such files", files("/1", "/2", "/3", "/4", "/5"), `on this machine there is no /1, /2, /3 and 2 more` + none},
		{"a misspelt file", files("/etc/shadwo"), `on this machine there is no /etc/shadwo; did you mean /etc/shadow?`},
		{"a short name that is another one", by("/usr/bin/sudo"), `on this machine there is no /usr/bin/sudo` + none},
		{"a short name with bytes exchanged", by("/usr/bin/sde"), `on this machine there is no /usr/bin/sde; did you mean /usr/bin/sed?`},
		{"a misspelt directory above", files("/etc/sll/private/"), `on this machine there is no /etc/sll/private/; did you mean /etc/ssl/private/?`},
		{"a misspelt directory of a glob", files("/hame/*/.ssh/*"), `on this machine there is no /hame/*/.ssh/*; did you mean /home/*/.ssh/*?`},
		{"a name of Latin-1", files("/srv/caf\u00e9"), `on this machine there is no /srv/café: names in policies are UTF-8, in which each letter beyond ASCII is two bytes or more; for a name in another encoding write ? for each such byte`},
		{"brackets", files("/srv/[abc]"), `/srv/[abc] has no wildcard: [ ] and { } stand for themselves, and only *, ? and ** for others; write [/srv/a, /srv/b, /srv/c]`},
		{"braces", programs("/{usr,}/bin/nc"), `/{usr,}/bin/nc has no wildcard: [ ] and { } stand for themselves, and only *, ? and ** for others; write [/usr/bin/nc, /bin/nc]`},
		{"a range", files("/srv/[a-z]"), `/srv/[a-z] has no wildcard: [ ] and { } stand for themselves, and only *, ? and ** for others; write one path for each, or * and ? for any bytes within a name`},
		{"brackets that are there", files("/srv/[x]/f"), ``},
		{"a variable", files("/home/$USER/.ssh/"), `/home/$USER/.ssh/ is no variable: $ stands for itself; write the path as it is, with * for any name, such as /home/*/.ssh/`},
		{"a link", files("/etc/up"), `/etc/up leads by a link to /etc/shadow` + both},
		{"below a link", files("/opt/app/bin/"), `/opt/app/bin/ leads by a link to /opt/app-1/bin` + both},
		{"a dangling link", files("/opt/next/bin/"), `/opt/next/bin/ leads by a link to /opt/app-2, which does not exist: a rule that names it is about the link alone until the link leads somewhere`},
		{"a link to what depends on who looks", files("/etc/mtab", "/proc/self/mem"), ``},
		{"a loop", files("/opt/loop"), ``},
		{"a socket", files("/run/docker"), `connecting to a Unix socket opens no file, so this rule does not keep processes from connecting to /run/docker; use the permissions of the socket's file or of its directory`},
		{"a socket that is likely", files("/etc/*.sock"), `connecting to a Unix socket opens no file, so this rule does not keep processes from connecting to /etc/*.sock; use the permissions of the socket's file or of its directory`},
		{"a socket as a program", programs("/run/docker"), ``},
		{"programs", by("/usr/bin/nc", "/bin/nc", "/usr/bin/", "/usr/bin/direct", "/usr/bin/empty", "/usr/bin/n?"), ``},
		{"a directory as a program", by("/opt/venv/bin"), `/opt/venv/bin is a directory, and no process runs a directory; did you mean /opt/venv/bin/?`},
		{"no such program", by("/usr/bin/ncc"), `on this machine there is no /usr/bin/ncc; did you mean /usr/bin/nc?`},
		{"a link to a shared program", by("/opt/venv/bin/python"), `/opt/venv/bin/python leads by a link to /usr/bin/python3.11, so the subject is every process that runs that file, by whatever name it was started: if only this name is meant, put a copy of the program there`},
		{"a directory behind a link", by("/opt/app/"), `/opt/app/ leads by a link to /opt/app-1: the subject is what runs from there, as the link leads now`},
		{"a script by env", by("/usr/bin/byenv"), ``},
		{"a script by sudo", by("/usr/bin/bysudo"), `/usr/bin/bysudo is a script that is run by /usr/bin/sudo: the process goes on as another program` + ends},
		{"a script by sudo, with descendants", policy.Policy{Subject: policy.Subject{Binaries: []string{"/usr/bin/bysudo"}, Descendants: true}}, ``},
		{"a shell script with exec", by("/usr/bin/wrapper"), `/usr/bin/wrapper is a shell script with exec (line 4): from there on the process runs another program` + ends},
		{"an exception for a script", except(policy.Subject{Binaries: []string{"/usr/bin/direct"}}), `/usr/bin/direct is a script, so the exception is one for every user who may start it: they choose the environment (PYTHONPATH, PATH), and with it what the script does; add users or cgroups to the subject`},
		{"an exception for a script of a user", except(policy.Subject{Binaries: []string{"/usr/bin/direct"}, Users: policy.IDs{Ranges: []policy.IDRange{{}}}}), ``},
		{"cgroups", in("/system.slice/nginx.service", "/", "/*.slice"), ``},
		{"no such cgroup", in("/user.slice/x"), `on this machine there is no cgroup /user.slice/x now` + none},
		{"a misspelt cgroup", in("/system.slice/ngnix.service"), `on this machine there is no cgroup /system.slice/ngnix.service; did you mean /system.slice/nginx.service?`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var texts []string
			for _, w := range at(t, root).Warnings([]policy.Policy{tt.policy}) {
				texts = append(texts, w.Text)
			}
			if diff := cmp.Diff(tt.want, strings.Join(texts, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWarningsTellThePlace(t *testing.T) {
	p := policy.Policy{Name: "p", Source: "p.yaml:1:1", Subject: policy.Subject{Binaries: []string{"/no/such/binary"}}, Rules: []policy.Rule{
		{Operation: policy.FileOpen, Source: "p.yaml:7:5", Allow: []policy.Pattern{policy.FilePattern{Paths: []string{"/no/such/file"}}}},
		{Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: []string{"/no/such/file"}}}},
	}}
	var places []string
	for _, w := range Warnings([]policy.Policy{p}) {
		place, _, _ := strings.Cut(w.String(), "warning:")
		places = append(places, place)
	}
	want := []string{`p.yaml:1:1: policy "p": `, `p.yaml:7:5: policy "p": rule 0: `, `p.yaml:1:1: policy "p": rule 1: `}
	if diff := cmp.Diff(want, places); diff != "" {
		t.Error(diff)
	}
}

func TestWarningsAreBounded(t *testing.T) {
	var many []string
	for range 2 * maxLooks {
		many = append(many, "/no/such/"+strings.Repeat("x", len(many)%200)+"/file")
	}
	p := policy.Policy{Rules: []policy.Rule{{Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: many}}}}}
	m := At(nil)
	if w := m.Warnings([]policy.Policy{p}); len(w) != 1 || len(w[0].Text) > 2000 {
		t.Errorf("%d warnings: %v", len(w), w)
	}
	for range 3 * maxWarnings {
		p.Rules = append(p.Rules, policy.Rule{Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: []string{"/x[y]"}}}})
	}
	if w := m.Warnings([]policy.Policy{p, p, p}); len(w) > 10*maxWarnings {
		t.Errorf("%d warnings", len(w))
	}
}

// TestGuard has sets that deny the guard its own files, or to be started, and the same
// with an exception.
func TestGuard(t *testing.T) {
	everyone, guard := policy.Subject{Everyone: true}, policy.Subject{Binaries: []string{"/usr/bin/ebpfguard"}}
	rule := func(name string, s policy.Subject, o policy.Operation, allow, deny []policy.Pattern) policy.Policy {
		return policy.Policy{Name: name, Subject: s, Rules: []policy.Rule{{Operation: o, Allow: allow, Deny: deny}}}
	}
	files := func(access policy.Access, paths ...string) []policy.Pattern {
		return []policy.Pattern{policy.FilePattern{Paths: paths, Access: access}}
	}
	programs := func(paths ...string) []policy.Pattern {
		return []policy.Pattern{policy.ProgramPattern{Paths: paths}}
	}
	all := []policy.Pattern{policy.FilePattern{All: true}}
	pins := rule("pins", everyone, policy.FileOpen, nil, files(policy.Write, "/sys/fs/bpf/"))
	start := rule("start", everyone, policy.BprmCheckSecurity, nil, programs("/"))
	audited := pins
	audited.Mode = policy.ModeAudit
	for _, tt := range []struct {
		name string
		set  []policy.Policy
		want string // policies that are warned about
	}{
		{"nothing", nil, ""},
		{"its pins", []policy.Policy{pins}, "pins"},
		{"its pins, with an exception that names no access", []policy.Policy{pins, rule("but", guard, policy.FileOpen, files(0, "/sys/fs/bpf/"), nil)}, ""},
		{"its pins, with an exception that names less", []policy.Policy{pins, rule("but", guard, policy.FileOpen, files(0, "/sys/"), nil)}, "pins"},
		{"its pins, audited", []policy.Policy{audited}, ""},
		{"all files", []policy.Policy{rule("p", everyone, policy.FileOpen, files(0, "/usr/"), all)}, "p p"},
		{"its service", []policy.Policy{rule("p", policy.Subject{Cgroups: []string{"/system.slice"}}, policy.FileOpen, nil, files(policy.Read, "/sys/"))}, "p"},
		{"root", []policy.Policy{rule("p", policy.Subject{Users: policy.IDs{Names: []string{"root"}}}, policy.FileOpen, nil, files(policy.Write, "/var/"))}, "p"},
		{"another program", []policy.Policy{rule("p", policy.Subject{Binaries: []string{"/usr/sbin/nginx"}}, policy.FileOpen, nil, all)}, ""},
		{"its start", []policy.Policy{start}, "start"},
		{"its start, with an exception", []policy.Policy{start, rule("but", everyone, policy.BprmCheckSecurity, programs("/usr/bin/ebpfguard"), nil)}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var names []string
			for _, w := range Guard(tt.set) {
				names = append(names, w.Policy)
			}
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("warned about %q, want %q: %v", got, tt.want, Guard(tt.set))
			}
		})
	}
}

// FuzzScript finds no beginning of a script that panics.
func FuzzScript(f *testing.F) {
	for _, s := range []string{"", "#!", "#! /bin/sh -e\nexec \"$@\"\n", "#!\n", "#!" + strings.Repeat("x", 300), "\x7fELF"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, script string) {
		interpreter, line := interpreterOf(script), execLine(script)
		if strings.ContainsAny(interpreter, " \t\n") || line < 0 || line > 1+strings.Count(script, "\n") {
			t.Errorf("%q, line %d of %q", interpreter, line, script)
		}
	})
}
