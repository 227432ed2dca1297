package ebpfguard

import (
	"errors"

	"golang.org/x/sys/unix"
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
