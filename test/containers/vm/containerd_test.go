//go:build vm

package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// patience is how long things may take in an emulated guest.
const patience = time.Minute

// config is containerd's as an administrator would write it. No network is made: the pods have the guest's. A plugin
// has ten seconds to answer, not two: an emulated processor is twenty times as slow, and when several containers started
// at once containerd dropped the guard now and then, so that these were unidentified ones.
var config = template.Must(template.New("").Parse(`version = 3
root = "{{.Dir}}/root"
state = "{{.Dir}}/state"
[grpc]
  address = "{{.Dir}}/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "` + sandboxImage + `"
[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
{{- if .Systemd}}
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = true
{{- end}}
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    conf_dir = "{{.Dir}}/cni"
[plugins.'io.containerd.nri.v1.nri']
  disable = false
  socket_path = "{{.Dir}}/nri.sock"
  plugin_path = "{{.Dir}}/plugins"
  plugin_config_path = "{{.Dir}}/plugin-settings"
  plugin_request_timeout = "10s"
{{- if .Require}}
  [plugins.'io.containerd.nri.v1.nri'.default_validator]
    enable = true
    required_plugins = ["ebpfguard"]
    tolerate_missing_plugins_annotation = "ebpfguard.io/may-start-without"
{{- end}}
`))

// containerd is a running containerd, with its images.
type containerd struct {
	t   testing.TB
	dir string
	cmd *exec.Cmd
	// NRI is the socket.
	NRI string
	// out is where containers write: /out in each.
	out     string
	conn    *grpc.ClientConn
	runtime cri.RuntimeServiceClient
	images  cri.ImageServiceClient
	pods    int
}

// started are those that run, with and without requiring the guard: one takes ten seconds to start.
var started = map[bool]*containerd{}

// useContainerd gives one to the test, without pods. With require it refuses to create containers without the guard.
func useContainerd(t testing.TB, require bool) *containerd {
	t.Helper()
	if started[require] == nil {
		started[require] = startContainerd(t, require)
	}
	c := started[require]
	c.t = t
	t.Cleanup(c.removePods)
	return c
}

func startContainerd(t testing.TB, require bool) *containerd {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "containerd-")
	if err != nil {
		t.Fatal(err)
	}
	c := &containerd{t: t, dir: dir, NRI: filepath.Join(dir, "nri.sock"), out: filepath.Join(dir, "out")}
	f, err := os.Create(filepath.Join(dir, "config.toml"))
	if err == nil {
		err = config.Execute(f, struct {
			Dir              string
			Require, Systemd bool
		}{dir, require, systemd()})
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Mkdir(c.out, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.start()
	for _, archive := range []string{"/tmp/test.tar", "/tmp/pause.tar"} {
		c.ctr("image", "import", archive)
	}
	c.await("the images", func() bool {
		for _, name := range []string{testImage, sandboxImage} {
			status, err := c.images.ImageStatus(c.ctx(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: name}})
			if err != nil || status.Image == nil {
				return false
			}
		}
		return true
	})
	return c
}

// start starts the process, for the first time or again.
func (c *containerd) start() {
	c.t.Helper()
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	c.cmd = exec.Command("/usr/local/bin/containerd", "--config", filepath.Join(c.dir, "config.toml"))
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	if c.conn, err = grpc.NewClient("unix:"+filepath.Join(c.dir, "containerd.sock"), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		c.t.Fatal(err)
	}
	c.runtime, c.images = cri.NewRuntimeServiceClient(c.conn), cri.NewImageServiceClient(c.conn)
	c.await("containerd", func() bool {
		status, err := c.runtime.Status(c.ctx(), &cri.StatusRequest{}, grpc.WaitForReady(true))
		return err == nil && len(status.Status.Conditions) > 0 && status.Status.Conditions[0].Status
	})
}

// kill ends the process. Its containers run on.
func (c *containerd) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
	c.conn.Close()
}

