package coverage

import (
	"os"

	"golang.org/x/sys/unix"
)

// remountWays change a mount that is there.
// setattrReason: fs/namespace.c, do_mount_setattr, asks nobody.
var setattrReason = map[string]string{"*": "no kernel has a hook in mount_setattr(2)"}

func remountWays() []Way {
	remount := func(flags uintptr, data string) func(*Env) error {
		return func(e *Env) error { return unix.Mount("", e.Point(), "", unix.MS_REMOUNT|flags, data) }
	}
	setattr := func(set, clear uint64, flags uint) func(*Env) error {
		return func(e *Env) error {
			return unix.MountSetattr(unix.AT_FDCWD, e.Point(), flags, &unix.MountAttr{Attr_set: set, Attr_clr: clear})
		}
	}
	needs := []string{"mount_setattr"}
	return []Way{
		{ID: "remount-ro", Description: "mount(2), MS_REMOUNT|MS_RDONLY", Do: remount(unix.MS_RDONLY, "")},
		{ID: "remount-rw", Description: "mount(2), MS_REMOUNT", Do: remount(0, "")},
		{ID: "remount-options", Description: "mount(2), MS_REMOUNT with options", Do: remount(0, "size=2m")},
		{ID: "remount-nosuid", Description: "mount(2), MS_REMOUNT|MS_NOSUID|MS_NODEV|MS_NOEXEC", Do: remount(unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")},
		{ID: "remount-bind-ro", Description: "mount(2), MS_REMOUNT|MS_BIND|MS_RDONLY", Do: remount(unix.MS_BIND|unix.MS_RDONLY, "")},
		{ID: "remount-bind-rw", Description: "mount(2), MS_REMOUNT|MS_BIND of a read-only mount", Setup: func(e *Env) error {
			return unix.Mount("", e.Point(), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
		}, Do: remount(unix.MS_BIND, "")},
		{ID: "remount-atime", Description: "mount(2), MS_REMOUNT|MS_BIND|MS_NOATIME", Do: remount(unix.MS_BIND|unix.MS_NOATIME, "")},
		{ID: "remount-proc-fd", Description: "mount(2), MS_REMOUNT on /proc/self/fd", Do: func(e *Env) error {
			return unix.Mount("", procFD(opath(e.Point())), "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}},
		{ID: "remount-relative", Description: "mount(2), MS_REMOUNT on a relative path", Do: func(e *Env) error {
			must(unix.Chdir(e.Point()))
			return unix.Mount("", ".", "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}},
		{ID: "fspick", Description: "fspick(2), fsconfig(2) FSCONFIG_CMD_RECONFIGURE", Do: func(e *Env) error {
			fs := need(unix.Fspick(unix.AT_FDCWD, e.Point(), unix.FSPICK_CLOEXEC))
			must(unix.FsconfigSetString(fs, "size", "2m"))
			return unix.FsconfigReconfigure(fs)
		}},
		{ID: "fspick-ro", Description: "fspick(2), fsconfig(2) with the flag ro", Do: func(e *Env) error {
			fs := need(unix.Fspick(unix.AT_FDCWD, e.Point(), unix.FSPICK_CLOEXEC))
			must(unix.FsconfigSetFlag(fs, "ro"))
			return unix.FsconfigReconfigure(fs)
		}},
		{ID: "fspick-fd", Description: "fspick(2), FSPICK_EMPTY_PATH, of an O_PATH descriptor", Do: func(e *Env) error {
			fs := need(unix.Fspick(opath(e.Point()), "", unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH))
			return unix.FsconfigReconfigure(fs)
		}},
		{ID: "fspick-inherited", Description: "fsconfig(2) of a context from before the policy", Setup: func(e *Env) error {
			e.PassFD(need(unix.Fspick(unix.AT_FDCWD, e.Point(), unix.FSPICK_CLOEXEC)))
			return nil
		}, Do: func(e *Env) error { return unix.FsconfigReconfigure(e.Passed(0)) }},
		{ID: "mount-setattr-ro", NotCovered: setattrReason, Needs: needs, Description: "mount_setattr(2), read-only", Do: setattr(unix.MOUNT_ATTR_RDONLY, 0, 0)},
		{ID: "mount-setattr-nosuid", NotCovered: setattrReason, Needs: needs, Description: "mount_setattr(2), nosuid, nodev, noexec", Do: setattr(unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, 0, 0)},
		{ID: "mount-setattr-clear", NotCovered: setattrReason, Needs: needs, Description: "mount_setattr(2) that clears noexec", Setup: func(e *Env) error {
			return unix.Mount("", e.Point(), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOEXEC, "")
		}, Do: setattr(0, unix.MOUNT_ATTR_NOEXEC, 0)},
		{ID: "mount-setattr-recursive", NotCovered: setattrReason, Needs: needs, Description: "mount_setattr(2), AT_RECURSIVE", Do: setattr(unix.MOUNT_ATTR_RDONLY, 0, unix.AT_RECURSIVE)},
		{ID: "mount-setattr-recursive-above", NotCovered: setattrReason, Needs: needs, Description: "mount_setattr(2), AT_RECURSIVE, of a mount above", Setup: func(e *Env) error {
			must(unix.Mount("coverage", e.Path("work"), "tmpfs", 0, ""))
			must(os.Mkdir(e.Path("work/below"), 0o755))
			return unix.Mount(e.Point(), e.Path("work/below"), "", unix.MS_BIND, "")
		}, Do: func(e *Env) error {
			ownMounts()
			// The mount above is moved to where the protected one is below it, in a namespace of its own.
			return unix.MountSetattr(unix.AT_FDCWD, Root, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID})
		}, Bystander: func(e *Env) error {
			ownMounts()
			return unix.MountSetattr(unix.AT_FDCWD, e.Path("work"), unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID})
		}},
		{ID: "mount-setattr-fd", NotCovered: setattrReason, Needs: needs, Description: "mount_setattr(2), AT_EMPTY_PATH, of an O_PATH descriptor", Do: func(e *Env) error {
			return unix.MountSetattr(opath(e.Point()), "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
		}},
		{ID: "through-bind", Description: "mount(2), MS_REMOUNT of the file system through a bind mount elsewhere", Do: func(e *Env) error {
			ownMounts()
			mountBind(e.Point(), e.Path("mnt2"))
			return unix.Mount("", e.Path("mnt2"), "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}},
		{ID: "unshare", Description: "mount(2), MS_REMOUNT in a mount namespace of the actor's own", Do: func(e *Env) error {
			ownMounts()
			return unix.Mount("", e.Point(), "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}},
		{ID: "user-namespace", Description: "mount(2), MS_REMOUNT|MS_BIND in a user and mount namespace of the actor's own", Do: func(e *Env) error {
			return inUserNamespace(e, "remount", e.Point())
		}},
		{ID: "chroot", Description: "mount(2), MS_REMOUNT after chroot(2)", Do: func(e *Env) error {
			must(unix.Unshare(unix.CLONE_FS))
			must(unix.Chroot(e.Dir))
			return unix.Mount("", "/"+pick(e, "secret", "public"), "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}},
		{ID: "proc-pid-root", Description: "mount(2), MS_REMOUNT on /proc/PID/root of another process", Do: func(e *Env) error {
			return unix.Mount("", parentRoot(e)+e.Point(), "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}},
		{ID: "thread", Description: "mount(2), MS_REMOUNT in another thread", Do: func(e *Env) error {
			return inThread(func() error { return remount(unix.MS_RDONLY, "")(e) })
		}},
		{ID: "remount-tree", Object: "tree", Description: "mount(2), MS_REMOUNT below a protected directory", Do: remount(unix.MS_RDONLY, "")},
		{ID: "fspick-tree", Object: "tree", Description: "fspick(2) below a protected directory", Do: func(e *Env) error {
			return unix.FsconfigReconfigure(need(unix.Fspick(unix.AT_FDCWD, e.Point(), unix.FSPICK_CLOEXEC)))
		}},
		{ID: "mount-setattr-tree", NotCovered: setattrReason, Object: "tree", Needs: needs, Description: "mount_setattr(2) below a protected directory", Do: setattr(unix.MOUNT_ATTR_RDONLY, 0, 0)},
		{ID: "flags", Object: "flags", Description: "mount(2), MS_REMOUNT to writable where that is forbidden", Do: remount(0, ""), Bystander: remount(unix.MS_RDONLY, "")},
	}
}

func errandRemount(a []string) error {
	return unix.Mount("", a[0], "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID|unix.MS_NOEXEC, "")
}
