package ocihook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/daemon/containers/oci"
)

// Machine is the machine whose runtimes shall call the hook.
type Machine struct {
	// Root is its root directory.
	Root string
	// Program is the path of the guard's program there.
	Program string
	// Arguments are those that the hook gets besides "runtime hook".
	Arguments []string
	// Timeout is how many seconds a runtime waits for the hook at most.
	Timeout int
}

func (m Machine) path(name string) string { return filepath.Join(m.Root, name) }

func (m Machine) exists(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		_, err := os.Stat(m.path(name))
		return err == nil
	})
}

// HasPodman reports whether there is something that reads files with hooks: Podman or CRI-O.
func (m Machine) HasPodman() bool {
	return m.exists("/usr/bin/podman", "/usr/local/bin/podman", "/usr/bin/crio", "/usr/local/bin/crio")
}

// HasDocker reports whether there is a Docker daemon.
func (m Machine) HasDocker() bool {
	return m.exists("/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd")
}

// Hook is the hook as the runtimes call it.
func (m Machine) Hook() Entry {
	return Entry{Path: m.Program, Args: append([]string{filepath.Base(m.Program), "runtime", "hook"}, m.Arguments...), Timeout: m.Timeout}
}

// hookFile is a file of hooks.d (oci-hooks(5)).
type hookFile struct {
	Version string          `json:"version"`
	Hook    Entry           `json:"hook"`
	When    map[string]bool `json:"when"`
	Stages  []string        `json:"stages"`
}

// InstallPodman plans the file that has Podman and CRI-O call the hook.
func (m Machine) InstallPodman() (*Plan, error) {
	p := &Plan{About: "Podman and CRI-O", After: "containers that start from now on are told of before their first program runs"}
	text, err := indent(hookFile{"1.0.0", m.Hook(), map[string]bool{"always": true}, []string{"createRuntime", "poststop"}})
	if err != nil {
		return nil, err
	}
	if err := p.put(m, filepath.Join(oci.HookDirs[0], oci.HookFile), text); err != nil {
		return nil, err
	}
	for _, name := range []string{"/etc/containers/containers.conf", "/usr/share/containers/containers.conf"} {
		data, err := os.ReadFile(m.path(name))
		if err == nil && hooksDir.Match(data) {
			p.Notes = append(p.Notes, fmt.Sprintf("%s sets hooks_dir; the hook is called only if %s is among those directories", name, oci.HookDirs[0]))
		}
	}
	return p, nil
}

var hooksDir = regexp.MustCompile(`(?m)^\s*hooks_dir\s*=`)

