package machines

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

// nspawnDir is where systemd-machined keeps a file for each machine that is registered with it.
// systemd itself looks there for machines (src/basic/cgroup-util.c); the form of the
// files has been the same since systemd 205.
const nspawnDir = "/run/systemd/machines"

// newNspawn returns a source. A container that was started with --register=no is not heard of.
func newNspawn(dir string) *source {
	return &source{name: "systemd-nspawn", dir: dir, read: func() ([]machine, error) { return readNspawn(dir, procfs.Cgroup) }}
}

func readNspawn(dir string, cgroupOf func(pid uint32) string) ([]machine, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []machine
	var problem error
	for _, e := range entries {
		// A link unit:UNIT leads to the file of a unit's machine. Temporary files begin with a dot.
		if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // it has ended
		}
		m := fields(string(data))
		if m["SERVICE"] != "systemd-nspawn" || m["CLASS"] != "container" {
			continue // a virtual machine, or another program's container
		}
		pid, err := strconv.ParseUint(m["LEADER"], 10, 32)
		if err != nil {
			problem = fmt.Errorf("machine %s: %s has no LEADER", e.Name(), filepath.Join(dir, e.Name()))
			continue
		}
		unit := m["UNIT"]
		if unit == "" {
			unit = m["SCOPE"]
		}
		cgroup := nspawnGroup(cgroupOf(uint32(pid)), unit, e.Name())
		if cgroup == "" {
			problem = fmt.Errorf("machine %s: it has no control group of its own yet", e.Name())
			continue
		}
		all = append(all, machine{containers.Container{
			// An id that its files have as well may be that of a copy of it.
			Container: policy.Container{ID: "systemd-nspawn:" + e.Name(), Name: e.Name(), Runtime: "systemd-nspawn"},
			Cgroup:    cgroup,
			Running:   true,
		}, pid})
	}
	return all, problem
}

// nspawnGroup returns the group that a machine has for itself. It has its scope machine-NAME.scope whole. A
// unit that systemd-nspawn was started in, such as systemd-nspawn@NAME.service, has it in the group
// payload, beside the group supervisor, which is a program of the host.
func nspawnGroup(path, unit, name string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if part != unit {
			continue
		}
		if strings.HasSuffix(unit, ".scope") && strings.HasPrefix(unit, "machine-") {
			return strings.Join(parts[:i+1], "/")
		}
		if i+1 < len(parts) && parts[i+1] == "payload" {
			return strings.Join(parts[:i+2], "/")
		}
	}
	return ""
}

// fields reads lines KEY=VALUE.
func fields(text string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			m[key] = value
		}
	}
	return m
}
