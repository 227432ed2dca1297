package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebpfguard/ebpfguard/internal/cputime"
)

func TestParseOperations(t *testing.T) {
	const text = header + `spec:
  subject:
    binaries: [/usr/sbin/nginx, /opt/, "/usr/lib/*/x"]
    descendants: true
    users: [0, 1000-2000, www-data]
    cgroups: [/system.slice/nginx.service, "/user.slice/*"]
  rules:
  - operation: file_open
    deny:
    - paths: [/etc/shadow, /etc/ssl/, "/home/*/.ssh/**"]
      access: [write, read]
    - {access: [exec]}
    verdict: kill
    revoke: true
  - operation: bprm_check_security
    allow: {paths: [/usr/bin/]}
    deny: [all, {fileless: true, no_args: true}]
    verdict: audit
  - operation: sb_mount
    allow: {sources: [/dev/sda1, "/dev/disk/**"], targets: [/mnt/], types: [ext4, xfs], flags: [new, ro]}
    deny: all
    verdict: deny
  - operation: sb_remount
    deny: {flags: [rw, bind]}
  - operation: sb_umount
    deny: {flags: [detach, force], types: [proc]}
  - operation: task_fix_setuid
    deny:
    - from: {uids: [1000-60000], gids: [users]}
      to: {uids: [0, daemon]}
    - to: {gids: [0-10]}
  - operation: socket_connect
    deny: {addresses: [169.254.169.254], ports: [80], protocols: [tcp]}
`
	want := Policy{
		Name: "p", Mode: ModeEnforce,
		Subject: Subject{
			Binaries: []string{"/usr/sbin/nginx", "/opt/", "/usr/lib/*/x"}, Descendants: true,
			Users:   IDs{Ranges: []IDRange{{0, 0}, {1000, 2000}}, Names: []string{"www-data"}},
			Cgroups: []string{"/system.slice/nginx.service", "/user.slice/*"},
		},
		Rules: []Rule{
			{Operation: FileOpen, Deny: patterns{paths("/etc/shadow", "/etc/ssl/", "/home/*/.ssh/**").to(Read | Write), FilePattern{Access: Exec}}, Verdict: Kill, Revoke: true},
			{Operation: BprmCheckSecurity, Allow: patterns{programs("/usr/bin/")}, Deny: patterns{ProgramPattern{All: true}, ProgramPattern{Fileless: true, NoArgs: true}}, Verdict: Audit},
			{Operation: SbMount, Allow: patterns{MountPattern{Sources: []string{"/dev/sda1", "/dev/disk/**"}, Targets: []string{"/mnt/"}, Types: []string{"ext4", "xfs"}, Flags: MountNew | MountReadOnly}}, Deny: patterns{MountPattern{All: true}}, Verdict: Deny},
			{Operation: SbRemount, Deny: patterns{MountPattern{Flags: MountReadWrite | MountBind}}},
			{Operation: SbUmount, Deny: patterns{MountPattern{Types: []string{"proc"}, Flags: MountDetach | MountForce}}},
			{Operation: TaskFixSetuid, Deny: patterns{
				CredentialsPattern{From: Identity{UIDs: ids(1000, 60000), GIDs: IDs{Names: []string{"users"}}}, To: Identity{UIDs: IDs{Ranges: []IDRange{{0, 0}}, Names: []string{"daemon"}}}},
				CredentialsPattern{To: Identity{GIDs: ids(0, 10)}},
			}},
			{Operation: SocketConnect, Deny: patterns{both(ports(80), addresses("169.254.169.254/32"), protocol(TCP))}},
		},
	}
	got, err := Parse("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Policy{want}, got, ignoreSource); diff != "" {
		t.Error(diff)
	}
	again, err := Parse("p.yaml", Format(got))
	if err != nil {
		t.Fatalf("%s\n%v", Format(got), err)
	}
	if diff := cmp.Diff(got, again, ignoreSource); diff != "" {
		t.Error(diff)
	}
}

