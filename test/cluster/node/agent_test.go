//go:build k8s_node

package node_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestAgentDeleted deletes the agent's pod: what is in force stays, and a pod that starts meanwhile is no way out.
func TestAgentDeleted(t *testing.T) {
	noSSH(t)
	apply(t, pod("default", "victim"))
	running(t, "default", "victim")
	a := startAttack(t, "default", "victim", "/bin/probe bind 22")

	kubectl(t, "--namespace", "ebpfguard", "delete", "pod", "--selector", "app.kubernetes.io/name=ebpfguard", "--now")
	apply(t, once("meanwhile", "/bin/probe", "bind", "22"))
	if status := exitOf(t, "meanwhile"); status != eperm {
		t.Errorf("a pod that started while the agent was away ended with %d, want %d", status, eperm)
	}
	awaitAgent(t)
	a.end()
	inForce(t, "clusterpolicy", "no-rogue-sshd")
	apply(t, once("afterwards", "/bin/probe", "bind", "22"))
	if status := exitOf(t, "afterwards"); status != eperm {
		t.Errorf("a pod after the agent came back ended with %d, want %d", status, eperm)
	}
}

// TestAgentDeletedInQuarantine deletes the agent's pod while a policy forbids all programs to some pods: the next agent
// starts, though nobody knows its container by then, and who is in quarantine stays there.
func TestAgentDeletedInQuarantine(t *testing.T) {
	path := filepath.Join(cluster.Root, "examples/kubernetes/quarantine.yaml")
	kubectl(t, "apply", "--filename", path)
	t.Cleanup(func() { kubectl(t, "delete", "--ignore-not-found", "--filename", path) })
	apply(t, pod("default", "victim")+pod("default", "bystander"))
	running(t, "default", "victim", "bystander")
	kubectl(t, "label", "pod", "victim", "ebpfguard.io/quarantine=true")
	inForce(t, "clusterpolicy", "quarantine")
	check := func() {
		t.Helper()
		action{"default", "victim", probe("exit"), true}.try(t)
		action{"default", "bystander", probe("exit"), false}.try(t)
	}
	await(t, time.Minute, "the quarantine", func() (string, bool) {
		out, status := inside(t, "default", "victim", "/bin/probe", "exit")
		return out, status != 0
	})
	check()
	kubectl(t, "--namespace", "ebpfguard", "delete", "pod", "--selector", "app.kubernetes.io/name=ebpfguard", "--now")
	check()
	awaitAgent(t)
	inForce(t, "clusterpolicy", "quarantine")
	check()
}

// TestUpgrade changes to another version and back.
func TestUpgrade(t *testing.T) {
	noSSH(t)
	apply(t, pod("default", "victim"))
	running(t, "default", "victim")
	a := startAttack(t, "default", "victim", "/bin/probe bind 22")
	for _, step := range []struct {
		version string
		args    []string
	}{
		{newer, []string{"upgrade", "ebpfguard", cluster.Chart(), "--namespace", "ebpfguard", "--reuse-values", "--set", "image.tag=" + newer}},
		{version, []string{"rollback", "ebpfguard", "--namespace", "ebpfguard"}},
	} {
		if out, err := cluster.RunHelm(t.Context(), step.args...); err != nil {
			t.Fatalf("helm %s: %v\n%s", strings.Join(step.args, " "), err, out)
		}
		awaitAgent(t)
		await(t, patience, "the version "+step.version, func() (string, bool) {
			out := kubectl(t, "get", "nodestatus", node.Name, "--output", "jsonpath={.status.version}")
			return out, strings.Contains(out, step.version)
		})
	}
	a.end()
}

// awaitAgent waits until the DaemonSet's newest pod is ready.
func awaitAgent(t testing.TB) {
	t.Helper()
	out, err := cluster.Kubectl("--namespace", "ebpfguard", "rollout", "status", "daemonset/ebpfguard", "--timeout", "8m").CombinedOutput()
	if err != nil {
		t.Fatalf("wait for the agent: %v: %s\n%s", err, out, state(context.Background()))
	}
}

// TestPolicyDeleted deletes a policy: what it forbids is allowed within a second, of which the emulation makes several.
func TestPolicyDeleted(t *testing.T) {
	noSSH(t)
	apply(t, pod("default", "victim"))
	running(t, "default", "victim")
	// Whoever deletes one policy of several leaves the programs attached.
	apply(t, labelled)
	inForce(t, "clusterpolicy", "labelled")
	script := "rm -f /tmp/at; { until /bin/probe bind 22; do sleep 0.1; done; /bin/probe stamp /tmp/at; } </dev/null >/dev/null 2>&1 &"
	if out, status := inside(t, "default", "victim", "/bin/sh", "-c", script); status != 0 {
		t.Fatal(out)
	}
	time.Sleep(2 * time.Second)
	if out, status := inside(t, "default", "victim", "/bin/cat", "/tmp/at"); status == 0 {
		t.Fatalf("the port was to be had before: %s", out)
	}
	before := uptime(t)
	err := client.RESTClient().Delete().AbsPath("/apis/ebpfguard.io/v1alpha1/clusterpolicies/no-rogue-sshd").Do(t.Context()).Error()
	if err != nil {
		t.Fatal(err)
	}
	took := stamped(t, "default", "victim", before)
	t.Logf("seen: the policy stopped acting %v after it was deleted", took)
	if took > stopTime {
		t.Errorf("a policy that was deleted acted for %v, want %v at most", took, stopTime)
	}
}

// stamped waits for the stamp in /tmp/at of a pod, and returns how long that was after a time of the node.
func stamped(t testing.TB, namespace, pod string, since float64) time.Duration {
	t.Helper()
	var at time.Duration
	await(t, time.Minute, "the stamp in "+pod, func() (string, bool) {
		out, status := inside(t, namespace, pod, "/bin/cat", "/tmp/at")
		parsed, err := time.ParseDuration(strings.TrimSpace(out) + "ns")
		at = parsed
		return out, status == 0 && err == nil
	})
	return (at - time.Duration(since*float64(time.Second))).Round(time.Millisecond)
}

// stopTime is for an emulated processor, on which a second of a machine takes twenty.
const stopTime = 10 * time.Second

// once is a pod that runs one program of the image of the tests.
func once(name string, args ...string) string {
	return `{apiVersion: v1, kind: Pod, metadata: {name: ` + name + `, namespace: default, labels: {app: ` + name + `}}, spec: {restartPolicy: Never,
 containers: [{name: main, image: "docker.io/library/test:1", imagePullPolicy: Never, command: ["` + strings.Join(args, `","`) + `"]}]}}
---
`
}

// exitOf waits for the end of a pod's container and returns its exit status.
func exitOf(t testing.TB, name string) int {
	t.Helper()
	exit := -1
	await(t, patience, "the end of "+name, func() (string, bool) {
		pod, err := client.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err.Error(), false
		}
		for _, c := range pod.Status.ContainerStatuses {
			if c.State.Terminated != nil {
				exit = int(c.State.Terminated.ExitCode)
			}
		}
		return pod.Status.String(), exit >= 0
	})
	return exit
}
