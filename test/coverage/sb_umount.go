package coverage

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func parentRoot(e *Env) string { return fmt.Sprintf("/proc/%d/root", e.Parent) }

// umountWays take a mount away.
func umountWays() []Way {
	umount := func(flags int) func(*Env) error {
		return func(e *Env) error { return unix.Unmount(e.Point(), flags) }
	}
	return []Way{
		{ID: "umount", Description: "umount2(2)", Do: umount(0)},
		{ID: "umount-detach", Description: "umount2(2), MNT_DETACH", Do: umount(unix.MNT_DETACH)},
		{ID: "umount-force", Description: "umount2(2), MNT_FORCE", Do: umount(unix.MNT_FORCE)},
		{ID: "umount-expire", Description: "umount2(2), MNT_EXPIRE, twice", Do: func(e *Env) error {
			err := unix.Unmount(e.Point(), unix.MNT_EXPIRE)
			if err == nil || err != unix.EAGAIN {
				return err
			}
			return unix.Unmount(e.Point(), unix.MNT_EXPIRE)
		}},
		{ID: "umount-nofollow", Description: "umount2(2), UMOUNT_NOFOLLOW", Do: umount(unix.UMOUNT_NOFOLLOW)},
		{ID: "umount-ia32", Needs: []string{"ia32"}, Description: "umount(2) through int 0x80", Do: umount32},
		{ID: "umount-symlink", Description: "umount2(2) of a symbolic link", Do: func(e *Env) error {
			must(unix.Symlink(e.Point(), e.Path("sym")))
			return unix.Unmount(e.Path("sym"), 0)
		}},
		{ID: "umount-relative", Description: "umount2(2) of a relative path", Do: func(e *Env) error {
			must(unix.Chdir(e.Dir))
			return unix.Unmount(filepath.Base(e.Point()), 0)
		}},
		{ID: "umount-dot", Description: "umount2(\".\", MNT_DETACH)", Do: func(e *Env) error {
			must(unix.Chdir(e.Point()))
			return unix.Unmount(".", unix.MNT_DETACH)
		}},
		{ID: "umount-proc-fd", Description: "umount2(2), MNT_DETACH, of /proc/self/fd of an O_PATH descriptor", Do: func(e *Env) error {
			return unix.Unmount(procFD(opath(e.Point())), unix.MNT_DETACH)
		}},
		{ID: "umount-proc-pid-root", Description: "umount2(2) of /proc/PID/root of another process", Do: func(e *Env) error {
			return unix.Unmount(parentRoot(e)+e.Point(), 0)
		}},
		{ID: "umount-chroot", Description: "umount2(2) after chroot(2)", Do: func(e *Env) error {
			must(unix.Unshare(unix.CLONE_FS))
			must(unix.Chroot(e.Dir))
			return unix.Unmount("/"+pick(e, "secret", "public"), 0)
		}},
		{ID: "umount-unshare", Description: "umount2(2) in a mount namespace of the actor's own", Do: func(e *Env) error {
			ownMounts()
			return unix.Unmount(e.Point(), 0)
		}},
		{ID: "umount-setns", Description: "umount2(2) in another mount namespace, entered with setns(2)", Do: func(e *Env) error {
			before := need(unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0))
			ownMounts()
			must(unix.Setns(before, unix.CLONE_NEWNS))
			return unix.Unmount(e.Point(), 0)
		}},
		{ID: "umount-thread", Description: "umount2(2) in another thread", Do: func(e *Env) error {
			return inThread(func() error { return unix.Unmount(e.Point(), 0) })
		}},
		{ID: "umount-child", Description: "umount2(2) in a forked child", Do: func(e *Env) error {
			path := str(e.Point())
			return forked(0, step{unix.SYS_UMOUNT2, path})
		}},
		{ID: "umount-descendant", Description: "umount2(2) in another program that the actor started", Do: func(e *Env) error {
			return asCopy(e.Path("child"), "umount", e.Point())
		}},
		{ID: "umount-above", Description: "umount2(2), MNT_DETACH, of a mount above, which takes this one along", Setup: mountAbove, Do: func(e *Env) error {
			return unix.Unmount(e.Dir, unix.MNT_DETACH)
		}, NotCovered: map[string]string{"*": "the kernel asks about the mount that is named only: protect the one above as well"}},
		{ID: "umount-private-copy", Description: "umount2(2) of a copy of the mount elsewhere", Do: func(e *Env) error {
			ownMounts()
			mountBind(e.Point(), e.Path("mnt2"))
			return unix.Unmount(e.Path("mnt2"), 0)
		}, NotCovered: map[string]string{"*": "the mount at the protected place stays"}},
		{ID: "umount-propagated", Description: "umount2(2) of a peer, which the kernel repeats at the protected place", Setup: func(e *Env) error {
			must(unix.Unmount(e.Point(), 0))
			must(unix.Mount("coverage", e.Path("work"), "tmpfs", 0, ""))
			must(unix.Mount("", e.Path("work"), "", unix.MS_SHARED, ""))
			must(os.MkdirAll(e.Path("work/below"), 0o755))
			must(unix.Mount(e.Path("work"), e.Point(), "", unix.MS_BIND, ""))
			return unix.Mount("coverage", e.Path("work/below"), "tmpfs", 0, "")
		}, Do: func(e *Env) error { return unix.Unmount(e.Path("work/below"), 0) },
			NotCovered: map[string]string{"*": "the mount is at another place, and only the kernel repeats its end at the protected one"}},
		{ID: "move-away", Description: "mount(2), MS_MOVE, of the mount to another place", Do: func(e *Env) error {
			return unix.Mount(e.Point(), e.Path("mnt2"), "", unix.MS_MOVE, "")
		}, NotCovered: map[string]string{"*": "a move is a mount: forbid sb_mount with the mount as its source"}},
		{ID: "move-mount-away", Description: "move_mount(2) of the mount to another place", Do: func(e *Env) error {
			return unix.MoveMount(unix.AT_FDCWD, e.Point(), unix.AT_FDCWD, e.Path("mnt2"), 0)
		}, NotCovered: map[string]string{"*": "a move is a mount: forbid sb_mount with the mount as its source"}},
		{ID: "moved-meanwhile", Description: "umount2(2) of the mount after another program moved it away", Meanwhile: func(e *Env) error {
			return unix.Mount(e.Point(), e.Path("mnt2"), "", unix.MS_MOVE, "")
		}, Do: func(e *Env) error { return unix.Unmount(e.Path("mnt2"), 0) },
			NotCovered: map[string]string{"*": "it is no longer at the protected place, and another program moved it"}},
		{ID: "renamed-above-meanwhile", Object: "tree", Description: "umount2(2) after another program renamed a directory above", Meanwhile: func(e *Env) error {
			return os.Rename(filepath.Dir(e.Point()), e.Path("away"))
		}, Do: func(e *Env) error { return unix.Unmount(e.Path("away/sub"), 0) }},
		{ID: "umount-tree", Object: "tree", Description: "umount2(2) below a protected directory", Do: umount(0)},
		{ID: "umount-tree-detach", Object: "tree", Description: "umount2(2), MNT_DETACH, below a protected directory", Do: umount(unix.MNT_DETACH)},
		{ID: "flags", Object: "flags", Description: "umount2(2), MNT_DETACH, where that is forbidden", Do: umount(unix.MNT_DETACH), Bystander: umount(0)},
	}
}

// mountAbove makes the way's directory a mount of its own, with those below.
func mountAbove(e *Env) error { return unix.Mount(e.Dir, e.Dir, "", unix.MS_BIND|unix.MS_REC, "") }

func errandUmount(a []string) error { return unix.Unmount(a[0], 0) }
