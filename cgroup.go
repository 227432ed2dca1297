package ebpfguard

import (
	"sync"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
)

// cgroupPaths finds the paths of cgroups by their ids. It keeps what it found,
// up to maxCgroups: cgroups are rarely renamed, and their ids never used again.
type cgroupPaths struct {
	root *hostroot.Root

	mu    sync.Mutex
	paths map[uint64]string
	// mount is where they are, below a root that may be another; empty until it was looked for.
	mount     string
	mountRoot *hostroot.Root
}

const maxCgroups = 4096

func (c *cgroupPaths) path(id uint64) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if path, ok := c.paths[id]; ok {
		return path
	}
	if c.mount == "" {
		c.mountRoot, c.mount = c.root.Cgroups()
	}
	path, err := c.mountRoot.CgroupPath(c.mount, id)
	if err != nil {
		return "" // gone, or not visible from here
	}
	if c.paths == nil || len(c.paths) >= maxCgroups {
		c.paths = map[uint64]string{}
	}
	c.paths[id] = path
	return path
}
