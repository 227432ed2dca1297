package coverage

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// uringFileWays reach files through io_uring, whose operations run in the task, in a worker or in a polling thread.
func uringFileWays() []Way {
	openat := func(flags uint8, setup ...uint32) func(*Env) error {
		return func(e *Env) error {
			path, keep := cstring(e.File())
			fd, err := ring(sqe{op: uringOpOpenat, flags: flags, fd: unix.AT_FDCWD, addr: path, opFlags: unix.O_RDONLY | unix.O_CLOEXEC, keep: keep}, setup...)
			return closed(fd, err)
		}
	}
	two := func(op uint8, from, to func(*Env) string) func(*Env) error {
		return func(e *Env) error {
			a, keep := cstring(from(e))
			b, keep2 := cstring(to(e))
			at := unix.AT_FDCWD
			return fails(ring(sqe{op: op, fd: at, addr: a, off: b, len: uint32(at), keep: keep, keep2: keep2}))
		}
	}
	file, other, linked := (*Env).File, (*Env).Other, func(e *Env) string { return e.Path("linked") }
	return []Way{
		{ID: "io-uring-openat", Needs: []string{"io_uring"}, Description: "openat through io_uring", Do: openat(0)},
		{ID: "io-uring-openat-async", Needs: []string{"io_uring"}, Description: "openat through io_uring, by a worker thread (IOSQE_ASYNC)", Do: openat(sqeAsync)},
		{ID: "io-uring-openat-sqpoll", Needs: []string{"io_uring"}, Description: "openat through io_uring, by a polling thread (IORING_SETUP_SQPOLL)", Do: openat(0, uringSetupSQPoll)},
		{ID: "io-uring-openat2", Needs: []string{"io_uring_openat2"}, Description: "openat2 through io_uring", Do: func(e *Env) error {
			path, keep := cstring(e.File())
			how := &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC}
			return closed(ring(sqe{op: uringOpOpenat2, fd: unix.AT_FDCWD, addr: path, off: uint64(uintptr(unsafe.Pointer(how))), len: unix.SizeofOpenHow, keep: keep, keep2: how}))
		}},
		{ID: "io-uring-openat-direct", Needs: []string{"io_uring_direct"}, Description: "openat through io_uring into a fixed file, then read", Do: func(e *Env) error {
			u := need(newUring())
			defer u.close()
			u.registerFiles(-1)
			path, keep := cstring(e.File())
			if _, err := u.do(sqe{op: uringOpOpenat, fd: unix.AT_FDCWD, addr: path, opFlags: unix.O_RDONLY, fileIndex: 1, keep: keep}); err != nil {
				return err
			}
			b := make([]byte, 16)
			return fails(u.do(sqe{op: uringOpRead, flags: sqeFixedFile, addr: uint64(ptr(&b[0])), len: 16, keep: b}))
		}},
		{ID: "io-uring-foreign-ring", Needs: []string{"io_uring"}, Description: "openat through a ring that another program made and handed over", Setup: func(e *Env) error {
			u := need(newUring())
			e.PassFD(u.fd)
			return nil
		}, Do: foreignRing},
		{ID: "io-uring-handed", Needs: []string{"io_uring"}, Description: "a fixed file of a ring that another program made and handed over, then read",
			Setup: handRing, Do: readFixed, NotCovered: map[string]string{"*": "another program opened it, and no hook is asked when it changes hands so: a rule with revoke refuses its use"}},
		{ID: "revoke-io-uring-handed", Object: "revoke", Needs: []string{"io_uring"}, Description: "a fixed file of a ring that another program made before the policy and handed over, then read",
			Setup: handRing, Do: readFixed},
		{ID: "io-uring-renameat", Needs: []string{"io_uring_renameat"}, Description: "renameat away through io_uring", Do: two(uringOpRenameat, file, linked)},
		{ID: "io-uring-renameat-over", Needs: []string{"io_uring_renameat"}, Description: "renameat of another file over it through io_uring", Do: two(uringOpRenameat, other, file)},
		{ID: "io-uring-unlinkat", Needs: []string{"io_uring_unlinkat"}, Description: "unlinkat through io_uring", Do: func(e *Env) error {
			path, keep := cstring(e.File())
			return fails(ring(sqe{op: uringOpUnlinkat, fd: unix.AT_FDCWD, addr: path, keep: keep}))
		}},
		{ID: "io-uring-linkat", Needs: []string{"io_uring_linkat"}, Description: "linkat to a new name through io_uring", Do: two(uringOpLinkat, file, linked)},
		{ID: "io-uring-linkat-to", Object: "future", Needs: []string{"io_uring_linkat"}, Description: "linkat at a protected name through io_uring", Do: two(uringOpLinkat, other, file)},
		{ID: "io-uring-mkdirat", Object: "future", Needs: []string{"io_uring_mkdirat"}, Description: "mkdirat at a protected name through io_uring", Do: func(e *Env) error {
			path, keep := cstring(e.File())
			return fails(ring(sqe{op: uringOpMkdirat, fd: unix.AT_FDCWD, addr: path, len: 0o755, keep: keep}))
		}},
		{ID: "io-uring-symlinkat", Object: "future", Needs: []string{"io_uring_symlinkat"}, Description: "symlinkat at a protected name through io_uring", Do: func(e *Env) error {
			target, keep := cstring("spare")
			path, keep2 := cstring(e.File())
			return fails(ring(sqe{op: uringOpSymlinkat, fd: unix.AT_FDCWD, addr: target, off: path, keep: keep, keep2: keep2}))
		}},
		{ID: "io-uring-setxattr", Needs: []string{"io_uring_xattr"}, Description: "setxattr through io_uring", Do: func(e *Env) error {
			name, keep := cstring("trusted.coverage")
			value, keep2 := cstring("x")
			return fails(ring(sqe{op: uringOpSetxattr, addr: name, off: value, len: 1, addr3: uint64(str(e.File())), keep: keep, keep2: keep2}))
		}},
		{ID: "io-uring-fsetxattr", Object: "write", Needs: []string{"io_uring_xattr"}, Description: "fsetxattr through io_uring, by a descriptor for reading", Do: func(e *Env) error {
			name, keep := cstring("trusted.coverage")
			value, keep2 := cstring("x")
			fd := need(unix.Open(e.File(), unix.O_RDONLY|unix.O_CLOEXEC, 0))
			return fails(ring(sqe{op: uringOpFsetxattr, fd: fd, addr: name, off: value, len: 1, keep: keep, keep2: keep2}))
		}},
		{ID: "revoke-io-uring-ftruncate", Object: "revoke", Needs: []string{"io_uring_ftruncate"}, Description: "descriptor from before the policy: ftruncate through io_uring", Setup: func(e *Env) error {
			e.PassFD(need(unix.Open(e.File(), unix.O_RDWR|unix.O_CLOEXEC, 0)))
			return nil
		}, Do: func(e *Env) error { return fails(ring(sqe{op: uringOpFtruncate, fd: e.Passed(0)})) }},
		{ID: "revoke-io-uring-fallocate", Object: "revoke", Needs: []string{"io_uring"}, Description: "descriptor from before the policy: fallocate through io_uring", Setup: func(e *Env) error {
			e.PassFD(need(unix.Open(e.File(), unix.O_RDWR|unix.O_CLOEXEC, 0)))
			return nil
		}, Do: func(e *Env) error { return fails(ring(sqe{op: uringOpFallocate, fd: e.Passed(0), addr: 8192})) }},
	}
}

// handRing makes a ring with the file as a fixed file.
func handRing(e *Env) error {
	fd := need(unix.Open(e.File(), unix.O_RDONLY|unix.O_CLOEXEC, 0))
	defer unix.Close(fd)
	u := need(newUring())
	u.registerFiles(int32(fd))
	e.PassFD(u.fd)
	return nil
}

// passedRing is a ring that another process made. Its layout is that of a ring of the same size.
func passedRing(e *Env) *uring {
	own := need(newUring())
	defer own.close()
	u := &uring{fd: e.Passed(0), p: own.p}
	must(u.mapRings())
	return u
}

// readFixed reads the fixed file of a ring that another process made.
func readFixed(e *Env) error {
	b := make([]byte, 16)
	return fails(passedRing(e).do(sqe{op: uringOpRead, flags: sqeFixedFile, addr: uint64(ptr(&b[0])), len: 16, keep: b}))
}

// foreignRing submits to a ring that another process made.
func foreignRing(e *Env) error {
	path, keep := cstring(e.File())
	return closed(passedRing(e).do(sqe{op: uringOpOpenat, fd: unix.AT_FDCWD, addr: path, opFlags: unix.O_RDONLY | unix.O_CLOEXEC, keep: keep}))
}
