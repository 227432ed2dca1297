//go:build vm_deb

package vm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	alerts = "/var/log/ebpfguard/alerts.json"
	ready  = "/run/ebpfguard/ready"

	// secret is a file of the image and of the host, which containers of the policy's name must not read.
	secret    = "/secret"
	noSecrets = `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: web}
spec:
  subject: {containers: [{names: ["web*"]}]}
  rules:
  - operation: file_open
    deny: {paths: [/secret]}
`
	configuration = `containers: {fail: closed}
outputs: [{type: file, path: ` + alerts + `}]
`
	// verified is many times what the kernel takes to verify the programs in emulation.
	verified = 5 * time.Minute
)

// daemon is the real one.
type daemon struct {
	cmd    *exec.Cmd
	output bytes.Buffer
}

func startDaemon(t *testing.T) *daemon {
	t.Helper()
	_ = os.Remove(ready)
	d := &daemon{cmd: exec.Command("ebpfguard", "daemon", "--ready-file", ready)}
	d.cmd.Stdout, d.cmd.Stderr = &d.output, &d.output
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(verified); ; time.Sleep(100 * time.Millisecond) {
		if _, err := os.Stat(ready); err == nil {
			return d
		}
		if time.Now().After(end) {
			d.kill()
			t.Fatalf("the daemon is not ready after %v:\n%s", verified, d.output.String())
		}
	}
}

func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
}

