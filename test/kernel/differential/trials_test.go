//go:build vm

package differential

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// question is what the kernel asks the guard about.
type question struct {
	operation policy.Operation
	object    policy.Object
	loaded    bool // only rules that name the object count
	held      bool // only rules that revoke count
	// pathless says that the hook does not tell by which path the file was
	// reached.
	pathless bool
}

// trial is something that a performer tries: system calls, one of which is
// judged.
type trial struct {
	what string
	// asked is what the guard is asked about, until it refuses something.
	asked []question
	// make adds the calls and returns which of them is judged.
	make func(*guardtest.Batch) int
	// fails are how the call fails when it is not refused; it may succeed, too.
	fails []unix.Errno
	// byChild says that a child makes the calls, since they change the process.
	byChild bool
}

// attempts are the kinds of trials of each operation.
var attempts = map[policy.Operation][]func(*comparison, *player) (trial, bool){
	policy.FileOpen: {
		(*comparison).open, (*comparison).open, (*comparison).open, (*comparison).open, (*comparison).change, (*comparison).change,
		(*comparison).create, (*comparison).rename, (*comparison).held, (*comparison).mapped, (*comparison).memory,
	},
	policy.BprmCheckSecurity: {(*comparison).execute, (*comparison).execute, (*comparison).execute, (*comparison).mapped, (*comparison).executeMemory},
	policy.SbMount: {
		(*comparison).mountNew, (*comparison).mountNew, (*comparison).mountNew, (*comparison).mountBind, (*comparison).mountBind,
		(*comparison).propagate, (*comparison).pivot,
	},
	policy.SbRemount:     {(*comparison).remount},
	policy.SbUmount:      {(*comparison).umount},
	policy.TaskFixSetuid: {(*comparison).setuid, (*comparison).setuid, (*comparison).setgid, (*comparison).setgroups},
	policy.SocketBind:    {(*comparison).bind, (*comparison).bind, (*comparison).receiveBound},
	policy.SocketConnect: {(*comparison).connect, (*comparison).send, (*comparison).useConnected},
}

// spotOf returns a spot of the world that the condition holds for.
func (c *comparison) spotOf(condition func(spot) bool) (spot, bool) {
	for range 20 {
		if s := c.world.spots[c.r.IntN(len(c.world.spots))]; condition(s) {
			return s, true
		}
	}
	return spot{}, false
}

func (c *comparison) file(s spot, access policy.Access) question {
	return question{operation: policy.FileOpen, object: policy.File{Names: s.file(c.set, policy.FileOpen), Access: access}}
}

func choose[T any](c *comparison, values ...T) T { return values[c.r.IntN(len(values))] }

func (c *comparison) open(*player) (trial, bool) {
	s, ok := c.spotOf(func(s spot) bool { return s.kind != isAbsent })
	flags, access := unix.O_RDONLY, policy.Read
	if ok && s.kind == isFile && !s.foreign && (s.data || !c.executes) {
		switch c.r.IntN(3) {
		case 0:
			flags, access = unix.O_WRONLY, policy.Write
		case 1:
			flags, access = unix.O_RDWR, policy.Read|policy.Write
		}
	}
	asked := []question{c.file(s, access)}
	if access == policy.Write && s.data && c.r.IntN(4) == 0 {
		flags |= unix.O_TRUNC
		asked = append(asked, c.file(s, policy.Write))
	}
	return trial{what: "open", asked: asked, make: func(b *guardtest.Batch) int {
		call := b.Call(unix.SYS_OPENAT, uintptr(0), b.Text(s.path), uintptr(flags|unix.O_CLOEXEC), 0)
		b.Call(unix.SYS_CLOSE, guardtest.OpenedFD)
		return call
	}}, ok
}

