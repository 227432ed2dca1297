//go:build k8s

package crd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/policy"
)

// TestTaken has what is unusual and right.
func TestTaken(t *testing.T) {
	for _, test := range []struct{ name, kind, spec string }{
		{"everything", "Policy", "subject: {}\nrules: [{operation: file_open, allow: [{all: true}]}]"},
		{"root", "Policy", denies("file_open", "{paths: [/, /..., /.a, /a..b/, '/**', '/*', /home/*/.ssh/]}")},
		{"brackets without a wildcard", "Policy", denies("file_open", "{paths: ['/srv/[a]{b}/']}")},
		{"a path of 4095 bytes", "Policy", denies("file_open", "{paths: ['"+strings.Repeat("/"+strings.Repeat("a", 194), 21)+"']}")},
		{"64 components", "Policy", denies("file_open", "{paths: ['"+strings.Repeat("/a", 64)+"/']}")},
		{"kinds", "Policy", denies("file_open", "{kinds: [pipe, memfd, socket, deleted], access: [exec]}")},
		{"sources", "Policy", denies("sb_mount", "{sources: [tmpfs, /dev/, '/dev/**', 'a b', 'x[1]'], types: [ext4, ext4, a+b], flags: [new, rec, ro]}")},
		{"remount", "Policy", denies("sb_remount", "{flags: [bind, rec, rw, exec]}")},
		{"umount", "Policy", denies("sb_umount", "{targets: [/mnt/], types: [nfs], flags: [detach, force]}")},
		{"identities", "Policy", denies("task_fix_setuid", "{from: {uids: [0, 4294967294, 3000000000-4294967294, alice, 0a]}, to: {gids: [0-0, wheel]}}")},
		{"ports", "Policy", denies("socket_bind", "{ports: [0, 0, 65535, 0-0, 0-65535, 22-22], protocols: [tcp, tcp, raw]}")},
		{"addresses", "Policy", denies("socket_connect", "{addresses: [10.0.0.1, 0.0.0.0/0, '::', '::/0', 2001:DB8::/32, '0:0::1', '::ffff:10.0.0.1', '::ffff:10.0.0.0/104', 10.0.0.1/32]}")},
		{"all of a rule", "Policy", "mode: audit\nsubject: {}\nrules: [{operation: file_open, deny: [{all: true}], verdict: kill, revoke: true, message: '', severity: low, tags: [a, a], alert_limit: 1000000}]"},
		{"revoke: false", "Policy", "subject: {}\nrules: [{operation: file_open, deny: [{all: true}], revoke: false}]"},
		{"binaries", "Policy", about("{binaries: [/usr/sbin/sshd, /opt/, '/**/sshd'], descendants: false}")},
		{"users", "Policy", about("{users: [0, 1000-1999, alice, 4294967294]}")},
		{"any container", "Policy", about("{containers: [{}], pods: [{}]}")},
		{"containers", "Policy", about("{containers: [{names: ['web-*'], images: [nginx, 'nginx:', 'localhost:5000/a:1@sha256:abc', ghcr.io/acme/**], labels: {app: ['', '*'], a.b/c: [d]}, runtimes: [cri-o]}]}")},
		{"pods", "Policy", about("{pods: [{namespaces: [data, 's*'], names: ['web-?'], labels: {app: [web]}, notLabels: {tier: ['*']}, containers: [web], images: [nginx], serviceAccounts: ['*'], owners: [Deployment/web, My-Kind/*]}]}")},
		{"host", "ClusterPolicy", about("{host: true, cgroups: [/, /system.slice/ssh.service, '/a*/?']}")},
		{"host: false", "ClusterPolicy", about("{host: false, users: [0]}")},
		{"selectors", "ClusterPolicy", "namespaceSelector: {matchLabels: {team: web}}\nnodeSelector: {}\npodSelector: {matchExpressions: [{key: a.b/c, operator: In, values: [d, '']}, {key: e, operator: DoesNotExist}]}\noverridable: true\n" + about("{users: [0]}")},
		{"a label of both", "ClusterPolicy", "podSelector: {matchLabels: {app: web}, matchExpressions: [{key: app, operator: Exists}]}\n" + about("{pods: [{labels: {app: ['w*']}}]}")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := object(t, test.kind, "p", test.spec)
			stored, err := ask(t, plane.Admin(), o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := judge(t, stored); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLeftToValidate has what the API server takes and agents refuse: all of that is in onlyValidate.
func TestLeftToValidate(t *testing.T) {
	var binaries []string
	for i := range 17 {
		binaries = append(binaries, fmt.Sprintf("/bin/%d", i))
	}
	for name, spec := range map[string]string{
		"a value twice, of many":       about("{binaries: [" + strings.Join(append(binaries, "/bin/1"), ", ") + "]}"),
		"IPv4 written as IPv6":         denies("socket_connect", "{addresses: ['::ffff:10.0.0.0/64']}"),
		"bits after the prefix, so":    denies("socket_connect", "{addresses: ['::ffff:10.0.0.1/104']}"),
		"no IPv4, written as IPv6":     denies("socket_connect", "{addresses: ['::ffff:10.0.0.256']}"),
		"a long name of other letters": about("{containers: [{names: [" + strings.Repeat("ä", 300) + "]}]}"),
		"a user with a wide blank":     denies("task_fix_setuid", `{to: {uids: ["a\u3000b"]}}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stored, err := ask(t, plane.Admin(), object(t, "Policy", "p", spec))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := judge(t, stored); err == nil || !onlyValidate.MatchString(err.Error()) {
				t.Errorf("agents say %v", err)
			}
		})
	}
}

// TestLimits has what a host takes and an object cannot have: the doc comment of PolicySpec and docs/kubernetes.md say so.
func TestLimits(t *testing.T) {
	list := func(n int, value string) string { return "[" + strings.Repeat(value+", ", n-1) + value + "]" }
	numbered := func(n int, format string) string {
		var values []string
		for i := range n {
			values = append(values, fmt.Sprintf(format, i))
		}
		return "[" + strings.Join(values, ", ") + "]"
	}
	for name, limit := range map[string]struct {
		most int
		spec func(n int) string
	}{
		"rules": {64, func(n int) string {
			return "subject: {}\nrules: " + list(n, "{operation: file_open, deny: [{all: true}]}")
		}},
		"patterns": {32, func(n int) string {
			return "subject: {}\nrules: [{operation: file_open, deny: " + list(n, "{all: true}") + "}]"
		}},
		"paths":     {256, func(n int) string { return denies("file_open", "{paths: "+numbered(n, "/a/%d")+"}") }},
		"types":     {64, func(n int) string { return denies("sb_mount", "{types: "+numbered(n, "t%d")+"}") }},
		"addresses": {1024, func(n int) string { return denies("socket_connect", "{addresses: "+list(n, "10.0.0.1")+"}") }},
		"ports":     {48, func(n int) string { return denies("socket_connect", "{ports: "+numbered(n, "%d")+"}") }},
		"ids":       {64, func(n int) string { return denies("task_fix_setuid", "{to: {uids: "+numbered(n, "%d")+"}}") }},
		"users":     {256, func(n int) string { return about("{users: " + numbered(n, "%d") + "}") }},
		"binaries":  {256, func(n int) string { return about("{binaries: " + numbered(n, "/a/%d") + "}") }},
		"pods":      {64, func(n int) string { return about("{pods: " + list(n, "{}") + "}") }},
		"names":     {256, func(n int) string { return about("{pods: [{names: " + numbered(n, "web-%d") + "}]}") }},
		"images":    {64, func(n int) string { return about("{pods: [{images: " + numbered(n, "web%d") + "}]}") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := ask(t, plane.Admin(), object(t, "Policy", "p", limit.spec(limit.most))); err != nil {
				t.Errorf("%d of them: %v", limit.most, err)
			}
			over := object(t, "Policy", "p", limit.spec(limit.most+1))
			if _, err := ask(t, plane.Admin(), over); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("must have at most %d items", limit.most)) {
				t.Errorf("%d of them: %v", limit.most+1, err)
			}
			if !hostTakes(t, over) {
				t.Error("a host does not take them either")
			}
		})
	}
}

// TestLarge has a policy about as large as etcd takes: the API server may not be able to afford its admission policies
// then, and takes it.
func TestLarge(t *testing.T) {
	var rules []string
	for i := range 64 {
		var patterns []string
		for j := range 2 {
			var paths []string
			for k := range 256 {
				paths = append(paths, fmt.Sprintf("/srv/%d/%d/a-file-called-%d", i, j, k))
			}
			patterns = append(patterns, "{paths: ["+strings.Join(paths, ", ")+"]}")
		}
		rules = append(rules, "{operation: file_open, deny: ["+strings.Join(patterns, ", ")+"]}")
	}
	o := object(t, "Policy", "large", "subject: {}\nrules: ["+strings.Join(rules, ", ")+"]")
	began := time.Now()
	stored, err := ask(t, plane.Admin(), o)
	if err != nil {
		t.Fatalf("%.900s", err.Error())
	}
	t.Logf("the API server took %v", time.Since(began))
	taken, err := judge(t, stored)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(taken.Rules[63].Deny[1].(policy.FilePattern).Paths); n != 256 {
		t.Errorf("the last pattern has %d paths", n)
	}
}
