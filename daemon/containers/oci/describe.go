package oci

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Describe returns what is known of a container that is about to start. It reads files alone: those who
// called the runtime hold a lock of the container meanwhile, and their programs and sockets would wait for it.
func Describe(s State) (containers.Container, error) {
	b, err := readBundle(readHostJSON, s.Bundle)
	if err != nil {
		return containers.Container{}, err
	}
	cgroup, err := Cgroup(s.PID, s.ID, b.Linux.CgroupsPath)
	if err != nil {
		return containers.Container{}, fmt.Errorf("container %s: %w", s.ID, err)
	}
	if b.Annotations == nil {
		b.Annotations = s.Annotations
	}
	return containers.Container{Container: describe(s.ID, s.Bundle, b), Cgroup: cgroup}, nil
}

// describe tells by whom a runtime was called and what its caller knows. What is not known is empty.
func describe(id, path string, b bundle) policy.Container {
	c := policy.Container{ID: id}
	switch a := b.Annotations; {
	case a["io.container.manager"] == "libpod":
		c.Runtime = "podman"
		podman(&c, path)
	case a["io.kubernetes.cri-o.ContainerType"] != "":
		c.Runtime = "cri-o"
		crio(&c, a)
	case a["io.kubernetes.cri.container-type"] != "":
		c.Runtime = "containerd"
		containerd(&c, a)
	case dockerFolder(id, path, b) != "":
		c.Runtime = "docker"
		docker(&c, dockerFolder(id, path, b))
	case strings.HasPrefix(path, "/run/containerd/"):
		c.Runtime = "containerd"
	default:
		// Whoever calls a runtime by hand chooses the id, which is all the name that there is.
		c.Runtime, c.Name = "oci", id
	}
	if _, digest, ok := strings.Cut(c.Image, "@"); ok {
		c.ImageDigest = digest
	}
	return c
}

// podman reads what github.com/containers/storage keeps: the bundle is overlay-containers/ID/userdata,
// and the lists are files beside. They are replaced whole, so no lock is needed.
func podman(c *policy.Container, path string) {
	folder := filepath.Dir(filepath.Dir(path)) // …/overlay-containers
	var image string
	// Containers that are removed when they end may be in the second list.
	for _, list := range []string{"containers.json", "volatile-containers.json"} {
		var stored []struct {
			ID       string   `json:"id"`
			Names    []string `json:"names"`
			Image    string   `json:"image"`
			Metadata string   `json:"metadata"`
		}
		if readHostJSON(filepath.Join(folder, list), &stored) != nil {
			continue
		}
		for _, s := range stored {
			if s.ID != c.ID {
				continue
			}
			var metadata struct {
				ImageName string `json:"image-name"`
				Name      string `json:"name"`
			}
			_ = json.Unmarshal([]byte(s.Metadata), &metadata) // what is not understood is not known
			// Podman renames in the list of names alone.
			c.Name, c.Image, image = cmp.Or(strings.Join(s.Names[:min(len(s.Names), 1)], ""), metadata.Name), metadata.ImageName, s.Image
		}
	}
	images := filepath.Join(filepath.Dir(folder), strings.Replace(filepath.Base(folder), "-containers", "-images", 1), "images.json")
	var stored []struct {
		ID     string `json:"id"`
		Digest string `json:"digest"`
	}
	if image == "" || readHostJSON(images, &stored) != nil {
		return
	}
	for _, s := range stored {
		if s.ID == image {
			c.ImageDigest = s.Digest
		}
	}
}

// dockerFolder returns the folder of Docker, such as /var/lib/docker, if the container is one of it.
func dockerFolder(id, path string, b bundle) string {
	// …/io.containerd.runtime.v2.task/moby/ID of Docker's containerd, or of the machine's.
	if filepath.Base(filepath.Dir(path)) != "moby" {
		return ""
	}
	// The files /etc/hostname and others of a container are mounted from there. With --network
	// container:OTHER they are another container's, but in the same folder.
	for _, m := range b.Mounts {
		if folder, _, ok := strings.Cut(m.Source, "/containers/"); ok && filepath.Dir(filepath.Dir(m.Source)) == folder+"/containers" {
			return folder
		}
	}
	return "/var/lib/docker"
}

// docker reads what Docker writes before it starts a container.
func docker(c *policy.Container, folder string) {
	var config struct {
		Name   string
		Image  string
		Config struct {
			Image  string
			Labels map[string]string
		}
	}
	if readHostJSON(filepath.Join(folder, "containers", c.ID, "config.v2.json"), &config) != nil {
		return
	}
	c.Name, c.Image, c.Labels = strings.TrimPrefix(config.Name, "/"), config.Config.Image, config.Config.Labels
	// An image that was never pushed or pulled has no digest but that of its configuration.
	c.ImageDigest = config.Image
	lists, _ := hostroot.Host().Glob(filepath.Join(folder, "image", "*", "repositories.json")) // the one error is a wrong pattern
	for _, list := range lists {
		var images struct {
			Repositories map[string]map[string]string
		}
		if readHostJSON(list, &images) != nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(images.Repositories)) {
			for _, reference := range slices.Sorted(maps.Keys(images.Repositories[name])) {
				if _, digest, ok := strings.Cut(reference, "@"); ok && images.Repositories[name][reference] == config.Image {
					c.ImageDigest = digest
				}
			}
		}
	}
}

// crio reads CRI-O's annotations (github.com/cri-o/cri-o, pkg/annotations).
func crio(c *policy.Container, a map[string]string) {
	const prefix = "io.kubernetes.cri-o."
	c.Name, c.Image = a["io.kubernetes.container.name"], a[prefix+"ImageName"]
	if _, digest, ok := strings.Cut(a[prefix+"ImageRef"], "@"); ok {
		c.ImageDigest = digest
	}
	_ = json.Unmarshal([]byte(a[prefix+"Labels"]), &c.Labels) // what is not understood is not known
	if namespace := a["io.kubernetes.pod.namespace"]; namespace != "" {
		c.Pod = &policy.Pod{Namespace: namespace, Name: a["io.kubernetes.pod.name"], UID: a["io.kubernetes.pod.uid"]}
	}
}

// containerd reads the annotations of containerd's CRI plugin (github.com/containerd/containerd,
// internal/cri/annotations).
func containerd(c *policy.Container, a map[string]string) {
	const prefix = "io.kubernetes.cri."
	c.Name, c.Image = a[prefix+"container-name"], a[prefix+"image-name"]
	if namespace := a[prefix+"sandbox-namespace"]; namespace != "" {
		c.Pod = &policy.Pod{Namespace: namespace, Name: a[prefix+"sandbox-name"], UID: a[prefix+"sandbox-uid"]}
	}
}
