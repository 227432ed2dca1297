//go:build k8s

package crd

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/ebpfguard/ebpfguard/daemon/kubernetes"
	"github.com/ebpfguard/ebpfguard/internal/policytest"
	"github.com/ebpfguard/ebpfguard/policy"
)

// onlyValidate is what agents refuse and the API server takes; it is in the policy's status then. TestLeftToValidate has one
// of each.
var onlyValidate = regexp.MustCompile(strings.Join([]string{
	`is listed (already|twice)`, // of more than 16 values
	`is an IPv4 address with a prefix shorter|is no (address|CIDR)|has bits set after the prefix|length of .* is wrong`, // of IPv4 addresses written as IPv6
	`has \d+ characters, more than 512`, // bytes, of which the schema counts letters
	`is no name of a user or group`,     // blanks beyond those of ASCII
}, "|"))

// values are what random changes put in place of others: mostly wrong.
var values = []any{
	"", "a", "/a", "/a/", "/", "//", "/a//b", "/a/./b", "/a/..", "/...", "/a/**b", "/**", "/**/**", "/a/**/", "/a/*/", "/[a]", "/[a]*", "*", "**", "***", "?",
	int64(0), int64(-1), int64(22), int64(70000), int64(4294967294), int64(4294967295), int64(1 << 40), 1.5, true, false, nil,
	"22", "22-23", "23-22", "0-0", "022-023", "60000-70000", "1-5000000000", "-5", "5-", "ssh", "a b", "a,b", "a:b", "a/b", "0a", "alice", "1000", "1000-",
	"10.0.0.1", "10.0.0.0/8", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/08", "010.0.0.1", "10.0.0", "::1", "::/0", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "::ffff:0a00:0001", "::FFFF:10.0.0.0/8",
	"fe80::1%eth0", "2001:db8::/129", "2001:DB8::1", "0:0::1", "1::2::3", "[::1]", "1.2.3.4/", "/8", ".",
	"a\tb", "a\x00b", "ä", strings.Repeat("a", 64), strings.Repeat("ä", 40), strings.Repeat("a", 65), strings.Repeat("a", 256), strings.Repeat("a", 600), "/" + strings.Repeat("a", 255), "/" + strings.Repeat("a", 256),
	strings.Repeat("/a", 64), strings.Repeat("/a", 65), strings.Repeat("/a", 64) + "/", strings.Repeat("/"+strings.Repeat("a", 200), 21),
	"nginx", "nginx:", "nginx:1.27", ":1.27", "a/:x", "a//b", "https://nginx", "nginx@sha256:abc", "nginx@abc", "nginx@", "ghcr.io/acme/**", "localhost:5000/a", "a@b/c:d", "a:b:c",
	"Deployment/web", "deployment/web", "Deployment/", "Deployment/web/x", "Dep*/web", "Deployment/*", "My-Kind/x", "Web", "web-*", "web_0", "shop", "data", "s*", "s?op", "sh.p",
	"enforce", "audit", "deny", "kill", "allow", "info", "high", "read", "exec", "pipe", "ro", "bind", "detach", "force", "move", "tcp", "raw", "ext4", "fuse.x", "a+b", "all",
	"file_open", "bprm_check_security", "sb_mount", "sb_remount", "sb_umount", "task_fix_setuid", "socket_bind", "socket_connect", "socket_listen",
	"/system.slice", "/system.slice/", "/sys/fs/cgroup/a", "/sys/fs/cgroup",
	[]any{}, map[string]any{}, []any{"a"}, []any{"a", "a"}, []any{map[string]any{}}, map[string]any{"a": []any{"b"}}, map[string]any{"": []any{"b"}}, map[string]any{"a*": []any{"b"}}, map[string]any{"uids": []any{int64(1)}},
	map[string]any{"all": true}, map[string]any{"paths": []any{"/a"}}, map[string]any{"ports": []any{int64(1)}},
}

// keys are what random changes add.
var keys = []string{
	"mode", "until", "subject", "rules", "operation", "allow", "deny", "verdict", "revoke", "message", "severity", "tags", "alert_limit",
	"all", "paths", "access", "kinds", "fileless", "no_args", "sources", "targets", "types", "flags", "from", "to", "uids", "gids", "addresses", "addresses_from", "ports", "protocols",
	"binaries", "descendants", "users", "cgroups", "containers", "pods", "host", "processes", "names", "images", "labels", "ids", "runtimes", "namespaces", "notLabels", "serviceAccounts", "owners",
}

