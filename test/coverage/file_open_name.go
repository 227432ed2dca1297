package coverage

import (
	"os"

	"golang.org/x/sys/unix"
)

func emptyDir(e *Env) error {
	for _, name := range []string{"tree", "open"} {
		must(os.RemoveAll(e.Path(name)))
		must(os.Mkdir(e.Path(name), 0o777))
	}
	return nil
}

// openExecWays open the file to execute it, and otherwise than by open(2).
func openExecWays() []Way {
	return []Way{
		{ID: "execve", Description: "execve(2): the kernel opens the file", Do: func(e *Env) error { return start(e.File(), nil, nil) }},
		{ID: "execve-tree", Object: "tree", Description: "execve(2), below a protected directory", Do: func(e *Env) error { return start(e.File(), nil, nil) }},
		{ID: "script-interpreter", Description: "execve(2) of a script whose #! names the file", Do: func(e *Env) error {
			must(install(e.Path("script"), []byte("#!"+e.File()+"\n")))
			return start(e.Path("script"), nil, nil)
		}},
		{ID: "elf-interpreter", Description: "execve(2) of a program whose ELF interpreter is the file", Do: func(e *Env) error {
			must(install(e.Path("loader"), image(unix.SYS_SCHED_YIELD, 0, e.File())))
			return start(e.Path("loader"), nil, nil)
		}},
		{ID: "execveat-opath", Description: "execveat(2), AT_EMPTY_PATH, of an O_PATH descriptor", Do: func(e *Env) error {
			return execveat(need(unix.Open(e.File(), unix.O_PATH|unix.O_CLOEXEC, 0)), "", unix.AT_EMPTY_PATH)
		}},
	}
}

