//go:build k8s_node

package node_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// plugin builds the command under the name by which kubectl calls it. It returns a function that runs 'kubectl ebpfguard'
// as the administrator and returns the exit code, -1 if the command did not run, and one that wants a certain one.
func plugin(t testing.TB) (run func(args ...string) (string, int), guard func(code int, args ...string) string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "kubectl-ebpfguard")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/ebpfguard/ebpfguard/cmd/ebpfguard").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	config, err := cluster.Kubeconfig("admin", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	run = func(args ...string) (string, int) {
		cmd := exec.Command(program, append(args, "--kubeconfig", config)...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			return err.Error(), -1
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	return run, func(code int, args ...string) string {
		t.Helper()
		out, got := run(args...)
		if got != code {
			t.Errorf("kubectl ebpfguard %s: exit code %d, want %d", strings.Join(args, " "), got, code)
		}
		t.Logf("$ kubectl ebpfguard %s\n%s", strings.Join(args, " "), out)
		return out
	}
}

func wants(t testing.TB, text string, patterns ...string) {
	t.Helper()
	for _, pattern := range patterns {
		if !regexp.MustCompile("(?m)" + pattern).MatchString(text) {
			t.Errorf("nothing matches %s in\n%s", pattern, text)
		}
	}
}

// listens reports whether a program in a pod may take a port; if not, the kernel must have said EPERM.
func listens(t testing.TB, pod string) bool {
	t.Helper()
	out, code := inside(t, "default", pod, "/bin/probe", "bind", "2222", "exit")
	if code != 0 && code != eperm {
		t.Errorf("exit status %d: %s", code, out)
	}
	return code == 0
}

// TestKubectlPlugin has a pod that is explained, mitigated and put into quarantine, and one beside it that is not.
func TestKubectlPlugin(t *testing.T) {
	run, guard := plugin(t)
	noSSH(t)
	apply(t, pod("default", "mitigated")+pod("default", "bystander"))
	running(t, "default", "mitigated", "bystander")
	await(t, time.Minute, "the node to say that all is well", func() (string, bool) {
		out, code := run("status")
		return out, code == 0 && strings.HasPrefix(out, "ENFORCED  1 of 1 nodes enforce all that is meant for them; 1 policy\n")
	})

	// What would be decided, and by what.
	explained := guard(0, "explain", "mitigated", "--operation", "socket_bind", "--address", "0.0.0.0", "--port", "22")
	wants(t, explained, `^deny: socket_bind of `, `^decided by policy "clusterpolicy/no-rogue-sshd" rule 0`)
	wants(t, guard(0, "explain", "mitigated", "--operation", "socket_bind", "--address", "0.0.0.0", "--port", "2222"), `^allow: socket_bind of `)

	// No network for ten minutes, and again one.
	if !listens(t, "mitigated") {
		t.Error("refused before the mitigation")
	}
	made := guard(0, "mitigate", "mitigated", "--profile", "no-network", "--ttl", "10m", "--name", "incident")
	wants(t, made, `^incident on node \S+: no-network for pod default/mitigated, for 10m until `, `^end it earlier with: kubectl ebpfguard lift incident --node \S+$`)
	if listens(t, "mitigated") {
		t.Error("the mitigated pod listens")
	}
	if !listens(t, "bystander") {
		t.Error("the bystander is refused")
	}
	wants(t, guard(0, "mitigations"), `^\S+  incident  no-network  pod default/mitigated  enforce  `)
	wants(t, guard(0, "explain", "mitigated", "--operation", "socket_bind", "--address", "0.0.0.0", "--port", "2222"), `^deny: `, `decided by policy "incident"`)
	await(t, time.Minute, "the alert", func() (string, bool) {
		out := guard(0, "alerts", "mitigated")
		return out, regexp.MustCompile(`(?m)^\S+  \S+Z deny socket_bind .*:2222/tcp by .* in container main of pod default/mitigated\): policy incident rule 0`).MatchString(out)
	})
	if out := guard(0, "alerts", "bystander"); out != "" {
		t.Errorf("the bystander has alerts: %s", out)
	}
	for line := range strings.Lines(guard(0, "alerts", "-A", "--policy", "incident", "-o", "json")) {
		var a struct {
			Node string `json:"node"`
			alert
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil || a.Node == "" || a.Process.Container.Pod.Name != "mitigated" {
			t.Errorf("%v: %s", err, line)
		}
	}
	wants(t, guard(0, "lift", "incident"), `^lifted incident on node \S+$`)
	if !listens(t, "mitigated") {
		t.Error("refused after the mitigation was lifted")
	}

	// By label.
	wants(t, guard(0, "quarantine", "mitigated"), `^warning: no ClusterPolicy selects the label`)
	apply(t, `{apiVersion: ebpfguard.io/v1alpha1, kind: ClusterPolicy, metadata: {name: quarantine}, spec: {
 podSelector: {matchLabels: {ebpfguard.io/quarantine: "true"}}, subject: {}, rules: [{operation: socket_bind, deny: [{ports: [1-65535]}]}]}}
---
`)
	inForce(t, "clusterpolicy", "quarantine")
	await(t, time.Minute, "the quarantine", func() (string, bool) { return "", !listens(t, "mitigated") })
	if !listens(t, "bystander") {
		t.Error("the bystander is refused by the quarantine")
	}
	if out := guard(0, "quarantine", "mitigated"); strings.Contains(out, "warning") {
		t.Errorf("in force: %s", out)
	}
	wants(t, guard(0, "quarantine", "mitigated", "--lift"), `^pod default/mitigated is no longer in quarantine$`)
	await(t, time.Minute, "the end of the quarantine", func() (string, bool) { return "", listens(t, "mitigated") })
}
