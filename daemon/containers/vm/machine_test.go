//go:build vm_deb

package vm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// run runs a program that must succeed, and returns what it printed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := command(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v:\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

// fails runs a program that must fail, and returns what it printed.
func fails(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := command(name, args...)
	if err == nil {
		t.Errorf("%s %s: it succeeded:\n%s", name, strings.Join(args, " "), out)
	}
	return strings.TrimSpace(out)
}

func command(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// disk mounts a file system that overlayfs takes as an upper layer: the guest's disk has none of the kind.
func disk(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", "-t", "tmpfs", "tmpfs", dir)
}

// podmanDisk mounts Podman's. Its services of the boot run podman, which keeps in /run/containers until the next boot
// whether overlayfs works (containers/podman#12212). One that ran before the mount found that it does not, and one that
// still runs has the directories below open that the mount hides.
func podmanDisk(t *testing.T) {
	t.Helper()
	run(t, "systemctl", "stop", "podman.service", "podman-restart.service", "podman-auto-update.service")
	run(t, "rm", "-rf", "/run/containers")
	disk(t, "/var/lib/containers")
}

// image returns an archive with a root file system of busybox alone, for `podman import` and such.
func image(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	rootfs(t, root)
	archive := filepath.Join(t.TempDir(), "root.tar")
	run(t, "tar", "-C", root, "-cf", archive, ".")
	return archive
}

func rootfs(t *testing.T, root string) {
	t.Helper()
	for _, dir := range []string{"bin", "marks", "proc", "sys", "dev", "etc", "tmp", "run", "sbin", "usr"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "cp", "/usr/bin/busybox", filepath.Join(root, "bin/busybox"))
	for _, name := range []string{"sh", "cat", "sleep", "touch"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
}

// unmarked removes the marks of containers' first programs.
func unmarked(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(marks); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(marks, 0o755); err != nil {
		t.Fatal(err)
	}
}

func marked(name string) bool {
	_, err := os.Stat(filepath.Join(marks, name))
	return err == nil
}

// first is the first program of a container, which leaves a mark, tells its control group and stays.
func first(name string) []string {
	return []string{"/bin/sh", "-c", "touch /marks/" + name + "; exec sleep 1000"}
}

// cgroupOf returns the control group of a process.
func cgroupOf(t *testing.T, pid string) string {
	t.Helper()
	data, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	_, path, _ := strings.Cut(strings.TrimSpace(string(data)), "0::")
	return path
}

// sleeper returns the number of the process that runs "sleep 77".
func sleeper(t *testing.T) string {
	t.Helper()
	var pid string
	eventually(t, "sleep 77", func() bool {
		list, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range list {
			if data, err := os.ReadFile(name); err == nil && strings.HasSuffix(string(data), "sleep\x0077\x00") {
				pid = filepath.Base(filepath.Dir(name))
			}
		}
		return pid != ""
	})
	return pid
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