// removePods ends what a test has left, and shows containerd's complaints when the test has failed.
func (c *containerd) removePods() {
	pods, err := c.runtime.ListPodSandbox(c.ctx(), &cri.ListPodSandboxRequest{})
	if err != nil {
		c.t.Error("list the pods:", err)
	}
	for _, p := range pods.GetItems() {
		c.removePod(p.Id)
	}
	if !c.t.Failed() {
		return
	}
	log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
	var lines []string
	for line := range strings.Lines(string(log)) {
		// What ends while its metrics are collected is no news.
		if (strings.Contains(line, "level=error") || strings.Contains(line, "level=warn")) && !strings.Contains(line, "collecting metrics") {
			lines = append(lines, line)
		}
	}
	c.t.Logf("containerd's last complaints:\n%s", strings.Join(lines[max(0, len(lines)-15):], ""))
}

func (c *containerd) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	c.t.Cleanup(cancel)
	return ctx
}

func (c *containerd) await(what string, is func() bool) {
	c.t.Helper()
	await(c.t, what, is)
}

func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	awaitEach(t, 20*time.Millisecond, what, is)
}

// awaitEach asks less often, where to ask costs the guest a lot.
func awaitEach(t testing.TB, pause time.Duration, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(pause) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}

// ctr runs containerd's own command.
func (c *containerd) ctr(args ...string) string {
	c.t.Helper()
	args = append([]string{"--address", filepath.Join(c.dir, "containerd.sock"), "--namespace", "k8s.io"}, args...)
	out, err := exec.Command("/usr/local/bin/ctr", args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("ctr %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// crictl runs the command of Kubernetes for its runtimes, and returns its output and exit status.
func (c *containerd) crictl(args ...string) (string, error) {
	endpoint := "unix://" + filepath.Join(c.dir, "containerd.sock")
	args = append([]string{"--runtime-endpoint", endpoint, "--image-endpoint", endpoint, "--timeout", "2m"}, args...)
	out, err := exec.Command("/usr/local/bin/crictl", args...).CombinedOutput()
	return string(out), err
}

// host is the namespaces of the guest, but for what a container has of its own.
func host(pid cri.NamespaceMode) *cri.NamespaceOption {
	return &cri.NamespaceOption{Network: cri.NamespaceMode_NODE, Pid: pid, Ipc: cri.NamespaceMode_POD}
}

// pod is a pod's settings.
type pod struct {
	name        string
	labels      map[string]string
	annotations map[string]string
	privileged  bool
}

// config returns a pod as kubelet asks for one.
func (c *containerd) config(p pod) *cri.PodSandboxConfig {
	c.pods++
	uid := fmt.Sprintf("7a1e0000-0000-0000-0000-%012d", c.pods)
	if p.name == "" {
		p.name = "pod"
	}
	parent := "/kubepods/besteffort/pod" + uid
	if systemd() {
		parent = "kubepods-besteffort-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice"
	}
	return &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: p.name, Namespace: "shop", Uid: uid, Attempt: 0},
		Labels:   p.labels, Annotations: p.annotations,
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent:    parent,
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: host(cri.NamespaceMode_CONTAINER), Privileged: p.privileged},
		},
	}
}

// group returns the control group of a container of a pod.
func group(pod *cri.PodSandboxConfig, id string) string {
	parent := pod.Linux.CgroupParent
	if !systemd() {
		return parent + "/" + id
	}
	return "/kubepods.slice/kubepods-besteffort.slice/" + parent + "/cri-containerd-" + id + ".scope"
}

// systemd reports whether control groups are systemd's business.
func systemd() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

// runPod starts a pod without containers.
func (c *containerd) runPod(config *cri.PodSandboxConfig) (string, error) {
	r, err := c.runtime.RunPodSandbox(c.ctx(), &cri.RunPodSandboxRequest{Config: config})
	return r.GetPodSandboxId(), err
}

func (c *containerd) mustRunPod(config *cri.PodSandboxConfig) string {
	c.t.Helper()
	id, err := c.runPod(config)
	if err != nil {
		c.t.Fatal("run a pod:", err)
	}
	return id
}

func (c *containerd) removePod(id string) {
	_, err := c.runtime.StopPodSandbox(c.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: id})
	if err == nil {
		_, err = c.runtime.RemovePodSandbox(c.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: id})
	}
	if err != nil {
		c.t.Error("remove a pod:", err)
	}
}