// change changes an attribute of a file or directory.
func (c *comparison) change(*player) (trial, bool) {
	s, ok := c.spotOf(func(s spot) bool { return s.kind != isAbsent && !s.foreign })
	q := c.file(s, policy.Write)
	way := choose(c, "chmod", "chown", "utimes", "setxattr", "truncate")
	if way == "truncate" && (s.kind != isFile || c.executes && !s.data) {
		way = "chmod"
	}
	// There the path is that of another mount of the filesystem: for the names
	// that are known by identity it makes no difference.
	pathless := way == "utimes" || way == "setxattr" || way == "chown" && !c.hasHook("path_chown")
	if pathless && c.world.prepare != nil && len(s.names) > 0 {
		return trial{}, false // and this path is not known by identity
	}
	q.pathless = pathless
	return trial{what: way, asked: []question{q}, fails: []unix.Errno{unix.ENOSPC, unix.ETXTBSY}, make: func(b *guardtest.Batch) int {
		at := b.Text(s.path)
		switch way {
		case "chmod":
			return b.Call(unix.SYS_CHMOD, at, 0o755)
		case "chown":
			return b.Call(unix.SYS_CHOWN, at, 0, 0)
		case "utimes":
			return b.Call(unix.SYS_UTIMENSAT, 0, at, 0, 0)
		case "setxattr":
			return b.Call(unix.SYS_SETXATTR, at, b.Text("trusted.test"), b.Text("value"), 5, 0)
		}
		return b.Call(unix.SYS_TRUNCATE, at, uintptr(len(guardtest.Content)))
	}}, ok
}

