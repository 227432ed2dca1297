//go:build k8s_node

package node_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestKindsOfPods has one policy for all of them. The node itself is none of its business.
func TestKindsOfPods(t *testing.T) {
	noSSH(t)
	for name, more := range map[string]string{
		"plain":       "",
		"hostnetwork": "hostNetwork: true,",
		"hostpid":     "hostPID: true,",
	} {
		apply(t, podWith(name, more, ""))
	}
	apply(t, podWith("privileged", "", "securityContext: {privileged: true},"))
	apply(t, podWith("hostpath", "volumes: [{name: host, hostPath: {path: /}}],", "volumeMounts: [{name: host, mountPath: /host}],"))
	for _, name := range []string{"plain", "hostnetwork", "hostpid", "privileged", "hostpath"} {
		running(t, "default", name)
		if out, status := inside(t, "default", name, "/bin/probe", "bind", "22"); status != eperm {
			t.Errorf("%s: port 22: status %d, want %d: %s", name, status, eperm, out)
		}
		if out, status := inside(t, "default", name, "/bin/probe", "bind", "2222"); status != 0 {
			t.Errorf("%s: port 2222: status %d, want 0: %s", name, status, out)
		}
	}
	// With the host's namespaces and programs it is a pod as before.
	for name, command := range map[string][]string{
		"hostpath":   {"/bin/busybox", "chroot", "/host", "/usr/bin/busybox", "timeout", "2", "/usr/bin/busybox", "nc", "-l", "-p", "22"},
		"privileged": {"/bin/unshare", "-n", "-m", "/bin/probe", "bind", "22"},
	} {
		if out, status := inside(t, "default", name, command...); status != eperm || !strings.Contains(out, "not permitted") {
			t.Errorf("%s: %q: status %d, want %d: %s", name, command, status, eperm, out)
		}
	}
	if out := onNode(t, "timeout 2 busybox nc -l -p 22 2>&1; true"); strings.Contains(out, "not permitted") {
		t.Errorf("the node itself, which is no pod, is refused port 22: %s", out)
	}
}

// TestKindsOfContainers has an init container, a sidecar and an ephemeral one.
func TestKindsOfContainers(t *testing.T) {
	noSSH(t)
	apply(t, `{apiVersion: v1, kind: Pod, metadata: {name: many, namespace: default}, spec: {terminationGracePeriodSeconds: 0,
 initContainers: [
  {name: init, image: "docker.io/library/test:1", imagePullPolicy: Never, command: [/bin/sh, -c, "/bin/probe bind 22; test $? = 1 && /bin/probe bind 2222"]},
  {name: sidecar, restartPolicy: Always, image: "docker.io/library/test:1", imagePullPolicy: Never, command: [/bin/probe, wait]}],
 containers: [{name: main, image: "docker.io/library/test:1", imagePullPolicy: Never, command: [/bin/probe, wait]}]}}
---
`)
	// Only if its init container was refused one port and not the other.
	running(t, "default", "many")
	if out, status := inside(t, "default", "many --container=sidecar", "/bin/probe", "bind", "22"); status != eperm {
		t.Errorf("the sidecar: status %d, want %d: %s", status, eperm, out)
	}
	kubectl(t, "debug", "many", "--image", "docker.io/library/test:1", "--image-pull-policy", "Never", "--container", "debug", "--profile", "general",
		"--", "/bin/probe", "bind", "22")
	var status int32 = -1
	await(t, patience, "the end of the ephemeral container", func() (string, bool) {
		pod, err := client.CoreV1().Pods("default").Get(t.Context(), "many", metav1.GetOptions{})
		if err != nil {
			return err.Error(), false
		}
		for _, c := range pod.Status.EphemeralContainerStatuses {
			if c.State.Terminated != nil {
				status = c.State.Terminated.ExitCode
			}
		}
		return pod.Status.String(), status >= 0
	})
	if status != eperm {
		t.Errorf("the ephemeral container ended with %d, want %d", status, eperm)
	}
}

// labelled is a policy about pods with a label.
const labelled = `
apiVersion: ebpfguard.io/v1alpha1
kind: ClusterPolicy
metadata: {name: labelled}
spec:
  subject: {pods: [{labels: {labelled: ["yes"]}}]}
  rules:
  - operation: file_open
    deny: [{paths: [/srv/public]}]
---
`

// TestNamespaces has a policy of a namespace, and pods of two; then a pod gets the label that a policy is about.
func TestNamespaces(t *testing.T) {
	namespaces(t, "shop", "office")
	apply(t, `
apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: no-secret, namespace: shop}
spec:
  subject: {}
  rules:
  - operation: file_open
    deny: [{paths: [/srv/secret]}]
---
`)
	apply(t, labelled)
	apply(t, pod("shop", "web")+pod("office", "web"))
	inForce(t, "--namespace", "shop", "policy", "no-secret")
	inForce(t, "clusterpolicy", "labelled")
	for namespace, want := range map[string]int{"shop": eperm, "office": 0} {
		running(t, namespace, "web")
		if out, status := inside(t, namespace, "web", "/bin/probe", "open", "/srv/secret"); status != want {
			t.Errorf("%s: status %d, want %d: %s", namespace, status, want, out)
		}
		if out, status := inside(t, namespace, "web", "/bin/probe", "open", "/srv/public"); status != 0 {
			t.Errorf("%s: what nobody forbids: status %d: %s", namespace, status, out)
		}
	}
	// A label counts from then on, also for processes that run.
	script := "rm -f /tmp/at; { while /bin/probe open /srv/public; do sleep 0.1; done; /bin/probe stamp /tmp/at; } </dev/null >/dev/null 2>&1 &"
	if out, status := inside(t, "office", "web", "/bin/sh", "-c", script); status != 0 {
		t.Fatal(out)
	}
	before := uptime(t)
	kubectl(t, "--namespace", "office", "label", "pod", "web", "labelled=yes")
	took := stamped(t, "office", "web", before)
	t.Logf("seen: the label acted %v after kubectl was started to set it", took)
	if out, status := inside(t, "shop", "web", "/bin/probe", "open", "/srv/public"); status != 0 {
		t.Errorf("a pod without the label: status %d: %s", status, out)
	}
	kubectl(t, "--namespace", "office", "label", "pod", "web", "labelled-")
	await(t, patience, "the label to be gone", func() (string, bool) {
		out, status := inside(t, "office", "web", "/bin/probe", "open", "/srv/public")
		return out, status == 0
	})
}

// namespaces makes namespaces and waits until pods can be made there.
func namespaces(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: "+name+"}}\n")
		await(t, patience, "the service account of "+name, func() (string, bool) {
			out, err := cluster.Kubectl("--namespace", name, "get", "serviceaccount", "default").CombinedOutput()
			return string(out), err == nil
		})
	}
}

// podWith is a pod that waits, with more in its spec and in its container.
func podWith(name, spec, container string) string {
	return `{apiVersion: v1, kind: Pod, metadata: {name: ` + name + `, namespace: default, labels: {app: ` + name + `}},
 spec: {terminationGracePeriodSeconds: 0, ` + spec + ` containers: [{name: main, ` + container + ` image: "docker.io/library/test:1", imagePullPolicy: Never, command: [/bin/probe, wait]}]}}
---
`
}
