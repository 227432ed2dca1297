package coverage

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// contentWays change what is in the file without opening it for that.
func contentWays() []Way {
	return []Way{
		{ID: "truncate", Description: "truncate(2)", Do: func(e *Env) error { return unix.Truncate(e.File(), 10) }},
		{ID: "truncate-tree", Object: "tree", Description: "truncate(2) below a protected directory", Do: func(e *Env) error { return unix.Truncate(e.File(), 10) }},
		{ID: "truncate-hard-link", Description: "truncate(2) of a hard link from before the policy", Setup: linkFile, Do: func(e *Env) error {
			return unix.Truncate(e.Path("linked"), 10)
		}},
		{ID: "truncate-proc-fd", Description: "truncate(2) of /proc/self/fd of an O_PATH descriptor", Do: func(e *Env) error {
			return unix.Truncate(procFD(need(unix.Open(e.File(), unix.O_PATH|unix.O_CLOEXEC, 0))), 10)
		}},
	}
}

// accessWays are about rules that name an access: the file is free otherwise.
func accessWays() []Way {
	ways := []Way{
		{ID: "access-read-openat", Object: "read", Description: "openat(2) for reading", Do: openFlags(unix.O_RDONLY)},
		{ID: "access-read-rdwr", Object: "read", Description: "openat(2) for reading and writing", Do: openFlags(unix.O_RDWR)},
		{ID: "access-read-noaccess", Object: "read", Description: "openat(2) with access mode 3", Do: openFlags(3)},
		{ID: "access-read-reopen", Object: "read", Description: "opened for writing, reopened for reading through /proc/self/fd", Do: func(e *Env) error {
			return open(procFD(need(unix.Open(e.File(), unix.O_WRONLY|unix.O_CLOEXEC, 0))), unix.O_RDONLY)
		}},
		{ID: "access-write-openat", Object: "write", Description: "openat(2) for writing", Do: openFlags(unix.O_WRONLY)},
		{ID: "access-write-rdwr", Object: "write", Description: "openat(2) for reading and writing", Do: openFlags(unix.O_RDWR)},
		{ID: "access-write-rdonly-trunc", Object: "write", Description: "openat(2), O_RDONLY|O_TRUNC", Do: openFlags(unix.O_RDONLY | unix.O_TRUNC)},
		{ID: "access-write-truncate", Object: "write", Description: "truncate(2)", Do: func(e *Env) error { return unix.Truncate(e.File(), 10) }},
		{ID: "access-write-reopen", Object: "write", Description: "opened for reading, reopened for writing through /proc/self/fd", Do: func(e *Env) error {
			return open(procFD(need(unix.Open(e.File(), unix.O_RDONLY|unix.O_CLOEXEC, 0))), unix.O_WRONLY)
		}},
		{ID: "access-write-unlink", Object: "write", Description: "unlinkat(2)", Do: func(e *Env) error { return unix.Unlinkat(unix.AT_FDCWD, e.File(), 0) }},
		{ID: "access-write-rename", Object: "write", Description: "renameat(2)", Do: func(e *Env) error { return os.Rename(e.File(), e.Path("moved")) }},
		{ID: "access-exec-execve", Object: "exec", Description: "execve(2)", Do: func(e *Env) error { return start(e.File(), nil, nil) }},
		{ID: "access-exec-opath", Object: "exec", Description: "execveat(2) of an O_PATH descriptor", Do: func(e *Env) error {
			return execveat(need(unix.Open(e.File(), unix.O_PATH|unix.O_CLOEXEC, 0)), "", unix.AT_EMPTY_PATH)
		}},
		{ID: "access-exec-check", Object: "exec", Needs: []string{"execve_check"}, Description: "execveat(2), AT_EXECVE_CHECK: may the file be started?", Do: func(e *Env) error {
			return execveat(-1, e.File(), atExecveCheck)
		}},
		{ID: "access-exec-script", Object: "exec", Description: "execve(2) of a script whose #! names the file", Do: func(e *Env) error {
			must(install(e.Path("script"), []byte("#!"+e.File()+"\n")))
			return start(e.Path("script"), nil, nil)
		}},
		{ID: "access-exec-elf-interpreter", Object: "exec", Description: "execve(2) of a program whose ELF interpreter is the file", Do: func(e *Env) error {
			must(install(e.Path("loader"), image(unix.SYS_SCHED_YIELD, 0, e.File())))
			return start(e.Path("loader"), nil, nil)
		}},
		{ID: "access-exec-mmap", Object: "exec", Description: "mmap(2), PROT_EXEC, of the file opened for reading", Do: func(e *Env) error {
			fd := need(unix.Open(e.File(), unix.O_RDONLY|unix.O_CLOEXEC, 0))
			return fails(unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE))
		}},
		{ID: "access-exec-mmap-overlay", Object: "exec", Needs: []string{"overlay"}, Description: "mmap(2), PROT_EXEC, through overlayfs over the directory", Do: func(e *Env) error {
			ownMounts()
			mountOverlay(e)
			fd, err := unix.Open(e.Path("mnt", e.Name()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			return fails(unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE))
		}},
		{ID: "access-exec-mprotect", Object: "exec", Description: "mmap(2) for reading, then mprotect(2), PROT_EXEC", Do: func(e *Env) error {
			fd := need(unix.Open(e.File(), unix.O_RDONLY|unix.O_CLOEXEC, 0))
			return unix.Mprotect(need(unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE)), unix.PROT_READ|unix.PROT_EXEC)
		}},
	}
	// Whatever else a rule about one access forbids would be a fault of its own, so its bystander is the same
	// file with the other access.
	for i := range ways {
		ways[i].Description = "rule with access: [" + ways[i].Object + "]: " + ways[i].Description
		switch ways[i].Object {
		case "read":
			ways[i].Bystander = func(e *Env) error { return open(e.Path("secret"), unix.O_WRONLY) }
		case "write", "exec":
			ways[i].Bystander = func(e *Env) error { return open(e.Path("secret"), unix.O_RDONLY) }
		}
	}
	return ways
}

