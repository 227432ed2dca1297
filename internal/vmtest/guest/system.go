package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/vmtest/wire"
)

type mount struct {
	fstype, target, options string
	flags                   uintptr
	// optional file systems are absent from some kernels, and tests that need them say so themselves.
	optional bool
}

var mounts = []mount{
	{fstype: "proc", target: "/proc"},
	{fstype: "sysfs", target: "/sys"},
	{fstype: "devtmpfs", target: "/dev"},
	{fstype: "devpts", target: "/dev/pts", options: "ptmxmode=0666,mode=0620,gid=5"},
	{fstype: "tmpfs", target: "/dev/shm", options: "mode=1777", flags: unix.MS_NOSUID | unix.MS_NODEV},
	{fstype: "tmpfs", target: "/tmp", options: "mode=1777", flags: unix.MS_NOSUID | unix.MS_NODEV},
	{fstype: "tmpfs", target: "/run", options: "mode=0755", flags: unix.MS_NOSUID | unix.MS_NODEV},
	{fstype: "securityfs", target: "/sys/kernel/security", optional: true},
	{fstype: "tracefs", target: "/sys/kernel/tracing", optional: true},
	{fstype: "debugfs", target: "/sys/kernel/debug", optional: true},
	{fstype: "bpf", target: "/sys/fs/bpf", options: "mode=0700", optional: true},
	{fstype: "cgroup2", target: "/sys/fs/cgroup", optional: true},
}

// ownMounts are enough to reach a disk; the init there makes the others as it is used to.
var ownMounts = []string{"/proc", "/sys", "/dev", "/run"}

func mountAll(job wire.Job) error {
	for _, m := range mounts {
		if job.Root != "" && !slices.Contains(ownMounts, m.target) {
			continue
		}
		// Below sysfs and proc the kernel makes the mount points, and mkdir fails there; mount tells what is wrong.
		_ = os.MkdirAll(m.target, 0o755)
		err := unix.Mount(m.fstype, m.target, m.fstype, m.flags, m.options)
		if err != nil && !m.optional && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s on %s: %w", m.fstype, m.target, err)
		}
	}
	for link, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, link); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	// The kernel's initial root is open to everyone, unlike any other system's.
	if err := os.Chmod("/", 0o755); err != nil {
		return err
	}
	return os.MkdirAll(wire.OutputDir, 0o755)
}

func linkUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring up %s: %w", name, err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return fmt.Errorf("bring up %s: %w", name, err)
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("bring up %s: %w", name, err)
	}
	return nil
}

func loadModules(names []string) error {
	for _, name := range names {
		image, err := os.ReadFile(filepath.Join(wire.ModuleDir, name))
		if err != nil {
			return fmt.Errorf("load module %s: %w", name, err)
		}
		if err := unix.InitModule(image, ""); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load module %s: %w", name, err)
		}
	}
	return nil
}

// openRaw opens a serial port so that bytes pass unchanged.
func openRaw(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("open serial port: %w", err)
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("configure %s: %w", path, err)
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t); err != nil {
		f.Close()
		return nil, fmt.Errorf("configure %s: %w", path, err)
	}
	return f, nil
}

// drain waits until the port has sent everything: power-off drops what is left in its buffer.
func drain(f *os.File) error {
	if err := unix.IoctlSetInt(int(f.Fd()), unix.TCSBRK, 1); err != nil {
		return fmt.Errorf("drain %s: %w", f.Name(), err)
	}
	return nil
}
