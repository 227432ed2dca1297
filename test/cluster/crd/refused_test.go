//go:build k8s

package crd

import (
	"strings"
	"testing"
)

// denies is a spec with one rule.
func denies(operation, pattern string) string {
	return "subject: {}\nrules: [{operation: " + operation + ", deny: [" + pattern + "]}]"
}

// about is a spec with a subject.
func about(subject string) string {
	return "subject: " + subject + "\nrules: [{operation: file_open, deny: [{all: true}]}]"
}

// TestRefused has what is wrong, and what kubectl apply says of it: what to write instead.
func TestRefused(t *testing.T) {
	for _, test := range []struct{ name, kind, spec, want string }{
		{"no rules", "Policy", "subject: {}", "spec.rules: Required value"},
		{"empty rules", "Policy", "{subject: {}, rules: []}", "should have at least 1 items"},
		{"no subject", "Policy", "rules: [{operation: file_open, deny: [{all: true}]}]", "spec.subject: Required value"},
		{"unknown field", "Policy", about("{binary: [/bin/sh]}"), `unknown field "spec.subject.binary"`},
		{"unknown mode", "Policy", "mode: block\n" + about("{}"), `supported values: "enforce", "audit"`},
		{"unknown operation", "Policy", denies("socket_listen", "{all: true}"), `supported values: "bprm_check_security", "file_open"`},
		{"no allow, no deny", "Policy", "subject: {}\nrules: [{operation: file_open}]", "the rule neither allows nor denies anything; add allow or deny"},
		{"short form", "Policy", "subject: {}\nrules: [{operation: file_open, deny: all}]", "must be of type array"},
		{"empty pattern", "Policy", denies("file_open", "{}"), "should have at least 1 properties"},
		{"all and more", "Policy", denies("file_open", "{all: true, paths: [/etc/]}"), "leave out all or them"},
		{"all: false", "Policy", denies("file_open", "{all: false}"), "write true or leave the pattern out"},

		{"relative path", "Policy", denies("file_open", "{paths: [etc/shadow]}"), "the path is not absolute; write the whole path, such as /etc/shadow"},
		{"empty path", "Policy", denies("file_open", "{paths: ['']}"), "should be at least 1 chars long"},
		{"path with ..", "Policy", denies("file_open", "{paths: [/etc/../shadow]}"), "in body should match"},
		{"path with //", "Policy", denies("file_open", "{paths: [/etc//shadow]}"), "in body should match"},
		{"two slashes", "Policy", denies("file_open", "{paths: [//]}"), "in body should match"},
		{"bad glob", "Policy", denies("file_open", "{paths: ['/etc/[a-z]*']}"), "path /etc/[a-z]*: a glob has only *, ? and ** as wildcards"},
		{"** in a component", "Policy", denies("file_open", "{paths: ['/etc/**a']}"), "** can only be a whole component; write * or split the component"},
		{"** twice", "Policy", denies("file_open", "{paths: ['/etc/**/**']}"), "** follows **, which is the same as one; remove one"},
		{"**/", "Policy", denies("file_open", "{paths: ['/etc/**/']}"), "it ends in **/, which is the same as **; remove the slash"},
		{"deep path", "Policy", denies("file_open", "{paths: ['"+strings.Repeat("/a", 65)+"']}"), "it has more than 64 components; name a directory above"},
		{"long component", "Policy", denies("file_open", "{paths: ['/"+strings.Repeat("ä", 128)+"']}"), "it has a component of more than 255 bytes; shorten it"},
		{"long path", "Policy", denies("file_open", "{paths: ['"+strings.Repeat("/"+strings.Repeat("a", 199), 21)+"']}"), "may not be more than 4095 bytes"},
		{"NUL in a path", "Policy", denies("file_open", `{paths: ["/a\0b"]}`), "it contains a NUL, which no path can; remove it"},
		{"unknown access", "Policy", denies("file_open", "{access: [execute]}"), `supported values: "read", "write", "exec"`},
		{"access twice", "Policy", denies("file_open", "{access: [read, read]}"), "an access is listed twice; remove one"},
		{"kind twice", "Policy", denies("file_open", "{kinds: [pipe, pipe]}"), "a kind is listed twice; remove one"},
		{"paths and kinds", "Policy", denies("file_open", "{paths: [/a], kinds: [pipe]}"), "paths and kinds cannot be combined, since what is of a kind has no path; write two patterns"},
		{"fileless: false", "Policy", denies("bprm_check_security", "{paths: [/a], fileless: false}"), "fileless can only be true; leave it out"},
		{"no_args: false", "Policy", denies("bprm_check_security", "{paths: [/a], no_args: false}"), "no_args can only be true; leave it out"},

		{"ports of a file", "Policy", denies("file_open", "{ports: [22]}"), "addresses, ports and protocols belong to socket_bind and socket_connect"},
		{"access of a program", "Policy", denies("bprm_check_security", "{paths: [/a], access: [exec]}"), "access and kinds belong to file_open"},
		{"fileless file", "Policy", denies("file_open", "{fileless: true}"), "fileless and no_args belong to bprm_check_security"},
		{"paths of a mount", "Policy", denies("sb_mount", "{paths: [/mnt]}"), "name targets for sb_mount, sb_remount and sb_umount"},
		{"targets of a file", "Policy", denies("file_open", "{targets: [/mnt]}"), "targets, types and flags belong to sb_mount"},
		{"sources of umount", "Policy", denies("sb_umount", "{sources: [/dev/sda]}"), "sources belongs to sb_mount and sb_remount"},
		{"to of a socket", "Policy", denies("socket_bind", "{to: {uids: [0]}}"), "from and to belong to task_fix_setuid"},
		{"flags of mount", "Policy", denies("sb_mount", "{flags: [detach]}"), "detach and force are flags of sb_umount"},
		{"flags of remount", "Policy", denies("sb_remount", "{flags: [move]}"), "the flags of sb_remount are bind, rec"},
		{"flags of umount", "Policy", denies("sb_umount", "{flags: [ro]}"), "the flags of sb_umount are detach and force"},
		{"unknown flag", "Policy", denies("sb_mount", "{flags: [rbind]}"), "Unsupported value"},
		{"flag twice", "Policy", denies("sb_mount", "{flags: [ro, bind, ro]}"), "a flag is listed twice; remove one"},
		{"relative target", "Policy", denies("sb_mount", "{targets: [mnt]}"), "the target is not absolute; write the whole path"},
		{"type with a subtype", "Policy", denies("sb_mount", "{types: [fuse.sshfs]}"), "in body should match"},
		{"bad glob of a source", "Policy", denies("sb_mount", "{sources: ['/dev/{a,b}*']}"), "source /dev/{a,b}*: a glob has only *, ? and ** as wildcards"},
		{"*** of a source", "Policy", denies("sb_mount", "{sources: ['/dev/***']}"), "*** means nothing; write * or **"},
		{"glob of a source with a slash", "Policy", denies("sb_mount", "{sources: ['/dev/*/']}"), "a glob of a source cannot end in a slash; write ** after it"},
		{"empty source", "Policy", denies("sb_mount", "{sources: ['']}"), "should be at least 1 chars long"},

		{"port of 70000", "Policy", denies("socket_bind", "{ports: [70000]}"), "this is no port; write a number from 0 to 65535 without quotes, or a range such as 2200-2299"},
		{"port below 0", "Policy", denies("socket_bind", "{ports: [-1]}"), "this is no port; write a number from 0 to 65535"},
		{"port in quotes", "Policy", denies("socket_bind", "{ports: ['22']}"), "this is no port; write a number from 0 to 65535 without quotes"},
		{"name of a port", "Policy", denies("socket_bind", "{ports: [ssh]}"), "this is no port; write a number"},
		{"range backwards", "Policy", denies("socket_bind", "{ports: [2299-2200]}"), "this is no port; write a number"},
		{"range too far", "Policy", denies("socket_bind", "{ports: [60000-70000]}"), "this is no port; write a number"},
		{"range with zeros", "Policy", denies("socket_bind", "{ports: [022-023]}"), "this is no port; write a number"},
		{"broken port", "Policy", denies("socket_bind", "{ports: [22.5]}"), "must be of type integer"},
		{"no address", "Policy", denies("socket_connect", "{addresses: [localhost]}"), "in body should match"},
		{"wrong address", "Policy", denies("socket_connect", "{addresses: [10.0.0.256]}"), "10.0.0.256 is no address; write an address or CIDR such as 10.0.0.0/8 or ::1"},
		{"wrong CIDR", "Policy", denies("socket_connect", "{addresses: [10.0.0.0/33]}"), "10.0.0.0/33 is no CIDR; write an address or CIDR such as 10.0.0.0/8 or ::1"},
		{"bits after the prefix", "Policy", denies("socket_connect", "{addresses: [10.0.0.1/8]}"), "10.0.0.1/8 has bits set after the prefix; write 10.0.0.0/8"},
		{"zone", "Policy", denies("socket_connect", "{addresses: ['fe80::1%eth0']}"), "in body should match"},
		{"unknown protocol", "Policy", denies("socket_bind", "{protocols: [mptcp]}"), `supported values: "tcp", "udp"`},

		{"uids and gids", "Policy", denies("task_fix_setuid", "{to: {uids: [0], gids: [0]}}"), "a pattern cannot have both uids and gids in to; write two patterns"},
		{"empty identity", "Policy", denies("task_fix_setuid", "{from: {}}"), "should have at least 1 properties"},
		{"id too large", "Policy", denies("task_fix_setuid", "{to: {uids: [4294967295]}}"), "there is no id 4294967295; the largest is 4294967294"},
		{"id below 0", "Policy", denies("task_fix_setuid", "{to: {gids: [-1]}}"), "there is no id -1; the largest is 4294967294"},
		{"ids backwards", "Policy", denies("task_fix_setuid", "{from: {uids: [2000-1000]}}"), "the range 2000-1000 is empty; write 1000-2000"},
		{"ids too far", "Policy", denies("task_fix_setuid", "{from: {gids: [1000-5000000000]}}"), "the range 1000-5000000000 ends after the largest id"},
		{"id in quotes", "Policy", denies("task_fix_setuid", "{from: {gids: ['1000']}}"), "in body should match"},
		{"id with a slash", "Policy", denies("task_fix_setuid", "{from: {gids: [a/b]}}"), "in body should match"},

		{"revoke of a program", "Policy", "subject: {}\nrules: [{operation: bprm_check_security, deny: [{all: true}], revoke: true}]", "revoke is about files and sockets that are open already"},
		{"verdict allow", "Policy", "subject: {}\nrules: [{operation: file_open, deny: [{all: true}], verdict: allow}]", `supported values: "deny", "kill", "audit"`},
		{"unknown severity", "Policy", "subject: {}\nrules: [{operation: file_open, deny: [{all: true}], severity: urgent}]", `supported values: "info", "low", "medium"`},
		{"long message", "Policy", "subject: {}\nrules: [{operation: file_open, deny: [{all: true}], message: '" + strings.Repeat("ä", 600) + "'}]", "the message of a rule has more than 1024 bytes; shorten it"},
		{"long tag", "Policy", "subject: {}\nrules: [{operation: file_open, deny: [{all: true}], tags: ['" + strings.Repeat("ä", 40) + "']}]", "a tag has more than 64 bytes; shorten it"},
		{"empty tag", "Policy", "subject: {}\nrules: [{operation: file_open, deny: [{all: true}], tags: ['']}]", "should be at least 1 chars long"},
		{"limit 0", "Policy", "subject: {}\nrules: [{operation: file_open, deny: [{all: true}], alert_limit: 0}]", "should be greater than or equal to 1"},

		{"relative binary", "Policy", about("{binaries: [sshd]}"), "the binary is not absolute; write the whole path, such as /usr/sbin/sshd, or /**/sshd wherever it is"},
		{"binary with ..", "Policy", about("{binaries: [/usr/../sshd]}"), "the binary is not a clean path; write it without //, /./ and /../"},
		{"binary twice", "Policy", about("{binaries: [/a, /a]}"), "a value of the subject is listed twice; remove one"},
		{"bad glob of a binary", "Policy", about("{binaries: ['/**a']}"), "** can only be a whole component"},
		{"descendants of nobody", "Policy", about("{descendants: true}"), "descendants needs binaries"},
		{"no user", "Policy", about("{users: ['a b']}"), "this is no user; write a number without quotes, a range such as 1000-1999, or a name"},
		{"user in quotes", "Policy", about("{users: ['1000']}"), "this is no user; write a number without quotes"},
		{"users backwards", "Policy", about("{users: [2000-1000]}"), "the range 2000-1000 is empty; write 1000-2000"},
		{"container's name with a slash", "Policy", about("{containers: [{names: [shop/web]}]}"), "the container's name has a slash; write the name alone, such as web"},
		{"image with a scheme", "Policy", about("{containers: [{images: ['https://nginx']}]}"), "this is no image; write a reference without a scheme"},
		{"image without a digest", "Policy", about("{pods: [{images: ['nginx@latest']}]}"), "this is no image; write a reference"},
		{"runtime", "Policy", about("{containers: [{runtimes: [Docker]}]}"), "this is no runtime; write containerd, cri-o"},
		{"label with a wildcard", "Policy", about("{pods: [{labels: {'app*': [web]}}]}"), "write the whole key, wildcards are for its value"},
		{"label without values", "Policy", about("{pods: [{labels: {app: []}}]}"), "should have at least 1 items"},
		{"label with one value", "Policy", about("{pods: [{labels: {app: web}}]}"), "must be of type array"},
		{"label value twice", "Policy", about("{pods: [{labels: {app: [web, web]}}]}"), "a value of the subject is listed twice; remove one"},
		{"label value with a tab", "Policy", about(`{pods: [{notLabels: {app: ["a\tb"]}}]}`), "a value of the subject has a control character; remove it"},
		{"pod's name", "Policy", about("{pods: [{names: [Web]}]}"), "this is no name of a pod"},
		{"service account", "Policy", about("{pods: [{serviceAccounts: [a/b]}]}"), "this is no service account"},
		{"owner without a kind", "Policy", about("{pods: [{owners: [web]}]}"), "this is no owner; write KIND/NAME"},
		{"owner in small letters", "Policy", about("{pods: [{owners: [deployment/web]}]}"), "this is no owner; write KIND/NAME with the kind as manifests have it"},

		{"another namespace", "Policy", about("{pods: [{namespaces: [data]}]}"), "a Policy is about the pods of its namespace, shop, and its pods name others; leave out namespaces, or write a ClusterPolicy"},
		{"another namespace beside its own", "Policy", about("{pods: [{namespaces: [shop]}, {namespaces: ['d*']}]}"), "its pods name others"},
		{"host", "Policy", about("{host: true}"), "a Policy is about the pods of its namespace; write a ClusterPolicy for hosts"},
		{"control group", "Policy", about("{cgroups: [/system.slice]}"), "a Policy cannot name control groups, which are the node's; select pods, or write a ClusterPolicy"},
		{"processes", "Policy", about("{processes: [{pid: 1, start: 0}]}"), `unknown field "spec.subject.processes"`},
		{"until", "Policy", "until: 5\n" + about("{}"), `unknown field "spec.until"`},

		{"host and pods", "ClusterPolicy", about("{host: true, pods: [{}]}"), "which no process is in; leave out one of them, or write two policies"},
		{"host: false", "ClusterPolicy", about("{host: false}"), "host: false selects nobody; write true, or leave it out for everyone"},
		{"host by namespaces", "ClusterPolicy", "namespaceSelector: {}\n" + about("{host: true}"), "the host, which is in no namespace and no pod; leave out namespaceSelector and podSelector"},
		{"control group with a slash", "ClusterPolicy", about("{cgroups: [/system.slice/]}"), "this is no control group; write its clean path"},
		{"control group from its mount", "ClusterPolicy", about("{cgroups: [/sys/fs/cgroup/system.slice]}"), "from the root of the hierarchy"},
		{"relative control group", "ClusterPolicy", about("{cgroups: [system.slice]}"), "this is no control group"},
		{"In without values", "ClusterPolicy", "podSelector: {matchExpressions: [{key: a, operator: In}]}\n" + about("{}"), "In and NotIn have values"},
		{"Exists with values", "ClusterPolicy", "nodeSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}\n" + about("{}"), "Exists and DoesNotExist have none"},
		{"operator", "ClusterPolicy", "nodeSelector: {matchExpressions: [{key: a, operator: Is}]}\n" + about("{}"), "there is no other operator"},
		{"selector's key", "ClusterPolicy", "podSelector: {matchLabels: {'a b': c}}\n" + about("{}"), "a selector has a key that no label can have"},
		{"selector's value", "ClusterPolicy", "podSelector: {matchLabels: {app: 'web-*'}}\n" + about("{}"), "a selector has a value that no label can have"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := object(t, test.kind, "p", test.spec)
			_, err := ask(t, plane.Admin(), o)
			if err == nil {
				t.Fatal("the API server takes it")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if hostTakes(t, o) {
				t.Error("an agent takes it, and validate does")
			}
		})
	}
}

// TestNames has names that are too long with what an agent writes before them.
func TestNames(t *testing.T) {
	for length, kind := range map[int]string{242: "Policy", 240: "ClusterPolicy"} {
		name := strings.Repeat("n", length)
		o := object(t, kind, name, about("{}"))
		if _, err := ask(t, plane.Admin(), o); err == nil || !strings.Contains(err.Error(), "shorten the name") && !strings.Contains(err.Error(), "shorten it") {
			t.Errorf("%s: a name of %d characters: %v", kind, length, err)
		}
		if hostTakes(t, o) {
			t.Errorf("%s: an agent takes a name of %d characters", kind, length)
		}
		o.SetName(name[1:])
		if _, err := ask(t, plane.Admin(), o); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if !hostTakes(t, o) {
			t.Errorf("%s: no agent takes a name of %d characters", kind, length-1)
		}
	}
	o := object(t, "Policy", "p", about("{}"))
	o.SetNamespace(Namespace)
	if _, err := ask(t, plane.Admin(), o); err == nil || !strings.Contains(err.Error(), "this is the guard's own namespace") {
		t.Errorf("a Policy in the guard's namespace: %v", err)
	}
}
