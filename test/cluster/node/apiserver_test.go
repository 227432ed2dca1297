//go:build k8s_node

package node_test

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestAPIServerGone stops the API server, and kills the agent meanwhile: it comes back with what was in force last.
func TestAPIServerGone(t *testing.T) {
	noSSH(t)
	apply(t, pod("default", "victim"))
	running(t, "default", "victim")
	a := startAttack(t, "default", "victim", "/bin/probe bind 22")
	stopAPIServer(t)
	before := agentLogs(t)
	onNode(t, "kill -9 $(pidof ebpfguard)")
	await(t, patience, "the agent to enforce again without the API server", func() (string, bool) {
		log := agentLogs(t)
		return log, strings.Count(log, `"msg":"enforcing"`) > strings.Count(before, `"msg":"enforcing"`)
	})
	startAPIServer(t)
	a.end()
	awaitAgent(t)
	inForce(t, "clusterpolicy", "no-rogue-sshd")
}

func stopAPIServer(t testing.TB) {
	t.Helper()
	cluster.StopAPIServer()
	t.Cleanup(func() { startAPIServer(t) })
}

// startAPIServer starts it if it does not run.
func startAPIServer(t testing.TB) {
	t.Helper()
	if cluster.Running() {
		return
	}
	if err := cluster.StartAPIServer(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// agentLogs returns what all agents of the node have logged, as it lies there.
func agentLogs(t testing.TB) string {
	t.Helper()
	return onNode(t, "cat /var/log/pods/ebpfguard_ebpfguard-*/ebpfguard/*.log")
}

// TestReboot takes the node's power away while the API server is gone. The runtime starts no container without the agent.
// When kubelet reaches the API server again and the agent does not, a pod's first action is refused by what was in force
// last.
func TestReboot(t *testing.T) {
	failClosed(t)
	noSSH(t)
	apply(t, `{apiVersion: v1, kind: Pod, metadata: {name: first, namespace: default}, spec: {terminationGracePeriodSeconds: 0, volumes: [
  {name: out, hostPath: {path: /var/lib/first, type: DirectoryOrCreate}}],
 containers: [{name: main, image: "docker.io/library/test:1", imagePullPolicy: Never, volumeMounts: [{name: out, mountPath: /out}],
  command: [/bin/sh, -c, "/bin/probe bind 22; echo $? >>/out/first; exec /bin/probe wait"]}]}}
---
`)
	running(t, "default", "first")
	await(t, time.Minute, "the pod's first action", func() (string, bool) {
		out := onNode(t, "cat /var/lib/first/first 2>/dev/null; true")
		return out, out == "1\n"
	})
	onNode(t, "rm /var/lib/first/first")

	stopAPIServer(t)
	node.PowerOff(t.Context())
	if err := node.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Second) // as long as it takes kubelet to start pods, if it would
	if err := node.Service(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	startAPIServer(t)
	await(t, 2*patience, "the pod's first action after the boot", func() (string, bool) {
		out := onNode(t, "cat /var/lib/first/first 2>/dev/null; true")
		return out, out != ""
	})
	if out := onNode(t, "cat /var/lib/first/first"); strings.Trim(out, "1\n") != "" {
		t.Errorf("after the boot the pod's first action gave %q, want 1, which is EPERM", out)
	}
	await(t, patience, "the agent to say that it does not reach the API server", func() (string, bool) {
		out, status := inside(t, "ebpfguard", "daemonset/ebpfguard", "/ebpfguard", "status")
		return out, status != 0 && strings.Contains(out, "API server")
	})
	if err := node.Service(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	await(t, patience, "the agent to reach the API server", func() (string, bool) {
		out, status := inside(t, "ebpfguard", "daemonset/ebpfguard", "/ebpfguard", "status")
		return out, (status == 0 || strings.HasPrefix(out, "DEGRADED")) && !strings.Contains(out, "API server")
	})
	inForce(t, "clusterpolicy", "no-rogue-sshd")
	if out := onNode(t, "cat /var/lib/first/first"); strings.Trim(out, "1\n") != "" {
		t.Errorf("the pod's first actions gave %q, want 1 each, which is EPERM", out)
	}
}

// failClosed has no container start without the agent, as docs/containers.md says: by a setting of the agent, and one of
// containerd.
func failClosed(t testing.TB) {
	t.Helper()
	if out, err := cluster.RunHelm(t.Context(), "upgrade", "ebpfguard", cluster.Chart(), "--namespace", "ebpfguard", "--reuse-values",
		"--set", "config.containers.fail=closed"); err != nil {
		t.Fatalf("helm upgrade: %v\n%s", err, out)
	}
	awaitAgent(t)
	requireAgent(t, true)
	t.Cleanup(func() {
		requireAgent(t, false)
		if out, err := cluster.RunHelm(context.Background(), "rollback", "ebpfguard", "--namespace", "ebpfguard"); err != nil {
			t.Fatalf("helm rollback: %v\n%s", err, out)
		}
		awaitAgent(t)
	})
}

// requireAgent tells containerd whether it creates containers without the agent, as docs/containers.md says.
func requireAgent(t testing.TB, require bool) {
	t.Helper()
	from, to := "enable = true", "enable = false"
	if require {
		from, to = to, from
	}
	before := strings.TrimSpace(onNode(t, "pidof containerd"))
	onNode(t, "sed -i 's/"+from+"/"+to+"/' /etc/containerd/config.toml && grep -q '"+to+"' /etc/containerd/config.toml && kill "+before)
	await(t, patience, "containerd to start again", func() (string, bool) {
		out := onNode(t, "pidof containerd; ctr version >/dev/null 2>&1 && echo answers; true")
		return out, !strings.Contains(" "+out, " "+before+" ") && strings.Contains(out, "answers")
	})
}
