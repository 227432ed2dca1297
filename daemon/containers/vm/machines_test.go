//go:build vm_deb

package vm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
)

// TestMachines starts containers by systemd-nspawn, from a terminal and as a service, and by LXC.
func TestMachines(t *testing.T) {
	unmarked(t)
	run(t, "systemctl", "start", "systemd-machined.service")
	r := record(t, "systemd-nspawn", "lxc")
	defer func() { r.stop() }()
	nspawn := func(root, name string, more ...string) []string {
		return append(append([]string{"systemd-nspawn", "--quiet", "--directory", root, "--machine", name, "--bind", marks + ":/marks"}, more...), first(name)...)
	}
	tree := func(t *testing.T, name string) string {
		t.Helper()
		root := filepath.Join(t.TempDir(), name)
		rootfs(t, root)
		write(t, filepath.Join(root, "etc/os-release"), "ID=box\n")
		return root
	}
	t.Run("nspawn", func(t *testing.T) {
		root := tree(t, "shell")
		begin := func() *exec.Cmd {
			args := nspawn(root, "shell")
			cmd := exec.Command(args[0], args[1:]...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			return cmd
		}
		cmd := begin()
		known := r.await(t, "it", named("shell", "systemd-nspawn"))
		in(t, cgroupOf(t, inhabitant(t, "shell")), known)
		outside(t, cgroupOf(t, "self"), known)
		if known.Runtime != "systemd-nspawn" {
			t.Errorf("it is known as %+v", known)
		}
		run(t, "machinectl", "terminate", "shell")
		_ = cmd.Wait()
		r.gone(t, known.ID)
		unmarked(t)
		cmd = begin()
		in(t, cgroupOf(t, inhabitant(t, "shell")), r.await(t, "the same name", named("shell", "systemd-nspawn")))
		run(t, "machinectl", "terminate", "shell")
		_ = cmd.Wait()
	})
	t.Run("nspawn_service", func(t *testing.T) {
		args := nspawn(tree(t, "service"), "service", "--keep-unit")
		run(t, "systemd-run", append([]string{"--unit=box.service", "--slice=machine.slice", "-p", "Delegate=yes"}, args...)...)
		known := r.await(t, "it", named("service", "systemd-nspawn"))
		in(t, cgroupOf(t, inhabitant(t, "service")), known)
		// systemd-nspawn itself is a program of the host.
		outside(t, cgroupOf(t, run(t, "systemctl", "show", "--value", "-p", "MainPID", "box.service")), known)
		run(t, "systemctl", "stop", "box.service")
		r.gone(t, known.ID)
	})
	t.Run("lxc", func(t *testing.T) {
		root := tree(t, "web-1")
		if err := os.MkdirAll("/var/lib/lxc/web-1", 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, "/var/lib/lxc/web-1/config", strings.Join([]string{
			"lxc.rootfs.path = dir:" + root, "lxc.uts.name = web-1", "lxc.net.0.type = empty", "lxc.apparmor.profile = unconfined",
			"lxc.mount.entry = " + marks + " marks none bind 0 0",
			"lxc.init.cmd = /bin/sh /init", "",
		}, "\n"))
		write(t, filepath.Join(root, "init"), strings.Join(first("web-1")[2:], "")+"\n")
		run(t, "lxc-start", "--name", "web-1", "--logfile", "/srv/lxc.log")
		known := r.await(t, "it", named("web-1", "lxc"))
		in(t, cgroupOf(t, run(t, "lxc-info", "--name", "web-1", "--no-humanize", "--pid")), known)
		if known.Runtime != "lxc" {
			t.Errorf("it is known as %+v", known)
		}
		run(t, "lxc-stop", "--name", "web-1", "--kill")
		r.gone(t, known.ID)
	})
}

// outside asserts that a control group is not that of a container.
func outside(t *testing.T, cgroup string, c containers.Known) {
	t.Helper()
	for _, g := range c.Cgroups {
		if cgroup == g || strings.HasPrefix(cgroup, g+"/") {
			t.Errorf("a program of the host runs in %s, and %s is known to be %v", cgroup, c.Name, c.Cgroups)
		}
	}
}

// inhabitant returns the number of a container's leader, once its first program has left its mark.
func inhabitant(t *testing.T, name string) string {
	t.Helper()
	eventually(t, "the mark of "+name, func() bool { return marked(name) })
	return run(t, "machinectl", "show", name, "--value", "-p", "Leader")
}
