package mitigate

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
)

// openVictim makes sure that a pid still is the process that was seen; nil if not.
func openVictim(p procfs.Process) (*victim, error) {
	fd, err := unix.PidfdOpen(int(p.PID), 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil, nil // it has ended
	}
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", p.PID, err)
	}
	// The descriptor is of the process that has the pid now.
	if now, err := procfs.Stat(p.PID); err != nil || now.Start != p.Start {
		return nil, unix.Close(fd)
	}
	return &victim{p, fd}, nil
}

func (v victim) stop() error { return v.signal(unix.SIGSTOP) }
func (v victim) kill() error { return v.signal(unix.SIGKILL) }

// close gives the process up.
func (v victim) close() error { return unix.Close(v.pidfd) }

// signal sends a signal unless the process has ended.
func (v victim) signal(s unix.Signal) error {
	err := unix.PidfdSendSignal(v.pidfd, s, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d (%s): %w", v.PID, v.Comm, err)
	}
	return nil
}

// await waits until the process is gone.
func (v victim) await(deadline time.Time) error {
	for {
		left := max(0, time.Until(deadline))
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(v.pidfd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("process %d (%s): %w", v.PID, v.Comm, err)
		case n == 0:
			return fmt.Errorf("process %d (%s) was killed but still exists; it may be waiting for a device", v.PID, v.Comm)
		default:
			return nil
		}
	}
}

// hasCgroups reports whether the unified hierarchy of control groups is mounted.
func hasCgroups(root *hostroot.Root, mount string) bool {
	dir, err := root.OpenFile(mount, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return false
	}
	defer dir.Close()
	var filesystem unix.Statfs_t
	return unix.Fstatfs(int(dir.Fd()), &filesystem) == nil && filesystem.Type == unix.CGROUP2_SUPER_MAGIC
}