// UninstallPodman plans its removal.
func (m Machine) UninstallPodman() (*Plan, error) {
	p := &Plan{About: "Podman and CRI-O", After: "containers that start from now on do not call the hook"}
	for _, dir := range oci.HookDirs {
		if err := p.remove(m, filepath.Join(dir, oci.HookFile)); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// The keys of Docker's daemon.json that matter here.
const (
	keyRuntimes = "runtimes"
	keyDefault  = "default-runtime"
)

// insteadOf is the option by which the guard's runtime remembers which one was the default before it.
const insteadOf = "--instead-of="

// dockerRuntime is an entry of "runtimes".
type dockerRuntime struct {
	Path string   `json:"path,omitempty"`
	Args []string `json:"runtimeArgs,omitempty"`
}

// InstallDocker plans what makes a runtime Docker's default that is the former default with the hook: Docker
// itself has no hooks.
func (m Machine) InstallDocker() (*Plan, error) {
	p := &Plan{
		About: "Docker", Commands: m.reload(),
		After: "containers that are made from now on are told of before their first program runs. Others keep the runtime that they were made with, and so does what asks for one with --runtime",
	}
	if flag := m.dockerFlags(); flag != "" {
		return nil, fmt.Errorf("dockerd runs with %s, and does not start when %s says the same; move the option there, restart Docker, and try again", flag, oci.DockerConfig)
	}
	config, err := m.dockerConfig()
	if err != nil {
		return nil, err
	}
	runtimes, former, err := config.runtimes()
	if err != nil {
		return nil, err
	}
	program := []string{"runc"}
	if former == oci.DockerRuntime {
		var ours dockerRuntime
		if err := runtimes.get(former, &ours); err != nil {
			return nil, err
		}
		former = ours.former()
	}
	if former != "" && former != "runc" {
		var of dockerRuntime
		if err := runtimes.get(former, &of); err != nil {
			return nil, err
		}
		if of.Path == "" {
			return nil, fmt.Errorf("%s: the default runtime %q has no path, so no hook can be added to it; choose one with a path, such as runc", oci.DockerConfig, former)
		}
		program = append([]string{of.Path}, of.Args...)
	}
	args := append([]string{"runtime", "wrap"}, m.Arguments...)
	if former != "" {
		args = append(args, insteadOf+former)
	}
	if err := runtimes.set(oci.DockerRuntime, dockerRuntime{m.Program, append(append(args, "--"), program...)}); err != nil {
		return nil, err
	}
	if err := errors.Join(config.set(keyRuntimes, runtimes), config.set(keyDefault, oci.DockerRuntime)); err != nil {
		return nil, err
	}
	return p, p.putConfig(m, config)
}

// UninstallDocker plans what takes InstallDocker back. Containers that were made meanwhile ask for the runtime by
// its name: as long as there are some it stays, without the hook.
func (m Machine) UninstallDocker() (*Plan, error) {
	p := &Plan{About: "Docker", Commands: m.reload(), After: "containers that start from now on do not call the hook"}
	config, err := m.dockerConfig()
	if err != nil {
		return nil, err
	}
	runtimes, current, err := config.runtimes()
	if err != nil {
		return nil, err
	}
	if !runtimes.has(oci.DockerRuntime) {
		return p, nil
	}
	var ours dockerRuntime
	if err := runtimes.get(oci.DockerRuntime, &ours); err != nil {
		return nil, err
	}
	if current == oci.DockerRuntime {
		if former := ours.former(); former == "" {
			config.delete(keyDefault)
		} else if err := config.set(keyDefault, former); err != nil {
			return nil, err
		}
	}
	program := ours.program()
	if n := m.madeWith(oci.DockerRuntime); n > 0 && len(program) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%d containers were made with the runtime %q, so it stays, without the hook; run this again when they are removed", n, oci.DockerRuntime))
		err = runtimes.set(oci.DockerRuntime, withArguments(program))
	} else {
		runtimes.delete(oci.DockerRuntime)
	}
	if err == nil && len(runtimes.members) == 0 {
		config.delete(keyRuntimes)
	} else if err == nil {
		err = config.set(keyRuntimes, runtimes)
	}
	if err != nil {
		return nil, err
	}
	if len(config.members) == 0 {
		return p, p.remove(m, oci.DockerConfig)
	}
	return p, p.putConfig(m, config)
}

// withArguments returns a runtime that calls a program, and has arguments. Docker makes a script for one that has, by
// which containers that run are stopped, and which a reload removes when there are none (moby 20.10,
// daemon/runtime_unix.go, initRuntimes).
func withArguments(program []string) dockerRuntime {
	if len(program) == 1 {
		return dockerRuntime{"/usr/bin/env", program}
	}
	return dockerRuntime{program[0], program[1:]}
}

// former returns the default runtime that the guard's took the place of; empty for Docker's own.
func (r dockerRuntime) former() string {
	for _, arg := range r.Args {
		if former, ok := strings.CutPrefix(arg, insteadOf); ok {
			return former
		}
	}
	return ""
}

// program returns the runtime that the guard's calls, with its arguments.
func (r dockerRuntime) program() []string {
	if at := slices.Index(r.Args, "--"); at >= 0 {
		return r.Args[at+1:]
	}
	if r.Path == "" {
		return nil
	}
	return append([]string{r.Path}, r.Args...) // one that stayed without the hook
}

// dockerConfig reads Docker's daemon.json, of which there may be none.
func (m Machine) dockerConfig() (*object, error) {
	data, err := os.ReadFile(m.path(oci.DockerConfig))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(strings.TrimSpace(string(data))) == 0 {
		return &object{}, nil
	}
	config := &object{}
	if err == nil {
		err = json.Unmarshal(data, config)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w; it was not changed", oci.DockerConfig, err)
	}
	return config, nil
}

// runtimes returns the runtimes of a daemon.json, and the name of the default.
func (o *object) runtimes() (*object, string, error) {
	runtimes, name := &object{}, ""
	var err error
	if o.has(keyRuntimes) {
		err = o.get(keyRuntimes, runtimes)
	}
	if o.has(keyDefault) {
		err = errors.Join(err, o.get(keyDefault, &name))
	}
	if err != nil {
		err = fmt.Errorf("%s: %w; it was not changed", oci.DockerConfig, err)
	}
	return runtimes, name, err
}

// reload returns the commands after which Docker has read its configuration.
func (m Machine) reload() []Command {
	if !m.exists("/run/docker.pid", "/var/run/docker.pid") || !m.exists("/run/systemd/system") {
		return nil // it reads it when it starts
	}
	return []Command{{"systemctl", "reload", "docker.service"}}
}

// dockerFlags returns a flag with which dockerd runs, and with which the file must not say the same.
func (m Machine) dockerFlags() string {
	list, _ := filepath.Glob(m.path("/proc/[0-9]*/cmdline")) // the one error is a wrong pattern
	for _, name := range list {
		data, err := os.ReadFile(name)
		args := strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")
		if err != nil || filepath.Base(args[0]) != "dockerd" {
			continue
		}
		for _, arg := range args[1:] {
			if flag, _, _ := strings.Cut(arg, "="); flag == "--default-runtime" || flag == "--add-runtime" {
				return flag
			}
		}
	}
	return ""
}

// madeWith returns how many of Docker's containers were made with a runtime.
func (m Machine) madeWith(runtime string) int {
	folder := "/var/lib/docker"
	if config, err := m.dockerConfig(); err == nil && config.has("data-root") {
		_ = config.get("data-root", &folder) // another type is Docker's to refuse
	}
	list, _ := filepath.Glob(m.path(filepath.Join(folder, "containers", "*", "hostconfig.json"))) // the one error is a wrong pattern
	count := 0
	for _, name := range list {
		var c struct{ Runtime string }
		if data, err := os.ReadFile(name); err == nil && json.Unmarshal(data, &c) == nil && c.Runtime == runtime {
			count++
		}
	}
	return count
}