func TestParseOperationErrors(t *testing.T) {
	deny := func(o Operation, p string) string { return ruled("operation: " + string(o) + "\ndeny: " + p) } // at 8:11
	subject := func(s string) string {                                                                      // at 5:12
		return header + "spec:\n  subject: " + s + "\n  rules: [{operation: socket_bind, deny: all}]\n"
	}
	for _, tt := range []struct{ text, want string }{
		{deny(FileOpen, "{ports: [1]}"), `8:12: rule 0: unknown field "ports" of pattern; choose from paths, access, kinds, all`},
		{deny(FileOpen, "{}"), `8:11: rule 0: the pattern names nothing; write all to select every file`},
		{deny(FileOpen, "/etc"), `8:11: rule 0: pattern must be a mapping, not "/etc"; write deny: all or deny: {paths: [...]}`},
		{deny(FileOpen, "{paths: /etc}"), `8:19: rule 0: paths must be a list, not "/etc"; write a list: [/etc]`},
		{deny(FileOpen, "{paths: [etc]}"), `8:20: rule 0: path "etc" is not absolute; write the whole path, such as /etc`},
		{deny(FileOpen, `{paths: ["/etc/[a]*"]}`), `8:20: rule 0: path "/etc/[a]*": "[" is not part of the glob syntax, which has only *, ? and **; write several patterns, or ? for this byte`},
		{deny(FileOpen, "{access: [raed]}"), `8:21: rule 0: unknown access "raed"; did you mean read?`},
		{deny(FileOpen, "{access: [execute]}"), `8:21: rule 0: unknown access "execute"; did you mean exec?`},
		{deny(FileOpen, "{access: [read, read]}"), `8:27: rule 0: access read is listed twice; remove one`},
		{deny(FileOpen, "all\nrevoke: yes"), `9:13: rule 0: revoke must be true or false, not "yes"; write one of them`},
		{deny(FileOpen, "all\nverdict: allow"), `9:14: rule 0: a rule's verdict says what its deny means, so it cannot be allow; use audit, deny or kill`},
		{deny(FileOpen, "all\nverdict: kil"), `9:14: rule 0: unknown verdict "kil"; did you mean kill?`},
		{deny(SbMount, "all\nrevoke: true"), `9:13: rule 0: revoke is about files and sockets that are open already, so it belongs to file_open, socket_bind and socket_connect; leave it out`},
		{deny(BprmCheckSecurity, "{fileless: false}"), `8:22: rule 0: fileless can only be true; leave it out to select programs with and without it`},
		{deny(BprmCheckSecurity, "{no_args: 1}"), `8:21: rule 0: no_args must be true or false, not 1; write one of them`},
		{deny(SbMount, "{types: [fuse.sshfs]}"), `8:20: rule 0: type "fuse.sshfs" has a subtype, which policies cannot match; write fuse`},
		{deny(SbMount, "{types: [a/b]}"), `8:20: rule 0: "a/b" is no type of filesystem; write one such as ext4, or a line of /proc/filesystems`},
		{deny(SbMount, "{flags: [nosiud]}"), `8:20: rule 0: unknown flag "nosiud"; did you mean nosuid?`},
		{deny(SbMount, "{flags: [readonly]}"), `8:20: rule 0: unknown flag "readonly"; did you mean ro?`},
		{deny(SbMount, "{flags: [detach]}"), `8:20: rule 0: sb_mount has no flag detach; its flags are new, bind, rec, move, shared, private, slave, unbindable, pivot, ro, rw, nosuid, suid, nodev, dev, noexec, exec, noatime, sync`},
		{deny(SbUmount, "{flags: [ro, detach]}"), `8:20: rule 0: sb_umount has no flag ro; its flags are detach, force`},
		{deny(SbRemount, "{flags: [move]}"), `8:20: rule 0: sb_remount has no flag move; its flags are bind, rec, ro, rw, nosuid, suid, nodev, dev, noexec, exec, noatime, sync`},
		{deny(SbMount, "{flags: [ro, ro]}"), `8:24: rule 0: flag ro is listed twice; remove one`},
		{deny(SbUmount, "{sources: [/dev/sda]}"), `8:11: rule 0: sources are not known when something is unmounted; name targets or types`},
		{deny(SbMount, `{sources: ["/dev/*/"]}`), `8:22: rule 0: source "/dev/*/": a glob of a source cannot end in a slash; write /dev/*/**`},
		{deny(SbMount, "{targets: [mnt]}"), `8:22: rule 0: target "mnt" is not absolute; write the whole path, such as /mnt`},
		{deny(TaskFixSetuid, "{uids: [0]}"), `8:12: rule 0: unknown field "uids" of pattern; choose from from, to, all`},
		{deny(TaskFixSetuid, "0"), `8:11: rule 0: pattern must be a mapping, not 0; write deny: all or deny: {to: {uids: [...]}}`},
		{deny(TaskFixSetuid, "{to: {}}"), `8:16: rule 0: to names nothing; write to: {uids: [...]} or leave it out`},
		{deny(TaskFixSetuid, "{to: {uid: [0]}}"), `8:17: rule 0: unknown field "uid" of to; did you mean uids?`},
		{deny(TaskFixSetuid, "{to: {uids: 0}}"), `8:23: rule 0: uids must be a list, not 0; write a list: [0]`},
		{deny(TaskFixSetuid, "{to: {uids: [-1]}}"), `8:24: rule 0: uids: -1 is not a plain decimal number; write a number, a range such as 1000-2000 or a name`},
		{deny(TaskFixSetuid, "{to: {uids: [4294967295]}}"), `8:24: rule 0: uids: there is no id 4294967295; the largest is 4294967294`},
		{deny(TaskFixSetuid, "{to: {uids: [5-1]}}"), `8:24: rule 0: uids: the range 5-1 is empty; write 1-5`},
		{deny(TaskFixSetuid, "{to: {uids: [05-6]}}"), `8:24: rule 0: uids: the range "05-6" has leading zeros; remove them`},
		{deny(TaskFixSetuid, `{to: {uids: ["0"]}}`), `8:24: rule 0: uids: "0" is a string; write it without the quotes`},
		{deny(TaskFixSetuid, `{to: {uids: ["a b"]}}`), `8:24: rule 0: uids: "a b" is no name of a user or group; write a name, a number or a range such as 1000-2000`},
		{deny(TaskFixSetuid, "{to: {uids: [true]}}"), `8:24: rule 0: uids: an id cannot be true; write a number, a range such as 1000-2000 or a name`},
		{deny(TaskFixSetuid, "{to: {uids: [0], gids: [0]}}"), `8:11: rule 0: each id that changes is judged by itself, so a pattern cannot have both uids and gids; write a list of two patterns`},
		{deny(SocketConnect, "{addresses_from: [\"\"]}"), `8:29: rule 0: addresses_from names an empty file name; write the name of a file`},
		{subject("{descendants: true}"), `5:12: the subject has descendants, but no binaries; name the binaries whose descendants are meant`},
		{subject("{descendants: 1, binaries: [/a]}"), `5:26: descendants must be true or false, not 1; write one of them`},
		{subject("{binaries: [/a/**b]}"), `5:24: binary "/a/**b": ** can only be a whole component; write * or split the component`},
		{subject("{users: []}"), `5:20: users is an empty list; add a value or leave the field out`},
		{subject("{users: [1000-]}"), `5:21: users: "1000-" is a number or range and no name; write it as such`},
		{subject("{cgroups: [a.slice]}"), `5:23: cgroup "a.slice" is not absolute; write its path from the root of the hierarchy such as /system.slice/nginx.service`},
		{subject("{cgroups: [/a/]}"), `5:23: cgroup "/a/" ends in a slash; remove it, what is below a group is always included`},
		{subject("{cgroups: [/a/**]}"), `5:23: cgroup "/a/**": ** is not possible here; write * for each level, what is below a group is always included`},
		{subject("{cgroups: [/sys/fs/cgroup/a]}"), `5:23: cgroup "/sys/fs/cgroup/a" begins with the mount point of the hierarchy; write /a`},
		{subject("{cgroups: [/a, /a]}"), `5:27: cgroup "/a" is listed already on line 5; remove one`},
	} {
		set, err := Parse("p.yaml", []byte(tt.text))
		if err == nil {
			t.Errorf("no error for\n%s", tt.text)
			continue
		}
		got := strings.TrimPrefix(strings.ReplaceAll(err.Error(), `policy "p": `, ""), "p.yaml:")
		if got != tt.want || set != nil {
			t.Errorf("%s\n got %s\nwant %s", tt.text, got, tt.want)
		}
	}
}

