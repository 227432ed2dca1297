package coverage

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// memfd makes a program that has no file.
func memfd(e *Env, flags int) int {
	fd := need(unix.MemfdCreate("program", flags))
	must(fails(unix.Write(fd, exits())))
	return fd
}

// noArgsReason: fs/exec.c, do_execveat_common, repairs it before anybody is asked; so do the stable series before 5.18.
var noArgsReason = map[string]string{"*": "the kernel gives the program an empty argument by itself: argc is never 0"}

// permitted starts a program that is a file, as the bystander of those that are not.
func permitted(e *Env) error { return execve(e.Path("public")) }

// execTraitWays start programs without a file, or without arguments.
func execTraitWays() []Way {
	ways := []Way{
		{ID: "memfd", Description: "memfd_create(2) and fexecve(3)", Do: func(e *Env) error {
			return execveat(memfd(e, unix.MFD_CLOEXEC), "", unix.AT_EMPTY_PATH)
		}},
		{ID: "memfd-proc-fd", Description: "memfd_create(2) and execve(2) of /proc/self/fd/N", Do: func(e *Env) error { return execve(procFD(memfd(e, 0))) }},
		{ID: "memfd-sealed", Description: "a sealed memfd", Do: func(e *Env) error {
			fd := memfd(e, unix.MFD_ALLOW_SEALING)
			must(fails(unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)))
			return execveat(fd, "", unix.AT_EMPTY_PATH)
		}},
		{ID: "memfd-reopened", Description: "a memfd, reopened for reading", Do: func(e *Env) error {
			return execveat(readable(procFD(memfd(e, 0))), "", unix.AT_EMPTY_PATH)
		}},
		{ID: "memfd-received", Description: "a memfd that another process sent", Setup: func(e *Env) error {
			fd := memfd(e, 0)
			defer unix.Close(fd)
			return sendFD(e, need(unix.Open(procFD(fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)))
		}, Do: func(e *Env) error { return execveat(need(receiveFile(e.Passed(0))), "", unix.AT_EMPTY_PATH) }},
		{ID: "memfd-script-interpreter", Description: "a script whose #! names a memfd", Do: func(e *Env) error {
			must(install(e.Path("script"), fmt.Appendf(nil, "#!%s\n", procFD(readable(procFD(memfd(e, 0)))))))
			return execve(e.Path("script"))
		}},
		{ID: "memfd-elf-interpreter", Description: "a program whose ELF interpreter is a memfd", Do: func(e *Env) error {
			must(install(e.Path("loader"), image(unix.SYS_SCHED_YIELD, 0, procFD(readable(procFD(memfd(e, 0)))))))
			return execve(e.Path("loader"))
		}},
		{ID: "unmounted", Description: "a program on a file system that is unmounted lazily", Do: func(e *Env) error {
			ownMounts()
			must(unix.Mount("hidden", e.Path("mnt"), "tmpfs", 0, ""))
			must(install(e.Path("mnt/prog"), exits()))
			fd := readable(e.Path("mnt/prog"))
			must(unix.Unmount(e.Path("mnt"), unix.MNT_DETACH))
			return execveat(fd, "", unix.AT_EMPTY_PATH)
		}},
		{ID: "deleted", Description: "a deleted program by descriptor", Do: func(e *Env) error {
			fd := readable(e.Path("spare"))
			must(os.Remove(e.Path("spare")))
			return execveat(fd, "", unix.AT_EMPTY_PATH)
		}},
		{ID: "deleted-proc-fd", Description: "a deleted program by /proc/self/fd/N", Do: func(e *Env) error {
			fd := readable(e.Path("spare"))
			must(os.Remove(e.Path("spare")))
			return execve(procFD(fd))
		}},
		{ID: "tmpfile", Description: "a program in an O_TMPFILE file", Do: func(e *Env) error {
			fd := need(unix.Open(e.Dir, unix.O_TMPFILE|unix.O_RDWR, 0o755))
			must(fails(unix.Write(fd, exits())))
			again := readable(procFD(fd))
			unix.Close(fd)
			return execveat(again, "", unix.AT_EMPTY_PATH)
		}},
		{ID: "dev-shm", Description: "a program in /dev/shm", Do: func(e *Env) error {
			path := fmt.Sprintf("/dev/shm/coverage-%d", os.Getpid())
			must(install(path, exits()))
			return startAndRemove(path)
		}},
		{ID: "fsmount", Description: "a program on a file system that is mounted nowhere (fsopen(2), fsmount(2))", Do: func(e *Env) error {
			mount := detachedTmpfs()
			fd := need(unix.Openat(mount, "prog", unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o755))
			must(fails(unix.Write(fd, exits())))
			unix.Close(fd)
			return execveat(mount, "prog", 0)
		}},
		{ID: "open-tree", Description: "a program on a detached copy of a mount (open_tree(2))", Do: func(e *Env) error {
			return execveat(need(unix.OpenTree(unix.AT_FDCWD, e.Dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)), "spare", 0)
		}},
	}
	for i := range ways {
		ways[i].ID = "fileless-" + ways[i].ID
		ways[i].Object = "fileless"
		ways[i].Bystander = permitted
	}
	noArgs := []Way{
		{ID: "no-args-execve", Description: "execve(2) with an empty argv", Do: func(e *Env) error {
			return fails(call(unix.SYS_EXECVE, str(e.Path("spare")), argv(), argv()))
		}},
		{ID: "no-args-null", Description: "execve(2) with NULL as argv", Do: func(e *Env) error { return fails(call(unix.SYS_EXECVE, str(e.Path("spare")), 0, 0)) }},
		{ID: "no-args-execveat", Description: "execveat(2) with an empty argv", Do: func(e *Env) error {
			return fails(call(unix.SYS_EXECVEAT, uintptr(opath(e.Path("spare"))), str(""), argv(), argv(), unix.AT_EMPTY_PATH))
		}},
		{ID: "no-args-script", Description: "execve(2) of a script with an empty argv", Do: func(e *Env) error {
			must(install(e.Path("script"), []byte("#!"+e.Path("spare")+"\n")))
			return fails(call(unix.SYS_EXECVE, str(e.Path("script")), argv(), argv()))
		}},
	}
	for i := range noArgs {
		noArgs[i].NotCovered = noArgsReason
		noArgs[i].Object = "no_args"
		noArgs[i].Bystander = permitted
	}
	return append(ways, noArgs...)
}