// change changes something of a spec, somewhere.
func change(r *rand.Rand, v any) any {
	if r.IntN(4) == 0 {
		return values[r.IntN(len(values))]
	}
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for key := range v {
			names = append(names, key)
		}
		slices.Sort(names)
		switch {
		case len(names) == 0 || r.IntN(6) == 0:
			v[keys[r.IntN(len(keys))]] = values[r.IntN(len(values))]
		case r.IntN(6) == 0:
			delete(v, names[r.IntN(len(names))])
		default:
			key := names[r.IntN(len(names))]
			v[key] = change(r, v[key])
		}
		return v
	case []any:
		switch {
		case len(v) == 0 || r.IntN(6) == 0:
			return append(v, values[r.IntN(len(values))])
		case r.IntN(6) == 0:
			return append(v, v[r.IntN(len(v))])
		}
		i := r.IntN(len(v))
		v[i] = change(r, v[i])
		return v
	}
	return values[r.IntN(len(values))]
}

// TestRandom compares what the API server takes of random policies, most of them spoilt, with what agents take: agents
// take nothing that it refuses, and refuse of what it takes only what is in onlyValidate.
func TestRandom(t *testing.T) {
	const seeds, workers = 1000, 8
	var wait sync.WaitGroup
	var lock sync.Mutex
	counts := map[string]int{}
	next := make(chan uint64)
	for range workers {
		wait.Go(func() {
			for seed := range next {
				for _, result := range compare(t, seed) {
					lock.Lock()
					counts[result]++
					lock.Unlock()
				}
			}
		})
	}
	for seed := range uint64(seeds) {
		next <- seed
	}
	close(next)
	wait.Wait()
	t.Log(counts)
	for _, outcome := range []string{"taken", "refused", "plain"} {
		if counts[outcome] < seeds/20 {
			t.Errorf("only %d policies were %s", counts[outcome], outcome)
		}
	}
}

// compare compares those of a seed.
func compare(t *testing.T, seed uint64) []string {
	r := policytest.With(seed, policytest.Options{Binaries: []string{"/usr/bin/a", "/usr/bin/b"}, Containers: policytest.Containers()})
	var results []string
	for _, p := range r.Set() {
		p.Subject.Identified = false // which objects cannot say
		text, err := kubernetes.Manifest(p, "")
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			return nil
		}
		var o unstructured.Unstructured
		if err := yaml.Unmarshal(text, &o.Object); err != nil {
			t.Errorf("seed %d: %v", seed, err)
			return nil
		}
		if r.IntN(2) == 0 {
			o.SetKind("Policy")
			o.SetNamespace("shop")
		}
		// Numbers as an object of the API server has them.
		text, _ = json.Marshal(o.Object)
		_ = o.UnmarshalJSON(text)
		for range r.IntN(4) {
			o.Object["spec"] = change(r.Rand, o.Object["spec"])
		}
		text, _ = json.Marshal(o.Object)
		if err := o.UnmarshalJSON(text); err != nil {
			continue
		}
		stored, refusal := ask(t, plane.Admin(), &o)
		if refusal != nil {
			results = append(results, "refused")
			if hostTakes(t, &o) {
				t.Errorf("seed %d: agents take what the API server refuses: %v\n%s", seed, refusal, text)
			}
			continue
		}
		taken, problem := judge(t, stored)
		switch {
		case problem == nil:
			results = append(results, "taken")
		case onlyValidate.MatchString(problem.Error()):
			results = append(results, "left to validate")
		default:
			t.Errorf("seed %d: the API server takes what agents refuse: %v\n%s", seed, problem, text)
		}
		// Where nothing was changed it is the policy that it was.
		if original, err := policy.Parse("original", policy.Format([]policy.Policy{p})); err == nil && problem == nil && o.GetKind() == "ClusterPolicy" {
			original[0].Name = taken.Name
			for i := range original[0].Rules {
				if original[0].Rules[i].Verdict == 0 {
					original[0].Rules[i].Verdict = policy.Deny
				}
			}
			if string(policy.Format(original)) == string(policy.Format([]policy.Policy{taken})) {
				results = append(results, "plain")
			}
		}
	}
	return results
}