// nameWays take the name away from the file, or the file from the name.
func nameWays() []Way {
	cwd := unix.AT_FDCWD
	return []Way{
		{ID: "unlinkat", Description: "unlinkat(2)", Do: func(e *Env) error { return unix.Unlinkat(cwd, e.File(), 0) }},
		{ID: "unlinkat-dirfd", Description: "unlinkat(2) relative to a directory", Do: func(e *Env) error {
			return unix.Unlinkat(need(unix.Open(e.Dir, unix.O_PATH|unix.O_CLOEXEC, 0)), e.Name(), 0)
		}},
		{ID: "unlinkat-tree", Object: "tree", Description: "unlinkat(2) below a protected directory", Do: func(e *Env) error { return unix.Unlinkat(cwd, e.File(), 0) }},
		{ID: "unlinkat-glob", Object: "glob", Description: "unlinkat(2) of a file that a glob names", Do: func(e *Env) error { return unix.Unlinkat(cwd, e.File(), 0) }},
		{ID: "unlink-hard-link", Description: "unlinkat(2) of a hard link from before the policy", Setup: linkFile, Do: func(e *Env) error {
			return unix.Unlinkat(cwd, e.Path("linked"), 0)
		}},
		{ID: "removedir", Object: "dir", Description: "unlinkat(2), AT_REMOVEDIR", Setup: emptyDir, Do: func(e *Env) error { return unix.Unlinkat(cwd, e.File(), unix.AT_REMOVEDIR) }},
		{ID: "renameat-away", Description: "renameat(2) away", Do: func(e *Env) error { return unix.Renameat(cwd, e.File(), cwd, e.Path("moved")) }},
		{ID: "renameat-over", Description: "renameat(2) of another file over it", Do: func(e *Env) error { return unix.Renameat(cwd, e.Other(), cwd, e.File()) }},
		{ID: "renameat-to-future", Object: "future", Description: "renameat(2) of a file to a protected name", Do: func(e *Env) error { return unix.Renameat(cwd, e.Other(), cwd, e.File()) }},
		{ID: "renameat-noreplace", Object: "future", Description: "renameat2(2), RENAME_NOREPLACE, to a protected name", Do: func(e *Env) error {
			return unix.Renameat2(cwd, e.Other(), cwd, e.File(), unix.RENAME_NOREPLACE)
		}},
		{ID: "renameat-exchange", Description: "renameat2(2), RENAME_EXCHANGE, the file first", Do: func(e *Env) error {
			return unix.Renameat2(cwd, e.File(), cwd, e.Other(), unix.RENAME_EXCHANGE)
		}},
		{ID: "renameat-exchange-second", Description: "renameat2(2), RENAME_EXCHANGE, the file second", Do: func(e *Env) error {
			return unix.Renameat2(cwd, e.Other(), cwd, e.File(), unix.RENAME_EXCHANGE)
		}},
		{ID: "renameat-whiteout", Description: "renameat2(2), RENAME_WHITEOUT", Do: func(e *Env) error {
			return unix.Renameat2(cwd, e.File(), cwd, e.Path("moved"), unix.RENAME_WHITEOUT)
		}},
		{ID: "renameat-dirfd", Description: "renameat(2) between directory descriptors", Do: func(e *Env) error {
			dir := need(unix.Open(e.Dir, unix.O_PATH|unix.O_CLOEXEC, 0))
			return unix.Renameat(dir, e.Name(), need(unix.Open(e.Path("open"), unix.O_PATH|unix.O_CLOEXEC, 0)), "moved")
		}},
		{ID: "rename-into-tree", Object: "tree", Description: "renameat(2) of a file to a name below a protected directory", Do: func(e *Env) error {
			return unix.Renameat(cwd, e.Other(), cwd, e.File()+"2")
		}},
		{ID: "rename-out-of-tree", Object: "tree", Description: "renameat(2) of a file out of a protected directory", Do: func(e *Env) error {
			return unix.Renameat(cwd, e.File(), cwd, e.Path("moved"))
		}},
		{ID: "rename-into-glob", Object: "glob", Description: "renameat(2) to a name that a glob protects", Do: func(e *Env) error {
			return unix.Renameat(cwd, e.Other(), cwd, e.Path("glob", pick(e, "new.key", "new.txt")))
		}},
		{ID: "rename-out-of-glob", Object: "glob", Description: "renameat(2) to a name that no glob protects", Do: func(e *Env) error {
			return unix.Renameat(cwd, e.File(), cwd, e.Path("glob/b.txt"))
		}},
		{ID: "rename-directory", Object: "dir", Description: "renameat(2) of a protected directory", Do: func(e *Env) error {
			return unix.Renameat(cwd, e.File(), cwd, e.Path("moved"))
		}},
		{ID: "rename-directory-over", Object: "dir", Description: "renameat(2) of a directory over a protected, empty one", Setup: emptyDir, Do: func(e *Env) error {
			return unix.Renameat(cwd, e.Path("empty"), cwd, e.File())
		}},
		{ID: "linkat-from", Description: "linkat(2) to a new name", Do: func(e *Env) error { return unix.Linkat(cwd, e.File(), cwd, e.Path("linked"), 0) }},
		{ID: "linkat-from-tree", Object: "tree", Description: "linkat(2) of a file below a protected directory to a new name", Do: func(e *Env) error {
			return unix.Linkat(cwd, e.File(), cwd, e.Path("linked"), 0)
		}},
		{ID: "linkat-empty-path", Description: "linkat(2), AT_EMPTY_PATH, of an O_PATH descriptor", Do: func(e *Env) error {
			return unix.Linkat(need(unix.Open(e.File(), unix.O_PATH|unix.O_CLOEXEC, 0)), "", cwd, e.Path("linked"), unix.AT_EMPTY_PATH)
		}},
		{ID: "linkat-proc-fd", Description: "linkat(2), AT_SYMLINK_FOLLOW, of /proc/self/fd", Do: func(e *Env) error {
			fd := need(unix.Open(e.File(), unix.O_PATH|unix.O_CLOEXEC, 0))
			return unix.Linkat(cwd, procFD(fd), cwd, e.Path("linked"), unix.AT_SYMLINK_FOLLOW)
		}},
		{ID: "linkat-to-future", Object: "future", Description: "linkat(2) at a protected name", Do: func(e *Env) error { return unix.Linkat(cwd, e.Other(), cwd, e.File(), 0) }},
		{ID: "linkat-into-tree", Object: "tree", Description: "linkat(2) below a protected directory", Do: func(e *Env) error {
			return unix.Linkat(cwd, e.Other(), cwd, e.File()+"2", 0)
		}},
		{ID: "tmpfile-linkat", Object: "future", Description: "O_TMPFILE, then linkat(2) at a protected name", Do: func(e *Env) error {
			fd := need(unix.Open(e.Dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600))
			return unix.Linkat(cwd, procFD(fd), cwd, e.File(), unix.AT_SYMLINK_FOLLOW)
		}},
	}
}

