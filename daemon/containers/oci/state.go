// Package oci knows the containers of runtimes that follow the OCI runtime specification, crun and runc
// above all, whoever calls them: Podman, Docker, CRI-O, or a user by hand. A hook of the runtime tells of
// a container before its program starts; what the runtimes keep in their state directories tells of
// those that run already.
package oci

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
)

// maxFile bounds what is read of a file of a runtime: a config.json has some 20 KB, and the list of
// containers or images of Podman some 1 KB for each.
const maxFile = 64 << 20

// State is what a runtime tells its hooks of a container (runtime-spec, "State").
type State struct {
	ID          string            `json:"id"`
	Status      string            `json:"status"`
	PID         uint32            `json:"pid"`
	Bundle      string            `json:"bundle"`
	Annotations map[string]string `json:"annotations"`
}

// Ended reports whether the container has ended: the runtime calls its poststop hooks.
func (s State) Ended() bool { return s.Status == "stopped" }

// ReadState reads what a runtime writes to the standard input of a hook.
func ReadState(r io.Reader) (State, error) {
	var s State
	if err := json.NewDecoder(io.LimitReader(r, maxFile)).Decode(&s); err != nil {
		return s, fmt.Errorf("read the state that the runtime writes to the standard input: %w", err)
	}
	switch {
	case s.ID == "":
		return s, errors.New("the state that the runtime wrote has no id; this is for OCI runtimes such as crun and runc")
	case s.PID == 0 && !s.Ended():
		return s, fmt.Errorf("the state that the runtime wrote of container %s has no pid; call the hook at the stage createRuntime", s.ID)
	case s.Bundle == "":
		return s, fmt.Errorf("the state that the runtime wrote of container %s has no bundle; this is for OCI runtimes such as crun and runc", s.ID)
	}
	return s, nil
}

// bundle is what matters here of a bundle's config.json.
type bundle struct {
	Annotations map[string]string `json:"annotations"`
	Mounts      []struct {
		Source string `json:"source"`
	} `json:"mounts"`
	Linux struct {
		CgroupsPath string `json:"cgroupsPath"`
	} `json:"linux"`
}

// readBundle reads the config.json of a bundle. crun keeps the one that it was started with in its state
// directory too.
func readBundle(read func(string, any) error, path string) (bundle, error) {
	var b bundle
	err := read(filepath.Join(path, "config.json"), &b)
	return b, err
}

// readHostJSON reads a file by the path that it has on the host: such are the paths that runtimes write into their files.
func readHostJSON(path string, v any) error {
	f, err := hostroot.Host().OpenFile(path, os.O_RDONLY)
	return decode(path, f, err, v)
}

// readJSON reads a file by the path that it has here.
func readJSON(path string, v any) error {
	f, err := os.Open(path)
	return decode(path, f, err, v)
}

func decode(path string, f *os.File, err error, v any) error {
	if err != nil {
		return err
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxFile)).Decode(v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// Cgroup returns the path of the control group that a container has for itself, of which pid is a process.
// The path that its creator asked for is optional.
func Cgroup(pid uint32, id, cgroupsPath string) (string, error) {
	path := procfs.Cgroup(pid)
	switch _, err := procfs.Stat(pid); {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("its process %d has ended, or is not to be seen from here; what looks for it needs the host's pid namespace", pid)
	case err != nil:
		return "", err
	case path == "":
		return "", errors.New("this machine has no unified hierarchy of control groups (cgroup v2); mount one, or boot with systemd.unified_cgroup_hierarchy=1")
	case strings.HasPrefix(path, "/.."):
		return "", errors.New("control groups outside of this one's namespace have no path here; start what asks in the host's cgroup namespace")
	}
	if group := ownGroup(path, id, cgroupsPath); group != "" {
		return group, nil
	}
	return "", fmt.Errorf("it has no control group of its own and runs in %s; start it without options such as --cgroups=disabled", path)
}

// ownGroup returns the group above a path, or the path, that is the container's: the one that is named
// after its id or after the path that its creator asked for. crun and systemd put the processes one
// level lower, so that the container can make groups of its own. It is empty when the
// container shares the group of others.
func ownGroup(path, id, cgroupsPath string) string {
	wanted := lastPart(cgroupsPath)
	for group := path; group != "/" && group != "." && group != ""; group = filepath.Dir(group) {
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(group), ".scope"), ".slice")
		if name == id || strings.HasSuffix(name, "-"+id) || wanted != "" && name == wanted {
			return group
		}
	}
	return ""
}

// lastPart returns the name of the group that a path of config.json asks for: the path itself, or
// SLICE:PREFIX:NAME for systemd.
func lastPart(cgroupsPath string) string {
	if parts := strings.Split(cgroupsPath, ":"); len(parts) == 3 {
		name := strings.TrimSuffix(parts[2], ".slice")
		if parts[1] == "" || name != parts[2] {
			return name
		}
		return parts[1] + "-" + name
	}
	name := filepath.Base(cmp.Or(cgroupsPath, "/"))
	if name == "/" {
		return ""
	}
	return strings.TrimSuffix(strings.TrimSuffix(name, ".scope"), ".slice")
}
