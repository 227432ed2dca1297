//go:build vm_deb

package container

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPodman and TestDocker follow docs/containers.md, word for word, on a Debian with the runtime.
func TestPodman(t *testing.T) {
	// The guest's disk has no file system that overlayfs takes as an upper layer. The services of the boot run podman, which
	// keeps in /run/containers that overlayfs does not work if it ran before the mount (containers/podman#12212).
	shell(t, `systemctl stop podman.service podman-restart.service podman-auto-update.service
rm -rf /run/containers
mkdir -p /var/lib/containers && mount -t tmpfs tmpfs /var/lib/containers`)
	follow(t, older{"podman", "--security-opt seccomp=unconfined", strings.NewReplacer(" run ", " run --security-opt seccomp=unconfined ")})
}

func TestDocker(t *testing.T) {
	// The guest's kernel has no bridge and no iptables.
	shell(t, `systemctl stop docker.socket docker.service
mkdir -p /etc/docker /var/lib/docker && mount -t tmpfs tmpfs /var/lib/docker
echo '{"iptables": false, "ip6tables": false, "bridge": "none"}' >/etc/docker/daemon.json
systemctl reset-failed docker.service docker.socket
systemctl start docker.service`)
	follow(t, older{"docker", `unknown capability: "CAP_BPF"`, strings.NewReplacer("--cap-add BPF --cap-add PERFMON", "--cap-add SYS_ADMIN", "--cap-add BPF", "--cap-add SYS_ADMIN")})
}

// The page, the image and its version, which the guest has.
const (
	page    = "/src/docs/containers.md"
	sources = "/src"
	version = "0.0.9"
)

// steps returns the commands of the section about the guard in a container.
func steps(t *testing.T, runtime string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## ebpfguard in a container\n")
	section, _, _ = strings.Cut(section, "\n### ")
	var all []string
	for line := range strings.Lines(strings.ReplaceAll(section, "\\\n", "")) {
		command, ok := strings.CutPrefix(line, "    ")
		if ok && !strings.HasPrefix(command, "make ") {
			all = append(all, strings.NewReplacer("docker ", runtime+" ", "VERSION", version).Replace(strings.TrimSpace(command)))
		}
	}
	if len(all) != 9 {
		t.Fatalf("the page has %d commands: %q", len(all), all)
	}
	return all
}

func shell(t *testing.T, command string) string {
	t.Helper()
	cmd := exec.Command("sh", "-ec", command)
	cmd.Dir = sources
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// older is a runtime of the guest's Debian, which is older than what the page is for: how it or the guard says so, and
// what the page says to write then.
type older struct {
	runtime, says string
	instead       *strings.Replacer
}

func follow(t *testing.T, with older) {
	runtime := with.runtime
	const secret, other = "/srv/secret", "/srv/applied"
	deny := func(to, name, path string) {
		text := "apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: " + name + "}\nspec:\n  subject: {}\n  rules:\n  - operation: file_open\n    deny: {paths: [" + path + "]}\n"
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What is there before, and other names of the files.
	shell(t, "mkdir -p /etc/ebpfguard/policies.d && echo x >"+secret+" && echo x >"+other+" && ln "+secret+" "+secret+"-2")
	deny("/etc/ebpfguard/policies.d/secret.yaml", "secret", secret)
	deny(filepath.Join(sources, "secrets.yaml"), "applied", other)
	refused := func(path string) bool {
		_, err := os.ReadFile(path)
		return os.IsPermission(err)
	}
	var logs string
	for _, step := range steps(t, runtime) {
		t.Log(step)
		if strings.Contains(step, " run --detach ") {
			with.refuses(t, step)
		}
		if strings.Contains(step, " run ") {
			step = with.instead.Replace(step)
		}
		if strings.HasSuffix(step, "# is all well?") {
			await(t, runtime, step)
		}
		out := shell(t, step)
		switch {
		case strings.Contains(step, " apply "):
			if !refused(secret) || !refused(secret+"-2") || !refused(other) {
				t.Errorf("it is not enforced\n%s", out)
			}
		case strings.Contains(step, " logs "):
			logs = out
		case strings.Contains(step, " rm "):
			if !refused(secret) || !refused(secret+"-2") {
				t.Error("without the container nothing is enforced any more")
			}
		}
	}
	if !strings.Contains(logs, `"path":"`+secret+`"`) || !strings.Contains(logs, `"cgroup":"/system.slice/vmtest.service"`) {
		t.Errorf("the alerts do not tell the path and the control group:\n%s", logs)
	}
	if refused(secret) || refused(other) {
		t.Error("after down it is still enforced")
	}
}

// refuses wants to be told why the step does not work with the older runtime.
func (o older) refuses(t *testing.T, step string) {
	t.Helper()
	out, _ := exec.Command("sh", "-c", step).CombinedOutput()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		log, _ := exec.Command(o.runtime, "logs", "ebpfguard").CombinedOutput()
		if strings.Contains(string(out)+string(log), o.says) {
			_ = exec.Command(o.runtime, "rm", "--force", "ebpfguard").Run() // there may be none
			return
		}
	}
	t.Fatalf("%q is not said:\n%s", o.says, out)
}

// await waits until the daemon in the container is ready.
func await(t *testing.T, runtime, status string) {
	t.Helper()
	var out []byte
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		var err error
		if out, err = exec.Command("sh", "-c", status).CombinedOutput(); err == nil && strings.HasPrefix(string(out), "ENFORCING") {
			return
		}
	}
	log, _ := exec.Command(runtime, "logs", "ebpfguard").CombinedOutput()
	t.Fatalf("the daemon is not ready: %s\n%s", out, log)
}
