package nri

import (
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/nri/pkg/api"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/policy"
)

func TestCgroup(t *testing.T) {
	for path, want := range map[string]string{
		"/k8s.io/0123":                                                "/k8s.io/0123",
		"/kubepods/besteffort/pod7a1e/0123/":                          "/kubepods/besteffort/pod7a1e/0123",
		"kubepods-besteffort-pod7a1e.slice:cri-containerd:0123":       "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod7a1e.slice/cri-containerd-0123.scope",
		"system.slice:crio:0123":                                      "/system.slice/crio-0123.scope",
		":cri-containerd:0123":                                        "/system.slice/cri-containerd-0123.scope",
		"-.slice:crio:0123":                                           "/crio-0123.scope",
		"machine.slice::0123":                                         "/machine.slice/0123.scope",
		"machine.slice:x:payload.slice":                               "/machine.slice/payload.slice",
		"kubepods-pod7a1e_4.slice:crio:0123":                          "/kubepods.slice/kubepods-pod7a1e_4.slice/crio-0123.scope",
		"/system.slice/containerd.service/kubepods-x.slice:crio:0123": "/system.slice/containerd.service/kubepods-x.slice:crio:0123",
	} {
		if got, err := cgroup(path); got != want || err != nil {
			t.Errorf("%q: got %q and the error %v, want %q", path, got, err, want)
		}
	}
	for _, path := range []string{"", "/", "0123", "../0123", "a:b", "a.slice:b:", "a:b:c", "a--b.slice:c:d", "-a.slice:b:c", ".slice:b:c", "a/b.slice:c:d"} {
		if got, err := cgroup(path); err == nil || got != "" {
			t.Errorf("%q: got %q and the error %v, want an error alone", path, got, err)
		}
	}
}

var pod = &api.PodSandbox{
	Id: "f00d", Name: "web-0", Namespace: "shop", Uid: "7a1e", Pid: 17,
	Labels:      map[string]string{"app": "web", "tier": "front"},
	Annotations: map[string]string{"io.kubernetes.cri.podsandbox.image-name": "registry.k8s.io/pause:3.10"},
	Linux:       &api.LinuxPodSandbox{CgroupParent: "/kubepods/pod7a1e", CgroupsPath: "/kubepods/pod7a1e/f00d"},
}

func container(state api.ContainerState) *api.Container {
	return &api.Container{
		Id: "0123", Name: "main", PodSandboxId: "f00d", State: state,
		Labels:      map[string]string{"tier": "own"},
		Annotations: map[string]string{"io.kubernetes.cri.image-name": "docker.io/library/nginx:1.27"},
		Image:       &api.Image{Name: "docker.io/library/another-name:1", Digest: "sha256:9c5"},
		Linux:       &api.LinuxContainer{CgroupsPath: "/kubepods/pod7a1e/0123"},
	}
}

var described = containers.Container{
	Container: policy.Container{
		ID: "0123", Name: "main", Image: "docker.io/library/nginx:1.27", ImageDigest: "sha256:9c5", Runtime: "containerd",
		Labels: map[string]string{"app": "web", "tier": "own"},
		Pod:    &policy.Pod{Namespace: "shop", Name: "web-0", UID: "7a1e", Labels: map[string]string{"app": "web", "tier": "front"}},
	},
	Cgroup: "/kubepods/pod7a1e/0123",
}

var describedPod = containers.Container{
	Container: policy.Container{
		ID: "f00d", Image: "registry.k8s.io/pause:3.10", Runtime: "containerd",
		Labels: map[string]string{"app": "web", "tier": "front"},
		Pod:    described.Pod,
	},
	Cgroup: "/kubepods/pod7a1e/f00d", Running: true,
}

func TestDescribe(t *testing.T) {
	got, err := describe("containerd", pod, container(api.ContainerState_CONTAINER_CREATED))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, described) {
		t.Errorf("the container is %+v, want %+v", got, described)
	}
	if got.Labels["new"] = "x"; pod.Labels["new"] != "" || got.Pod.Labels["new"] != "" {
		t.Error("the labels of container and pod are one map")
	}
	got, err = describeSandbox("containerd", pod)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, describedPod) {
		t.Errorf("the pod's own process is %+v, want %+v", got, describedPod)
	}
}

