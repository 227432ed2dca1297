package ebpfguard

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// cgroupMount is where the unified hierarchy is mounted.
const cgroupMount = "/sys/fs/cgroup"

// cgroupPaths finds the paths of cgroups by their ids. It keeps what it found,
// up to maxCgroups: cgroups are rarely renamed, and their ids never used again.
type cgroupPaths struct {
	mu    sync.Mutex
	paths map[uint64]string
}

const maxCgroups = 4096

func (c *cgroupPaths) path(id uint64) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if path, ok := c.paths[id]; ok {
		return path
	}
	path, err := cgroupPath(id)
	if err != nil {
		return "" // gone, or not visible from here
	}
	if c.paths == nil || len(c.paths) >= maxCgroups {
		c.paths = map[uint64]string{}
	}
	c.paths[id] = path
	return path
}

// cgroupPath opens a cgroup by its id, which is its file handle
// (fs/kernfs/mount.c, FILEID_KERNFS).
func cgroupPath(id uint64) (string, error) {
	const fileIDKernfs = 0xfe
	mount, err := unix.Open(cgroupMount, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(mount)
	handle := unix.NewFileHandle(fileIDKernfs, binary.NativeEndian.AppendUint64(nil, id))
	fd, err := unix.OpenByHandleAt(mount, handle, unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return "", err
	}
	path = strings.TrimPrefix(path, cgroupMount)
	if path == "" {
		path = "/"
	}
	return path, nil
}
