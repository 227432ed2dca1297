//go:build k8s

package chart

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/test/cluster/controlplane"
)

const (
	install = "../../../deploy/kubernetes/install.yaml"
	cleanup = "../../../deploy/kubernetes/cleanup.yaml"
)

// everything are the values of who switches everything on that a cluster without further definitions takes.
const everything = `
policyReports: {enabled: true}
crds: {keep: true}
rbac: {policyWriters: [admin, edit]}
metrics: {enabled: true, dashboard: {enabled: true}}
maxUnavailable: 10%
hostNetwork: false
seLinuxOptions: null
image: {digest: "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", pullSecrets: [s]}
config: {containers: {fail: closed}, outputs: []}
`

// kubectl runs kubectl as the administrator and returns what it prints.
func kubectl(t *testing.T, c *controlplane.ControlPlane, args ...string) string {
	t.Helper()
	out, err := c.Kubectl(args...).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// await waits until kubectl prints something.
func await(t *testing.T, c *controlplane.ControlPlane, want string, args ...string) {
	t.Helper()
	last := ""
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		out, _ := c.Kubectl(args...).CombinedOutput()
		if last = string(out); strings.TrimSpace(last) == want {
			return
		}
	}
	t.Fatalf("kubectl %s prints\n%s, want %s", strings.Join(args, " "), last, want)
}

