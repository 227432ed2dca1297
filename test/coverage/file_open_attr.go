package coverage

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// acl is a POSIX ACL as setxattr(2) takes it: rw for the owner, the user 1000, the group, the mask and the others.
var acl = []byte{
	2, 0, 0, 0,
	1, 0, 6, 0, 255, 255, 255, 255,
	2, 0, 6, 0, 232, 3, 0, 0,
	4, 0, 6, 0, 255, 255, 255, 255,
	16, 0, 6, 0, 255, 255, 255, 255,
	32, 0, 6, 0, 255, 255, 255, 255,
}

// fileAttr is struct file_attr; the rest is extents and a project, which stay as they are.
type fileAttr struct {
	xflags uint64
	_      [4]uint32
}

// attributeWays change what the kernel keeps about a file.
func attributeWays() []Way {
	cwd := unix.AT_FDCWD
	trusted := "trusted.coverage"
	opath := func(e *Env) int { return need(unix.Open(e.File(), unix.O_PATH|unix.O_CLOEXEC, 0)) }
	ways := []Way{
		{ID: "fchmodat", Description: "fchmodat(2)", Do: func(e *Env) error { return fails(call(unix.SYS_FCHMODAT, atCWD, str(e.File()), 0o644)) }},
		{ID: "fchmodat2", Description: "fchmodat2(2), AT_EMPTY_PATH, of an O_PATH descriptor", Needs: []string{"fchmodat2"}, Do: func(e *Env) error {
			return fails(call(unix.SYS_FCHMODAT2, uintptr(opath(e)), str(""), 0o644, unix.AT_EMPTY_PATH))
		}},
		{ID: "chmod-proc-fd", Description: "fchmodat(2) of /proc/self/fd of an O_PATH descriptor", Do: func(e *Env) error {
			return fails(call(unix.SYS_FCHMODAT, atCWD, str(procFD(opath(e))), 0o644))
		}},
		{ID: "chmod-setuid", Description: "fchmodat(2) that makes it a set-user-ID program", Do: func(e *Env) error {
			return fails(call(unix.SYS_FCHMODAT, atCWD, str(e.File()), 0o4755))
		}},
		{ID: "fchownat", Description: "fchownat(2)", Do: func(e *Env) error { return unix.Fchownat(cwd, e.File(), 1000, 1000, 0) }},
		{ID: "fchownat-empty-path", Description: "fchownat(2), AT_EMPTY_PATH, of an O_PATH descriptor", Do: func(e *Env) error {
			return unix.Fchownat(opath(e), "", 1000, 1000, unix.AT_EMPTY_PATH)
		}},
		{ID: "utimensat", Description: "utimensat(2)", Do: func(e *Env) error { return unix.UtimesNanoAt(cwd, e.File(), make([]unix.Timespec, 2), 0) }},
		{ID: "utimensat-now", Description: "utimensat(2) to now", Do: func(e *Env) error { return fails(call(unix.SYS_UTIMENSAT, atCWD, str(e.File()), 0, 0)) }},
		{ID: "setxattr", Description: "setxattr(2)", Do: func(e *Env) error { return unix.Setxattr(e.File(), trusted, []byte("x"), 0) }},
		{ID: "lsetxattr", Description: "lsetxattr(2)", Do: func(e *Env) error { return unix.Lsetxattr(e.File(), trusted, []byte("x"), 0) }},
		{ID: "setxattr-proc-fd", Description: "setxattr(2) of /proc/self/fd of an O_PATH descriptor", Do: func(e *Env) error {
			return unix.Setxattr(procFD(opath(e)), trusted, []byte("x"), 0)
		}},
		{ID: "setxattrat", Description: "setxattrat(2)", Needs: []string{"setxattrat"}, Do: func(e *Env) error {
			value := []byte("x")
			args := struct {
				value       uint64
				size, flags uint32
			}{uint64(ptr(&value[0])), 1, 0}
			return fails(call(unix.SYS_SETXATTRAT, atCWD, str(e.File()), 0, str(trusted), ptr(&args), unsafe.Sizeof(args)))
		}},
		{ID: "setxattr-capability", Description: "setxattr(2) of file capabilities", Do: func(e *Env) error {
			return unix.Setxattr(e.File(), "security.capability", fileCapabilities(unix.CAP_NET_RAW), 0)
		}},
		{ID: "setxattr-security", Description: "setxattr(2) in the name space security", Do: func(e *Env) error {
			return unix.Setxattr(e.File(), "security.coverage", []byte("x"), 0)
		}},
		{ID: "set-acl", Description: "setxattr(2) of a POSIX ACL", Do: func(e *Env) error { return unix.Setxattr(e.File(), "system.posix_acl_access", acl, 0) }},
		{ID: "remove-acl", Description: "removexattr(2) of a POSIX ACL", Setup: func(e *Env) error {
			return unix.Setxattr(e.File(), "system.posix_acl_access", acl, 0)
		}, Do: func(e *Env) error { return unix.Removexattr(e.File(), "system.posix_acl_access") }},
		{ID: "removexattr", Description: "removexattr(2)", Setup: setTrusted, Do: func(e *Env) error { return unix.Removexattr(e.File(), trusted) }},
		{ID: "lremovexattr", Description: "lremovexattr(2)", Setup: setTrusted, Do: func(e *Env) error { return unix.Lremovexattr(e.File(), trusted) }},
		{ID: "removexattrat", Description: "removexattrat(2)", Needs: []string{"setxattrat"}, Setup: setTrusted, Do: func(e *Env) error {
			return fails(call(unix.SYS_REMOVEXATTRAT, atCWD, str(e.File()), 0, str(trusted)))
		}},
		{ID: "file-setattr", Description: "file_setattr(2)", Needs: []string{"file_setattr"}, Disk: true, Do: func(e *Env) error {
			const xflagNodump = 0x80
			a := fileAttr{xflags: xflagNodump}
			return fails(call(unix.SYS_FILE_SETATTR, atCWD, str(e.File()), ptr(&a), unsafe.Sizeof(a), 0))
		}},
		{ID: "fchmodat-tree", Object: "tree", Description: "fchmodat(2) below a protected directory", Do: func(e *Env) error {
			return fails(call(unix.SYS_FCHMODAT, atCWD, str(e.File()), 0o644))
		}},
		{ID: "fchmodat-dir", Object: "dir", Description: "fchmodat(2) of a protected directory", Do: func(e *Env) error {
			return fails(call(unix.SYS_FCHMODAT, atCWD, str(e.File()), 0o700))
		}},
		{ID: "fchmodat-glob", Object: "glob", Description: "fchmodat(2) of a file that a glob names", Do: func(e *Env) error {
			return fails(call(unix.SYS_FCHMODAT, atCWD, str(e.File()), 0o644))
		}},
		{ID: "chown-hard-link", Description: "fchownat(2) of a hard link from before the policy", Setup: linkFile, Do: func(e *Env) error {
			return unix.Fchownat(cwd, e.Path("linked"), 1000, 1000, 0)
		}},
	}
	// By a descriptor that the policy lets the actor have: reading is free, writing is not.
	reader := func(id, description string, do func(e *Env, fd int) error) {
		ways = append(ways, Way{ID: id, Object: "write", Description: description + ", by a descriptor for reading", Do: func(e *Env) error {
			return do(e, need(unix.Open(e.File(), unix.O_RDONLY|unix.O_CLOEXEC, 0)))
		}})
	}
	reader("fchmod", "fchmod(2)", func(_ *Env, fd int) error { return fails(call(unix.SYS_FCHMOD, uintptr(fd), 0o644)) })
	reader("fchown", "fchown(2)", func(_ *Env, fd int) error { return unix.Fchown(fd, 1000, 1000) })
	reader("futimens", "futimens(3)", func(_ *Env, fd int) error { return fails(call(unix.SYS_UTIMENSAT, uintptr(fd), 0, 0, 0)) })
	reader("fsetxattr", "fsetxattr(2)", func(_ *Env, fd int) error { return unix.Fsetxattr(fd, trusted, []byte("x"), 0) })
	reader("fremovexattr", "fremovexattr(2)", func(_ *Env, fd int) error { return unix.Fremovexattr(fd, trusted) })
	ways[len(ways)-1].Setup = setTrusted
	reader("fs-ioc-setflags", "ioctl(2) FS_IOC_SETFLAGS", func(_ *Env, fd int) error {
		const noDump = 0x40
		return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, noDump)
	})
	ways[len(ways)-1].Disk = true
	reader("fs-ioc-setflags-ia32", "ioctl(2) FS_IOC32_SETFLAGS through int 0x80", func(_ *Env, fd int) error { return setflags32(fd) })
	ways[len(ways)-1].Disk, ways[len(ways)-1].Needs = true, []string{"ia32"}
	reader("fs-ioc-fssetxattr", "ioctl(2) FS_IOC_FSSETXATTR", func(_ *Env, fd int) error {
		var a struct {
			xflags, extsize, nextents, projid, cowextsize uint32
			pad                                           [8]byte
		}
		const fssetxattr, noDump = 0x401c5820, 0x80
		a.xflags = noDump
		return fails(call(unix.SYS_IOCTL, uintptr(fd), fssetxattr, ptr(&a)))
	})
	ways[len(ways)-1].Disk = true
	reader("linkat-from-reader", "linkat(2) of /proc/self/fd to a new name", func(e *Env, fd int) error {
		return unix.Linkat(cwd, procFD(fd), cwd, e.Path("linked"), unix.AT_SYMLINK_FOLLOW)
	})
	return ways
}

func setTrusted(e *Env) error { return unix.Setxattr(e.File(), "trusted.coverage", []byte("x"), 0) }

// fileCapabilities is the value of security.capability, version 2, permitted and effective.
func fileCapabilities(capability uint) []byte {
	b := make([]byte, 20)
	b[0], b[3] = 1, 2 // VFS_CAP_FLAGS_EFFECTIVE, VFS_CAP_REVISION_2
	at := 4
	if capability >= 32 {
		at, capability = 12, capability-32
	}
	b[at+int(capability/8)] = 1 << (capability % 8)
	return b
}
