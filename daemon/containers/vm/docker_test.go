//go:build vm_deb

package vm

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

const dockerConfig = "/etc/docker/daemon.json"

// TestDocker starts containers by Docker with runc: the hook, which a runtime of its own adds, tells of each before its
// first program, and the source of what runs already.
func TestDocker(t *testing.T) {
	run(t, "systemctl", "stop", "docker.socket", "docker.service")
	disk(t, "/var/lib/docker")
	// The guest's kernel has no bridge and no iptables.
	const before = `{"iptables": false, "ip6tables": false, "bridge": "none", "log-opts": {"max-size": "1m"}}` + "\n"
	write(t, dockerConfig, before)
	run(t, "systemctl", "reset-failed", "docker.service", "docker.socket")
	run(t, "systemctl", "start", "docker.service")
	run(t, "docker", "import", "--change", "LABEL from=image", image(t), "box:1")
	digest := run(t, "docker", "image", "inspect", "--format", "{{.Id}}", "box:1")
	unmarked(t)
	docker := func(verb string, args ...string) []string {
		return append([]string{verb, "--network", "none", "-v", marks + ":/marks"}, args...)
	}
	start := func(t *testing.T, name string, args ...string) {
		t.Helper()
		args = append(args, "--name", name, "box:1")
		run(t, "docker", docker("run", append([]string{"-d"}, append(args, first(name)...)...)...)...)
	}
	pid := func(t *testing.T, name string) string {
		return run(t, "docker", "inspect", "--format", "{{.State.Pid}}", name)
	}

	installed := t.Run("install", func(t *testing.T) {
		t.Log(run(t, "ebpfguard", "runtime", "install-hook", "--docker", "--dry-run"))
		t.Log(run(t, "ebpfguard", "runtime", "install-hook", "--docker", "--fail", "closed", "--yes"))
		var config map[string]any
		if err := json.Unmarshal([]byte(read(t, dockerConfig)), &config); err != nil || config["bridge"] != "none" || config["default-runtime"] != "ebpfguard" {
			t.Errorf("%v: %v", err, config)
		}
		if out := run(t, "docker", "info", "--format", "{{.DefaultRuntime}}"); out != "ebpfguard" {
			t.Errorf("Docker's default runtime is %s", out)
		}
	})
	if !installed {
		t.FailNow()
	}
	r := record(t, "docker", "oci")
	defer func() { r.stop() }()
	t.Run("start", func(t *testing.T) {
		start(t, "web", "--label", "app=web")
		c := r.hooked(t, "web")
		if c.Runtime != "docker" || c.Image != "box:1" || c.ImageDigest != digest || c.Labels["app"] != "web" || c.Labels["from"] != "image" {
			t.Errorf("the hook told of %+v", c)
		}
		in(t, cgroupOf(t, pid(t, "web")), r.await(t, "it", named("web", "hook", "docker", "oci")))
	})
	t.Run("exec", func(t *testing.T) {
		run(t, "docker", "exec", "-d", "web", "/bin/sleep", "77")
		in(t, cgroupOf(t, sleeper(t)), r.await(t, "it", named("web")))
	})
	t.Run("restart", func(t *testing.T) {
		unmarked(t)
		run(t, "docker", "restart", "--time", "0", "web")
		r.hooked(t, "web")
		in(t, cgroupOf(t, pid(t, "web")), r.await(t, "it", named("web", "hook", "docker", "oci")))
	})
	t.Run("rename", func(t *testing.T) {
		run(t, "docker", "rename", "web", "web-2")
		r.await(t, "the new name", named("web-2"))
	})
	t.Run("refused", func(t *testing.T) {
		r.refuseAll("the table of containers is full")
		defer r.refuseAll("")
		out := fails(t, "docker", docker("run", append([]string{"--name", "refused", "box:1"}, first("refused")...)...)...)
		if marked("refused") || !strings.Contains(out, "the table of containers is full") {
			t.Errorf("its program has run: %v: %s", marked("refused"), out)
		}
		r.hooked(t, "refused")
		run(t, "docker", "rm", "refused")
	})
	t.Run("no_daemon", func(t *testing.T) {
		r.deaf()
		defer r.listen(t)
		out := fails(t, "docker", docker("run", append([]string{"--name", "closed", "box:1"}, first("closed")...)...)...)
		if marked("closed") || !strings.Contains(out, "no daemon answers on "+socket) {
			t.Errorf("its program has run: %v: %s", marked("closed"), out)
		}
		t.Log(out)
		run(t, "docker", "rm", "closed")
		run(t, "ebpfguard", "runtime", "install-hook", "--docker", "--fail", "open", "--yes")
		start(t, "open")
		r.silent(t)
		r.await(t, "it", named("open", "docker", "oci"))
		run(t, "docker", "rm", "--force", "open")
	})
	t.Run("daemon_restart", func(t *testing.T) {
		r.stop()
		for _, source := range []string{"oci", "docker"} {
			r = record(t, source)
			known := r.await(t, "what ran before", named("web-2", source))
			if known.Image != "box:1" || known.ImageDigest != digest || known.Runtime != "docker" || known.Labels["app"] != "web" {
				t.Errorf("%s tells of %+v", source, known)
			}
			in(t, cgroupOf(t, pid(t, "web-2")), known)
			r.stop()
		}
		r = record(t, "docker", "oci")
	})
	t.Run("docker_restart", func(t *testing.T) {
		run(t, "docker", "stop", "--time", "0", "web-2")
		run(t, "systemctl", "restart", "docker.service")
		start(t, "after")
		r.hooked(t, "after")
		known := r.await(t, "it", named("after", "docker"))
		run(t, "docker", "rm", "--force", "after")
		r.gone(t, known.ID)
	})
	t.Run("uninstall", func(t *testing.T) {
		start(t, "runs")
		r.hooked(t, "runs")
		r.await(t, "it", named("runs", "docker"))
		t.Log(run(t, "ebpfguard", "runtime", "install-hook", "--docker", "--uninstall", "--yes"))
		// What runs goes on by the runtime that it was made with.
		run(t, "docker", "exec", "runs", "/bin/sh", "-c", ":")
		run(t, "docker", "rm", "--force", "runs")
		// The container asks for the runtime by its name still.
		run(t, "docker", "start", "web-2")
		r.silent(t)
		r.await(t, "it", named("web-2", "docker"))
		run(t, "docker", "rm", "--force", "web-2")
		run(t, "ebpfguard", "runtime", "install-hook", "--docker", "--uninstall", "--yes")
		var was, is any
		if json.Unmarshal([]byte(before), &was) != nil || json.Unmarshal([]byte(read(t, dockerConfig)), &is) != nil || !equal(was, is) {
			t.Errorf("%s is now %s", dockerConfig, read(t, dockerConfig))
		}
		start(t, "late")
		r.silent(t)
		r.await(t, "it", named("late", "docker", "oci"))
		run(t, "docker", "rm", "--force", "late")
	})
}

func equal(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