// createWays make something at a name that is protected and free.
func createWays() []Way {
	cwd := unix.AT_FDCWD
	ways := []Way{
		{ID: "mkdirat", Description: "mkdirat(2) at a protected name", Do: func(e *Env) error { return unix.Mkdirat(cwd, e.File(), 0o755) }},
		{ID: "mknodat-file", Description: "mknodat(2) of a file at a protected name", Do: func(e *Env) error { return unix.Mknodat(cwd, e.File(), unix.S_IFREG|0o600, 0) }},
		{ID: "mknodat-fifo", Description: "mknodat(2) of a FIFO at a protected name", Do: func(e *Env) error { return unix.Mknodat(cwd, e.File(), unix.S_IFIFO|0o600, 0) }},
		{ID: "mknodat-device", Description: "mknodat(2) of a device at a protected name", Do: func(e *Env) error {
			return unix.Mknodat(cwd, e.File(), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3)))
		}},
		{ID: "mknodat-socket", Description: "mknodat(2) of a socket at a protected name", Do: func(e *Env) error { return unix.Mknodat(cwd, e.File(), unix.S_IFSOCK|0o600, 0) }},
		{ID: "symlinkat", Description: "symlinkat(2) at a protected name", Do: func(e *Env) error { return unix.Symlinkat("spare", cwd, e.File()) }},
		{ID: "bind-unix-socket", Description: "bind(2) of a Unix socket at a protected name", Do: func(e *Env) error {
			fd := need(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
			// The path is longer than a socket address.
			must(unix.Chdir(e.Dir))
			return unix.Bind(fd, &unix.SockaddrUnix{Name: e.Name()})
		}},
		{ID: "openat-create", Description: "openat(2), O_CREAT, at a protected name", Do: func(e *Env) error { return open(e.File(), unix.O_CREAT|unix.O_WRONLY) }},
		{ID: "openat-create-excl", Description: "openat(2), O_CREAT|O_EXCL, at a protected name", Do: func(e *Env) error { return open(e.File(), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR) }},
		{ID: "openat-create-rdonly", Description: "openat(2), O_CREAT|O_RDONLY, at a protected name", Do: func(e *Env) error { return open(e.File(), unix.O_CREAT|unix.O_RDONLY) }},
		{ID: "openat-create-dirfd", Description: "openat(2), O_CREAT, relative to a directory", Do: func(e *Env) error {
			return openat(need(unix.Open(e.Dir, unix.O_PATH|unix.O_CLOEXEC, 0)), e.Name(), unix.O_CREAT|unix.O_WRONLY)
		}},
	}
	for i := range ways {
		ways[i].Object = "future"
	}
	return append(ways,
		Way{ID: "openat-create-tree", Object: "tree", Description: "openat(2), O_CREAT, below a protected directory", Do: func(e *Env) error {
			return open(e.File()+"2", unix.O_CREAT|unix.O_WRONLY)
		}},
		Way{ID: "mkdirat-tree", Object: "tree", Description: "mkdirat(2) below a protected directory", Do: func(e *Env) error {
			return unix.Mkdirat(cwd, e.File()+"2", 0o755)
		}},
		Way{ID: "openat-create-glob", Object: "glob", Description: "openat(2), O_CREAT, at a name that a glob protects", Do: func(e *Env) error {
			return open(e.Path("glob", pick(e, "new.key", "new.txt")), unix.O_CREAT|unix.O_WRONLY)
		}},
	)
}
