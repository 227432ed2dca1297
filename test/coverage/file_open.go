package coverage

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func openat(dir int, path string, flags int) error {
	return closed(unix.Openat(dir, path, flags|unix.O_CLOEXEC, 0o600))
}

func open(path string, flags int) error { return openat(unix.AT_FDCWD, path, flags) }

// openFlags is a way to open with some flags.
func openFlags(flags int) func(*Env) error {
	return func(e *Env) error { return open(e.File(), flags) }
}

func openat2(resolve uint64, path func(*Env) (dir string, name string)) func(*Env) error {
	return func(e *Env) error {
		dir, name := path(e)
		at := unix.AT_FDCWD
		if dir != "" {
			at = need(unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0))
		}
		return closed(unix.Openat2(at, name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC, Resolve: resolve}))
	}
}

func whole(e *Env) (string, string)   { return "", e.File() }
func beneath(e *Env) (string, string) { return e.Dir, e.Name() }

// openWays open in the ways that a system call's arguments allow.
func openWays() []Way {
	ways := []Way{
		{ID: "openat", Description: "openat(2), read", Do: openFlags(unix.O_RDONLY)},
		{ID: "openat-write", Description: "openat(2), write", Do: openFlags(unix.O_WRONLY)},
		{ID: "openat-rdwr", Description: "openat(2), read and write", Do: openFlags(unix.O_RDWR)},
		{ID: "openat-append", Description: "openat(2), O_APPEND", Do: openFlags(unix.O_WRONLY | unix.O_APPEND)},
		{ID: "openat-trunc", Description: "openat(2), O_TRUNC", Do: openFlags(unix.O_WRONLY | unix.O_TRUNC)},
		{ID: "openat-rdonly-trunc", Description: "openat(2), O_RDONLY|O_TRUNC", Do: openFlags(unix.O_RDONLY | unix.O_TRUNC)},
		{ID: "openat-creat", Description: "openat(2), O_CREAT of a file that exists", Do: openFlags(unix.O_RDWR | unix.O_CREAT)},
		{ID: "openat-noaccess", Description: "openat(2) with access mode 3 (for ioctl)", Do: openFlags(3)},
		{ID: "openat-nonblock", Description: "openat(2), O_NONBLOCK|O_NOATIME|O_NOFOLLOW", Do: openFlags(unix.O_NONBLOCK | unix.O_NOATIME | unix.O_NOFOLLOW)},
		{ID: "openat-dirfd", Description: "openat(2) relative to a directory", Do: func(e *Env) error {
			return openat(need(unix.Open(e.Dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)), e.Name(), unix.O_RDONLY)
		}},
		{ID: "openat-opath-dirfd", Description: "openat(2) relative to an O_PATH directory", Do: func(e *Env) error {
			return openat(need(unix.Open(e.Dir, unix.O_PATH|unix.O_CLOEXEC, 0)), e.Name(), unix.O_RDONLY)
		}},
		{ID: "openat-dots", Description: "openat(2), path with . and .. and //", Do: func(e *Env) error {
			return open(e.Path("mnt")+"/..//./"+e.Name(), unix.O_RDONLY)
		}},
		{ID: "openat-cwd", Description: "chdir(2), then a relative path", Do: func(e *Env) error {
			must(unix.Chdir(e.Dir))
			return open(e.Name(), unix.O_RDONLY)
		}},
		{ID: "openat-fchdir", Description: "fchdir(2), then a relative path", Do: func(e *Env) error {
			must(unix.Fchdir(need(unix.Open(e.Path("mnt"), unix.O_PATH|unix.O_CLOEXEC, 0))))
			return open("../"+e.Name(), unix.O_RDONLY)
		}},
		{ID: "openat2", Description: "openat2(2)", Needs: []string{"openat2"}, Do: openat2(0, whole)},
		{ID: "openat2-beneath", Description: "openat2(2), RESOLVE_BENEATH", Needs: []string{"openat2"}, Do: openat2(unix.RESOLVE_BENEATH, beneath)},
		{ID: "openat2-in-root", Description: "openat2(2), RESOLVE_IN_ROOT", Needs: []string{"openat2"}, Do: openat2(unix.RESOLVE_IN_ROOT, func(e *Env) (string, string) {
			return e.Dir, "/" + e.Name()
		})},
		{ID: "openat2-no-symlinks", Description: "openat2(2), RESOLVE_NO_SYMLINKS|NO_MAGICLINKS|NO_XDEV", Needs: []string{"openat2"},
			Do: openat2(unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS|unix.RESOLVE_NO_XDEV, beneath)},
		{ID: "openat2-cached", Description: "openat2(2), RESOLVE_CACHED", Needs: []string{"resolve_cached"}, Do: openat2(resolveCached, whole)},
		{ID: "opath-reopen", Description: "O_PATH descriptor, reopened through /proc/self/fd", Do: func(e *Env) error {
			return open(procFD(need(unix.Open(e.File(), unix.O_PATH|unix.O_CLOEXEC, 0))), unix.O_RDONLY)
		}},
		{ID: "opath-reopen-dev-fd", Description: "O_PATH descriptor, reopened through /dev/fd", Do: func(e *Env) error {
			return open(fmt.Sprintf("/dev/fd/%d", need(unix.Open(e.File(), unix.O_PATH|unix.O_CLOEXEC, 0))), unix.O_WRONLY)
		}},
		{ID: "opath-reopen-thread-self", Description: "O_PATH descriptor, reopened through /proc/thread-self/fd", Do: func(e *Env) error {
			return open(fmt.Sprintf("/proc/thread-self/fd/%d", need(unix.Open(e.File(), unix.O_PATH|unix.O_CLOEXEC, 0))), unix.O_RDWR)
		}},
		{ID: "inherited-dirfd", Description: "openat(2) relative to a directory opened before the policy", Setup: func(e *Env) error {
			e.PassFD(need(unix.Open(e.Dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)))
			return nil
		}, Do: func(e *Env) error { return openat(e.Passed(0), e.Name(), unix.O_RDONLY) }},
		{ID: "inherited-opath", Description: "O_PATH descriptor from before the policy, reopened", Setup: func(e *Env) error {
			e.PassFD(need(unix.Open(e.File(), unix.O_PATH|unix.O_CLOEXEC, 0)))
			return nil
		}, Do: func(e *Env) error { return open(procFD(e.Passed(0)), unix.O_RDONLY) }},
		{ID: "inherited-reopen", Description: "descriptor from before the policy, reopened through /proc/self/fd", Setup: func(e *Env) error {
			e.PassFD(need(unix.Open(e.File(), unix.O_RDONLY|unix.O_CLOEXEC, 0)))
			return nil
		}, Do: func(e *Env) error { return open(procFD(e.Passed(0)), unix.O_RDWR) }},
		{ID: "forked-child", Description: "open in a forked child", Do: func(e *Env) error {
			path := str(e.File())
			return forked(0, step{unix.SYS_OPENAT, atCWD, path, unix.O_RDONLY})
		}},
		{ID: "shared-child", Description: "open in a child that shares the descriptors (CLONE_FILES|CLONE_FS)", Do: openInSharedChild},
		{ID: "thread", Description: "open in another thread", Do: func(e *Env) error {
			return inThread(func() error { return open(e.File(), unix.O_RDONLY) })
		}},
		{ID: "as-user", Description: "open as another user", Do: func(e *Env) error {
			must(fails(call(unix.SYS_SETRESUID, 1000, 1000, 1000)))
			return open(e.File(), unix.O_RDONLY)
		}},
		{ID: "execed-descendant", Description: "open in another program that the actor started", Do: func(e *Env) error {
			return asCopy(e.Path("child"), "open", e.File())
		}},
	}
	for _, object := range []string{"deep", "tree", "glob"} {
		ways = append(ways,
			Way{ID: "openat-" + object, Object: object, Description: "openat(2), read, " + objectText[object], Do: openFlags(unix.O_RDONLY)},
			Way{ID: "openat-write-" + object, Object: object, Description: "openat(2), write, " + objectText[object], Do: openFlags(unix.O_WRONLY)},
			Way{ID: "opath-reopen-" + object, Object: object, Description: "O_PATH descriptor, reopened, " + objectText[object], Do: func(e *Env) error {
				return open(procFD(need(unix.Open(e.File(), unix.O_PATH|unix.O_CLOEXEC, 0))), unix.O_RDONLY)
			}},
		)
	}
	return append(ways,
		Way{ID: "opendir", Object: "dir", Description: "open(2) and getdents(2) of a protected directory", Do: func(e *Env) error {
			fd, err := unix.Open(e.File(), unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			return fails(unix.Getdents(fd, make([]byte, 4096)))
		}},
		Way{ID: "tmpfile-in-dir", Object: "dir", Description: "O_TMPFILE in a protected directory", Do: openFlags(unix.O_TMPFILE | unix.O_RDWR)},
	)
}

var objectText = map[string]string{
	"deep": "two directories down", "tree": "below a protected directory", "glob": "by a glob", "future": "a name that does not exist yet",
}

func procFD(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// openInSharedChild opens in a child whose descriptors are the actor's as well.
func openInSharedChild(e *Env) error {
	path := str(e.File())
	return forked(unix.CLONE_FILES|unix.CLONE_FS, step{unix.SYS_OPENAT, atCWD, path, unix.O_RDONLY})
}

// atCWD is AT_FDCWD for a raw system call.
const atCWD = ^uintptr(99)

// asCopy has a copy of this program, which is another program, do an errand.
func asCopy(path, errand string, arguments ...string) error {
	content := need(os.ReadFile("/proc/self/exe"))
	must(os.WriteFile(path, content, 0o755))
	return doErrand(path, errand, nil, arguments...)
}

// fileHandle is struct file_handle in a form that goes through Values.
func fileHandle(e *Env, path string) error {
	h, mount, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
	if err != nil {
		return err
	}
	e.Set("type", h.Type())
	e.Set("mount", mount)
	e.Values["handle"] = fmt.Sprintf("%x", h.Bytes())
	return nil
}

func (e *Env) handle() unix.FileHandle {
	var b []byte
	must(fails(fmt.Sscanf(e.Values["handle"], "%x", &b)))
	return unix.NewFileHandle(int32(e.Int("type")), b)
}

// openHandleWays open by file handle. A handle names an inode, not a path.
func openHandleWays() []Way {
	byHandle := func(dir string, flags int) func(*Env) error {
		return func(e *Env) error {
			at := need(unix.Open(e.Path(dir), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0))
			return closed(unix.OpenByHandleAt(at, e.handle(), flags))
		}
	}
	secret := func(e *Env) error { return fileHandle(e, e.File()) }
	// A file that has no name in memory could be the protected one: it is refused whatever it is (rule 6).
	byName := openFlags(unix.O_RDONLY)
	drop := func(*Env) error {
		unix.Sync()
		return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
	}
	return []Way{
		{ID: "handle", Description: "open_by_handle_at(2)", Setup: secret, Do: byHandle("", unix.O_RDONLY)},
		{ID: "handle-write", Description: "open_by_handle_at(2), write", Setup: secret, Do: byHandle("", unix.O_WRONLY)},
		{ID: "handle-opath-reopen", Description: "open_by_handle_at(2), O_PATH, then /proc/self/fd", Setup: secret, Do: func(e *Env) error {
			at := need(unix.Open(e.Dir, unix.O_RDONLY|unix.O_CLOEXEC, 0))
			return open(procFD(need(unix.OpenByHandleAt(at, e.handle(), unix.O_PATH|unix.O_CLOEXEC))), unix.O_RDONLY)
		}},
		{ID: "handle-own", Description: "name_to_handle_at(2) by the actor, then open_by_handle_at(2)", Do: func(e *Env) error {
			h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, e.File(), 0)
			must(err)
			return closed(unix.OpenByHandleAt(need(unix.Open(e.Dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)), h, unix.O_RDONLY))
		}},
		{ID: "handle-tree", Object: "tree", Description: "open_by_handle_at(2), below a protected directory", Setup: secret, Do: byHandle("open", unix.O_RDONLY)},
		{ID: "handle-bind", Description: "open_by_handle_at(2) through a bind mount of another directory", Setup: func(e *Env) error {
			must(unix.Mount(e.Path("open"), e.Path("mnt"), "", unix.MS_BIND, ""))
			return secret(e)
		}, Do: byHandle("mnt", unix.O_RDONLY)},
		{ID: "handle-ext4", Disk: true, Description: "open_by_handle_at(2), ext4", Setup: secret, Do: byHandle("", unix.O_RDONLY)},
		{ID: "handle-dropped", Disk: true, Description: "open_by_handle_at(2) after the dentries were dropped: the file has no name in memory",
			Setup: secret, Meanwhile: drop, Do: byHandle("open", unix.O_RDONLY), Bystander: byName},
		{ID: "handle-dropped-deep", Disk: true, Object: "deep", Description: "open_by_handle_at(2) after the dentries were dropped, two directories down",
			Setup: secret, Meanwhile: drop, Do: byHandle("open", unix.O_RDWR), Bystander: byName},
		{ID: "handle-dropped-tree", Disk: true, Object: "tree", Description: "open_by_handle_at(2) after the dentries were dropped, below a protected directory",
			Setup: secret, Meanwhile: drop, Do: byHandle("open", unix.O_RDONLY), Bystander: byName},
		{ID: "dropped", Disk: true, Description: "openat(2) after the inode was dropped from memory", Meanwhile: drop, Do: openFlags(unix.O_RDONLY)},
		{ID: "dropped-link", Disk: true, Description: "a hard link from before the policy, after the inode was dropped from memory",
			Setup: linkFile, Meanwhile: drop, Do: func(e *Env) error { return open(e.Path("linked"), unix.O_RDONLY) }},
	}
}

// openByKernelWays have the kernel open a file on the actor's behalf.
func openByKernelWays() []Way {
	return []Way{
		{ID: "acct", Description: "acct(2): the kernel opens the file to write to it", Do: func(e *Env) error {
			if err := unix.Acct(e.File()); err != nil {
				return err
			}
			return fails(call(unix.SYS_ACCT, 0))
		}},
		{ID: "swapon", Disk: true, Description: "swapon(2) of the file", Setup: func(e *Env) error { return makeSwap(e.File()) }, Do: func(e *Env) error {
			if _, err := call(unix.SYS_SWAPON, str(e.File()), 0); err != nil {
				return err
			}
			return fails(call(unix.SYS_SWAPOFF, str(e.File())))
		}},
		{ID: "fanotify", Description: "fanotify(7): an event carries a descriptor that the kernel opened", Setup: func(e *Env) error {
			e.PassFD(need(unix.Open(e.File(), unix.O_RDONLY|unix.O_CLOEXEC, 0)))
			return nil
		}, Do: fanotifyOpen},
		{ID: "erofs-source", Disk: true, Description: "mount of erofs from the file: the kernel opens the source", Needs: []string{"erofs_file"},
			Setup: func(e *Env) error { return os.WriteFile(e.File(), erofsImage(), 0o644) },
			Do: func(e *Env) error {
				must(unix.Unshare(unix.CLONE_NEWNS))
				return unix.Mount(e.File(), e.Path("mnt"), "erofs", unix.MS_RDONLY, "")
			}},
		{ID: "core-dump", Description: "a core dump to the file", Setup: nil, Meanwhile: func(e *Env) error {
			e.Set("before", need(os.Stat(e.File())).Size())
			return os.WriteFile("/proc/sys/kernel/core_pattern", []byte(e.File()), 0)
		}, Do: dumpCore, Cleanup: func(*Env) {
			os.WriteFile("/proc/sys/kernel/core_pattern", []byte("core"), 0)
		}},
		{ID: "map-files", Description: "/proc/self/map_files of a mapping from before the policy", Setup: func(e *Env) error {
			e.PassFD(need(unix.Open(e.File(), unix.O_RDONLY|unix.O_CLOEXEC, 0)))
			return nil
		}, Do: func(e *Env) error {
			m := need(unix.Mmap(e.Passed(0), 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE))
			at := uintptr(unsafe.Pointer(&m[0]))
			return open(fmt.Sprintf("/proc/self/map_files/%x-%x", at, at+4096), unix.O_RDONLY)
		}},
	}
}

// makeSwap makes a file that swapon takes, ten pages long.
func makeSwap(path string) error {
	const page, pages = 4096, 10
	b := make([]byte, page*pages)
	b[1024], b[1028] = 1, pages-1 // version, last page
	copy(b[page-10:], "SWAPSPACE2")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return err
	}
	// Blocks that are not on the disk yet have no place for swapon.
	unix.Sync()
	return nil
}

