package coverage

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newTmpfs makes a configured file system that is not mounted.
func newTmpfs() int {
	fs := need(unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC))
	must(unix.FsconfigCreate(fs))
	return fs
}

// moveTo attaches a detached mount.
func moveTo(mount int, path string) error {
	return unix.MoveMount(mount, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

func cloneTree(path string, flags uint) int {
	return need(unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|flags))
}

func mountNew(fstype, data string) func(*Env) error {
	return func(e *Env) error { return unix.Mount("coverage", e.Point(), fstype, 0, data) }
}

// mountWays use mount(2). Most act in the initial namespace, where the parent unmounts what they leave.
func mountWays() []Way {
	bind := func(flags uintptr) func(*Env) error {
		return func(e *Env) error { return unix.Mount(e.Path("from"), e.Point(), "", unix.MS_BIND|flags, "") }
	}
	mounted := func(e *Env) error { return unix.Mount("coverage", e.Point(), "tmpfs", 0, "") }
	propagation := func(flags uintptr) func(*Env) error {
		return func(e *Env) error { return unix.Mount("", e.Point(), "", flags, "") }
	}
	return []Way{
		{ID: "mount-tmpfs", Description: "mount(2) of tmpfs", Do: mountNew("tmpfs", "size=1m")},
		{ID: "mount-ramfs", Description: "mount(2) of ramfs", Do: mountNew("ramfs", "")},
		{ID: "mount-proc", Description: "mount(2) of proc", Do: mountNew("proc", "")},
		{ID: "mount-sysfs", Description: "mount(2) of sysfs", Do: mountNew("sysfs", "")},
		{ID: "mount-devpts", Description: "mount(2) of devpts", Do: mountNew("devpts", "")},
		{ID: "mount-mqueue", Description: "mount(2) of mqueue", Do: mountNew("mqueue", "")},
		{ID: "mount-cgroup2", Description: "mount(2) of cgroup2", Do: mountNew("cgroup2", "")},
		{ID: "mount-bpf", Description: "mount(2) of bpf", Do: mountNew("bpf", "")},
		{ID: "mount-overlay", Needs: []string{"overlay"}, Description: "mount(2) of overlay", Do: func(e *Env) error {
			return unix.Mount("overlay", e.Point(), "overlay", 0, fmt.Sprintf("lowerdir=%s:%s", e.Path("from"), e.Path("work")))
		}},
		{ID: "mount-ext4", Disk: true, Description: "mount(2) of ext4 from a loop device", Do: func(e *Env) error { return unix.Mount(diskLoop, e.Point(), "ext4", 0, "") }},
		{ID: "mount-flags", Description: "mount(2) of tmpfs with MS_RDONLY|MS_NOSUID|MS_NODEV|MS_NOEXEC", Do: func(e *Env) error {
			return unix.Mount("coverage", e.Point(), "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
		}},
		{ID: "mount-magic", Description: "mount(2) with the old magic number in the flags", Do: func(e *Env) error {
			return unix.Mount("coverage", e.Point(), "tmpfs", 0xc0ed0000, "")
		}},
		{ID: "bind", Description: "mount(2), MS_BIND", Do: bind(0)},
		{ID: "rbind", Description: "mount(2), MS_BIND|MS_REC", Do: bind(unix.MS_REC)},
		{ID: "bind-file", Description: "mount(2), MS_BIND, of a file", Setup: func(e *Env) error {
			must(os.Remove(e.Point()))
			must(os.WriteFile(e.Point(), nil, 0o644))
			return os.WriteFile(e.Path("file"), nil, 0o644)
		}, Do: func(e *Env) error { return unix.Mount(e.Path("file"), e.Point(), "", unix.MS_BIND, "") }},
		{ID: "bind-self", Description: "mount(2), MS_BIND, of the directory on itself", Do: func(e *Env) error {
			return unix.Mount(e.Point(), e.Point(), "", unix.MS_BIND, "")
		}},
		{ID: "bind-proc-fd", Description: "mount(2), MS_BIND, to /proc/self/fd of an O_PATH descriptor", Do: func(e *Env) error {
			return unix.Mount(e.Path("from"), procFD(opath(e.Point())), "", unix.MS_BIND, "")
		}},
		{ID: "move", Description: "mount(2), MS_MOVE", Setup: func(e *Env) error {
			must(unix.Mount("coverage", e.Path("mnt"), "tmpfs", 0, ""))
			return unix.Mount("", e.Path("mnt"), "", unix.MS_PRIVATE, "")
		}, Do: func(e *Env) error { return unix.Mount(e.Path("mnt"), e.Point(), "", unix.MS_MOVE, "") }},
		{ID: "shared", Description: "mount(2), MS_SHARED", Setup: mounted, Do: propagation(unix.MS_SHARED)},
		{ID: "private", Description: "mount(2), MS_PRIVATE", Setup: mounted, Do: propagation(unix.MS_PRIVATE)},
		{ID: "slave", Description: "mount(2), MS_SLAVE", Setup: mounted, Do: propagation(unix.MS_SLAVE)},
		{ID: "unbindable", Description: "mount(2), MS_UNBINDABLE", Setup: mounted, Do: propagation(unix.MS_UNBINDABLE)},
		{ID: "shared-recursive", Description: "mount(2), MS_SHARED|MS_REC", Setup: mounted, Do: propagation(unix.MS_SHARED | unix.MS_REC)},
		{ID: "ia32-mount", Needs: []string{"ia32"}, Description: "mount(2) through int 0x80", Do: mount32},
		{ID: "mount-tree", Object: "tree", Description: "mount(2) below a protected directory", Do: mountNew("tmpfs", "")},
		{ID: "bind-tree", Object: "tree", Description: "mount(2), MS_BIND, below a protected directory", Do: bind(0)},
		{ID: "type", Object: "type", Description: "mount(2) of a forbidden type", Do: mountNew("ramfs", ""), Bystander: mountNew("tmpfs", "")},
		{ID: "flags", Object: "flags", Description: "mount(2) without MS_NOEXEC where that is forbidden", Do: mountNew("tmpfs", ""), Bystander: func(e *Env) error {
			return unix.Mount("coverage", e.Point(), "tmpfs", unix.MS_NOEXEC, "")
		}},
		{ID: "source-bind", Object: "source", Description: "mount(2), MS_BIND, of a forbidden source", Do: func(e *Env) error {
			return unix.Mount(e.Path(pick(e, "secret", "public")), e.Point(), "", unix.MS_BIND, "")
		}},
		{ID: "source-name", Object: "source", Description: "mount(2) of tmpfs with a forbidden source", Do: func(e *Env) error {
			return unix.Mount(e.Path(pick(e, "secret", "public")), e.Point(), "tmpfs", 0, "")
		}},
		{ID: "source-move", Object: "source", Description: "mount(2), MS_MOVE, of a forbidden source", Setup: func(e *Env) error {
			for _, name := range []string{"secret", "public"} {
				must(unix.Mount("coverage", e.Path(name), "tmpfs", 0, ""))
				must(unix.Mount("", e.Path(name), "", unix.MS_PRIVATE, ""))
			}
			return nil
		}, Do: func(e *Env) error {
			return unix.Mount(e.Path(pick(e, "secret", "public")), e.Point(), "", unix.MS_MOVE, "")
		}},
	}
}

// mountAPIWays use the system calls of 5.2 and later.
func mountAPIWays() []Way {
	place := func(e *Env) error { return unix.Mount("", e.Path("mnt"), "", unix.MS_PRIVATE, "") }
	mounted := func(e *Env) error {
		must(unix.Mount("coverage", e.Path("mnt"), "tmpfs", 0, ""))
		return place(e)
	}
	setattr := func(attr unix.MountAttr, flags uint) func(*Env) error {
		return func(e *Env) error { return unix.MountSetattr(unix.AT_FDCWD, e.Point(), flags, &attr) }
	}
	onPoint := func(e *Env) error { return unix.Mount("coverage", e.Point(), "tmpfs", 0, "") }
	return []Way{
		{ID: "fsmount", Description: "fsopen(2), fsmount(2), move_mount(2)", Do: func(e *Env) error { return moveTo(detachedTmpfs(), e.Point()) }},
		{ID: "fsmount-attributes", Description: "fsmount(2) with attributes, move_mount(2)", Do: func(e *Env) error {
			return moveTo(need(unix.Fsmount(newTmpfs(), unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)), e.Point())
		}},
		{ID: "open-tree", Description: "open_tree(2), OPEN_TREE_CLONE, move_mount(2)", Do: func(e *Env) error { return moveTo(cloneTree(e.Path("from"), 0), e.Point()) }},
		{ID: "open-tree-recursive", Description: "open_tree(2), OPEN_TREE_CLONE|AT_RECURSIVE, move_mount(2)", Do: func(e *Env) error {
			return moveTo(cloneTree(e.Path("from"), unix.AT_RECURSIVE), e.Point())
		}},
		{ID: "move-mount-attached", Description: "move_mount(2) of a mount that has a place", Setup: mounted, Do: func(e *Env) error {
			return unix.MoveMount(unix.AT_FDCWD, e.Path("mnt"), unix.AT_FDCWD, e.Point(), 0)
		}},
		{ID: "move-mount-fd", Description: "move_mount(2) to an O_PATH descriptor (MOVE_MOUNT_T_EMPTY_PATH)", Do: func(e *Env) error {
			return unix.MoveMount(detachedTmpfs(), "", opath(e.Point()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		}},
		{ID: "move-mount-inherited", Description: "move_mount(2) of a mount that was made before the policy", Setup: func(e *Env) error {
			e.PassFD(detachedTmpfs())
			return nil
		}, Do: func(e *Env) error { return moveTo(e.Passed(0), e.Point()) }},
		{ID: "move-mount-received", Description: "move_mount(2) of a mount that another process sent", Setup: func(e *Env) error {
			fd := detachedTmpfs()
			defer unix.Close(fd)
			return sendFD(e, fd)
		}, Do: func(e *Env) error { return moveTo(need(receiveFile(e.Passed(0))), e.Point()) }},
		{ID: "fsconfig-inherited", Description: "fsmount(2) of a file system that was configured before the policy", Setup: func(e *Env) error {
			e.PassFD(newTmpfs())
			return nil
		}, Do: func(e *Env) error { return moveTo(need(unix.Fsmount(e.Passed(0), unix.FSMOUNT_CLOEXEC, 0)), e.Point()) }},
		{ID: "move-mount-tree", Object: "tree", Description: "move_mount(2) below a protected directory", Do: func(e *Env) error { return moveTo(detachedTmpfs(), e.Point()) }},
		{ID: "move-mount-source", Object: "source", Description: "open_tree(2) of a forbidden source, move_mount(2)", Do: func(e *Env) error {
			return moveTo(cloneTree(e.Path(pick(e, "secret", "public")), 0), e.Point())
		}},
		{ID: "fsmount-type", Object: "type", Description: "fsopen(2) of a forbidden type, move_mount(2)", Do: mountType("ramfs"), Bystander: mountType("tmpfs")},
		{ID: "fsmount-flags", Object: "flags", Description: "fsmount(2) without MOUNT_ATTR_NOEXEC where that is forbidden, move_mount(2)", Do: func(e *Env) error {
			return moveTo(detachedTmpfs(), e.Point())
		}, Bystander: func(e *Env) error {
			return moveTo(need(unix.Fsmount(newTmpfs(), unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOEXEC)), e.Point())
		}},
		{ID: "mount-setattr-shared", NotCovered: setattrReason, Needs: []string{"mount_setattr"}, Description: "mount_setattr(2), propagation", Setup: onPoint, Do: setattr(unix.MountAttr{Propagation: unix.MS_SHARED}, 0)},
		{ID: "mount-setattr-shared-recursive", NotCovered: setattrReason, Needs: []string{"mount_setattr"}, Description: "mount_setattr(2), AT_RECURSIVE, propagation", Setup: onPoint,
			Do: setattr(unix.MountAttr{Propagation: unix.MS_SHARED}, unix.AT_RECURSIVE)},
		{ID: "open-tree-attr", Needs: []string{"open_tree_attr"}, Description: "open_tree_attr(2), move_mount(2)", Do: func(e *Env) error {
			attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID}
			return moveTo(need(call(unix.SYS_OPEN_TREE_ATTR, atCWD, str(e.Path("from")), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC, ptr(&attr), unsafe.Sizeof(attr))), e.Point())
		}},
		{ID: "move-mount-set-group", Needs: []string{"mount_setattr"}, Description: "move_mount(2), MOVE_MOUNT_SET_GROUP", Setup: func(e *Env) error {
			must(unix.Mount(e.Path("from"), e.Path("mnt"), "", unix.MS_BIND, ""))
			must(unix.Mount("", e.Path("mnt"), "", unix.MS_SHARED, ""))
			must(unix.Mount(e.Path("from"), e.Point(), "", unix.MS_BIND, ""))
			return unix.Mount("", e.Point(), "", unix.MS_PRIVATE, "")
		}, Do: func(e *Env) error {
			const setGroup = 0x100
			return unix.MoveMount(unix.AT_FDCWD, e.Path("mnt"), unix.AT_FDCWD, e.Point(), setGroup)
		}},
	}
}

func mountType(fstype string) func(*Env) error {
	return func(e *Env) error {
		fs := need(unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC))
		must(unix.FsconfigCreate(fs))
		return moveTo(need(unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)), e.Point())
	}
}

// mountPlaceWays mount from other places: namespaces, roots, other names of the directory.
func mountPlaceWays() []Way {
	tmpfsAt := func(path string) error { return unix.Mount("coverage", path, "tmpfs", 0, "") }
	pivot := func(e *Env) error { return pivotAt(e, pick(e, "secret", "public")) }
	return []Way{
		{ID: "unshare", Description: "mount(2) in a mount namespace of the actor's own", Do: func(e *Env) error {
			ownMounts()
			return tmpfsAt(e.Point())
		}},
		{ID: "user-namespace", Description: "mount(2) in a user and mount namespace of the actor's own", Do: func(e *Env) error {
			return inUserNamespace(e, "mount", e.Point())
		}, NotCovered: nil},
		{ID: "user-namespace-move", Description: "move_mount(2) in a user and mount namespace of the actor's own", Do: func(e *Env) error {
			return inUserNamespace(e, "move-mount", e.Path("from"), e.Point())
		}},
		{ID: "setns", Description: "mount(2) in another mount namespace, entered with setns(2)", Do: func(e *Env) error {
			before := need(unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0))
			ownMounts()
			must(unix.Setns(before, unix.CLONE_NEWNS))
			return tmpfsAt(e.Point())
		}},
		{ID: "thread", Description: "mount(2) in another thread", Do: func(e *Env) error {
			return inThread(func() error { return tmpfsAt(e.Point()) })
		}},
		{ID: "child", Description: "mount(2) in a forked child", Do: func(e *Env) error {
			path, kind := str(e.Point()), str("tmpfs")
			return forked(0, step{unix.SYS_MOUNT, kind, path, kind})
		}},
		{ID: "chroot", Description: "mount(2) after chroot(2) into the directory", Do: func(e *Env) error {
			must(unix.Unshare(unix.CLONE_FS))
			must(unix.Chroot(e.Dir))
			return tmpfsAt("/" + pick(e, "secret", "public"))
		}},
		{ID: "relative", Description: "mount(2) on a relative path", Do: func(e *Env) error {
			must(unix.Chdir(e.Point()))
			return tmpfsAt(".")
		}},
		{ID: "symlink", Description: "mount(2) on a symbolic link", Do: func(e *Env) error {
			must(unix.Symlink(e.Point(), e.Path("sym")))
			return tmpfsAt(e.Path("sym"))
		}},
		{ID: "proc-pid-root", Description: "mount(2) on /proc/PID/root of another process", Do: func(e *Env) error {
			return tmpfsAt(fmt.Sprintf("/proc/%d/root%s", e.Parent, e.Point()))
		}},
		{ID: "through-bind", Description: "mount(2) on the directory through a bind mount of the one above", Do: func(e *Env) error {
			ownMounts()
			mountBind(e.Dir, e.Path("mnt"))
			return tmpfsAt(e.Path("mnt", pick(e, "secret", "public")))
		}},
		{ID: "stacked", Description: "mount(2) on a mount that is there already", Setup: func(e *Env) error { return tmpfsAt(e.Point()) }, Do: func(e *Env) error {
			return tmpfsAt(e.Point())
		}},
		{ID: "renamed-meanwhile", Description: "mount(2) on the directory under a new name that another program gave it", Meanwhile: func(e *Env) error {
			return os.Rename(e.Point(), e.Path("moved"))
		}, Do: func(e *Env) error { return tmpfsAt(e.Path("moved")) }},
		{ID: "tree-namespace", Object: "pivot", Needs: []string{"tree_namespace"}, Description: "open_tree(2), OPEN_TREE_NAMESPACE: a mount namespace of its own", Do: func(e *Env) error {
			return closed(unix.OpenTree(unix.AT_FDCWD, e.Point(), openTreeNamespace|unix.OPEN_TREE_CLOEXEC))
		}},
		{ID: "tree-namespace-recursive", Object: "pivot", Needs: []string{"tree_namespace"}, Description: "open_tree(2), OPEN_TREE_NAMESPACE|AT_RECURSIVE", Do: func(e *Env) error {
			return closed(unix.OpenTree(unix.AT_FDCWD, e.Point(), openTreeNamespace|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE))
		}},
		{ID: "tree-namespace-setns", Object: "pivot", Needs: []string{"tree_namespace"}, Description: "open_tree(2), OPEN_TREE_NAMESPACE, setns(2)", Do: func(e *Env) error {
			fd, err := unix.OpenTree(unix.AT_FDCWD, e.Point(), openTreeNamespace|unix.OPEN_TREE_CLOEXEC)
			if err != nil {
				return err
			}
			must(unix.Unshare(unix.CLONE_FS))
			return unix.Setns(fd, unix.CLONE_NEWNS)
		}},
		{ID: "pivot-root", Object: "pivot", Description: "pivot_root(2)", Do: pivot},
		{ID: "pivot-root-dot", Object: "pivot", Description: "pivot_root(\".\", \".\")", Do: func(e *Env) error { return pivotDot(e, pick(e, "secret", "public")) }},
		{ID: "propagated", Description: "a mount that reaches the directory by propagation from a peer", Setup: func(e *Env) error {
			must(unix.Mount("coverage", e.Path("mnt"), "tmpfs", 0, ""))
			must(unix.Mount("", e.Path("mnt"), "", unix.MS_SHARED, ""))
			must(os.Mkdir(e.Path("mnt/below"), 0o755))
			return unix.Mount(e.Path("mnt"), e.Point(), "", unix.MS_BIND, "")
		}, Do: func(e *Env) error { return tmpfsAt(e.Path("mnt/below")) }, NotCovered: map[string]string{
			"*": "the mount is at another place, and only the kernel repeats it below the protected one",
		}},
	}
}

// pivotAt makes dir the root, under its own name: only the last step is one that the policy forbids.
func pivotAt(e *Env, name string) error {
	must(os.Mkdir(e.Path(name, "old"), 0o755))
	prepareRoot(e, name)
	must(unix.Chdir("/"))
	return unix.PivotRoot(name, name+"/old")
}

func pivotDot(e *Env, name string) error {
	prepareRoot(e, name)
	must(unix.Chdir("/" + name))
	return unix.PivotRoot(".", ".")
}

// prepareRoot makes the way's directory a mount and the root, and dir below it a mount: what pivot_root(2) wants of them. The
// initial root is an initramfs, from which nobody can pivot.
func prepareRoot(e *Env, name string) {
	ownMounts()
	mountBind(e.Dir, e.Dir)
	must(unix.Chdir(e.Dir))
	must(unix.Chroot("."))
	mountBind("/"+name, "/"+name)
}

func errandMount(a []string) error { return unix.Mount("coverage", a[0], "tmpfs", 0, "") }

func errandMoveMount(a []string) error { return moveTo(cloneTree(a[0], unix.AT_RECURSIVE), a[1]) }