// create makes what there is no room for.
func (c *comparison) create(*player) (trial, bool) {
	s, ok := c.spotOf(func(s spot) bool { return s.kind == isAbsent })
	if !ok {
		return trial{}, false
	}
	t := trial{asked: []question{c.file(s, policy.Write)}, fails: []unix.Errno{unix.ENOSPC}}
	switch t.what = choose(c, "mkdir", "mknod", "symlink", "creat", "link"); t.what {
	case "mkdir":
		t.make = func(b *guardtest.Batch) int { return b.Call(unix.SYS_MKDIR, b.Text(s.path), 0o755) }
	case "mknod":
		t.make = func(b *guardtest.Batch) int { return b.Call(unix.SYS_MKNOD, b.Text(s.path), unix.S_IFIFO|0o644, 0) }
	case "symlink":
		t.make = func(b *guardtest.Batch) int { return b.Call(unix.SYS_SYMLINK, b.Text("f"), b.Text(s.path)) }
	case "creat":
		t.make = func(b *guardtest.Batch) int {
			return b.Call(unix.SYS_OPEN, b.Text(s.path), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		}
	case "link":
		from, ok := c.spotOf(func(f spot) bool { return f.kind == isFile && f.mount == s.mount && !f.mounted })
		if !ok {
			return trial{}, false
		}
		t.asked = append([]question{c.file(from, policy.Write)}, t.asked...)
		t.make = func(b *guardtest.Batch) int { return b.Call(unix.SYS_LINK, b.Text(from.path), b.Text(s.path)) }
	}
	return t, true
}

// rename renames to the same name, or what cannot be renamed; rmdir and unlink
// are for what is no directory, and for one. Nothing is changed by it.
func (c *comparison) rename(*player) (trial, bool) {
	s, ok := c.spotOf(func(s spot) bool { // what is renamed is what a mount covers
		return s.kind != isAbsent && s.path != c.world.root && !(s.mounted && len(s.names) > 0)
	})
	if !ok {
		return trial{}, false
	}
	q := c.file(s, policy.Write)
	t := trial{asked: []question{q}, fails: []unix.Errno{unix.ENOTDIR, unix.EISDIR, unix.EBUSY, unix.ENOTEMPTY, unix.EINVAL}}
	switch t.what = choose(c, "rename", "remove", "rename over"); t.what {
	case "rename":
		t.asked = append(t.asked, q)
		t.make = func(b *guardtest.Batch) int { return b.Call(unix.SYS_RENAME, b.Text(s.path), b.Text(s.path)) }
	case "remove":
		remove := uintptr(unix.SYS_RMDIR)
		if s.kind == isDirectory {
			remove = unix.SYS_UNLINK
		}
		t.make = func(b *guardtest.Batch) int { return b.Call(remove, b.Text(s.path)) }
	case "rename over":
		over, ok := c.spotOf(func(o spot) bool {
			return o.kind == isDirectory && o.mount == s.mount && s.kind == isFile && !o.mounted && !s.mounted && !strings.HasPrefix(s.path, o.path+"/")
		})
		if !ok {
			return trial{}, false
		}
		t.asked = append(t.asked, c.file(over, policy.Write))
		t.make = func(b *guardtest.Batch) int { return b.Call(unix.SYS_RENAME, b.Text(s.path), b.Text(over.path)) }
	}
	return t, true
}

// held uses a descriptor that was opened before.
func (c *comparison) held(*player) (trial, bool) {
	s, ok := c.spotOf(func(s spot) bool { return s.fd > 0 })
	q := c.file(s, policy.Read)
	q.held = true
	what := choose(c, "read what is open", "map what is open", "write what is open")
	if what == "write what is open" {
		ok = ok && s.data
		q.object = policy.File{Names: s.file(c.set, policy.FileOpen), Access: policy.Write}
	}
	return trial{what: what, asked: []question{q}, make: func(b *guardtest.Batch) int {
		switch what {
		case "read what is open":
			return b.Call(unix.SYS_PREAD64, uintptr(s.fd), b.Bytes(make([]byte, 8)), 1, 0)
		case "map what is open":
			return b.Call(unix.SYS_MMAP, somewhere, 4096, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_FIXED, uintptr(s.fd), 0)
		}
		return b.Call(unix.SYS_PWRITE64, uintptr(s.fd), b.Text(guardtest.Content), 1, 0)
	}}, ok
}

// somewhere is where performers map files.
const somewhere = 0x20000000

// mapped maps an open file to be executed, which is both to execute it and to
// bring in a program.
func (c *comparison) mapped(*player) (trial, bool) {
	s, ok := c.spotOf(func(s spot) bool { return s.fd > 0 && !s.data })
	program := c.program(s)
	program.loaded = true
	return trial{what: "map", asked: []question{c.file(s, policy.Exec), program}, make: func(b *guardtest.Batch) int {
		return b.Call(unix.SYS_MMAP, somewhere, 4096, unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_FIXED, uintptr(s.fd), 0)
	}}, ok
}

func (c *comparison) memory(*player) (trial, bool) {
	q := question{operation: policy.FileOpen, object: policy.File{Access: policy.Read}}
	return trial{what: "open a memfd", asked: []question{q}, make: func(b *guardtest.Batch) int {
		call := b.Call(unix.SYS_OPEN, b.Text("/proc/self/fd/"+itoa(memoryFD)), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		b.Call(unix.SYS_CLOSE, guardtest.OpenedFD)
		return call
	}}, true
}

func (c *comparison) program(s spot) question {
	return question{operation: policy.BprmCheckSecurity, object: policy.Program{Names: s.file(c.set, policy.BprmCheckSecurity), Fileless: c.world.fileless}}
}

// arguments returns a call's list of arguments, or no argument at all: the kernels
// of the table put an empty one there before anybody is asked.
func (c *comparison) arguments() func(*guardtest.Batch) uintptr {
	if c.r.IntN(4) == 0 {
		return func(*guardtest.Batch) uintptr { return 0 }
	}
	return func(b *guardtest.Batch) uintptr {
		return b.Bytes(append(binary.LittleEndian.AppendUint64(nil, uint64(b.Text("x"))), make([]byte, 8)...))
	}
}

// execute starts what is no program after all.
func (c *comparison) execute(*player) (trial, bool) {
	s, ok := c.spotOf(func(s spot) bool { return s.kind == isFile && !s.data && !s.foreign })
	arguments := c.arguments()
	return trial{what: "execve", asked: []question{c.file(s, policy.Exec), c.program(s)}, fails: []unix.Errno{unix.ENOEXEC}, make: func(b *guardtest.Batch) int {
		return b.Call(unix.SYS_EXECVE, b.Text(s.path), arguments(b), 0)
	}}, ok && c.executes
}

func (c *comparison) executeMemory(*player) (trial, bool) {
	arguments := c.arguments()
	asked := []question{
		{operation: policy.FileOpen, object: policy.File{Access: policy.Exec}},
		{operation: policy.BprmCheckSecurity, object: policy.Program{Fileless: true}},
	}
	return trial{what: "execve of a memfd", asked: asked, fails: []unix.Errno{unix.ENOEXEC}, make: func(b *guardtest.Batch) int {
		return b.Call(unix.SYS_EXECVEAT, memoryFD, b.Text(""), arguments(b), 0, unix.AT_EMPTY_PATH)
	}}, true
}

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
func mountCall(what string, operation policy.Operation, m policy.Mount, at, source, kind string, flags uintptr, fails ...unix.Errno) trial {
	return trial{what: what, asked: []question{{operation: operation, object: m}}, fails: fails, make: func(b *guardtest.Batch) int {
		optional := func(s string) uintptr {
			if s == "" {
				return 0
			}
			return b.Text(s)
		}
		return b.Call(unix.SYS_MOUNT, optional(source), b.Text(at), optional(kind), flags, b.Text("no_such_option"))
	}}
}

func anywhere(spot) bool { return true }

func (c *comparison) mountNew(*player) (trial, bool) {
	s, names, ok := c.target(policy.SbMount, anywhere)
	flags, options := c.options()
	random := c.r.Mount(policy.SbMount)
	m := policy.Mount{Source: random.Source, Target: names, Type: choose(c, "tmpfs", "proc", "overlay", "ext4", "fuse.sshfs", ""), Flags: policy.MountNew | options}
	t := mountCall("mount", policy.SbMount, m, s.path, m.Source, m.Type, flags,
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
	return mountCall("bind or move", policy.SbMount, m, s.path, m.Source, "", flags, unix.ENOENT, unix.EINVAL, unix.ENOTDIR), ok
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
	return mountCall("propagation", policy.SbMount, m, s.path, choose(c, "none", ""), "", flags, unix.EINVAL), ok
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
	return mountCall("remount", policy.SbRemount, m, s.path, m.Source, "", flags, unix.EINVAL), ok
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

var someIDs = []uint32{0, 1, 10, 1000, 1001, 65534, policy.MaxID}

const unchanged = ^uint32(0)

// identities returns new real, effective and saved ids, and the questions about
// those that change.
func (c *comparison) identities(p *player, before [3]uint32, group bool) (after [3]uint32, asked []question) {
	for i := range after {
		after[i] = choose(c, append(someIDs, unchanged)...)
	}
	if c.r.IntN(3) == 0 {
		after = [3]uint32{after[0], after[0], after[0]}
	}
	var changed []uint32
	for i, id := range after {
		if id != unchanged && id != before[i] && !slices.Contains(changed, id) {
			changed = append(changed, id)
			asked = append(asked, p.becomes(id, group))
		}
	}
	return after, asked
}

func (p *player) becomes(id uint32, group bool) question {
	return question{operation: policy.TaskFixSetuid, object: policy.Credentials{FromUID: p.euid, FromGID: p.egid, To: id, Group: group}}
}

func (c *comparison) setuid(p *player) (trial, bool) {
	after, asked := c.identities(p, [3]uint32{p.uid, p.euid, p.suid}, false)
	return identityTrial("setresuid", asked, func(b *guardtest.Batch) int {
		return b.Call(unix.SYS_SETRESUID, uintptr(after[0]), uintptr(after[1]), uintptr(after[2]))
	})
}

func (c *comparison) setgid(p *player) (trial, bool) {
	after, asked := c.identities(p, [3]uint32{p.gid, p.egid, p.sgid}, true)
	return identityTrial("setresgid", asked, func(b *guardtest.Batch) int {
		return b.Call(unix.SYS_SETRESGID, uintptr(after[0]), uintptr(after[1]), uintptr(after[2]))
	})
}

func (c *comparison) setgroups(p *player) (trial, bool) {
	var groups []uint32
	for range c.r.IntN(4) {
		groups = append(groups, choose(c, someIDs...))
	}
	slices.Sort(groups)
	groups = slices.Compact(groups)
	var asked []question
	var list []byte
	for _, g := range groups {
		asked = append(asked, p.becomes(g, true))
		list = binary.LittleEndian.AppendUint32(list, g)
	}
	if !c.hasHook("task_fix_setgroups") {
		asked = nil
	}
	return identityTrial("setgroups", asked, func(b *guardtest.Batch) int {
		return b.Call(unix.SYS_SETGROUPS, uintptr(len(groups)), b.Bytes(list))
	})
}

// identityTrial is made by a child, which takes its identity with it.
func identityTrial(what string, asked []question, add func(*guardtest.Batch) int) (trial, bool) {
	return trial{what: what, asked: asked, make: add, byChild: true}, true
}

// socket adds a socket for a trial and returns the question's object as well.
func (c *comparison) socket() (policy.Socket, guardtest.Action) {
	s := c.r.Socket()
	a := guardtest.Action{Family: unix.AF_INET, Type: unix.SOCK_STREAM, Address: s.Address, Port: s.Port}
	if s.Address.Is6() {
		a.Family = unix.AF_INET6
	}
	if s.Protocol == policy.UDP {
		a.Type = unix.SOCK_DGRAM
	}
	return s, a
}

func (c *comparison) bind(*player) (trial, bool) {
	s, a := c.socket()
	v6only := !s.DualStack && !s.Address.Is4In6()
	if s.Protocol == policy.UDP {
		s.DualStack = true // may still become so (bpf/sockaddr.h, object_finish)
	}
	return trial{what: "bind", asked: []question{{operation: policy.SocketBind, object: s}}, fails: []unix.Errno{unix.EADDRINUSE}, make: func(b *guardtest.Batch) int {
		b.Socket(a, v6only)
		address := a.Sockaddr(a.Address)
		call := b.Call(unix.SYS_BIND, guardtest.OpenedFD, b.Bytes(address), uintptr(len(address)))
		b.Call(unix.SYS_CLOSE, guardtest.OpenedFD)
		return call
	}}, true
}

// unreachable are the errors of addresses that lead nowhere.
var unreachable = []unix.Errno{
	unix.ECONNREFUSED, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EADDRNOTAVAIL, unix.EINVAL, unix.EACCES, unix.EINPROGRESS, unix.EAFNOSUPPORT,
}

func (c *comparison) remote() (policy.Socket, guardtest.Action) {
	s, a := c.socket()
	if s.Address.Unmap().IsUnspecified() && s.Address.Is4In6() {
		s.Address = netip.MustParseAddr("::ffff:127.0.0.1")
	}
	return s, a
}

func (c *comparison) connect(*player) (trial, bool) {
	s, a := c.remote()
	return trial{what: "connect", asked: []question{{operation: policy.SocketConnect, object: s}}, fails: unreachable, make: func(b *guardtest.Batch) int {
		b.Socket(a, false)
		address := a.Sockaddr(a.Address)
		call := b.Call(unix.SYS_CONNECT, guardtest.OpenedFD, b.Bytes(address), uintptr(len(address)))
		b.Call(unix.SYS_CLOSE, guardtest.OpenedFD)
		return call
	}}, true
}

func (c *comparison) send(*player) (trial, bool) {
	s, a := c.remote()
	s.Protocol, a.Type = policy.UDP, unix.SOCK_DGRAM
	return trial{what: "sendto", asked: []question{{operation: policy.SocketConnect, object: s}}, fails: unreachable, make: func(b *guardtest.Batch) int {
		b.Socket(a, false)
		address := a.Sockaddr(a.Address)
		call := b.Call(unix.SYS_SENDTO, guardtest.OpenedFD, b.Text("x"), 1, 0, b.Bytes(address), uintptr(len(address)))
		b.Call(unix.SYS_CLOSE, guardtest.OpenedFD)
		return call
	}}, true
}

// receiveBound receives on a socket that was bound before.
func (c *comparison) receiveBound(*player) (trial, bool) {
	return c.useSocket(policy.SocketBind, choose(c, "receive", "read"))
}

// useConnected uses a socket that was connected before.
func (c *comparison) useConnected(*player) (trial, bool) {
	return c.useSocket(policy.SocketConnect, choose(c, "send", "write", "receive", "read"))
}

func (c *comparison) useSocket(operation policy.Operation, what string) (trial, bool) {
	i := c.r.IntN(len(heldSockets))
	for heldSockets[i].bound != (operation == policy.SocketBind) {
		i = c.r.IntN(len(heldSockets))
	}
	asked := []question{{operation: operation, object: heldSockets[i].socket, held: true}}
	fails := append([]unix.Errno{unix.EAGAIN}, unreachable...)
	return trial{what: what + " on an open socket", asked: asked, fails: fails, make: func(b *guardtest.Batch) int {
		fd := uintptr(firstSocketFD + i)
		switch what {
		case "send":
			return b.Call(unix.SYS_SENDTO, fd, b.Text("x"), 1, 0, 0, 0)
		case "write":
			return b.Call(unix.SYS_WRITE, fd, b.Text("x"), 1)
		case "receive":
			return b.Call(unix.SYS_RECVFROM, fd, b.Bytes(make([]byte, 8)), 8, 0, 0, 0)
		}
		return b.Call(unix.SYS_READ, fd, b.Bytes(make([]byte, 8)), 8)
	}}, true
}
