package nri

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"

	"github.com/containerd/nri/pkg/api"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/policy"
)

// What the runtimes write into a container's annotations: the image by the name that it was asked for.
// That is better than the name in NRI's own field, of containerd 2.4 and later, which is one of those that the image
// has on this machine. Whoever writes a pod cannot set them: the runtimes write their own over them.
var imageAnnotations = []string{"io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName"}

// sandboxImageAnnotations are the same for the pod's first process.
var sandboxImageAnnotations = []string{"io.kubernetes.cri.podsandbox.image-name", "io.kubernetes.cri-o.ImageName"}

// errNoProcess says that a pod has no process of its own: it has ended, or its runtime needs none.
var errNoProcess = errors.New("the pod has no process of its own")

// describeAll returns what runs, and what was created and has not started. The error is about those that are
// left out.
func describeAll(runtime string, pods []*api.PodSandbox, all []*api.Container) (running []containers.Container, created map[string]policy.Container, err error) {
	created = make(map[string]policy.Container)
	var errs []error
	byID := make(map[string]*api.PodSandbox, len(pods))
	for _, pod := range pods {
		byID[pod.GetId()] = pod
		c, err := describeSandbox(runtime, pod)
		if errors.Is(err, errNoProcess) {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("pod %s: %w", pod.GetId(), err))
			continue
		}
		running = append(running, c)
	}
	for _, container := range all {
		c, err := describe(runtime, byID[container.GetPodSandboxId()], container)
		switch container.GetState() {
		case api.ContainerState_CONTAINER_RUNNING, api.ContainerState_CONTAINER_PAUSED:
			if err != nil {
				errs = append(errs, fmt.Errorf("container %s: %w", container.GetId(), err))
				continue
			}
			c.Running = true
			running = append(running, c)
		case api.ContainerState_CONTAINER_CREATED: // it is told of when it starts
			if len(created) < maxCreated {
				created[c.ID] = c.Container
			}
		}
	}
	return running, created, errors.Join(errs...)
}

// describe returns what is known of a container. The error is about its control group.
func describe(runtime string, pod *api.PodSandbox, c *api.Container) (containers.Container, error) {
	described := containers.Container{Container: policy.Container{
		ID:      c.GetId(),
		Name:    c.GetName(),
		Runtime: runtimeName(runtime),
		Labels:  labels(pod.GetLabels(), c.GetLabels()),
		Pod:     podOf(pod),
	}}
	described.Image, described.ImageDigest = image(c)
	var err error
	described.Cgroup, err = cgroup(c.GetLinux().GetCgroupsPath())
	return described, err
}

// describeSandbox returns the pod's own process as a container without a name.
func describeSandbox(runtime string, pod *api.PodSandbox) (containers.Container, error) {
	c := containers.Container{Running: true, Container: policy.Container{
		ID:      pod.GetId(),
		Runtime: runtimeName(runtime),
		Image:   annotated(pod.GetAnnotations(), sandboxImageAnnotations),
		Labels:  labels(pod.GetLabels()),
		Pod:     podOf(pod),
	}}
	if pod.GetPid() == 0 {
		return c, errNoProcess
	}
	var err error
	c.Cgroup, err = cgroup(pod.GetLinux().GetCgroupsPath())
	return c, err
}

func podOf(pod *api.PodSandbox) *policy.Pod {
	if pod == nil {
		return nil
	}
	return &policy.Pod{Namespace: pod.GetNamespace(), Name: pod.GetName(), UID: pod.GetUid(), Labels: labels(pod.GetLabels())}
}

// labels joins labels; the last win.
func labels(all ...map[string]string) map[string]string {
	var joined map[string]string
	for _, some := range all {
		if joined == nil {
			joined = maps.Clone(some)
			continue
		}
		maps.Copy(joined, some)
	}
	return joined
}

// image returns the reference that the image was asked for by, and the digest of its content, as far as the runtime
// tells: before NRI 0.12 there is a digest only where the reference has one.
func image(c *api.Container) (reference, digest string) {
	reference = annotated(c.GetAnnotations(), imageAnnotations)
	if reference == "" {
		reference = c.GetImage().GetName()
	}
	if digest = c.GetImage().GetDigest(); digest == "" {
		_, digest, _ = strings.Cut(reference, "@")
	}
	return reference, digest
}

// annotated returns the first annotation that is there, unless it is an image's id, which is no reference.
func annotated(annotations map[string]string, keys []string) string {
	for _, key := range keys {
		if value := annotations[key]; value != "" && !isID(value) {
			return value
		}
	}
	return ""
}

// isID reports whether an image is named by its id, as Kubernetes may ask for it, with or without the algorithm.
func isID(reference string) bool {
	hex := strings.TrimPrefix(reference, "sha256:")
	return len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}

// runtimeName returns what policies call the runtime.
func runtimeName(runtime string) string {
	switch runtime {
	case "containerd", "cri-o":
		return runtime
	}
	return "oci"
}

// cgroup returns the control group that the OCI runtime makes of a container's cgroupsPath: the path itself, or what
// runc and crun make of SLICE:PREFIX:NAME with systemd (libcontainer/cgroups/systemd, getUnitName and ExpandSlice).
func cgroup(cgroupsPath string) (string, error) {
	if strings.HasPrefix(cgroupsPath, "/") && path.Clean(cgroupsPath) != "/" {
		return path.Clean(cgroupsPath), nil
	}
	parts := strings.Split(cgroupsPath, ":")
	if len(parts) != 3 || parts[2] == "" || strings.ContainsAny(cgroupsPath, "/") {
		return "", fmt.Errorf("its control group is %q, neither an absolute path nor SLICE:PREFIX:NAME; "+
			"is the runtime's cgroup driver cgroupfs or systemd?", cgroupsPath)
	}
	slice, prefix, name := parts[0], parts[1], parts[2]
	if slice == "" {
		slice = "system.slice"
	}
	parent, err := expandSlice(slice)
	if err != nil {
		return "", err
	}
	switch {
	case strings.HasSuffix(name, ".slice"): // the unit itself
	case prefix == "":
		name += ".scope"
	default:
		name = prefix + "-" + name + ".scope"
	}
	return path.Join(parent, name), nil
}

// expandSlice returns the path of a slice: a-b.slice is in a.slice, and -.slice is the root.
func expandSlice(slice string) (string, error) {
	name, ok := strings.CutSuffix(slice, ".slice")
	if name == "-" && ok {
		return "/", nil
	}
	steps := strings.Split(name, "-")
	full := "/"
	for i, step := range steps {
		if !ok || step == "" {
			return "", fmt.Errorf("its control group is in %q, which is no slice", slice)
		}
		full = path.Join(full, strings.Join(steps[:i+1], "-")+".slice")
	}
	return full, nil
}
