//go:build k8s_node

package node_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// action is what a pod does, and whether that is refused.
type action struct {
	namespace, pod string
	program        []string
	refused        bool
}

func probe(args string) []string { return append([]string{"/bin/probe"}, strings.Fields(args)...) }

// try does it and judges what came of it.
func (a action) try(t testing.TB) {
	t.Helper()
	out, status := inside(t, a.namespace, a.pod, a.program...)
	refused := status != 0 && strings.Contains(strings.ToLower(out), "operation not permitted")
	if refused != a.refused || !refused && status != 0 {
		t.Errorf("%q in %s/%s: status %d, refused %v, want %v: %s", a.program, a.namespace, a.pod, status, refused, a.refused, out)
	}
}

const token = "open /var/run/secrets/kubernetes.io/serviceaccount/token"

// recipes are those of examples/kubernetes.
var recipes = []struct {
	file, namespace string
	// policies are what has to be in force, as KIND/NAME.
	policies []string
	// before does what the page says to do after applying it.
	before, after []string
	actions       []action
}{
	{
		file: "no-rogue-sshd.yaml", policies: []string{"clusterpolicy/no-rogue-sshd"},
		actions: []action{{"shop", "web", probe("bind 22"), true}, {"shop", "web", probe("bind 2222"), false}},
	},
	{
		file: "egress.yaml", namespace: "shop", policies: []string{"policy/egress"},
		actions: []action{
			{"shop", "web", probe("connect 192.0.2.1:53"), true}, {"shop", "web", probe("connect 203.0.113.1:443"), true},
			{"shop", "web", probe("connect 10.96.0.10:53"), false}, {"office", "web", probe("connect 192.0.2.1:53"), false},
		},
	},
	{
		file: "freeze-deployment.yaml", namespace: "shop", policies: []string{"policy/freeze-web"},
		actions: []action{
			{"shop", "web", probe("write /bin/new x"), true}, {"shop", "web", probe("write /etc/passwd x"), true},
			{"shop", "web", probe("write /tmp/new x"), false}, {"shop", "web", probe("open /etc/passwd"), false},
			{"shop", "other", probe("write /etc/new x"), false}, {"office", "web", probe("write /etc/new x"), false},
		},
	},
	{
		file: "no-metadata-service.yaml", policies: []string{"clusterpolicy/no-metadata-service"},
		actions: []action{
			{"shop", "web", probe("connect 169.254.169.254:80"), true}, {"shop", "web", probe("connect 169.254.169.253:53"), false},
			{"kube-system", "driver", probe("connect 169.254.169.254:80"), false},
		},
	},
	{
		file: "no-service-account-token.yaml", policies: []string{"clusterpolicy/no-service-account-token"},
		actions: []action{
			{"shop", "web", probe(token), true}, {"shop", "own", probe(token), false}, {"kube-system", "driver", probe(token), false},
		},
	},
	{
		file: "no-shells.yaml", namespace: "shop", policies: []string{"policy/no-shells"},
		actions: []action{
			{"shop", "web", []string{"/bin/sh", "-c", "true"}, true}, {"shop", "web", probe("exec /bin/sh -c true"), true},
			{"shop", "web", probe("exit"), false}, {"office", "web", []string{"/bin/sh", "-c", "true"}, false},
		},
	},
	{
		file: "quarantine.yaml", policies: []string{"clusterpolicy/quarantine"},
		before: []string{"--namespace", "shop", "label", "pod", "web", "ebpfguard.io/quarantine=true"},
		after:  []string{"--namespace", "shop", "label", "pod", "web", "ebpfguard.io/quarantine-"},
		actions: []action{
			{"shop", "web", probe("exit"), true}, {"shop", "other", probe("connect 192.0.2.1:53"), false},
			{"office", "web", probe("exit"), false},
		},
	},
	{
		// The page's second step: one node refuses.
		file: "roll-out.yaml", policies: []string{"clusterpolicy/no-programs-from-tmp"},
		before: []string{"label", "node", "node-1", "ebpfguard.io/enforce=true"},
		after:  []string{"label", "node", "node-1", "ebpfguard.io/enforce-"},
		actions: []action{
			{"shop", "web", []string{"/bin/sh", "-c", "cp /bin/probe /tmp/probe && exec /tmp/probe exit"}, true},
			{"shop", "web", probe("exit"), false},
			{"kube-system", "driver", []string{"/bin/sh", "-c", "cp /bin/probe /tmp/probe && exec /tmp/probe exit"}, false},
		},
	},
}

// TestRecipes applies each recipe as its page says: its attack is refused, its bystanders are left alone.
func TestRecipes(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(cluster.Root, "examples/kubernetes/*.yaml"))
	if err != nil || len(files) != len(recipes) {
		t.Errorf("there are %d recipes (%v), and tests of %d", len(files), err, len(recipes))
	}
	namespaces(t, "shop", "office")
	apply(t, pod("shop", "web")+pod("shop", "other")+pod("office", "web")+pod("kube-system", "driver")+
		"{apiVersion: v1, kind: ServiceAccount, metadata: {name: own, namespace: shop}}\n---\n"+
		strings.Replace(pod("shop", "own"), "spec: {", "spec: {serviceAccountName: own, ", 1))
	running(t, "shop", "web", "other", "own")
	running(t, "office", "web")
	running(t, "kube-system", "driver")
	for _, r := range recipes {
		t.Run(strings.TrimSuffix(r.file, ".yaml"), func(t *testing.T) {
			path := filepath.Join(cluster.Root, "examples/kubernetes", r.file)
			var args []string
			if r.namespace != "" {
				args = []string{"--namespace", r.namespace}
			}
			for _, a := range r.actions {
				a.refused = false
				if r.file != "quarantine.yaml" || a.pod != "web" {
					a.try(t)
				}
			}
			kubectl(t, append(args, "apply", "--filename", path)...)
			t.Cleanup(func() { kubectl(t, append(args, "delete", "--ignore-not-found", "--filename", path)...) })
			if len(r.before) > 0 {
				kubectl(t, r.before...)
				t.Cleanup(func() { kubectl(t, r.after...) })
			}
			for _, p := range r.policies {
				inForce(t, append(args, p)...)
			}
			for _, a := range r.actions {
				a.try(t)
			}
		})
	}
}

// TestAuditFirst is the first step of the recipe roll-out: what would be refused passes, with an alert.
func TestAuditFirst(t *testing.T) {
	namespaces(t, "shop")
	apply(t, pod("shop", "web"))
	running(t, "shop", "web")
	path := filepath.Join(cluster.Root, "examples/kubernetes/roll-out.yaml")
	kubectl(t, "apply", "--filename", path)
	t.Cleanup(func() { kubectl(t, "delete", "--ignore-not-found", "--filename", path) })
	inForce(t, "clusterpolicy", "no-programs-from-tmp-audit")
	action{"shop", "web", []string{"/bin/sh", "-c", "cp /bin/probe /tmp/probe && exec /tmp/probe exit"}, false}.try(t)
	awaitAlert(t, func(a alert) bool {
		return a.Policy == "clusterpolicy/no-programs-from-tmp-audit" && a.Verdict == "audit" && a.Process.Container.Pod.Name == "web"
	})
}