// revokeWays use a descriptor from before the policy, which the rule's revoke forbids.
func revokeWays() []Way {
	inherit := func(flags int) func(*Env) error {
		return func(e *Env) error {
			e.PassFD(need(unix.Open(e.File(), flags|unix.O_CLOEXEC, 0)))
			return nil
		}
	}
	buffer := func() []byte { return make([]byte, 16) }
	reading := func(id, description string, do func(e *Env, fd int) error) Way {
		return Way{ID: "revoke-" + id, Object: "revoke", Description: "descriptor from before the policy: " + description, Setup: inherit(unix.O_RDONLY),
			Do: func(e *Env) error { return do(e, e.Passed(0)) }}
	}
	writing := func(id, description string, do func(e *Env, fd int) error) Way {
		w := reading(id, description, do)
		w.Setup = inherit(unix.O_RDWR)
		return w
	}
	pipe := func() (int, int) {
		var p [2]int
		must(unix.Pipe2(p[:], unix.O_CLOEXEC))
		return p[0], p[1]
	}
	mapping := reading("mmap", "mmap(2) for reading", func(_ *Env, fd int) error {
		m, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		_ = m[0]
		return nil
	})
	return []Way{
		reading("read", "read(2)", func(_ *Env, fd int) error { return fails(unix.Read(fd, buffer())) }),
		reading("pread", "pread64(2)", func(_ *Env, fd int) error { return fails(unix.Pread(fd, buffer(), 0)) }),
		reading("readv", "preadv2(2)", func(_ *Env, fd int) error { return fails(unix.Preadv2(fd, [][]byte{buffer()}, 0, 0)) }),
		reading("sendfile", "sendfile(2)", func(_ *Env, fd int) error {
			_, w := pipe()
			return fails(unix.Sendfile(w, fd, nil, 16))
		}),
		reading("splice", "splice(2)", func(_ *Env, fd int) error {
			_, w := pipe()
			return fails(unix.Splice(fd, nil, w, nil, 16, 0))
		}),
		reading("copy-file-range", "copy_file_range(2) from it", func(e *Env, fd int) error {
			out := need(unix.Open(e.Path("copy"), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600))
			return fails(unix.CopyFileRange(fd, nil, out, nil, 16, 0))
		}),
		mapping,
		reading("mmap-exec", "mmap(2), PROT_EXEC", func(_ *Env, fd int) error {
			return fails(unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE))
		}),
		reading("reopen", "reopened through /proc/self/fd", func(_ *Env, fd int) error { return open(procFD(fd), unix.O_RDONLY) }),
		reading("dup-read", "dup(2), then read(2)", func(_ *Env, fd int) error { return fails(unix.Read(need(unix.Dup(fd)), buffer())) }),
		reading("child-read", "read(2) in a child", func(_ *Env, fd int) error {
			b := buffer()
			return forked(0, step{unix.SYS_READ, uintptr(fd), ptr(&b[0]), 16})
		}),
		reading("readahead", "readahead(2), posix_fadvise(2) and read(2)", func(_ *Env, fd int) error {
			unix.Fadvise(fd, 0, 16, unix.FADV_WILLNEED)
			return fails(unix.Read(fd, buffer()))
		}),
		writing("write", "write(2)", func(_ *Env, fd int) error { return fails(unix.Write(fd, buffer())) }),
		writing("pwrite", "pwrite64(2)", func(_ *Env, fd int) error { return fails(unix.Pwrite(fd, buffer(), 0)) }),
		writing("splice-in", "splice(2) into it", func(_ *Env, fd int) error {
			r, w := pipe()
			must(fails(unix.Write(w, buffer())))
			return fails(unix.Splice(r, nil, fd, nil, 16, 0))
		}),
		writing("sendfile-in", "sendfile(2) into it", func(e *Env, fd int) error {
			return fails(unix.Sendfile(fd, need(unix.Open(e.Other(), unix.O_RDONLY|unix.O_CLOEXEC, 0)), nil, 16))
		}),
		writing("copy-file-range-in", "copy_file_range(2) into it", func(e *Env, fd int) error {
			return fails(unix.CopyFileRange(need(unix.Open(e.Other(), unix.O_RDONLY|unix.O_CLOEXEC, 0)), nil, fd, nil, 16, 0))
		}),
		writing("fallocate", "fallocate(2)", func(_ *Env, fd int) error { return unix.Fallocate(fd, 0, 0, 8192) }),
		writing("ftruncate", "ftruncate(2)", func(_ *Env, fd int) error { return unix.Ftruncate(fd, 0) }),
		writing("mmap-shared-write", "mmap(2), shared and writable", func(_ *Env, fd int) error {
			return fails(unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED))
		}),
		writing("fchmod", "fchmod(2)", func(_ *Env, fd int) error { return unix.Fchmod(fd, 0o644) }),
		{ID: "revoke-scm-rights", Object: "revoke", Description: "a descriptor that another process sends (SCM_RIGHTS), then read(2)", Setup: sendFile, Do: func(e *Env) error {
			fd, err := receiveFile(e.Passed(0))
			if err != nil {
				return err
			}
			return fails(unix.Read(fd, buffer()))
		}},
		{ID: "revoke-pidfd-getfd", Object: "revoke", Needs: []string{"pidfd_getfd"}, Description: "a descriptor taken from another process (pidfd_getfd(2)), then read(2)",
			Setup: func(e *Env) error {
				fd := need(unix.Open(e.File(), unix.O_RDONLY|unix.O_CLOEXEC, 0))
				e.Set("fd", fd)
				e.Defer(func() { unix.Close(fd) })
				return nil
			}, Do: func(e *Env) error {
				fd, err := unix.PidfdGetfd(need(unix.PidfdOpen(e.Parent, 0)), e.Int("fd"), 0)
				if err != nil {
					return err
				}
				return fails(unix.Read(fd, buffer()))
			}},
		{ID: "revoke-io-uring-read", Object: "revoke", Needs: []string{"io_uring"}, Description: "descriptor from before the policy: read through io_uring",
			Setup: inherit(unix.O_RDONLY), Do: func(e *Env) error {
				b := buffer()
				return fails(ring(sqe{op: uringOpRead, fd: e.Passed(0), addr: uint64(ptr(&b[0])), len: 16, keep: b}))
			}},
		{ID: "revoke-io-uring-write", Object: "revoke", Needs: []string{"io_uring"}, Description: "descriptor from before the policy: write through io_uring",
			Setup: inherit(unix.O_RDWR), Do: func(e *Env) error {
				b := buffer()
				return fails(ring(sqe{op: uringOpWrite, fd: e.Passed(0), addr: uint64(ptr(&b[0])), len: 16, keep: b}))
			}},
		{ID: "revoke-io-uring-fixed", Object: "revoke", Needs: []string{"io_uring"}, Description: "descriptor from before the policy: read through a fixed file of io_uring",
			Setup: inherit(unix.O_RDONLY), Do: func(e *Env) error {
				b := buffer()
				u := need(newUring())
				defer u.close()
				u.registerFiles(int32(e.Passed(0)))
				return fails(u.do(sqe{op: uringOpRead, flags: sqeFixedFile, fd: 0, addr: uint64(ptr(&b[0])), len: 16, keep: b}))
			}},
		{ID: "revoke-exec-inherited", Object: "revoke", Description: "descriptor from before the policy: execveat(2) of it", Setup: inherit(unix.O_RDONLY), Do: func(e *Env) error {
			return execveat(e.Passed(0), "", unix.AT_EMPTY_PATH)
		}},
	}
}

// sendFile opens the way's file and leaves it in a socket for the actor.
func sendFile(e *Env) error {
	fd := need(unix.Open(e.File(), unix.O_RDONLY|unix.O_CLOEXEC, 0))
	defer unix.Close(fd)
	return sendFD(e, fd)
}

func sendFD(e *Env, fd int) error {
	pair := need(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	e.PassFD(pair[0])
	e.Defer(func() { unix.Close(pair[1]) })
	return unix.Sendmsg(pair[1], []byte("x"), unix.UnixRights(fd), nil, 0)
}

func receiveFile(socket int) (int, error) {
	data, control := make([]byte, 8), make([]byte, unix.CmsgSpace(4))
	_, n, flags, _, err := unix.Recvmsg(socket, data, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return -1, err
	}
	// A descriptor that a security module refuses to hand over is left out.
	if len(messages) == 0 || flags&unix.MSG_CTRUNC != 0 {
		return -1, fmt.Errorf("no descriptor arrived: %w", unix.EPERM)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}