// container is a container's settings.
type container struct {
	name, image string
	args        []string
	labels      map[string]string
	mounts      map[string]string
	privileged  bool
	hostPID     bool
}

// podConfig is a pod's, and nodePID the pid namespace of the machine.
type podConfig = cri.PodSandboxConfig

const nodePID = cri.NamespaceMode_NODE

// create makes a container of a pod, which does not start yet.
func (c *containerd) create(podID string, pod *cri.PodSandboxConfig, k container) (string, error) {
	if k.name == "" {
		k.name = "main"
	}
	if k.image == "" {
		k.image = testImage
	}
	mounts := []*cri.Mount{{ContainerPath: "/out", HostPath: c.out}}
	for inside, outside := range k.mounts {
		mounts = append(mounts, &cri.Mount{ContainerPath: inside, HostPath: outside})
	}
	pids := cri.NamespaceMode_CONTAINER
	if k.hostPID {
		pids = nodePID
	}
	r, err := c.runtime.CreateContainer(c.ctx(), &cri.CreateContainerRequest{
		PodSandboxId: podID, SandboxConfig: pod, Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: k.name}, Image: &cri.ImageSpec{Image: k.image, UserSpecifiedImage: k.image},
			Args: k.args, Labels: k.labels, Mounts: mounts,
			Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
				NamespaceOptions: host(pids), Privileged: k.privileged,
			}},
		},
	})
	return r.GetContainerId(), err
}

func (c *containerd) mustCreate(podID string, pod *cri.PodSandboxConfig, k container) string {
	c.t.Helper()
	id, err := c.create(podID, pod, k)
	if err != nil {
		c.t.Fatal("create a container:", err)
	}
	return id
}

func (c *containerd) startContainer(id string) error {
	_, err := c.runtime.StartContainer(c.ctx(), &cri.StartContainerRequest{ContainerId: id})
	return err
}

func (c *containerd) mustStart(id string) {
	c.t.Helper()
	if err := c.startContainer(id); err != nil {
		c.t.Fatal("start a container:", err)
	}
}

func (c *containerd) stopContainer(id string) {
	c.t.Helper()
	if _, err := c.runtime.StopContainer(c.ctx(), &cri.StopContainerRequest{ContainerId: id}); err != nil {
		c.t.Error("stop a container:", err)
	}
}

func (c *containerd) removeContainer(id string) {
	c.t.Helper()
	if _, err := c.runtime.RemoveContainer(c.ctx(), &cri.RemoveContainerRequest{ContainerId: id}); err != nil {
		c.t.Error("remove a container:", err)
	}
}

// execInside runs a script in a container that runs, and returns what it printed.
func (c *containerd) execInside(id, script string) string {
	c.t.Helper()
	r, err := c.runtime.ExecSync(c.ctx(), &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"/bin/sh", "-c", script}, Timeout: 60})
	if err != nil {
		c.t.Error("run a script in a container:", err)
	}
	return string(r.GetStdout()) + string(r.GetStderr())
}

// exit waits until a container has ended, and returns its status.
func (c *containerd) exit(id string) int {
	c.t.Helper()
	var status *cri.ContainerStatus
	awaitEach(c.t, 200*time.Millisecond, "the container's end", func() bool {
		r, err := c.runtime.ContainerStatus(c.ctx(), &cri.ContainerStatusRequest{ContainerId: id})
		if err != nil {
			c.t.Fatal(err)
		}
		status = r.Status
		return status.State == cri.ContainerState_CONTAINER_EXITED
	})
	return int(status.ExitCode)
}

// stamp waits for what probe wrote to /out/NAME, and returns the time.
func (c *containerd) stamp(name string) time.Duration {
	c.t.Helper()
	var at time.Duration
	c.await("the container's stamp", func() bool {
		raw, err := os.ReadFile(filepath.Join(c.out, name))
		if err != nil || len(raw) == 0 {
			return false
		}
		n, err := strconv.ParseInt(string(raw), 10, 64)
		at = time.Duration(n)
		return err == nil
	})
	return at
}

// stamped reports whether there is such a file.
func (c *containerd) stamped(name string) bool {
	_, err := os.Stat(filepath.Join(c.out, name))
	return err == nil
}

// now is the time in the clock that probe's stamps are of.
func now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}
