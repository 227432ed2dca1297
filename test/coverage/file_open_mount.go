package coverage

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownMounts gives the thread a mount namespace of its own, so that what a way mounts is gone with it.
func ownMounts() {
	must(unix.Unshare(unix.CLONE_NEWNS))
	must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
}

func mountBind(from, to string) {
	must(unix.Mount(from, to, "", unix.MS_BIND, ""))
}

// openMountWays reach the file through mounts, roots and namespaces.
func openMountWays() []Way {
	at := func(elem ...string) func(*Env) error {
		return func(e *Env) error { return open(e.Path(append(elem, e.Name())...), unix.O_RDONLY) }
	}
	overlay := func(flags int) func(*Env) error {
		return func(e *Env) error {
			ownMounts()
			mountOverlay(e)
			return open(e.Path("mnt", e.Name()), flags)
		}
	}
	return []Way{
		{ID: "bind-file", Description: "a bind mount of the file", Do: func(e *Env) error {
			ownMounts()
			mountBind(e.File(), e.Other())
			return open(e.Other(), unix.O_RDONLY)
		}},
		{ID: "bind-dir", Description: "a bind mount of the directory", Do: func(e *Env) error {
			ownMounts()
			mountBind(e.Dir, e.Path("mnt"))
			return at("mnt")(e)
		}},
		{ID: "bind-parent", Description: "a recursive bind mount of all there is", Do: func(e *Env) error {
			ownMounts()
			must(unix.Mount("/", e.Path("mnt"), "", unix.MS_BIND|unix.MS_REC, ""))
			return open(e.Path("mnt")+e.File(), unix.O_RDONLY)
		}},
		{ID: "bind-tree", Object: "tree", Description: "a bind mount of a directory below a protected one", Do: func(e *Env) error {
			ownMounts()
			mountBind(filepath.Dir(e.File()), e.Path("mnt"))
			return open(e.Path("mnt/file"), unix.O_RDONLY)
		}},
		{ID: "bind-before", Description: "a bind mount from before the policy", Setup: func(e *Env) error {
			return unix.Mount(e.Dir, e.Path("mnt"), "", unix.MS_BIND, "")
		}, Do: at("mnt")},
		{ID: "bind-meanwhile", Description: "a bind mount that another program makes under the policy", Meanwhile: func(e *Env) error {
			return unix.Mount(e.Dir, e.Path("mnt"), "", unix.MS_BIND, "")
		}, Do: at("mnt")},
		{ID: "bind-remounted", Description: "a bind mount with other flags (MS_REMOUNT|MS_BIND)", Do: func(e *Env) error {
			ownMounts()
			mountBind(e.Dir, e.Path("mnt"))
			must(unix.Mount("", e.Path("mnt"), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID, ""))
			return at("mnt")(e)
		}},
		{ID: "moved-mount", Description: "a mount that the actor moves away (MS_MOVE)", Do: func(e *Env) error {
			ownMounts()
			mountBind(e.Dir, e.Path("mnt"))
			must(os.Mkdir(e.Path("mnt2"), 0o755))
			must(unix.Mount(e.Path("mnt"), e.Path("mnt2"), "", unix.MS_MOVE, ""))
			return at("mnt2")(e)
		}},
		{ID: "detached-mount", Description: "a lazily unmounted mount, through a descriptor of its root", Do: func(e *Env) error {
			ownMounts()
			mountBind(e.Dir, e.Path("mnt"))
			root := need(unix.Open(e.Path("mnt"), unix.O_PATH|unix.O_CLOEXEC, 0))
			must(unix.Unmount(e.Path("mnt"), unix.MNT_DETACH))
			return openat(root, e.Name(), unix.O_RDONLY)
		}},
		{ID: "open-tree", Description: "a detached copy of the mount (open_tree(2), OPEN_TREE_CLONE)", Do: func(e *Env) error {
			tree := need(unix.OpenTree(unix.AT_FDCWD, e.Dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC))
			return openat(tree, e.Name(), unix.O_RDONLY)
		}},
		{ID: "open-tree-file", Description: "a detached copy of a mount of the file itself", Do: func(e *Env) error {
			return open(procFD(need(unix.OpenTree(unix.AT_FDCWD, e.File(), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC))), unix.O_RDONLY)
		}},
		{ID: "open-tree-moved", Description: "open_tree(2) and move_mount(2)", Do: func(e *Env) error {
			ownMounts()
			tree := need(unix.OpenTree(unix.AT_FDCWD, e.Dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE))
			must(unix.MoveMount(tree, "", unix.AT_FDCWD, e.Path("mnt"), unix.MOVE_MOUNT_F_EMPTY_PATH))
			return at("mnt")(e)
		}},
		{ID: "second-mount", Disk: true, Description: "the same block device mounted a second time", Do: func(e *Env) error {
			ownMounts()
			must(unix.Mount(diskLoop, e.Path("mnt"), "ext4", 0, ""))
			rel := need(filepath.Rel(filepath.Join(Root, "disk"), e.File()))
			return open(e.Path("mnt", rel), unix.O_RDONLY)
		}},
		{ID: "covered", Description: "the file under a mount that hides it, through a descriptor", Do: func(e *Env) error {
			ownMounts()
			dir := need(unix.Open(e.Dir, unix.O_PATH|unix.O_CLOEXEC, 0))
			must(unix.Mount("cover", e.Dir, "tmpfs", 0, ""))
			return openat(dir, e.Name(), unix.O_RDONLY)
		}},
		{ID: "file-over-name", Description: "another file, bind-mounted over the protected name", Do: func(e *Env) error {
			ownMounts()
			mountBind(e.Other(), e.File())
			return open(e.File(), unix.O_RDONLY)
		}},
		{ID: "unshare", Description: "in a mount namespace of the actor's own", Do: func(e *Env) error {
			ownMounts()
			return open(e.File(), unix.O_RDONLY)
		}},
		{ID: "setns", Description: "in another mount namespace, entered with setns(2)", Do: func(e *Env) error {
			before := need(unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0))
			ownMounts()
			must(unix.Setns(before, unix.CLONE_NEWNS))
			return open(e.File(), unix.O_RDONLY)
		}},
		{ID: "user-namespace", Description: "in a user and mount namespace of the actor's own, through a bind mount", Do: func(e *Env) error {
			return inUserNamespace(e, "open-bound", e.Dir, e.Path("mnt"), e.Name())
		}},
		{ID: "user-namespace-plain", Description: "in a user and mount namespace of the actor's own", Do: func(e *Env) error {
			return inUserNamespace(e, "open", e.File())
		}},
		{ID: "pid-namespace", Description: "in a PID, IPC, UTS, network and cgroup namespace of its own", Do: func(e *Env) error {
			path := str(e.File())
			return forked(unix.CLONE_NEWPID|unix.CLONE_NEWIPC|unix.CLONE_NEWUTS|unix.CLONE_NEWNET|unix.CLONE_NEWCGROUP,
				step{unix.SYS_OPENAT, atCWD, path, unix.O_RDONLY})
		}},
		{ID: "chroot", Description: "chroot(2) into the directory", Do: func(e *Env) error {
			must(unix.Unshare(unix.CLONE_FS))
			must(unix.Chroot(e.Dir))
			return open("/"+e.Name(), unix.O_RDONLY)
		}},
		{ID: "chroot-bind", Description: "chroot(2) into a bind mount of the directory", Do: func(e *Env) error {
			ownMounts()
			mountBind(e.Dir, e.Path("mnt"))
			must(unix.Chroot(e.Path("mnt")))
			return open("/"+e.Name(), unix.O_RDONLY)
		}},
		{ID: "chroot-escape", Description: "chroot(2) away from the directory, with a descriptor of it", Do: func(e *Env) error {
			must(unix.Unshare(unix.CLONE_FS))
			dir := need(unix.Open(e.Dir, unix.O_PATH|unix.O_CLOEXEC, 0))
			must(unix.Chroot(e.Path("empty")))
			return openat(dir, e.Name(), unix.O_RDONLY)
		}},
		{ID: "pivot-root", Description: "pivot_root(2) into a bind mount of the directory", Do: func(e *Env) error {
			pivotInto(e, e.Dir)
			return open("/"+e.Name(), unix.O_RDONLY)
		}},
		{ID: "overlay", Needs: []string{"overlay"}, Description: "overlayfs over the directory, read", Do: overlay(unix.O_RDONLY)},
		{ID: "overlay-copy-up", Needs: []string{"overlay"}, Description: "overlayfs over the directory, write (copies the file)", Do: overlay(unix.O_WRONLY)},
		{ID: "overlay-opath", Needs: []string{"overlay"}, Description: "overlayfs over the directory, O_PATH, reopened", Do: func(e *Env) error {
			ownMounts()
			mountOverlay(e)
			return open(procFD(need(unix.Open(e.Path("mnt", e.Name()), unix.O_PATH|unix.O_CLOEXEC, 0))), unix.O_RDONLY)
		}},
		{ID: "overlay-before", Needs: []string{"overlay"}, Description: "overlayfs from before the policy", Setup: func(e *Env) error {
			mountOverlay(e)
			return nil
		}, Do: at("mnt")},
		{ID: "overlay-upper", Needs: []string{"overlay"}, Description: "overlayfs with the directory as its upper layer", Do: func(e *Env) error {
			ownMounts()
			must(unix.Mount("scratch", e.Path("open"), "tmpfs", 0, ""))
			must(os.Mkdir(e.Path("work"), 0o755))
			options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", e.Path("open"), e.Path("up/down"), e.Path("work"))
			must(unix.Mount("overlay", e.Path("mnt"), "overlay", 0, options))
			return at("mnt")(e)
		}, Object: "deep"},
	}
}

