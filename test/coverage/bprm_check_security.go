package coverage

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// argv makes an argument vector for a raw exec. It is never freed.
func argv(values ...string) uintptr {
	v := make([]uintptr, 0, len(values)+1)
	for _, s := range values {
		v = append(v, str(s))
	}
	v = append(v, 0)
	vectors = append(vectors, v)
	return ptr(&v[0])
}

// vectors are those that argv made.
var vectors [][]uintptr

// execveat executes in place of the actor.
func execveat(dir int, path string, flags int) error {
	if dir < 0 {
		return fails(call(unix.SYS_EXECVEAT, atCWD, str(path), argv("program"), argv(), uintptr(flags)))
	}
	return fails(call(unix.SYS_EXECVEAT, uintptr(dir), str(path), argv("program"), argv(), uintptr(flags)))
}

func execve(path string, args ...string) error {
	if len(args) == 0 {
		args = []string{path}
	}
	return fails(call(unix.SYS_EXECVE, str(path), argv(args...), argv()))
}

func opath(path string) int { return need(unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)) }

// readable opens for reading, without O_CLOEXEC: a script's interpreter has to find it.
func readable(path string) int { return need(unix.Open(path, unix.O_RDONLY, 0)) }

// execWays start the program itself.
func execWays() []Way {
	ways := []Way{
		{ID: "execve", Description: "execve(2)", Do: func(e *Env) error { return execve(e.Program()) }},
		{ID: "execve-child", Description: "execve(2) in a forked child (vfork)", Do: func(e *Env) error { return start(e.Program(), nil, nil) }},
		{ID: "execve-os-exec", Description: "a shell-like search of PATH", Do: func(e *Env) error {
			must(os.Setenv("PATH", filepath.Dir(e.Program())))
			path := need(exec.LookPath(filepath.Base(e.Program())))
			return execve(path)
		}},
		{ID: "execve-relative", Description: "execve(2) of a relative path", Do: func(e *Env) error {
			must(unix.Chdir(filepath.Dir(e.Program())))
			return execve("./" + filepath.Base(e.Program()))
		}},
		{ID: "execve-thread", Description: "execve(2) in another thread than the first", Do: func(e *Env) error {
			return inThread(func() error { return execve(e.Program()) })
		}},
		{ID: "execve-as-user", Description: "execve(2) as another user", Do: func(e *Env) error {
			must(fails(call(unix.SYS_SETRESUID, 1000, 1000, 1000)))
			return execve(e.Program())
		}},
		{ID: "execve-forged-argv", Description: "execve(2) with another program's name as argv[0]", Do: func(e *Env) error { return execve(e.Program(), "/bin/true") }},
		{ID: "execveat", Description: "execveat(2) relative to a directory", Do: func(e *Env) error {
			return execveat(opath(filepath.Dir(e.Program())), filepath.Base(e.Program()), 0)
		}},
		{ID: "execveat-cwd", Description: "execveat(2) of an absolute path", Do: func(e *Env) error { return execveat(-1, e.Program(), unix.AT_SYMLINK_NOFOLLOW) }},
		{ID: "execveat-opath", Description: "execveat(2), AT_EMPTY_PATH, of an O_PATH descriptor", Do: func(e *Env) error {
			return execveat(opath(e.Program()), "", unix.AT_EMPTY_PATH)
		}},
		{ID: "fexecve", Description: "execveat(2), AT_EMPTY_PATH, of a descriptor for reading (fexecve(3))", Do: func(e *Env) error {
			return execveat(readable(e.Program()), "", unix.AT_EMPTY_PATH)
		}},
		{ID: "fexecve-inherited", Description: "fexecve(3) of a descriptor from before the policy", Setup: func(e *Env) error {
			e.PassFD(need(unix.Open(e.Program(), unix.O_RDONLY|unix.O_CLOEXEC, 0)))
			return nil
		}, Do: func(e *Env) error { return execveat(e.Passed(0), "", unix.AT_EMPTY_PATH) }},
		{ID: "fexecve-received", Description: "fexecve(3) of a descriptor that another process sent", Setup: func(e *Env) error {
			fd := need(unix.Open(e.Program(), unix.O_RDONLY|unix.O_CLOEXEC, 0))
			defer unix.Close(fd)
			return sendFD(e, fd)
		}, Do: func(e *Env) error { return execveat(need(receiveFile(e.Passed(0))), "", unix.AT_EMPTY_PATH) }},
		{ID: "execveat-check", Needs: []string{"execve_check"}, Description: "execveat(2), AT_EXECVE_CHECK: may the program be started?", Do: func(e *Env) error {
			return execveat(-1, e.Program(), atExecveCheck)
		}},
		{ID: "execveat-check-fd", Needs: []string{"execve_check"}, Description: "execveat(2), AT_EXECVE_CHECK and AT_EMPTY_PATH, of a script that an interpreter opened", Setup: func(e *Env) error {
			return install(e.Program(), []byte("#!"+e.Path("spare")+"\n"))
		}, Do: func(e *Env) error {
			return execveat(need(unix.Open(e.Program(), unix.O_RDONLY|unix.O_CLOEXEC, 0)), "", unix.AT_EMPTY_PATH|atExecveCheck)
		}},
		{ID: "proc-self-fd", Description: "execve(2) of /proc/self/fd/N", Do: func(e *Env) error { return execve(procFD(opath(e.Program()))) }},
		{ID: "dev-fd", Description: "execve(2) of /dev/fd/N", Do: func(e *Env) error { return execve(fmt.Sprintf("/dev/fd/%d", readable(e.Program()))) }},
		{ID: "handle", Description: "fexecve(3) of a descriptor from open_by_handle_at(2)", Setup: func(e *Env) error { return fileHandle(e, e.Program()) }, Do: func(e *Env) error {
			at := need(unix.Open(e.Dir, unix.O_RDONLY|unix.O_CLOEXEC, 0))
			return execveat(need(unix.OpenByHandleAt(at, e.handle(), unix.O_RDONLY|unix.O_CLOEXEC)), "", unix.AT_EMPTY_PATH)
		}},
		{ID: "setuid-program", Description: "execve(2) of a set-user-ID program", Setup: func(e *Env) error { return unix.Chmod(e.Program(), 0o4755) }, Do: func(e *Env) error {
			must(fails(call(unix.SYS_SETRESUID, 1000, 1000, 1000)))
			return execve(e.Program())
		}},
		{ID: "ptrace", Description: "execve(2) in a traced child (PTRACE_TRACEME)", Do: func(e *Env) error {
			pid, err := syscall.ForkExec(e.Program(), []string{e.Program()}, &syscall.ProcAttr{Env: os.Environ(), Sys: &syscall.SysProcAttr{Ptrace: true}})
			if err != nil {
				return err
			}
			var ws unix.WaitStatus
			must(fails(unix.Wait4(pid, &ws, 0, nil)))
			must(unix.PtraceCont(pid, 0))
			return ended(pid)
		}},
		{ID: "ia32-execve", Description: "execve(2) through int 0x80", Needs: []string{"ia32"}, Do: execve32},
		{ID: "descendant", Description: "execve(2) in another program that the actor started", Do: func(e *Env) error {
			return asCopy(e.Path("child"), "exec", e.Program())
		}},
		{ID: "no-new-privs", Description: "execve(2) with no_new_privs", Do: func(e *Env) error {
			must(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
			return execve(e.Program())
		}},
		{ID: "user-namespace", Description: "execve(2) in a user and mount namespace of the actor's own", Do: func(e *Env) error {
			return inUserNamespace(e, "exec", e.Program())
		}},
	}
	for _, object := range []string{"tree", "glob", "unlisted"} {
		text := map[string]string{"tree": "below a forbidden directory", "glob": "by a glob", "unlisted": "that an allow-list does not name"}[object]
		ways = append(ways,
			Way{ID: "execve-" + object, Object: object, Description: "execve(2) of a program " + text, Do: func(e *Env) error { return execve(e.Program()) }},
			Way{ID: "execveat-check-" + object, Object: object, Needs: []string{"execve_check"}, Description: "execveat(2), AT_EXECVE_CHECK, of a program " + text, Do: func(e *Env) error {
				return execveat(-1, e.Program(), atExecveCheck)
			}},
			Way{ID: "execveat-opath-" + object, Object: object, Description: "execveat(2) of an O_PATH descriptor, a program " + text, Do: func(e *Env) error {
				return execveat(opath(e.Program()), "", unix.AT_EMPTY_PATH)
			}},
		)
	}
	return ways
}

// execPathWays start it by another name.
func execPathWays() []Way {
	link := func(e *Env) error { return unix.Link(e.Program(), e.Path("linked")) }
	return []Way{
		{ID: "hard-link", Description: "a hard link from before the policy", Setup: link, Do: func(e *Env) error { return execve(e.Path("linked")) }},
		{ID: "hard-link-tree", Object: "tree", NotCovered: hardLinkReason, Description: "a hard link from before the policy, to a program below a forbidden directory", Setup: link,
			Do: func(e *Env) error { return execve(e.Path("linked")) }},
		{ID: "hard-link-own", Description: "a hard link that the actor makes", Do: func(e *Env) error {
			must(link(e))
			return execve(e.Path("linked"))
		}},
		{ID: "symlink", Description: "a symbolic link", Do: func(e *Env) error {
			must(unix.Symlink(e.Program(), e.Path("sym")))
			return execve(e.Path("sym"))
		}},
		{ID: "renamed-meanwhile", Description: "the program under a new name that another program gave it", Meanwhile: func(e *Env) error {
			return os.Rename(e.Program(), e.Path("moved"))
		}, Do: func(e *Env) error { return execve(e.Path("moved")) }},
		{ID: "renamed-own", Description: "the program under a new name that the actor gave it", Do: func(e *Env) error {
			must(os.Rename(e.Program(), e.Path("moved")))
			return execve(e.Path("moved"))
		}},
		{ID: "renamed-parent", Object: "tree", Description: "a directory above renamed by the actor", Do: func(e *Env) error {
			dir := filepath.Dir(filepath.Dir(e.Program()))
			must(os.Rename(dir, e.Path("away")))
			return execve(e.Path("away/sub/prog"))
		}},
		{ID: "replaced-meanwhile", Description: "another program that was renamed over the path", Meanwhile: func(e *Env) error {
			return os.Rename(e.Path("spare"), e.Program())
		}, Do: func(e *Env) error { return execve(e.Program()) }},
		{ID: "replaced-own", Description: "another program that the actor renames over the path", Do: func(e *Env) error {
			must(os.Rename(e.Path("spare"), e.Program()))
			return execve(e.Program())
		}},
		{ID: "bind-file", Description: "a bind mount of the program over a permitted one", Do: func(e *Env) error {
			ownMounts()
			mountBind(e.Program(), e.Path("spare"))
			return execve(e.Path("spare"))
		}},
		{ID: "bind-dir", Description: "a bind mount of the directory", Do: func(e *Env) error {
			ownMounts()
			mountBind(filepath.Dir(e.Program()), e.Path("mnt"))
			return execve(e.Path("mnt", filepath.Base(e.Program())))
		}},
		{ID: "open-tree", Bystander: permitted, Description: "a detached copy of the mount (open_tree(2))", Do: func(e *Env) error {
			tree := need(unix.OpenTree(unix.AT_FDCWD, e.Dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC))
			return execveat(tree, filepath.Base(e.Program()), 0)
		}},
		{ID: "chroot", Description: "chroot(2) into the directory", Do: func(e *Env) error {
			must(unix.Unshare(unix.CLONE_FS))
			must(unix.Chroot(e.Dir))
			return execve("/" + filepath.Base(e.Program()))
		}},
		{ID: "unshare", Description: "in a mount namespace of the actor's own", Do: func(e *Env) error {
			ownMounts()
			return execve(e.Program())
		}},
		{ID: "proc-pid-root", Description: "/proc/PID/root of another process", Do: func(e *Env) error {
			return execve(fmt.Sprintf("/proc/%d/root%s", e.Parent, e.Program()))
		}},
		{ID: "overlay", Needs: []string{"overlay"}, Description: "overlayfs over the directory", Do: func(e *Env) error {
			ownMounts()
			must(os.Mkdir(e.Path("empty"), 0o755))
			mountOverlay(e)
			return execve(e.Path("mnt", filepath.Base(e.Program())))
		}},
		{ID: "overlay-mmap", Needs: []string{"overlay"}, Description: "mmap(2), PROT_EXEC, through overlayfs over the directory, as ld.so PROGRAM does", Do: func(e *Env) error {
			ownMounts()
			must(os.Mkdir(e.Path("empty"), 0o755))
			mountOverlay(e)
			fd, err := unix.Open(e.Path("mnt", filepath.Base(e.Program())), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			return fails(unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE))
		}},
	}
}

// execInterpreterWays start it as an interpreter, or with one.
func execInterpreterWays() []Way {
	script := func(e *Env, name, interpreter string) string {
		must(install(e.Path(name), []byte("#!"+interpreter+"\n")))
		return e.Path(name)
	}
	return []Way{
		{ID: "script-interpreter", Description: "a script whose #! names the program", Do: func(e *Env) error { return execve(script(e, "script", e.Program())) }},
		{ID: "script-interpreter-argument", Description: "a script whose #! names the program with an argument", Do: func(e *Env) error {
			return execve(script(e, "script", e.Program()+" -x"))
		}},
		{ID: "script-nested", Description: "a script whose interpreter is a script whose interpreter is the program", Do: func(e *Env) error {
			return execve(script(e, "outer", script(e, "inner", e.Program())))
		}},
		{ID: "script-symlink", Description: "a script whose #! names a symbolic link to the program", Do: func(e *Env) error {
			must(unix.Symlink(e.Program(), e.Path("sym")))
			return execve(script(e, "script", e.Path("sym")))
		}},
		{ID: "script-hard-link", Description: "a script whose #! names a hard link from before the policy", Setup: func(e *Env) error {
			return unix.Link(e.Program(), e.Path("linked"))
		}, Do: func(e *Env) error { return execve(script(e, "script", e.Path("linked"))) }},
		{ID: "script-env", Description: "#!/usr/bin/env-like: a permitted program that starts the program", Do: func(e *Env) error {
			return asCopy(e.Path("env"), "exec", e.Program())
		}},
		{ID: "forbidden-script", Description: "a forbidden script with a permitted interpreter", Setup: func(e *Env) error {
			return install(e.Program(), []byte("#!"+e.Path("spare")+"\n"))
		}, Do: func(e *Env) error { return execve(e.Program()) }},
		{ID: "forbidden-script-fd", Description: "a forbidden script by descriptor", Setup: func(e *Env) error {
			return install(e.Program(), []byte("#!"+e.Path("spare")+"\n"))
		}, Do: func(e *Env) error { return execveat(readable(e.Program()), "", unix.AT_EMPTY_PATH) }},
		{ID: "script-by-shell", Needs: []string{"shell"}, Description: "a forbidden script, given to its interpreter as an argument (sh SCRIPT)", Setup: func(e *Env) error {
			return install(e.Program(), fmt.Appendf(nil, "#!/bin/sh\nexit %d\n", done))
		}, Do: func(e *Env) error { return startTool("/bin/sh", e.Program()) },
			NotCovered: map[string]string{"*": "the shell reads the script as a file: forbid file_open of it"}},
		{ID: "elf-interpreter", Description: "a program whose ELF interpreter is the forbidden program", Do: func(e *Env) error {
			must(install(e.Path("loader"), image(unix.SYS_SCHED_YIELD, 0, e.Program())))
			return execve(e.Path("loader"))
		}},
		{ID: "ld.so", Needs: []string{"ld.so", "shell"}, Description: "the dynamic loader, given the program as an argument", Setup: func(e *Env) error {
			// A dynamic program, which the loader can run.
			content, err := os.ReadFile("/bin/sh")
			if err != nil {
				return err
			}
			return install(e.Program(), content)
		}, Do: func(e *Env) error {
			return startTool(vmtest.Loader, e.Program(), "-c", fmt.Sprintf("exit %d", done))
		}},
		{ID: "binfmt-misc", Needs: []string{"binfmt_misc"}, Description: "a binfmt_misc format whose interpreter is the program", Setup: registerFormat(""), Do: runFormat, Cleanup: unregisterFormat},
		{ID: "binfmt-misc-fixed", Needs: []string{"binfmt_misc"}, Description: "a binfmt_misc format whose interpreter the kernel opened before the policy (flag F)", Setup: registerFormat("F"), Do: runFormat, Cleanup: unregisterFormat},
	}
}

// startTool runs a program of the guest's distribution, and finds a refusal in what it says.
func startTool(path string, arguments ...string) error {
	out, err := exec.Command(path, arguments...).CombinedOutput()
	if code := exitCode(err); code == done {
		return nil
	}
	if strings.Contains(string(out), unix.EPERM.Error()) || strings.Contains(string(out), "Operation not permitted") ||
		strings.Contains(string(out), "failed to map segment") {
		return unix.EPERM
	}
	if err != nil && exitCode(err) < 0 {
		return err
	}
	return fmt.Errorf("%s ended with %v: %s: %w", path, err, out, unix.ENOEXEC)
}

func exitCode(err error) int {
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ExitCode()
	}
	return -1
}

const formats = "/proc/sys/fs/binfmt_misc"

func formatName(e *Env) string { return fmt.Sprintf("coverage-%d-%v", e.Index, e.Protected) }

func registerFormat(flags string) func(*Env) error {
	return func(e *Env) error {
		if _, err := os.Stat(formats + "/register"); err != nil {
			must(unix.Mount("binfmt_misc", formats, "binfmt_misc", 0, ""))
		}
		rule := fmt.Sprintf(":%s:M::COVERAGE%d%v::%s:%s", formatName(e), e.Index, e.Protected, e.Program(), flags)
		return os.WriteFile(formats+"/register", []byte(rule), 0)
	}
}

func runFormat(e *Env) error {
	must(install(e.Path("custom"), fmt.Appendf(nil, "COVERAGE%d%v\n", e.Index, e.Protected)))
	return execve(e.Path("custom"))
}

func unregisterFormat(e *Env) { os.WriteFile(formats+"/"+formatName(e), []byte("-1"), 0) }
