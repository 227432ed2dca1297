//go:build vm

package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// image is where the guest has the image of the guard, unpacked.
const image = "/src/image"

// patience is much more than an emulated machine needs to verify the programs.
const patience = 10 * time.Minute

// config is of the OCI runtime specification what the tests need.
type config struct {
	Version  string   `json:"ociVersion"`
	Hostname string   `json:"hostname,omitempty"`
	Process  process  `json:"process"`
	Root     root     `json:"root"`
	Mounts   []mount  `json:"mounts"`
	Linux    isolated `json:"linux"`
}

type process struct {
	User            map[string]int      `json:"user"`
	Args            []string            `json:"args"`
	Env             []string            `json:"env"`
	Cwd             string              `json:"cwd"`
	Capabilities    map[string][]string `json:"capabilities"`
	NoNewPrivileges bool                `json:"noNewPrivileges"`
}

type root struct {
	Path     string `json:"path"`
	Readonly bool   `json:"readonly"`
}

type mount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type,omitempty"`
	Source      string   `json:"source"`
	Options     []string `json:"options,omitempty"`
}

type isolated struct {
	CgroupsPath   string      `json:"cgroupsPath"`
	Namespaces    []namespace `json:"namespaces"`
	MaskedPaths   []string    `json:"maskedPaths"`
	ReadonlyPaths []string    `json:"readonlyPaths"`
	Propagation   string      `json:"rootfsPropagation,omitempty"`
}

type namespace struct {
	Type string `json:"type"`
}

// place is how a container is run.
type place struct {
	name         string
	capabilities []string
	// pids and cgroups are the host's.
	pids, cgroups bool
	volumes       []mount
}

// recommended is what docs/containers.md says.
func recommended(name string, volumes ...mount) place {
	return place{
		name: name, pids: true, cgroups: true, volumes: append([]mount{bind("/sys/fs/bpf", "/sys/fs/bpf", "rw")}, volumes...),
		capabilities: []string{"CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_SYSLOG", "CAP_KILL"},
	}
}

func (p place) without(capability string) place {
	p.capabilities = slices.DeleteFunc(slices.Clone(p.capabilities), func(c string) bool { return c == capability })
	return p
}

func (p place) unmounted(destination string) place {
	p.volumes = slices.DeleteFunc(slices.Clone(p.volumes), func(m mount) bool { return m.Destination == destination })
	return p
}

func (p place) with(change func(*place)) place {
	p.volumes = slices.Clone(p.volumes)
	change(&p)
	return p
}

func bind(source, destination string, options ...string) mount {
	return mount{destination, "bind", source, append([]string{"rbind", "rprivate"}, options...)}
}

// bundle writes what runc runs. The rest is as docker has it: a root that is read-only, with its own network, and with the
// paths of the kernel masked or read-only.
func (p place) bundle(t *testing.T, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	c := config{
		Version: "1.0.2", Hostname: "guard-in-a-container",
		Process: process{
			User: map[string]int{"uid": 0, "gid": 0}, Args: append([]string{"/ebpfguard"}, args...), Env: []string{"PATH=/"}, Cwd: "/", NoNewPrivileges: true,
			Capabilities: map[string][]string{"bounding": p.capabilities, "effective": p.capabilities, "permitted": p.capabilities},
		},
		Root: root{Path: image, Readonly: true},
		Mounts: append([]mount{
			{"/proc", "proc", "proc", []string{"nosuid", "noexec", "nodev"}},
			{"/dev", "tmpfs", "tmpfs", []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{"/sys", "sysfs", "sysfs", []string{"nosuid", "noexec", "nodev", "ro"}},
			{"/sys/fs/cgroup", "cgroup", "cgroup", []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
			{"/tmp", "tmpfs", "tmpfs", []string{"nosuid", "nodev", "mode=1777"}},
		}, p.volumes...),
		Linux: isolated{
			CgroupsPath: "/containers/" + p.name,
			Namespaces:  []namespace{{"mount"}, {"uts"}, {"ipc"}, {"network"}},
			MaskedPaths: []string{
				"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
				"/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
			},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
	if !p.pids {
		c.Linux.Namespaces = append(c.Linux.Namespaces, namespace{"pid"})
	}
	if !p.cgroups {
		c.Linux.Namespaces = append(c.Linux.Namespaces, namespace{"cgroup"})
	}
	if slices.ContainsFunc(p.volumes, func(m mount) bool { return slices.Contains(m.Options, "rslave") }) {
		c.Linux.Propagation = "rslave"
	}
	text, err := json.MarshalIndent(c, "", "\t")
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600))
	return dir
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// runc makes a command of runc. The guest's first root cannot be pivoted.
func (p place) runc(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return exec.Command("runc", "run", "--no-pivot", "--bundle", p.bundle(t, args...), p.name)
}

// result is what a command did.
type result struct {
	code           int
	stdout, stderr string
}

// run runs the guard's command in a container until it ends.
func (p place) run(t *testing.T, args ...string) result {
	t.Helper()
	return finish(t, p.runc(t, args...))
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := result{stdout: stdout.String(), stderr: stderr.String()}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		r.code = exit.ExitCode()
	} else if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return r
}

// container is one that runs.
type container struct {
	t      *testing.T
	place  place
	stderr string
	exited chan error
}

// start runs the guard's command in a container, until the end of the test.
func (p place) start(t *testing.T, args ...string) *container {
	t.Helper()
	c := &container{t: t, place: p, stderr: filepath.Join(t.TempDir(), "stderr"), exited: make(chan error, 1)}
	cmd := p.runc(t, args...)
	log, err := os.Create(c.stderr)
	check(t, err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	check(t, cmd.Start())
	go func() {
		c.exited <- cmd.Wait()
		close(c.exited)
	}()
	t.Cleanup(c.kill)
	return c
}

// kill ends the container and gives it no chance to do anything.
func (c *container) kill() {
	_ = exec.Command("runc", "kill", c.place.name, "KILL").Run() // it may have ended
	<-c.exited
	_ = exec.Command("runc", "delete", "--force", c.place.name).Run()
}

// exec runs the guard's command in the container.
func (c *container) exec(args ...string) result {
	c.t.Helper()
	return finish(c.t, exec.Command("runc", append([]string{"exec", c.place.name, "/ebpfguard"}, args...)...))
}

func (c *container) log() string {
	c.t.Helper()
	text, err := os.ReadFile(c.stderr)
	check(c.t, err)
	return string(text)
}

func (c *container) await(what string, condition func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if condition() {
			return
		}
		select {
		case err := <-c.exited:
			c.t.Fatalf("the container ended: %v\n%s", err, c.log())
		default:
		}
	}
	c.t.Fatalf("never: %s\n%s", what, c.log())
}

func (c *container) awaitFile(path string) {
	c.t.Helper()
	c.await(path, func() bool {
		_, err := os.Stat(path)
		return err == nil
	})
}

// lines returns the lines of a file that are there.
func lines(path string) []string {
	text, _ := os.ReadFile(path)
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
}
