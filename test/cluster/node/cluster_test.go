//go:build k8s_node

package node_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// kubectl runs kubectl as the administrator and returns what it prints.
func kubectl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := cluster.Kubectl(args...).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// apply applies objects, which are deleted after the test.
func apply(t testing.TB, objects string) {
	t.Helper()
	applied := cluster.Kubectl("apply", "--filename", "-")
	applied.Stdin = strings.NewReader(objects)
	if out, err := applied.CombinedOutput(); err != nil {
		t.Fatalf("kubectl apply: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		deleted := cluster.Kubectl("delete", "--ignore-not-found", "--now", "--filename", "-")
		deleted.Stdin = strings.NewReader(objects)
		if out, err := deleted.CombinedOutput(); err != nil {
			t.Errorf("kubectl delete: %v\n%s", err, out)
		}
	})
}

// await waits until something is so, and fails with what the last look gave.
func await(t testing.TB, limit time.Duration, what string, is func() (string, bool)) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(300 * time.Millisecond) {
		got, ok := is()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain for %s; the last was\n%s\n%s", limit, what, got, state(context.Background()))
		}
	}
}

// inForce waits until a policy is in force on all nodes, as kubectl get shows it.
func inForce(t testing.TB, policy ...string) {
	t.Helper()
	args := append([]string{"get", "--output", "jsonpath={.status.inForce}"}, policy...)
	await(t, patience, strings.Join(policy, " ")+" to be in force", func() (string, bool) {
		out, err := cluster.Kubectl(args...).CombinedOutput()
		return string(out), err == nil && string(out) == "1/1"
	})
}

// noSSH puts the policy of the announcement in force.
func noSSH(t testing.TB) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(cluster.Root, "examples/kubernetes/no-rogue-sshd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	apply(t, string(raw))
	inForce(t, "clusterpolicy", "no-rogue-sshd")
}

// running waits until pods run.
func running(t testing.TB, namespace string, pods ...string) {
	t.Helper()
	for _, pod := range pods {
		await(t, patience, pod+" to run", func() (string, bool) {
			out, err := cluster.Kubectl("--namespace", namespace, "get", "pod", pod, "--output", "jsonpath={.status.phase}").CombinedOutput()
			return string(out), err == nil && string(out) == "Running"
		})
	}
}

// inside runs a program in a container that runs, and returns its output and exit status. The pod is what kubectl
// exec takes, with its flags.
func inside(t testing.TB, namespace, pod string, args ...string) (string, int) {
	t.Helper()
	command := slices.Concat([]string{"--namespace", namespace, "exec"}, strings.Fields(pod), []string{"--"}, args)
	out, err := cluster.Kubectl(command...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit == nil {
		return string(out), 0
	}
	return string(out), exit.ExitCode()
}

// pod is a pod of the image of the tests that waits.
func pod(namespace, name string) string {
	return `{apiVersion: v1, kind: Pod, metadata: {name: ` + name + `, namespace: ` + namespace + `, labels: {app: ` + name + `}},
 spec: {terminationGracePeriodSeconds: 0, containers: [{name: main, image: "docker.io/library/test:1", imagePullPolicy: Never, command: [/bin/probe, wait]}]}}
---
`
}

// eperm is the exit status of the probe when the kernel says EPERM.
const eperm = 1
