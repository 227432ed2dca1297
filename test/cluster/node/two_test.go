//go:build k8s_node

package node_test

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestTwoNodes has a second node, which policies are for or not by its labels, and which goes away.
func TestTwoNodes(t *testing.T) {
	second, err := cluster.AddNode(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		second.PowerOff(context.Background())
		kubectl(t, "delete", "node", second.Name)
		await(t, patience, "the status of the node that is gone to be deleted", func() (string, bool) {
			out := kubectl(t, "get", "nodestatuses", "--output", "name")
			return out, !strings.Contains(out, second.Name)
		})
	})
	awaitAgent(t)
	apply(t, strings.NewReplacer("NAME", "everywhere", "SELECTOR", "{}").Replace(onNodes)+
		strings.NewReplacer("NAME", "second-only", "SELECTOR", "{matchLabels: {kubernetes.io/hostname: node-2}}").Replace(onNodes))
	summary := func(policy, want string) {
		t.Helper()
		await(t, patience, policy+" to be in force on "+want, func() (string, bool) {
			out := kubectl(t, "get", "clusterpolicy", policy, "--output", "jsonpath={.status.inForce}")
			return out, out == want
		})
	}
	summary("everywhere", "2/2")
	summary("second-only", "1/1")
	for name, on := range map[string]string{"here": node.Name, "there": second.Name} {
		apply(t, strings.Replace(pod("default", name), "spec: {", "spec: {nodeName: "+on+", ", 1))
		running(t, "default", name)
	}
	if out, status := inside(t, "default", "there", "/bin/probe", "bind", "22"); status != eperm {
		t.Errorf("on the second node: status %d, want %d: %s", status, eperm, out)
	}
	// What is for the second node alone is none of the first one's business.
	kubectl(t, "delete", "clusterpolicy", "everywhere")
	await(t, time.Minute, "the first node to allow it", func() (string, bool) {
		out, status := inside(t, "default", "here", "/bin/probe", "bind", "22")
		return out, status == 0
	})
	if out, status := inside(t, "default", "there", "/bin/probe", "bind", "22"); status != eperm {
		t.Errorf("on the second node, by the other policy: status %d, want %d: %s", status, eperm, out)
	}
}

const onNodes = `
apiVersion: ebpfguard.io/v1alpha1
kind: ClusterPolicy
metadata: {name: NAME}
spec:
  nodeSelector: SELECTOR
  subject: {pods: [{}]}
  rules:
  - operation: socket_bind
    deny: [{ports: [22]}]
---
`
