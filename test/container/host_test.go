//go:build vm

package container

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// actorMode makes this test's program a process that opens files.
const actorMode = "EBPFGUARD_TEST_OPEN"

func TestMain(m *testing.M) {
	if path := os.Getenv(actorMode); path != "" {
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		if err == nil {
			unix.Close(fd)
			err = syscall.Errno(0)
		}
		fmt.Print(unix.ErrnoName(err.(syscall.Errno)))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// actorCgroup is that of processes of the host that act.
const actorCgroup = "/host.slice/actor.service"

// open opens a file in a process of the host, in a control group of its own, as a user, and returns the error's name.
func open(t *testing.T, path string, uid int) string {
	t.Helper()
	group := "/sys/fs/cgroup" + actorCgroup
	check(t, os.MkdirAll(group, 0o755))
	dir, err := os.Open(group)
	check(t, err)
	defer dir.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), actorMode+"="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	out, err := cmd.Output()
	check(t, err)
	return string(out)
}

// host is what the guest's first root has: files that policies protect, and folders that containers see.
type host struct {
	dir string
	// secret is protected, by its name; linked, mounted and another are other ways to it that were there before.
	secret, hardlink, mounted, symlink string
	// private is in a folder that only another user may enter, privateLink another name of it.
	private, privateLink string
	// personal is forbidden to a user of the host's /etc/passwd.
	personal string
	free     string
	run      string
}

// aUser is a user of the host that no image has.
const (
	aUser    = "guarded"
	aUserID  = 4711
	hostName = "the-real-host"
)

func newHost(t *testing.T) host {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "host")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o755))
	in := func(name string) string { return filepath.Join(dir, name) }
	h := host{
		dir: dir, secret: in("srv/secret"), hardlink: in("other/hardlink"), mounted: in("other/mounted"), symlink: in("srv/link"),
		private: in("private/file"), privateLink: in("other/private"), personal: in("srv/personal"), free: in("srv/free"), run: in("run"),
	}
	for _, folder := range []string{"srv", "other", "private", "run", "policies", "state"} {
		check(t, os.Mkdir(in(folder), 0o755))
	}
	for _, path := range []string{h.secret, h.private, h.personal, h.free, h.mounted} {
		check(t, os.WriteFile(path, []byte("# a policy that is none\n"), 0o644))
	}
	check(t, os.Link(h.secret, h.hardlink))
	check(t, os.Link(h.private, h.privateLink))
	check(t, os.Symlink(h.secret, h.symlink)) // absolute: the container has another root
	check(t, unix.Mount(h.secret, h.mounted, "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount(h.mounted, unix.MNT_DETACH) })
	check(t, os.Chown(in("private"), aUserID, aUserID))
	check(t, os.Chmod(in("private"), 0o700))
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil || !strings.Contains(string(passwd), aUser) {
		check(t, os.MkdirAll("/etc", 0o755))
		check(t, os.WriteFile("/etc/passwd", fmt.Appendf(passwd, "%s:x:%d:%d::/:/bin/sh\n", aUser, aUserID, aUserID), 0o644))
	}
	check(t, os.WriteFile("/etc/group", fmt.Appendf(nil, "root:x:0:\n%s:x:%d:\n", aUser, aUserID), 0o644))
	check(t, os.WriteFile("/etc/hostname", []byte(hostName+"\n"), 0o644))
	policies := fmt.Sprintf(`apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: secrets}
spec:
  subject: {}
  rules:
  - operation: file_open
    deny: {paths: [%s, %s]}
---
apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: personal}
spec:
  subject: {users: [%s]}
  rules:
  - operation: file_open
    deny: {paths: [%s]}
`, h.symlink, h.private, aUser, h.personal)
	check(t, os.WriteFile(in("policies/p.yaml"), []byte(policies), 0o600))
	return h
}

// volumes are what a container with a daemon needs of the host beside the pins.
func (h host) volumes() []mount {
	return []mount{
		bind(filepath.Join(h.dir, "policies"), "/etc/ebpfguard/policies.d", "ro"), bind(filepath.Join(h.dir, "state"), "/var/lib/ebpfguard", "rw"),
		bind(h.run, "/run/ebpfguard", "rw"),
	}
}
