//go:build k8s

package crd

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestRecipes applies the recipes as their comments say, with kubectl.
func TestRecipes(t *testing.T) {
	files, err := filepath.Glob("../../../examples/kubernetes/*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d recipes: %v", len(files), err)
	}
	for _, file := range files {
		out, err := plane.Kubectl("apply", "-n", "shop", "--dry-run=server", "-f", file).CombinedOutput()
		if err != nil || strings.Contains(string(out), "arning") {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}

// TestColumns has what kubectl get shows of a policy.
func TestColumns(t *testing.T) {
	const file = "../../../examples/kubernetes/no-rogue-sshd.yaml"
	kubectl := func(arguments ...string) string {
		t.Helper()
		out, err := plane.Kubectl(arguments...).CombinedOutput()
		if err != nil {
			t.Fatalf("kubectl %s: %v\n%s", strings.Join(arguments, " "), err, out)
		}
		return string(out)
	}
	kubectl("apply", "-f", file)
	defer kubectl("delete", "-f", file)
	kubectl("patch", "clusterpolicy", "no-rogue-sshd", "--subresource=status", "--type=merge", "-p",
		`{"status":{"rules":"socket_bind","subject":"all pods","inForce":"3/3","denials":7}}`)
	for _, kind := range []string{"clusterpolicies", "clusterguardpolicy", "ebpfguard"} {
		lines := strings.Split(kubectl("get", kind), "\n")
		if got, want := strings.Join(strings.Fields(lines[0]), " "), "NAME MODE RULES SUBJECT IN FORCE DENIALS AGE"; got != want {
			t.Errorf("kubectl get %s: %s, want %s", kind, got, want)
		}
		if got, want := strings.Join(strings.Fields(lines[1]), " "), "no-rogue-sshd enforce socket_bind all pods 3/3 7 "; !strings.Contains(got, want) {
			t.Errorf("kubectl get %s: %s, want %s", kind, got, want)
		}
	}
}
