//go:build vm

package differential

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

func (c *comparison) file(s spot, access policy.Access) question {
	return question{operation: policy.FileOpen, object: policy.File{Names: s.file(c.set, policy.FileOpen), Access: access}}
}

// moved asks about a file that gets another name.
func (c *comparison) moved(from, to spot) question {
	move := &policy.Move{To: to.file(c.set, policy.FileOpen)}
	if isNamed(c.set, policy.FileOpen, from.path) {
		move.Known = []string{from.path}
	}
	return question{operation: policy.FileOpen, object: policy.File{Names: from.file(c.set, policy.FileOpen), Moved: move}}
}

// isSingle reports whether a spot has one name. Of several, the kernel may have to
// judge all where one changes.
func (s spot) isSingle() bool { return len(s.names) == 0 && len(s.links) == 0 }

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
			return b.Chmod(at, 0o755)
		case "chown":
			return b.Chown(at, 0, 0)
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
		t.make = func(b *guardtest.Batch) int { return b.Mkdir(b.Text(s.path), 0o755) }
	case "mknod":
		t.make = func(b *guardtest.Batch) int { return b.Mknod(b.Text(s.path), unix.S_IFIFO|0o644) }
	case "symlink":
		t.make = func(b *guardtest.Batch) int { return b.Symlink(b.Text("f"), b.Text(s.path)) }
	case "creat":
		t.make = func(b *guardtest.Batch) int {
			return b.Open(b.Text(s.path), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		}
	case "link":
		from, ok := c.spotOf(func(f spot) bool { return f.kind == isFile && f.mount == s.mount && !f.mounted && f.isSingle() })
		if !ok || !s.isSingle() {
			return trial{}, false
		}
		t.asked = append([]question{c.file(from, policy.Write)}, t.asked[0], c.moved(from, s))
		t.make = func(b *guardtest.Batch) int { return b.Link(b.Text(from.path), b.Text(s.path)) }
	}
	return t, true
}

// rename renames to the same name, or what cannot be renamed; rmdir and unlink
// are for what is no directory, and for one. Nothing is changed by it.
func (c *comparison) rename(*player) (trial, bool) {
	// With a name goes what is mounted on it: test/coverage has the ways.
	umounts := slices.ContainsFunc(c.set, func(p policy.Policy) bool {
		return slices.ContainsFunc(p.Rules, func(r policy.Rule) bool { return r.Operation == policy.SbUmount })
	})
	s, ok := c.spotOf(func(s spot) bool { // what is renamed is what a mount covers
		return s.kind != isAbsent && s.path != c.world.root && !(s.mounted && (umounts || len(s.names) > 0))
	})
	if !ok {
		return trial{}, false
	}
	q := c.file(s, policy.Write)
	t := trial{asked: []question{q}, fails: []unix.Errno{unix.ENOTDIR, unix.EISDIR, unix.EBUSY, unix.ENOTEMPTY, unix.EINVAL}}
	switch t.what = choose(c, "rename", "remove", "rename over"); t.what {
	case "rename":
		t.asked = append(t.asked, q)
		t.make = func(b *guardtest.Batch) int { return b.Rename(b.Text(s.path), b.Text(s.path)) }
	case "remove":
		t.make = func(b *guardtest.Batch) int {
			if s.kind == isDirectory {
				return b.Unlink(b.Text(s.path))
			}
			return b.Rmdir(b.Text(s.path))
		}
	case "rename over":
		over, ok := c.spotOf(func(o spot) bool {
			return o.kind == isDirectory && o.mount == s.mount && s.kind == isFile && !o.mounted && !s.mounted && o.isSingle() && s.isSingle() && !strings.HasPrefix(s.path, o.path+"/")
		})
		if !ok {
			return trial{}, false
		}
		t.asked = append(t.asked, c.file(over, policy.Write), c.moved(s, over))
		t.make = func(b *guardtest.Batch) int { return b.Rename(b.Text(s.path), b.Text(over.path)) }
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

func (c *comparison) memory(*player) (trial, bool) {
	q := question{operation: policy.FileOpen, object: policy.File{Access: policy.Read, Kind: policy.Memfd}}
	return trial{what: "open a memfd", asked: []question{q}, make: func(b *guardtest.Batch) int {
		call := b.Open(b.Text("/proc/self/fd/"+strconv.Itoa(memoryFD)), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		b.Call(unix.SYS_CLOSE, guardtest.OpenedFD)
		return call
	}}, true
}