// A hundred thousand paths in one rule, and as many rules, are read, formatted
// and checked in seconds.
func TestLargeSets(t *testing.T) {
	if testing.Short() {
		t.Skip("large files")
	}
	const n = 100_000
	var wide, deep strings.Builder
	wide.WriteString(header + "spec:\n  subject: {}\n  rules:\n  - operation: file_open\n    deny:\n      paths:\n")
	deep.WriteString(strings.Replace(header, "name: p", "name: q", 1) + "spec:\n  subject: {binaries: [/a]}\n  rules:\n")
	for i := range n {
		fmt.Fprintf(&wide, "      - /srv/%d/%d\n", i%1000, i)
		fmt.Fprintf(&deep, "  - {operation: file_open, deny: {paths: [/var/%d/%d]}}\n", i%1000, i)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"wide.yaml": wide.String(), "deep.yaml": deep.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	steps := []struct {
		name string
		do   func(set []Policy) ([]Policy, error)
	}{
		{"Load", func([]Policy) ([]Policy, error) { return Load(dir) }},
		{"Validate", func(set []Policy) ([]Policy, error) { return set, Validate(set) }},
		{"ResolveNames", func(set []Policy) ([]Policy, error) { return ResolveNames(set, nil, nil) }},
		{"Format", func(set []Policy) ([]Policy, error) { return set, formatted(set) }},
		{"Warnings", func(set []Policy) ([]Policy, error) {
			if w := Warnings(set); len(w) > maxWarnings {
				return nil, fmt.Errorf("%d warnings", len(w))
			}
			return set, nil
		}},
		{"Decide", func(set []Policy) ([]Policy, error) {
			d := Decide(set, Request{Process: Process{Binary: "/a"}, Operation: FileOpen, Object: File{Names: file("/var/999/99999"), Access: Read}})
			if d.Verdict != Deny || d.Rule != n-1 {
				return nil, fmt.Errorf("%+v", d)
			}
			return set, nil
		}},
	}
	var set []Policy
	for _, step := range steps {
		start := cputime.Used()
		var err error
		if set, err = step.do(set); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		used := cputime.Used() - start
		t.Logf("%s: %v of processor time", step.name, used)
		if used > 20*time.Second {
			t.Errorf("%s took %v of processor time", step.name, used)
		}
	}
}

func formatted(set []Policy) error {
	if len(Format(set)) == 0 {
		return fmt.Errorf("nothing")
	}
	return nil
}
