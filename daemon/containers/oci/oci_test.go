package oci

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

const podmanID = "56f27278ff8487efe2b6149d88804557839ae7e0f99d72d1b0c0e592756c00dd"

// TestReadState reads what crun 1.8.1 and runc 1.1.5 wrote when Podman 4.3.1 called them.
func TestReadState(t *testing.T) {
	for _, test := range []struct {
		file  string
		pid   uint32
		ended bool
	}{
		{"crun-created.json", 299, false},
		{"crun-stopped.json", 0, true},
		{"runc-creating.json", 370, false},
	} {
		f, err := os.Open(filepath.Join("testdata", test.file))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		s, err := ReadState(f)
		if err != nil || s.PID != test.pid || s.Ended() != test.ended || len(s.ID) != 64 || !strings.HasSuffix(s.Bundle, "/"+s.ID+"/userdata") {
			t.Errorf("%s: %v: %+v", test.file, err, s)
		}
	}
	for text, want := range map[string]string{
		"":                        "standard input",
		"{}":                      "has no id",
		`{"id":"a"}`:              "has no pid; call the hook at the stage createRuntime",
		`{"id":"a","pid":1}`:      "has no bundle",
		`{"id":"a","pid":"many"}`: "standard input",
	} {
		if _, err := ReadState(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestOwnGroup(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for _, test := range []struct{ path, id, asked, want string }{
		{"/machine.slice/libpod-" + id + ".scope", id, "machine.slice:libpod:" + id, "/machine.slice/libpod-" + id + ".scope"},
		{"/machine.slice/libpod-" + id + ".scope/container", id, "machine.slice:libpod:" + id, "/machine.slice/libpod-" + id + ".scope"},
		{"/system.slice/docker-" + id + ".scope/init.scope", id, "", "/system.slice/docker-" + id + ".scope"},
		{"/docker/" + id, id, "/docker/" + id, "/docker/" + id},
		{"/system.slice/web.service/libpod-payload-" + id, id, "/system.slice/web.service/libpod-payload-" + id, "/system.slice/web.service/libpod-payload-" + id},
		{"/system.slice/runc-day.scope", "day", "", "/system.slice/runc-day.scope"},
		{"/day", "day", "", "/day"},
		{"/web/a", "day", "/web/a", "/web/a"},
		{"/kubepods.slice/cri-containerd-" + id + ".scope", id, "kubepods.slice:cri-containerd:" + id, "/kubepods.slice/cri-containerd-" + id + ".scope"},
		// Ids that are chosen by hand may be names of others' groups.
		{"/user.slice/user-0.slice/session-1.scope/user", "user", "", "/user.slice/user-0.slice/session-1.scope/user"},
		{"/user.slice/user-0.slice/session-1.scope", id, "", ""},
		{"/system.slice/libpod-conmon-x.scope", id, "", ""},
		{"/", id, "", ""},
		{"/", id, "/", ""},
	} {
		if got := ownGroup(test.path, test.id, test.asked); got != test.want {
			t.Errorf("%s of %s: %q, want %q", test.path, test.id, got, test.want)
		}
	}
}

func TestCgroup(t *testing.T) {
	if _, err := Cgroup(1<<30, "a", ""); err == nil || !strings.Contains(err.Error(), "has ended, or is not to be seen from here") {
		t.Errorf("a process that is not there: %v", err)
	}
	if _, err := Cgroup(uint32(os.Getpid()), strings.Repeat("f", 64), ""); err == nil {
		t.Error("the test has a control group of that id")
	}
}

// TestDescribePodman reads what Podman 4.3.1 had written when it called crun.
func TestDescribePodman(t *testing.T) {
	path := "testdata/storage/overlay-containers/" + podmanID + "/userdata"
	b, err := readBundle(readJSON, path)
	if err != nil {
		t.Fatal(err)
	}
	want := policy.Container{
		ID: podmanID, Name: "web", Image: "localhost/box:1", Runtime: "podman",
		ImageDigest: "sha256:35b0aa8d6aea7df659e8118e3e79712994d15bd129742047a9067a64d2bad7e0",
	}
	if diff := cmp.Diff(want, describe(podmanID, path, b)); diff != "" {
		t.Error(diff)
	}
	want = policy.Container{ID: "other", Runtime: "podman"}
	if diff := cmp.Diff(want, describe("other", filepath.Join(t.TempDir(), "other/userdata"), b)); diff != "" {
		t.Error("without Podman's files: ", diff)
	}
}

// TestInContainer has a guard that is in a container itself: what Podman writes has paths of the host.
func TestInContainer(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the guard is in a container on Linux alone")
	}
	const storage = "/var/lib/containers/storage"
	dir := t.TempDir()
	if err := os.CopyFS(dir+storage, os.DirFS("testdata/storage")); err != nil {
		t.Fatal(err)
	}
	root, err := hostroot.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	hostroot.Use(root)
	t.Cleanup(func() {
		hostroot.Use(nil)
		root.Close()
	})
	path := storage + "/overlay-containers/" + podmanID + "/userdata"
	b, err := readBundle(readHostJSON, path)
	if err != nil {
		t.Fatal(err)
	}
	if c := describe(podmanID, path, b); c.Name != "web" || c.Image != "localhost/box:1" || c.ImageDigest == "" {
		t.Errorf("the container is %+v", c)
	}
}

func TestDescribeDocker(t *testing.T) {
	root, id := t.TempDir(), strings.Repeat("a", 64)
	put(t, root, "containers/"+id+"/config.v2.json", `{"ID":"`+id+`","Name":"/web","Image":"sha256:111",
		"Config":{"Image":"nginx:1.27","Labels":{"app":"web"}}}`)
	put(t, root, "image/overlay2/repositories.json", `{"Repositories":{"nginx":{"nginx:1.27":"sha256:111","nginx@sha256:222":"sha256:111"},
		"redis":{"redis@sha256:333":"sha256:444"}}}`)
	var b bundle
	b.Mounts = append(b.Mounts, struct {
		Source string `json:"source"`
	}{root + "/containers/" + id + "/hostname"})
	path := "/run/containerd/io.containerd.runtime.v2.task/moby/" + id
	want := policy.Container{ID: id, Name: "web", Image: "nginx:1.27", ImageDigest: "sha256:222", Labels: map[string]string{"app": "web"}, Runtime: "docker"}
	if diff := cmp.Diff(want, describe(id, path, b)); diff != "" {
		t.Error(diff)
	}
	put(t, root, "image/overlay2/repositories.json", `{}`)
	if c := describe(id, path, b); c.ImageDigest != "sha256:111" {
		t.Errorf("an image that was never pulled has the digest %s", c.ImageDigest)
	}
}

func TestDescribeOthers(t *testing.T) {
	for name, test := range map[string]struct {
		path        string
		annotations map[string]string
		want        policy.Container
	}{
		"by hand": {"/srv/bundle", nil, policy.Container{ID: "day", Name: "day", Runtime: "oci"}},
		"ctr":     {"/run/containerd/io.containerd.runtime.v2.task/default/day", nil, policy.Container{ID: "day", Runtime: "containerd"}},
		"CRI-O": {"/var/lib/containers/storage/overlay-containers/day/userdata", map[string]string{
			"io.container.manager":              "cri-o",
			"io.kubernetes.cri-o.ContainerType": "container", "io.kubernetes.container.name": "web", "io.kubernetes.cri-o.ImageName": "nginx:1.27",
			"io.kubernetes.cri-o.ImageRef": "docker.io/library/nginx@sha256:222", "io.kubernetes.cri-o.Labels": `{"app":"web"}`,
			"io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.name": "web-1", "io.kubernetes.pod.uid": "u",
		}, policy.Container{ID: "day", Name: "web", Image: "nginx:1.27", ImageDigest: "sha256:222", Labels: map[string]string{"app": "web"}, Runtime: "cri-o",
			Pod: &policy.Pod{Namespace: "shop", Name: "web-1", UID: "u"}}},
		"containerd's CRI": {"/run/containerd/io.containerd.runtime.v2.task/k8s.io/day", map[string]string{
			"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": "web", "io.kubernetes.cri.image-name": "nginx@sha256:222",
			"io.kubernetes.cri.sandbox-namespace": "shop", "io.kubernetes.cri.sandbox-name": "web-1", "io.kubernetes.cri.sandbox-uid": "u",
		}, policy.Container{ID: "day", Name: "web", Image: "nginx@sha256:222", ImageDigest: "sha256:222", Runtime: "containerd",
			Pod: &policy.Pod{Namespace: "shop", Name: "web-1", UID: "u"}}},
	} {
		if diff := cmp.Diff(test.want, describe("day", test.path, bundle{Annotations: test.annotations})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestReadRunning reads the state of crun and runc, of a process that runs, has ended, or has another's number.
func TestReadRunning(t *testing.T) {
	pid := uint32(os.Getpid())
	self, err := procfs.Stat(pid)
	if err != nil {
		t.Fatal(err)
	}
	start := self.Start / procfs.Tick
	dir := t.TempDir()
	state := func(file, format string, pid uint32, start uint64) string {
		name := fmt.Sprint(len(subdirectories(dir)))
		put(t, dir, name+"/"+file, fmt.Sprintf(format, pid, start))
		return filepath.Join(dir, name)
	}
	crun := `{"pid": %d, "process-start-time": %d, "cgroup-path": "/a", "bundle": "/b"}`
	runc := `{"id":"a","init_process_pid":%d,"init_process_start":%d,"config":{"labels":["bundle=/b"]}}`
	for path, want := range map[string]bool{
		state("status", crun, pid, start):        true,
		state("state.json", runc, pid, start):    true,
		state("status", crun, pid, start+1):      false,
		state("state.json", runc, pid, start+1):  false,
		state("status", crun, 1<<30, start):      false,
		state("other", crun, pid, start):         false,
		state("status", `{"pid": %d%d`, pid, 12): false,
	} {
		if r, ok := readRunning(path); ok != want || ok && (r.pid != pid || r.bundle != "/b" || r.id != filepath.Base(path)) {
			t.Errorf("%s: %v, %+v", path, ok, r)
		}
	}
}

func put(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
