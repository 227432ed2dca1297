package hostroot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/procfs"
)

// CgroupPath returns the path of a control group by its id, which is its file handle (fs/kernfs/mount.c, FILEID_KERNFS),
// below where the hierarchy is mounted. It takes CAP_DAC_READ_SEARCH.
func (r *Root) CgroupPath(at string, id uint64) (string, error) {
	const fileIDKernfs = 0xfe
	mount, err := r.OpenFile(at, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
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
	found, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return "", err
	}
	// Of a mount in another mount namespace both have the path there.
	top, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", mount.Fd()))
	if err != nil {
		return "", err
	}
	if rest, ok := strings.CutPrefix(found, top); ok && (rest == "" || rest[0] == '/') {
		found = rest
	}
	if found == "" {
		found = "/"
	}
	return found, nil
}

// NamespaceCgroup returns the control group at which this process's cgroup namespace begins, as the host names it: "/" in
// the host's namespace. A pod that is not privileged always has a namespace of its own.
func (r *Root) NamespaceCgroup() (string, error) {
	if HasHostCgroups() {
		return "/", nil
	}
	if r == nil {
		return "", errors.New("the host's control groups cannot be reached")
	}
	// A container's mount of the hierarchy begins where its namespace does.
	own := CgroupMount()
	var filesystem unix.Statfs_t
	var stat unix.Stat_t
	if err := unix.Statfs(own, &filesystem); err != nil {
		return "", fmt.Errorf("%s: %w", own, err)
	}
	if filesystem.Type != unix.CGROUP2_SUPER_MAGIC {
		return "", fmt.Errorf("%s is no hierarchy of version 2 (cgroup2)", own)
	}
	if err := unix.Stat(own, &stat); err != nil {
		return "", fmt.Errorf("%s: %w", own, err)
	}
	in, at := r.Cgroups()
	begins, err := in.CgroupPath(at, stat.Ino)
	if err != nil {
		return "", err
	}
	// Seen, not assumed: with its name put before what this process is told, process 1 has to be where the host has it.
	first := path.Join(begins, procfs.CgroupHere(1))
	members, err := in.ReadFile(path.Join(at, first, "cgroup.procs"))
	if err != nil {
		return "", err
	}
	if !slices.Contains(strings.Fields(string(members)), "1") {
		return "", fmt.Errorf("%s is not where this process's cgroup namespace begins", begins)
	}
	return begins, nil
}
