//go:build k8s

package chart

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/test/cluster/controlplane"
)

// TestHelm installs, upgrades, rolls back and uninstalls with Helm itself. There is no node, so the pod of the job that
// waits for the cleanup does not run: it is told that it has succeeded.
func TestHelm(t *testing.T) {
	programs, err := vmtest.BuildTools(t.Context(), "../helm", runtime.GOARCH, func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	c := controlplane.New(t, controlplane.Options{Controllers: true})
	config, err := c.Kubeconfig("helm", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	helm := func(args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(programs, "helm"), append(args, "--namespace", "ebpfguard")...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+config, "HOME="+c.Dir)
		return cmd
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := helm(args...).CombinedOutput()
		if err != nil {
			t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	const folder = "../../../deploy/helm/ebpfguard"
	image := []string{"-n", "ebpfguard", "get", "daemonset", "ebpfguard", "-o", "jsonpath={.spec.template.spec.containers[0].image}"}
	if out := run("install", "ebpfguard", folder, "--create-namespace", "--set", "image.tag=v1"); !strings.Contains(out, "kubectl get clusterpolicies") {
		t.Errorf("it says\n%s", out)
	}
	await(t, c, "ebpfguard:v1", image...)
	run("upgrade", "ebpfguard", folder, "--reuse-values", "--set", "image.tag=v2")
	await(t, c, "ebpfguard:v2", image...)
	run("rollback", "ebpfguard")
	await(t, c, "ebpfguard:v1", image...)
	kubectl(t, c, "wait", "--for=condition=Established", "crd/policies.ebpfguard.io")
	if out, err := helm("upgrade", "ebpfguard", folder, "--set", "maxUnavailable=0").CombinedOutput(); err == nil || !strings.Contains(string(out), "at '/maxUnavailable': minimum: got 0, want 1") {
		t.Errorf("a value of no sense: %v\n%s", err, out)
	}

	uninstall := helm("uninstall", "ebpfguard")
	var said strings.Builder
	uninstall.Stdout, uninstall.Stderr = &said, &said
	if err := uninstall.Start(); err != nil {
		t.Fatal(err)
	}
	job := []string{"-n", "ebpfguard", "get", "pods", "-l", "app.kubernetes.io/name=ebpfguard-cleanup-job", "-o"}
	await(t, c, "Pending", append(job, "jsonpath={.items[*].status.phase}")...)
	if got := strings.TrimSpace(kubectl(t, c, "-n", "ebpfguard", "get", "daemonsets", "-o", "name")); got != "daemonset.apps/ebpfguard-cleanup" {
		t.Errorf("while nodes are cleaned there are %q", got)
	}
	name := strings.TrimSpace(kubectl(t, c, append(job, "name")...))
	kubectl(t, c, "-n", "ebpfguard", "patch", name, "--subresource=status", "--type=merge", "-p", `{"status":{"phase":"Succeeded"}}`)
	if err := uninstall.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	await(t, c, "", "get", "daemonset,job,pod,role,rolebinding,configmap,service,lease,serviceaccount,crd,clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding",
		"-n", "ebpfguard", "-l", "app.kubernetes.io/instance=ebpfguard", "-o", "name")
}