// mountOverlay puts an overlay over the way's directory, at mnt.
func mountOverlay(e *Env) {
	must(unix.Mount("scratch", e.Path("empty"), "tmpfs", 0, ""))
	for _, name := range []string{"upper", "work"} {
		must(os.Mkdir(e.Path("empty", name), 0o755))
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", e.Dir, e.Path("empty/upper"), e.Path("empty/work"))
	must(unix.Mount("overlay", e.Path("mnt"), "overlay", 0, options))
}

// pivotInto makes dir the root. The initial root is an initramfs, which cannot be pivoted from, so a tmpfs becomes the
// root before.
func pivotInto(e *Env, dir string) {
	ownMounts()
	source := need(unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0))
	must(unix.Mount("root", e.Path("empty"), "tmpfs", 0, ""))
	must(os.MkdirAll(e.Path("empty/new"), 0o755))
	must(unix.Mount(procFD(source), e.Path("empty/new"), "", unix.MS_BIND, ""))
	must(unix.Chdir(e.Path("empty")))
	must(unix.Chroot("."))
	must(unix.PivotRoot("new", "new/mnt"))
	must(unix.Chdir("/"))
}

// inUserNamespace runs an errand in a user and a mount namespace of its own. A Go program has many threads, and a process
// with more than one cannot enter a user namespace itself.
func inUserNamespace(e *Env, errand string, arguments ...string) error {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
	return doErrand("/proc/self/exe", errand, &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
	}, arguments...)
}

// errandOpenBound bind-mounts the first argument at the second and opens the third below it.
func errandOpenBound(a []string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make private: %w", unix.EIO)
	}
	if err := unix.Mount(a[0], a[1], "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind: %w", unix.EIO)
	}
	return open(a[1]+"/"+a[2], unix.O_RDONLY)
}