// TestImage has what the runtimes tell of an image.
func TestImage(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for name, test := range map[string]struct {
		annotations       map[string]string
		image             *api.Image
		reference, digest string
	}{
		"nothing": {},
		"containerd 2.4": {
			annotations: map[string]string{"io.kubernetes.cri.image-name": "nginx"},
			image:       &api.Image{Name: "docker.io/library/nginx:latest", Digest: "sha256:9c5"},
			reference:   "nginx", digest: "sha256:9c5",
		},
		"containerd 2.4, asked by id": {
			annotations: map[string]string{"io.kubernetes.cri.image-name": "sha256:" + id},
			image:       &api.Image{Name: "docker.io/library/nginx:latest", Digest: "sha256:9c5"},
			reference:   "docker.io/library/nginx:latest", digest: "sha256:9c5",
		},
		"containerd 1.7": {
			annotations: map[string]string{"io.kubernetes.cri.image-name": "docker.io/library/nginx:1.27"},
			reference:   "docker.io/library/nginx:1.27",
		},
		"containerd 1.7, by digest": {
			annotations: map[string]string{"io.kubernetes.cri.image-name": "docker.io/library/nginx@sha256:9c5"},
			reference:   "docker.io/library/nginx@sha256:9c5", digest: "sha256:9c5",
		},
		"cri-o": {
			annotations: map[string]string{"io.kubernetes.cri-o.ImageName": "quay.io/acme/app:2", "io.kubernetes.cri-o.ImageRef": id},
			reference:   "quay.io/acme/app:2",
		},
		"cri-o, an id": {annotations: map[string]string{"io.kubernetes.cri-o.ImageName": id}},
	} {
		reference, digest := image(&api.Container{Annotations: test.annotations, Image: test.image})
		if reference != test.reference || digest != test.digest {
			t.Errorf("%s: got %q and the digest %q, want %q and %q", name, reference, digest, test.reference, test.digest)
		}
	}
}

// TestDescribeAll leaves out what does not run.
func TestDescribeAll(t *testing.T) {
	stopped := &api.PodSandbox{Id: "dead", Linux: pod.Linux}
	created := container(api.ContainerState_CONTAINER_CREATED)
	created.Id = "4567"
	lost := &api.Container{Id: "89ab", State: api.ContainerState_CONTAINER_RUNNING}
	got, waiting, err := describeAll("containerd", []*api.PodSandbox{stopped, pod},
		[]*api.Container{container(api.ContainerState_CONTAINER_RUNNING), created, lost})
	if err == nil || !strings.Contains(err.Error(), "89ab") {
		t.Errorf("the error is %v, want one about the container without a control group", err)
	}
	if _, ok := waiting["4567"]; !ok || len(waiting) != 1 {
		t.Errorf("there wait for their start %+v, want 4567", waiting)
	}
	running := described
	running.Running = true
	if want := []containers.Container{describedPod, running}; !reflect.DeepEqual(got, want) {
		t.Errorf("there run %+v, want %+v", got, want)
	}
}

func TestWeakness(t *testing.T) {
	for _, version := range []string{"", "unknown", "v0.6.1", "v0.12.3"} {
		if weakness(true, false, "containerd", version) == "" {
			t.Errorf("NRI %q is told to do what it does not", version)
		}
		if got := weakness(false, false, "containerd", version); got != "" {
			t.Errorf("NRI %q, when containers may start without the guard: %s", version, got)
		}
	}
	if got := weakness(true, true, "containerd", "v0.6.1"); got != "" {
		t.Errorf("with a hook: %s", got)
	}
	for _, version := range []string{"v0.12.4", "v0.13.0", "v1.0.0"} {
		if got := weakness(true, false, "containerd", version); got != "" {
			t.Errorf("NRI %q: %s", version, got)
		}
	}
}