// TestGuard has the first program of containers try what is forbidden to them, with a real daemon: each is refused.
func TestGuard(t *testing.T) {
	podmanDisk(t)
	for _, dir := range []string{"/etc/ebpfguard/policies.d", filepath.Dir(alerts), filepath.Dir(ready), "/var/lib/ebpfguard"} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, "/etc/ebpfguard/config.yaml", configuration)
	write(t, "/etc/ebpfguard/policies.d/web.yaml", noSecrets)
	write(t, secret, "the host's\n")
	root := t.TempDir()
	rootfs(t, root)
	write(t, filepath.Join(root, secret), "the image's\n")
	archive := filepath.Join(t.TempDir(), "root.tar")
	run(t, "tar", "-C", root, "-cf", archive, ".")
	run(t, "podman", "import", archive, box)
	t.Log(run(t, "ebpfguard", "runtime", "install-hook", "--yes"))
	if hook := read(t, "/usr/share/containers/oci/hooks.d/ebpfguard.json"); !strings.Contains(hook, "--fail=closed") {
		t.Errorf("the hook does not do as the configuration says: %s", hook)
	}
	d := startDaemon(t)
	defer func() { d.kill() }()

	podman := func(runtime, name string) (string, error) {
		return command("podman", "--runtime", runtime, "run", "--rm", "--network", "none", "--name", name, box, "/bin/cat", secret)
	}
	bundles := map[string]string{}
	for _, runtime := range []string{"crun", "runc"} {
		bundles[runtime] = bundle(t, runtime, root)
	}
	byHand := func(runtime, name string) (string, error) {
		return command("ebpfguard", "runtime", "wrap", "--fail", "closed", "--", runtime, "run", "--bundle", bundles[runtime], name)
	}
	times := 10
	if os.Getenv("EBPFGUARD_TEST_FULL") != "" {
		times = 50
	}
	for _, test := range []struct {
		name    string
		runtime string
		times   int
		run     func(runtime, name string) (string, error)
	}{{"podman", "crun", times, podman}, {"podman", "runc", 3, podman}, {"by_hand", "crun", 50, byHand}, {"by_hand", "runc", 20, byHand}} {
		t.Run(test.name+"_"+test.runtime, func(t *testing.T) {
			for i := range test.times {
				name := fmt.Sprintf("web-%s-%s-%d", test.name, test.runtime, i)
				out, err := test.run(test.runtime, name)
				if err == nil || !strings.Contains(out, "Operation not permitted") || strings.Contains(out, "the image's") {
					t.Fatalf("%s: %v: %s", name, err, out)
				}
				if i%10 != 0 {
					continue
				}
				// Its neighbour and the host read their files.
				if out, err := test.run(test.runtime, fmt.Sprintf("db-%s-%s-%d", test.name, test.runtime, i)); err != nil || !strings.Contains(out, "the image's") {
					t.Errorf("the neighbour: %v: %s", err, out)
				}
				if out, err := command("cat", secret); err != nil || out != "the host's\n" {
					t.Errorf("the host: %v: %s", err, out)
				}
				container := alertOf(t, name)
				if container["name"] != name || test.name == "podman" && (container["runtime"] != "podman" || container["image"] != box || container["image_digest"] == nil) ||
					test.name == "by_hand" && container["runtime"] != "oci" {
					t.Errorf("the alert names the container %v", container)
				}
			}
		})
	}
	t.Run("pod", func(t *testing.T) {
		run(t, "podman", "pod", "create", "--network", "none", "--infra-image", box, "--infra-command", "/bin/sleep 1000", "--name", "shop")
		in := func(name string) (string, error) {
			return command("podman", "run", "--rm", "--pod", "shop", "--name", name, box, "/bin/cat", secret)
		}
		if out, err := in("db-pod"); err != nil || !strings.Contains(out, "the image's") {
			t.Errorf("the neighbour: %v: %s", err, out)
		}
		if out, err := in("web-pod"); err == nil || strings.Contains(out, "the image's") {
			t.Errorf("%v: %s", err, out)
		}
		// Podman's monitors, which are beside the containers in the pod's group, are programs of the host.
		run(t, "podman", "run", "-d", "--pod", "shop", "--name", "db-pod", box, "/bin/sleep", "1000")
		groups, err := filepath.Glob("/sys/fs/cgroup/machine.slice/machine-libpod_pod_*.slice/libpod-conmon-*.scope")
		if err != nil || len(groups) == 0 {
			t.Fatalf("%v: there is no group of a monitor among:\n%s", err, run(t, "find", "/sys/fs/cgroup/machine.slice", "-name", "*libpod*"))
		}
		if out, err := command("/bin/sh", "-c", "echo $$ >"+groups[0]+"/cgroup.procs && exec cat "+secret); err != nil || out != "the host's\n" {
			t.Errorf("in the monitor's group: %v: %s", err, out)
		}
		if out := run(t, "ebpfguard", "status", "--all"); !strings.Contains(out, " 0 unidentified") {
			t.Errorf("a monitor counts as an unidentified container: %s", out)
		}
		run(t, "podman", "pod", "rm", "--force", "--time", "0", "shop")
	})
	t.Run("exec", func(t *testing.T) {
		run(t, "podman", "run", "-d", "--network", "none", "--name", "web", box, "/bin/sleep", "1000")
		run(t, "podman", "run", "-d", "--network", "none", "--name", "db", box, "/bin/sleep", "1000")
		if out := fails(t, "podman", "exec", "web", "/bin/cat", secret); !strings.Contains(out, "Operation not permitted") {
			t.Errorf("podman exec: %s", out)
		}
		run(t, "podman", "exec", "db", "/bin/cat", secret)
		// By its new name it is another one.
		run(t, "podman", "rename", "web", "store")
		eventually(t, "the new name counts", func() bool {
			_, err := command("podman", "exec", "store", "/bin/cat", secret)
			return err == nil
		})
		run(t, "podman", "rename", "store", "web")
		eventually(t, "the former name counts", func() bool {
			_, err := command("podman", "exec", "web", "/bin/cat", secret)
			return err != nil
		})
	})
	t.Run("status", func(t *testing.T) {
		t.Log(run(t, "ebpfguard", "status", "--all"))
		if out := run(t, "ebpfguard", "containers"); !strings.Contains(out, "web") || !strings.Contains(out, "podman") {
			t.Errorf("containers: %s", out)
		}
	})
	t.Run("no_daemon", func(t *testing.T) {
		d.kill()
		// What runs keeps its label, and nothing new starts.
		if out := fails(t, "podman", "exec", "web", "/bin/cat", secret); !strings.Contains(out, "Operation not permitted") {
			t.Errorf("podman exec: %s", out)
		}
		run(t, "podman", "exec", "db", "/bin/cat", secret)
		for _, f := range []func(string, string) (string, error){podman, byHand} {
			if out, err := f("crun", "db-closed"); err == nil || strings.Contains(out, "the image's") {
				t.Errorf("closed: %v: %s", err, out)
			}
			_, _ = command("crun", "delete", "--force", "db-closed")
		}
		_, _ = command("podman", "rm", "--force", "db-closed")
		run(t, "ebpfguard", "runtime", "install-hook", "--podman", "--fail", "open", "--yes")
		// Nobody knows which container it is, so it may be the one that the rule is about.
		out, err := podman("crun", "db-open")
		if err == nil || !strings.Contains(out, "Operation not permitted") {
			t.Errorf("open: %v: %s", err, out)
		}
	})
	t.Run("daemon_again", func(t *testing.T) {
		run(t, "podman", "run", "-d", "--network", "none", "--name", "db-meanwhile", box, "/bin/sleep", "1000")
		d = startDaemon(t)
		run(t, "podman", "exec", "db-meanwhile", "/bin/cat", secret)
		run(t, "podman", "exec", "db", "/bin/cat", secret)
		fails(t, "podman", "exec", "web", "/bin/cat", secret)
	})
	t.Run("end", func(t *testing.T) {
		run(t, "podman", "rm", "--force", "--all", "--time", "0")
		run(t, "ebpfguard", "runtime", "install-hook", "--uninstall", "--yes")
		d.kill()
		run(t, "ebpfguard", "down")
	})
	if t.Failed() {
		t.Log(d.output.String())
	}
}

// bundle makes a bundle whose program reads the secret.
func bundle(t *testing.T, runtime, root string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(runtime, "spec")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s spec: %v: %s", runtime, err, out)
	}
	var spec map[string]any
	if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, "config.json"))), &spec); err != nil {
		t.Fatal(err)
	}
	spec["root"] = map[string]any{"path": root, "readonly": true}
	process := spec["process"].(map[string]any)
	process["terminal"], process["args"] = false, []string{"/bin/cat", secret}
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "config.json"), string(data))
	return dir
}

// alertOf waits for an alert about the container with a name, and returns what it says of it.
func alertOf(t *testing.T, name string) (container map[string]any) {
	t.Helper()
	eventually(t, "the alert of "+name, func() bool {
		data, err := os.ReadFile(alerts)
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(data)) {
			var alert struct {
				Process struct{ Container map[string]any }
				Object  struct{ Path string }
			}
			if json.Unmarshal([]byte(line), &alert) == nil && alert.Process.Container["name"] == name && alert.Object.Path == secret {
				container = alert.Process.Container
				return true
			}
		}
		return false
	})
	return container
}
