package containers

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/enrich"
	"github.com/ebpfguard/ebpfguard/policy"
)

const (
	// maxVisited bounds how many control groups are looked at.
	maxVisited = 100_000
	// formerSource is what the containers come from that a former daemon was told of.
	formerSource = "former daemon"
)

// Sweep forgets containers whose control groups are all gone: they have ended, whether or not
// somebody told. A container that starts again gets a new group.
func (t *Table) Sweep() {
	t.mu.Lock()
	groups := maps.Clone(t.groups)
	for id, f := range t.failed {
		if time.Since(f.at) > failureTime {
			delete(t.failed, id)
		}
	}
	t.mu.Unlock()
	gone := map[uint64]bool{}
	for id, g := range groups { // without the lock, for this may take long
		if !t.is(g.path, id) {
			gone[id] = true
		}
	}
	if len(gone) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, e := range t.known {
		ended := true
		for id := range e.groups {
			ended = ended && gone[id]
		}
		if ended {
			t.remove(name, e)
		}
	}
}

// Adopt takes over what the guard knows of a former daemon, and no source told of since: the hook told of it.
// What has ended meanwhile is removed. Of the others the control group is looked for by their ids.
func (t *Table) Adopt() {
	left := map[string]policy.Container{}
	t.mu.Lock()
	for _, c := range t.guard.Containers() {
		if t.known[c.ID] == nil {
			left[c.ID] = c
		}
	}
	t.mu.Unlock()
	if len(left) == 0 {
		return
	}
	t.walk(func(name string) bool {
		id := idOf(path.Base(name), left)
		if id == "" {
			return true
		}
		// Its programs had their labels before, and all others get them at the start.
		if _, err := t.add(map[string]policy.Container{formerSource: left[id]}, name); err != nil {
			t.options.Log.Warn("a container of a former daemon is not known any more", "container", id, "error", err)
			return true
		}
		delete(left, id)
		return false
	})
	for id := range left {
		if err := t.guard.RemoveContainer(id); err != nil {
			t.options.Log.Error("a container that has ended cannot be removed", "container", id, "error", err)
		}
	}
}

// idOf returns the id of one of the containers whose control group has that name: ID, RUNTIME-ID.scope or
// SLICE:RUNTIME:ID.
func idOf(name string, of map[string]policy.Container) string {
	name = strings.TrimSuffix(name, ".scope")
	if _, ok := of[name]; ok {
		return name
	}
	for i, c := range name {
		if c == '-' || c == ':' {
			if _, ok := of[name[i+1:]]; ok {
				return name[i+1:]
			}
		}
	}
	return ""
}

// Unidentified returns the control groups of the containers that run and nobody told of, as far as the
// names of control groups show it.
func (t *Table) Unidentified() (groups []string) {
	seen := map[string]bool{}
	t.walk(func(name string) bool {
		root := containerRoot(name)
		switch {
		case t.knows(name):
			return false
		case root == "" || !t.hasProcesses(name) || seen[root]:
			return true
		}
		seen[root] = true
		groups = append(groups, root)
		return true
	})
	return groups
}

// walk visits control groups from the root down, below each as long as that returns true.
func (t *Table) walk(visit func(name string) bool) {
	visited := 0
	var below func(name string)
	below = func(name string) {
		entries, err := os.ReadDir(filepath.Join(t.options.Cgroups, name))
		if err != nil {
			return // it is gone
		}
		for _, e := range entries {
			if !e.IsDir() {
				continue
			}
			if visited++; visited > maxVisited {
				return
			}
			if group := path.Join(name, e.Name()); visit(group) {
				below(group)
			}
		}
	}
	below("/")
}

// knows reports whether a control group is that of a container.
func (t *Table) knows(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.paths[name]
	return ok
}

// hasProcesses reports whether there are processes in a control group itself.
func (t *Table) hasProcesses(name string) bool {
	file, err := os.Open(filepath.Join(t.options.Cgroups, name, "cgroup.procs"))
	if err != nil {
		return false
	}
	defer file.Close()
	n, err := file.Read(make([]byte, 1))
	return err == nil && n > 0
}

// containerRoot returns the control group of the container that a group is in, by the names that runtimes
// give them, as the kernel's side does (is_container_name in bpf/container.h); empty if it is in none.
func containerRoot(cgroup string) string {
	pod := false
	for i := 1; i < len(cgroup); {
		end := len(cgroup)
		if slash := strings.IndexByte(cgroup[i:], '/'); slash >= 0 {
			end = i + slash
		}
		name := cgroup[i:end]
		// Neither libvirt's machines nor Podman's pods are containers.
		machine := strings.HasPrefix(name, "machine-") && !strings.HasPrefix(name, "machine-qemu") && !strings.HasPrefix(name, "machine-libpod_p")
		if enrich.ContainerID("/"+name) != "" || machine || strings.HasPrefix(name, "lxc.payl") || name == "payload" {
			return cgroup[:end]
		}
		pod = pod || strings.HasPrefix(name, "kubepods")
		i = end + 1
	}
	if pod {
		return cgroup
	}
	return ""
}
