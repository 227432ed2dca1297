//go:build k8s_node

package node_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// sshd is a pod where OpenSSH's server listens to a port.
func sshd(name, port string) string {
	return `{apiVersion: v1, kind: Pod, metadata: {name: ` + name + `, namespace: default, labels: {app: ` + name + `}},
 spec: {restartPolicy: Never, terminationGracePeriodSeconds: 0, containers: [{name: main, image: "docker.io/library/sshd:1", imagePullPolicy: Never,
  args: [-c, "/usr/bin/ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key && exec /usr/sbin/sshd -D -e -p ` + port + `"]}]}}
---
`
}

// TestAnnouncement has an ssh server that is refused port 22 and gets another.
func TestAnnouncement(t *testing.T) {
	noSSH(t)
	apply(t, sshd("rogue", "22")+sshd("fine", "2222"))

	await(t, patience, "the server on port 22 to end", func() (string, bool) {
		out := kubectl(t, "get", "pod", "rogue", "--output", "jsonpath={.status.phase}")
		return out, out == "Failed"
	})
	if log := kubectl(t, "logs", "rogue"); !strings.Contains(log, "Bind to port 22 on 0.0.0.0 failed: Operation not permitted.") {
		t.Errorf("the server on port 22 says:\n%s", log)
	}
	running(t, "default", "fine")
	await(t, patience, "the server on port 2222 to answer", func() (string, bool) {
		out, _ := inside(t, "default", "fine", "/bin/sh", "-c", "echo | nc -w 5 127.0.0.1 2222")
		return out, strings.HasPrefix(out, "SSH-2.0-OpenSSH")
	})

	awaitAlert(t, func(a alert) bool {
		pod := a.Process.Container.Pod
		return a.Policy == "clusterpolicy/no-rogue-sshd" && a.Verdict == "deny" && a.Process.Binary == "/usr/sbin/sshd" &&
			pod.Namespace == "default" && pod.Name == "rogue"
	})
	// The columns of kubectl.
	table := kubectl(t, "get", "clusterpolicies")
	if line := strings.Fields(strings.Split(table, "\n")[1]); len(line) < 2 || line[0] != "no-rogue-sshd" || !strings.Contains(table, "1/1") {
		t.Errorf("kubectl get clusterpolicies:\n%s", table)
	}
	t.Log("\n" + table)
}

// alert is what the tests look at of one.
type alert struct {
	Policy  string `json:"policy"`
	Verdict string `json:"verdict"`
	Process struct {
		Binary    string `json:"binary"`
		Container struct {
			Name string `json:"name"`
			Pod  struct {
				Namespace string `json:"namespace"`
				Name      string `json:"name"`
			} `json:"pod"`
		} `json:"container"`
	} `json:"process"`
}

// awaitAlert waits for an alert that the node's agent keeps.
func awaitAlert(t testing.TB, is func(alert) bool) {
	t.Helper()
	await(t, time.Minute, "the alert", func() (string, bool) {
		out := alerts(t)
		for line := range strings.Lines(out) {
			var a alert
			if err := json.Unmarshal([]byte(line), &a); err != nil {
				t.Fatalf("the alert %q: %v", line, err)
			}
			if is(a) {
				return out, true
			}
		}
		return out, false
	})
}

// alerts returns what the node's agent keeps, a line each.
func alerts(t testing.TB) string {
	t.Helper()
	return kubectl(t, "--namespace", "ebpfguard", "exec", "daemonset/ebpfguard", "--", "/ebpfguard", "alerts", "--output", "json", "--recent", "--until-now")
}
