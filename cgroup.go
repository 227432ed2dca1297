package ebpfguard

import (
	"sync"

	"github.com/ebpfguard/ebpfguard/internal/procfs"
)

// cgroupMount is where the unified hierarchy is mounted: beside those of version 1 it is elsewhere.
var cgroupMount = sync.OnceValue(procfs.CgroupMount)

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