func startAndRemove(path string) error {
	err := start(path, nil, nil)
	os.Remove(path)
	return err
}

// detachedTmpfs returns a descriptor of a mounted tmpfs that has no place.
func detachedTmpfs() int {
	fs := need(unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC))
	must(unix.FsconfigCreate(fs))
	return need(unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0))
}

// execMapWays run the program's code without exec.
func execMapWays() []Way {
	reason := map[string]string{"*": "the code runs in a program that may run: forbid file_open of the file with access exec"}
	return []Way{
		{ID: "mmap-exec", Description: "mmap(2), PROT_EXEC, as dlopen(3) does", NotCovered: reason, Do: func(e *Env) error {
			return fails(unix.Mmap(readable(e.Program()), 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE))
		}},
		{ID: "mprotect-exec", Description: "mmap(2), then mprotect(2), PROT_EXEC", NotCovered: reason, Do: func(e *Env) error {
			return unix.Mprotect(need(unix.Mmap(readable(e.Program()), 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE)), unix.PROT_READ|unix.PROT_EXEC)
		}},
		{ID: "copy-exec", Description: "a copy of the program under another name", Do: func(e *Env) error {
			must(install(e.Path("copy"), need(os.ReadFile(e.Program()))))
			return execve(e.Path("copy"))
		}, NotCovered: map[string]string{"*": "a copy is another file: forbid reading it with file_open, or name what may run"}},
		{ID: "copy-unlisted", Object: "unlisted", Description: "a copy of a permitted program under a name that an allow-list does not have", Do: func(e *Env) error {
			name := pick(e, "copy", "open/copy")
			must(os.MkdirAll(e.Path("open"), 0o755))
			must(install(e.Path(name), need(os.ReadFile(e.Path("public")))))
			return execve(e.Path(name))
		}},
	}
}