// TestInstall applies the manifests as docs/kubernetes.md says, has the controllers make pods for a node, and takes all
// away again.
func TestInstall(t *testing.T) {
	c := controlplane.New(t, controlplane.Options{Controllers: true})
	kubectl(t, c, "apply", "--server-side", "--validate=strict", "-f", install)
	kubectl(t, c, "wait", "--for=condition=Established", "crd", "-l", "app.kubernetes.io/name=ebpfguard")
	// Twice is the same, and so is the other way to apply.
	if out := kubectl(t, c, "diff", "--server-side", "-f", install); out != "" {
		t.Errorf("applied once more it changes\n%s", out)
	}
	kubectl(t, c, "apply", "--dry-run=server", "--validate=strict", "-f", install)

	// A node that no kubelet keeps: not ready, and out of bounds for what does not tolerate that.
	node := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(node, []byte("{apiVersion: v1, kind: Node, metadata: {name: one, labels: {kubernetes.io/os: linux}}, spec: {taints: [{key: example.com/apart, effect: NoExecute}]}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, c, "create", "-f", node)
	pod := []string{"-n", "ebpfguard", "get", "pods", "-l", "app.kubernetes.io/name=ebpfguard", "-o"}
	await(t, c, "system-node-critical ebpfguard true", append(pod, "jsonpath={range .items[*]}{.spec.priorityClassName} {.spec.serviceAccountName} {.spec.hostPID}{end}")...)

	t.Run("rights", func(t *testing.T) { testRights(t, c) })

	kubectl(t, c, "-n", "ebpfguard", "delete", "daemonset", "ebpfguard", "--cascade=background")
	kubectl(t, c, "apply", "--server-side", "--validate=strict", "-f", cleanup)
	await(t, c, `["one"]`, "-n", "ebpfguard", "get", "pods", "-l", "app.kubernetes.io/name=ebpfguard-cleanup", "-o", "jsonpath={range .items[*]}{.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[*].matchFields[*].values}{end}")
	kubectl(t, c, "delete", "--ignore-not-found", "--wait=false", "-f", cleanup, "-f", install)
	// The pods of a node without kubelet end by force.
	kubectl(t, c, "-n", "ebpfguard", "delete", "pods", "--all", "--force", "--grace-period=0")
	await(t, c, "", "get", "crd,clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding,namespace", "-l", "app.kubernetes.io/name=ebpfguard", "-o", "name")
}

// testRights asks the API server who may what.
func testRights(t *testing.T, c *controlplane.ControlPlane) {
	kubectl(t, c, "create", "namespace", "shop")
	for _, role := range []string{"view", "edit", "admin"} {
		kubectl(t, c, "-n", "shop", "create", "rolebinding", role, "--clusterrole="+role, "--user="+role)
	}
	kubectl(t, c, "create", "clusterrolebinding", "operators", "--clusterrole=ebpfguard-operator", "--user=operator")
	kubectl(t, c, "-n", "ebpfguard", "create", "rolebinding", "operators", "--role=ebpfguard-operator", "--user=operator")
	const agent, cleaner = "system:serviceaccount:ebpfguard:ebpfguard", "system:serviceaccount:ebpfguard:default"
	// The controller adds to the roles of namespaces some time later.
	await(t, c, "yes", "auth", "can-i", "create", "policies.ebpfguard.io", "-n", "shop", "--as=admin")
	for _, tt := range []struct{ user, verb, resource, namespace, want string }{
		{agent, "watch", "policies.ebpfguard.io", "shop", "yes"},
		{agent, "watch", "clusterpolicies.ebpfguard.io", "", "yes"},
		{agent, "watch", "pods", "shop", "yes"},
		{agent, "watch", "namespaces", "", "yes"},
		{agent, "get", "nodes/one", "", "yes"},
		{agent, "patch", "policies.ebpfguard.io/x", "shop", "no"},
		{agent, "create", "clusterpolicies.ebpfguard.io", "", "no"},
		{agent, "patch", "nodestatuses.ebpfguard.io/one", "", "yes"},
		{agent, "create", "events", "shop", "yes"},
		{agent, "create", "leases.coordination.k8s.io", "ebpfguard", "yes"},
		{agent, "update", "leases.coordination.k8s.io/ebpfguard-leader", "ebpfguard", "yes"},
		{agent, "update", "leases.coordination.k8s.io/other", "ebpfguard", "no"},
		{agent, "create", "leases.coordination.k8s.io", "kube-system", "no"},
		{agent, "get", "secrets", "ebpfguard", "no"},
		{agent, "delete", "pods", "shop", "no"},
		{agent, "create", "pods/exec", "ebpfguard", "no"},
		{cleaner, "list", "pods", "ebpfguard", "no"},
		{"view", "list", "policies.ebpfguard.io", "shop", "yes"},
		{"view", "create", "policies.ebpfguard.io", "shop", "no"},
		{"edit", "list", "policies.ebpfguard.io", "shop", "yes"},
		{"edit", "create", "policies.ebpfguard.io", "shop", "no"},
		{"admin", "delete", "policies.ebpfguard.io", "shop", "yes"},
		{"admin", "create", "clusterpolicies.ebpfguard.io", "", "no"},
		{"operator", "create", "clusterpolicies.ebpfguard.io", "", "yes"},
		{"operator", "create", "pods/exec", "ebpfguard", "yes"},
		{"operator", "get", "pods/exec", "ebpfguard", "yes"},
		{"operator", "create", "pods/exec", "shop", "no"},
		{"operator", "patch", "pods", "shop", "yes"},
		{"operator", "delete", "pods", "shop", "no"},
		{agent, "delete", "nodestatuses.ebpfguard.io/one", "", "no"},
		{"operator", "get", "secrets", "ebpfguard", "no"},
	} {
		resource, subresource, _ := strings.Cut(tt.resource, "/")
		args := []string{"auth", "can-i", tt.verb, tt.resource, "--as=" + tt.user}
		if resource == "pods" && subresource != "" {
			args = []string{"auth", "can-i", tt.verb, resource, "--subresource=" + subresource, "--as=" + tt.user}
		}
		if tt.namespace != "" {
			args = append(args, "-n", tt.namespace)
		}
		out, _ := c.Kubectl(args...).Output() // it fails when the answer is no
		if got := strings.TrimSpace(string(out)); got != tt.want {
			t.Errorf("may %s %s %s in %q: %s, want %s", tt.user, tt.verb, tt.resource, tt.namespace, got, tt.want)
		}
	}
	// Subresources of objects with a name are asked for in another way.
	for _, tt := range []struct{ resource, subresource, verb, want string }{
		{"policies.ebpfguard.io", "status", "patch", "yes"}, {"clusterpolicies.ebpfguard.io", "status", "patch", "yes"}, {"nodestatuses.ebpfguard.io", "status", "patch", "yes"},
		{"nodes", "proxy", "get", "no"}, {"pods", "status", "patch", "no"},
	} {
		out, _ := c.Kubectl("auth", "can-i", tt.verb, tt.resource, "--subresource="+tt.subresource, "-n", "shop", "--as="+agent).Output()
		if got := strings.TrimSpace(string(out)); got != tt.want {
			t.Errorf("may an agent %s %s/%s: %s, want %s", tt.verb, tt.resource, tt.subresource, got, tt.want)
		}
	}
}

// TestValues has the API server look at what the chart renders with other values, hooks included.
func TestValues(t *testing.T) {
	c := controlplane.New(t, controlplane.Options{})
	kubectl(t, c, "create", "namespace", "ebpfguard")
	for name, values := range map[string]string{"defaults": "{}", "everything": everything, "little": "{crds: {install: false}, cleanup: {enabled: false}}"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
				t.Fatal(err)
			}
			render := exec.Command("go", "run", "./write", "-values", file)
			render.Dir, render.Env = "../../chart", append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
			manifests, err := render.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
			}
			apply := c.Kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-")
			apply.Stdin = strings.NewReader(string(manifests))
			out, err := apply.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if lines := strings.Count(string(out), "serverside-applied (server dry run)"); lines != strings.Count(string(manifests), "\nkind: ") || lines < 15 {
				t.Errorf("%d objects were taken:\n%s", lines, out)
			}
		})
	}
}