// fanotifyOpen watches the file and reads through a descriptor from before: the kernel opens the file for the listener.
func fanotifyOpen(e *Env) error {
	fd := need(unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY))
	must(unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_ACCESS, -1, procFD(e.Passed(0))))
	must(fails(unix.Read(e.Passed(0), make([]byte, 1))))
	b := make([]byte, 4096)
	n, err := unix.Read(fd, b)
	if err != nil {
		return err
	}
	if n < 24 {
		return fmt.Errorf("no event: %w", unix.ENODATA)
	}
	event := (*unix.FanotifyEventMetadata)(unsafe.Pointer(&b[0]))
	if event.Fd < 0 {
		return unix.EPERM
	}
	return fails(unix.Read(int(event.Fd), make([]byte, 1)))
}

// dumpCore has a child crash and looks whether the file has changed.
func dumpCore(e *Env) error {
	must(unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}))
	must(unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0))
	// A Go program handles most signals that dump core, not this one, and a child without its threads handles none.
	forked(0, step{unix.SYS_RT_SIGACTION, uintptr(unix.SIGXFSZ), ptr(&defaultAction), 0, 8}, step{unix.SYS_GETPID},
		step{unix.SYS_KILL, priorResult, uintptr(unix.SIGXFSZ)})
	var st unix.Stat_t
	must(unix.Stat(e.File(), &st))
	if fmt.Sprint(st.Size) == e.Values["before"] {
		return fmt.Errorf("nothing was dumped: %w", unix.EPERM)
	}
	return nil
}

// defaultAction is struct sigaction with SIG_DFL.
var defaultAction [4]uint64
