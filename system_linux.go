package ebpfguard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
)

// kernelRelease returns what uname -r prints.
func kernelRelease() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

// offersMountSetattr reports whether the kernel has mount_setattr(2), since 5.12.
// The call cannot succeed.
func offersMountSetattr() bool {
	_, _, errno := unix.Syscall6(unix.SYS_MOUNT_SETATTR, ^uintptr(0), 0, 0, 0, 0, 0)
	return !errors.Is(errno, unix.ENOSYS)
}

// offersTreeNamespaces reports whether open_tree(2) can make a mount namespace (7.0). The call
// names no path, so it does nothing: a kernel without it refuses the flag first.
func offersTreeNamespaces() bool {
	const openTreeNamespace = 0x2
	_, err := unix.OpenTree(unix.AT_FDCWD, "", openTreeNamespace)
	return !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS)
}

// cgroupPath opens a cgroup by its id, which is its file handle
// (fs/kernfs/mount.c, FILEID_KERNFS), below where the hierarchy is mounted.
func cgroupPath(root *hostroot.Root, at string, id uint64) (string, error) {
	const fileIDKernfs = 0xfe
	mount, err := root.OpenFile(at, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return "", err
	}
	defer mount.Close()
	handle := unix.NewFileHandle(fileIDKernfs, binary.NativeEndian.AppendUint64(nil, id))
	fd, err := unix.OpenByHandleAt(int(mount.Fd()), handle, unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return "", os.NewSyscallError("open_by_handle_at", err)
	}
	defer unix.Close(fd)
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return "", err
	}
	// Of a mount in another mount namespace both have the path there.
	top, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", mount.Fd()))
	if err != nil {
		return "", err
	}
	if rest, ok := strings.CutPrefix(path, top); ok && (rest == "" || rest[0] == '/') {
		path = rest
	}
	if path == "" {
		path = "/"
	}
	return path, nil
}
