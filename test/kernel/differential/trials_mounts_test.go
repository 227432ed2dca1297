//go:build vm

package differential

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// target returns a directory or file and its names as a mount's target.
func (c *comparison) target(operation policy.Operation, condition func(spot) bool) (spot, policy.Names, bool) {
	s, ok := c.spotOf(func(s spot) bool { return s.kind != isAbsent && condition(s) })
	return s, s.file(c.set, operation), ok
}

// options returns options of a mount, and the same as flags of mount(2).
func (c *comparison) options() (uintptr, policy.MountFlags) {
	var call uintptr
	var flags policy.MountFlags
	for _, o := range []struct {
		call    uintptr
		on, off policy.MountFlags
	}{
		{unix.MS_RDONLY, policy.MountReadOnly, policy.MountReadWrite},
		{unix.MS_NOSUID, policy.MountNoSUID, policy.MountSUID},
		{unix.MS_NODEV, policy.MountNoDev, policy.MountDev},
		{unix.MS_NOEXEC, policy.MountNoExec, policy.MountExec},
		{unix.MS_NOATIME, policy.MountNoAtime, 0},
		{unix.MS_SYNCHRONOUS, policy.MountSync, 0},
	} {
		if c.r.IntN(3) == 0 {
			call |= o.call
			flags |= o.on
		} else {
			flags |= o.off
		}
	}
	return call, flags
}

// mountCall is a call of mount(2) that fails after it was judged.
func mountCall(what string, operation policy.Operation, m policy.Mount, at, source, kind, data string, flags uintptr, fails ...unix.Errno) trial {
	return trial{what: what, asked: []question{{operation: operation, object: m}}, fails: fails, make: func(b *guardtest.Batch) int {
		optional := func(s string) uintptr {
			if s == "" {
				return 0
			}
			return b.Text(s)
		}
		return b.Call(unix.SYS_MOUNT, optional(source), b.Text(at), optional(kind), flags, b.Bytes([]byte(data+"\x00")))
	}}
}

// data returns the data of a mount, with which nothing is mounted.
func (c *comparison) data() string {
	const refused = "no_such_option"
	data := policy.RandomMountData(c.r)
	if strings.Contains(data, "\x00") { // which ends it
		return refused + "," + data
	}
	return choose(c, refused+","+data, data+","+refused, refused+"=1,"+data)
}

func anywhere(spot) bool { return true }

func (c *comparison) mountNew(*player) (trial, bool) {
	s, names, ok := c.target(policy.SbMount, anywhere)
	flags, options := c.options()
	random := c.r.Mount(policy.SbMount)
	m := policy.Mount{Source: random.Source, Target: names, Type: choose(c, "tmpfs", "proc", "overlay", "ext4", "fuse.sshfs", ""), Flags: policy.MountNew | options}
	data := c.data()
	m = m.WithData(data)
	t := mountCall("mount", policy.SbMount, m, s.path, m.Source, m.Type, data, flags,
		unix.EINVAL, unix.ENODEV, unix.ENOENT, unix.ENOTBLK, unix.ENOTDIR, unix.EACCES, unix.EBUSY)
	if m.Type == "fuse.sshfs" {
		m.Type = "fuse"
		t.asked[0].object = m
	}
	return t, ok
}

func (c *comparison) mountBind(*player) (trial, bool) {
	s, names, ok := c.target(policy.SbMount, anywhere)
	m := policy.Mount{Source: c.r.Mount(policy.SbMount).Source, Target: names}
	flags := uintptr(unix.MS_BIND)
	m.Flags = policy.MountBind
	switch c.r.IntN(3) {
	case 0:
		flags |= unix.MS_REC
		m.Flags |= policy.MountRecursive
	case 1:
		flags, m.Flags = unix.MS_MOVE, policy.MountMove
	}
	if m.Source == "/dev" {
		m.Source = "/dev/nothing"
	}
	return mountCall("bind or move", policy.SbMount, m, s.path, m.Source, "", "no_such_option,ro", flags, unix.ENOENT, unix.EINVAL, unix.ENOTDIR), ok
}

func (c *comparison) propagate(*player) (trial, bool) {
	s, names, ok := c.target(policy.SbMount, anywhere)
	kinds := []uintptr{unix.MS_SLAVE, unix.MS_PRIVATE, unix.MS_UNBINDABLE}
	i := c.r.IntN(len(kinds))
	m := policy.Mount{Target: names, Flags: []policy.MountFlags{policy.MountSlave, policy.MountPrivate, policy.MountUnbindable}[i]}
	flags := kinds[i]
	if c.r.IntN(2) == 0 {
		flags |= unix.MS_REC
		m.Flags |= policy.MountRecursive
	}
	return mountCall("propagation", policy.SbMount, m, s.path, choose(c, "none", ""), "", "", flags, unix.EINVAL), ok
}

func (c *comparison) pivot(*player) (trial, bool) {
	s, names, ok := c.target(policy.SbMount, func(s spot) bool { return s.kind == isDirectory })
	m := policy.Mount{Target: names, Flags: policy.MountPivot}
	return trial{what: "pivot_root", asked: []question{{operation: policy.SbMount, object: m}}, fails: []unix.Errno{unix.EINVAL, unix.EBUSY}, make: func(b *guardtest.Batch) int {
		return b.Call(unix.SYS_PIVOT_ROOT, b.Text(s.path), b.Text("/proc"))
	}}, ok
}

func (c *comparison) remount(*player) (trial, bool) {
	s, names, ok := c.target(policy.SbRemount, func(s spot) bool { return !s.foreign })
	flags, options := c.options()
	m := policy.Mount{Source: c.r.Mount(policy.SbRemount).Source, Target: names, Type: "tmpfs", Flags: options}
	flags |= unix.MS_REMOUNT
	if !s.mounted && s.path != c.world.root && c.r.IntN(2) == 0 {
		flags |= unix.MS_BIND
		m.Flags |= policy.MountBind
	}
	data := c.data()
	m = m.WithData(data)
	return mountCall("remount", policy.SbRemount, m, s.path, m.Source, "", data, flags, unix.EINVAL), ok
}

// umount asks for the mount to expire, which fails after it was judged: it is
// busy or, with another flag, that is impossible.
func (c *comparison) umount(*player) (trial, bool) {
	s, names, ok := c.target(policy.SbUmount, func(s spot) bool { return s.mounted && (s.fd > 0 || s.foreign || s.kind == isDirectory) })
	flags, call := c.r.Mount(policy.SbUmount).Flags, uintptr(unix.MNT_EXPIRE)
	if s.fd == 0 && flags == 0 { // nothing keeps it busy
		flags = policy.MountDetach
	}
	if flags&policy.MountDetach != 0 {
		call |= unix.MNT_DETACH
	}
	if flags&policy.MountForce != 0 {
		call |= unix.MNT_FORCE
	}
	m := policy.Mount{Target: names, Type: "tmpfs", Flags: flags}
	if s.foreign {
		m.Type = "proc"
	}
	return trial{what: "umount", asked: []question{{operation: policy.SbUmount, object: m}}, fails: []unix.Errno{unix.EINVAL, unix.EBUSY, unix.EAGAIN}, make: func(b *guardtest.Batch) int {
		return b.Call(unix.SYS_UMOUNT2, b.Text(s.path), call)
	}}, ok
}
