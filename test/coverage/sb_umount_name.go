package coverage

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// elsewhere unmounts the way's mounts in a mount namespace of their own and passes that to the actor.
func elsewhere(e *Env) error {
	unmount := func() error {
		ownMounts() // the thread ends with its namespace
		for _, name := range []string{"secret", "public", "tree/sub", "open/sub", "mnt"} {
			unix.Unmount(e.Path(name), unix.MNT_DETACH)
		}
		e.PassFD(need(unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)))
		return nil
	}
	return inThread(func() error {
		if unix.Gettid() != unix.Getpid() {
			return unmount()
		}
		// The first thread cannot end, and others look at its namespace.
		defer runtime.UnlockOSThread()
		return inThread(unmount)
	})
}

// enterElsewhere has the actor enter that namespace, where nothing is mounted at the way's mount points.
func enterElsewhere(e *Env) {
	must(unix.Unshare(unix.CLONE_FS))
	must(unix.Setns(e.Passed(0), unix.CLONE_NEWNS))
}

// onFile makes the mount points files.
func onFile(e *Env) error {
	must(os.WriteFile(e.Path("file"), nil, 0o644))
	for _, name := range []string{"secret", "public"} {
		must(unix.Unmount(e.Path(name), 0))
		must(os.Remove(e.Path(name)))
		must(os.WriteFile(e.Path(name), nil, 0o644))
		must(unix.Mount(e.Path("file"), e.Path(name), "", unix.MS_BIND, ""))
	}
	return elsewhere(e)
}

// detachWays take a mount away with what it is mounted on, from a namespace in which nothing is mounted there.
func detachWays() []Way {
	in := func(f func(*Env) error) func(*Env) error {
		return func(e *Env) error {
			enterElsewhere(e)
			return f(e)
		}
	}
	remove := in(func(e *Env) error { return unix.Rmdir(e.Point()) })
	return []Way{
		{ID: "rmdir", Description: "rmdir(2) of the mount point from another mount namespace", Setup: elsewhere, Do: remove},
		{ID: "rmdir-at", Description: "unlinkat(2), AT_REMOVEDIR, of the mount point from another mount namespace", Setup: elsewhere, Do: in(func(e *Env) error {
			return unix.Unlinkat(opath(e.Dir), pick(e, "secret", "public"), unix.AT_REMOVEDIR)
		})},
		{ID: "rmdir-proc-root", Description: "rmdir(2) of the mount point at /proc/PID/root from another mount namespace", Setup: elsewhere, Do: in(func(e *Env) error {
			return unix.Rmdir(parentRoot(e) + e.Point())
		})},
		{ID: "rmdir-through-bind", Description: "rmdir(2) of the mount point through a bind mount of the directory above, in another mount namespace", Setup: elsewhere, Do: in(func(e *Env) error {
			mountBind(e.Dir, e.Path("mnt2"))
			return unix.Rmdir(e.Path("mnt2", pick(e, "secret", "public")))
		})},
		{ID: "rename-over", Description: "rename(2) of a directory over the mount point from another mount namespace", Setup: elsewhere, Do: in(func(e *Env) error {
			return unix.Rename(e.Path("work/a"), e.Point())
		})},
		{ID: "unlink", Description: "unlink(2) of a file that is a mount point from another mount namespace", Setup: onFile, Do: in(func(e *Env) error { return unix.Unlink(e.Point()) })},
		{ID: "rename-over-file", Description: "rename(2) of a file over one that is a mount point from another mount namespace", Setup: onFile, Do: in(func(e *Env) error {
			return unix.Rename(e.Path("file"), e.Point())
		})},
		{ID: "rmdir-io-uring", Needs: []string{"io_uring_unlinkat"}, Description: "rmdir through io_uring of the mount point from another mount namespace", Setup: elsewhere, Do: in(func(e *Env) error {
			path := append([]byte(e.Point()), 0)
			return fails(ring(sqe{op: uringOpUnlinkat, fd: unix.AT_FDCWD, addr: uint64(ptr(&path[0])), opFlags: unix.AT_REMOVEDIR, keep: path}))
		})},
		{ID: "rmdir-tree", Object: "tree", Description: "rmdir(2) of a mount point below a protected directory from another mount namespace", Setup: elsewhere, Do: remove},
		{ID: "rmdir-flags", Object: "flags", Description: "rmdir(2) of a mount point where a lazy unmount is forbidden", Setup: elsewhere, Do: remove, Bystander: in(func(e *Env) error {
			return unix.Rmdir(e.Path("work/b"))
		})},
	}
}
