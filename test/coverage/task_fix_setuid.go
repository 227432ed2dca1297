package coverage

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// plain is the user that ways give up root for.
const plain = 1000

// lowered makes the thread's user plain, with saved still to go back to.
// Kernels before these hooks do not ask; the guard refuses such rules there unless gaps are allowed.
var (
	noSetgroups = map[string]string{"5.10": "the kernel has no hook for it (task_fix_setgroups)"}
	noUserns    = map[string]string{"5.10": "the kernel has no hook for it (userns_create)"}
)

func lowered(saved int) {
	must(fails(call(unix.SYS_SETRESUID, plain, plain, uintptr(saved))))
}

// capable makes the thread's user plain and leaves it all capabilities, without raising one: a set of them that is raised
// counts as root's powers gained.
func capable() {
	must(unix.Prctl(unix.PR_SET_SECUREBITS, secureNoFixup, 0, 0, 0))
	must(fails(call(unix.SYS_SETRESUID, plain, plain, plain)))
}

const secureNoFixup = 1 << 2

// powerless makes the thread plain for good.
func powerless() {
	must(fails(call(unix.SYS_SETRESUID, plain, plain, plain)))
}

// euidIs checks that a set*id call had the effect that it reported.
func euidIs(want int, err error) error {
	if err != nil {
		return err
	}
	if got := need(call(unix.SYS_GETEUID)); got != want {
		return fmt.Errorf("the effective uid is %d: %w", got, unix.EPERM)
	}
	return nil
}

const none = ^uintptr(0)

func setuidWays() []Way {
	uid := func(nr uintptr, args func(id uintptr) []uintptr) (saved, cap func(*Env) error) {
		do := func(e *Env, id int) error { return fails(call(nr, args(uintptr(id))...)) }
		saved = func(e *Env) error {
			lowered(e.UID())
			return euidIs(e.UID(), do(e, e.UID()))
		}
		cap = func(e *Env) error {
			capable()
			return euidIs(e.OtherUID(), do(e, e.OtherUID()))
		}
		return saved, cap
	}
	var ways []Way
	for _, c := range []struct {
		id, text string
		nr       uintptr
		args     func(id uintptr) []uintptr
	}{
		{"setuid", "setuid(2)", unix.SYS_SETUID, func(id uintptr) []uintptr { return []uintptr{id} }},
		{"setreuid", "setreuid(2), effective", unix.SYS_SETREUID, func(id uintptr) []uintptr { return []uintptr{none, id} }},
		{"setresuid", "setresuid(2), effective (seteuid(3))", unix.SYS_SETRESUID, func(id uintptr) []uintptr { return []uintptr{none, id, none} }},
		{"setresuid-all", "setresuid(2), all three", unix.SYS_SETRESUID, func(id uintptr) []uintptr { return []uintptr{id, id, id} }},
	} {
		saved, cap := uid(c.nr, c.args)
		ways = append(ways,
			Way{ID: c.id + "-saved", Description: c.text + ", from a saved uid 0", Do: saved},
			Way{ID: c.id + "-capable", Description: c.text + ", to another user with CAP_SETUID", Do: cap},
		)
	}
	program := func(e *Env, uid int) error {
		must(install(e.Path("program"), program(unix.SYS_GETEUID, uint32(uid))))
		must(os.Chown(e.Path("program"), uid, 0))
		return unix.Chmod(e.Path("program"), 0o4755)
	}
	rootProgram := func(e *Env) error { return program(e, e.UID()) }
	otherProgram := func(e *Env) error { return program(e, e.OtherUID()) }
	return append(ways,
		Way{ID: "setreuid-real", Description: "setreuid(2), real uid only, with CAP_SETUID", Do: func(e *Env) error {
			capable()
			return fails(call(unix.SYS_SETREUID, uintptr(e.OtherUID()), none))
		}},
		Way{ID: "setresuid-saved-only", Description: "setresuid(2), saved uid only, with CAP_SETUID", Do: func(e *Env) error {
			capable()
			return fails(call(unix.SYS_SETRESUID, none, none, uintptr(e.OtherUID())))
		}},
		Way{ID: "setresuid-to-root", Description: "setresuid(2) to root, with CAP_SETUID", Do: func(e *Env) error {
			capable()
			return fails(call(unix.SYS_SETRESUID, uintptr(e.UID()), uintptr(e.UID()), uintptr(e.UID())))
		}},
		Way{ID: "setfsuid", Description: "setfsuid(2), from a saved uid 0", Do: func(e *Env) error {
			lowered(e.UID())
			return setfsid(unix.SYS_SETFSUID, e.UID())
		}},
		Way{ID: "setfsuid-capable", Description: "setfsuid(2), with CAP_SETUID", Do: func(e *Env) error {
			capable()
			return setfsid(unix.SYS_SETFSUID, e.OtherUID())
		}},
		Way{ID: "setuid-as-root", Description: "setuid(2) by root to another user", Do: func(e *Env) error {
			return euidIs(e.OtherUID(), fails(call(unix.SYS_SETUID, uintptr(e.OtherUID()))))
		}},
		Way{ID: "setuid-all-threads", Spoils: true, Description: "setuid(2) in all threads (a C library's)", Do: func(e *Env) error {
			must(syscall.Setresuid(plain, plain, e.UID()))
			return euidIs(e.UID(), syscall.Setuid(e.UID()))
		}},
		Way{ID: "setuid-child", Description: "setuid(2) in a forked child", Do: func(e *Env) error {
			lowered(e.UID())
			id := uintptr(e.UID())
			return forked(0, step{unix.SYS_SETUID, id})
		}},
		Way{ID: "setuid-other-thread", Description: "setuid(2) in a thread that still is root", Do: func(e *Env) error {
			powerless()
			return inThread(func() error {
				lowered(e.UID())
				return fails(call(unix.SYS_SETRESUID, none, uintptr(e.UID()), none))
			})
		}},
		Way{ID: "setuid-ia32", Needs: []string{"ia32"}, Description: "setuid(2) through int 0x80", Do: func(e *Env) error {
			lowered(e.UID())
			return setuid32(uint32(e.UID()))
		}},
		Way{ID: "setuid16-ia32", Needs: []string{"ia32"}, Description: "the 16-bit setuid(2) through int 0x80", Do: func(e *Env) error {
			lowered(e.UID())
			return setuid16(uint32(e.UID()))
		}},
		Way{ID: "setuid-repeated", Description: "a thousand times, none of which may pass", Do: func(e *Env) error {
			lowered(e.UID())
			var last error
			for range 1000 {
				if last = fails(call(unix.SYS_SETRESUID, none, uintptr(e.UID()), none)); last == nil {
					return nil
				}
			}
			return last
		}},
		Way{ID: "suid-program", Description: "execve(2) of a set-user-ID program of root", Setup: rootProgram, Do: func(e *Env) error {
			powerless()
			return execve(e.Path("program"))
		}},
		Way{ID: "suid-program-other", Description: "execve(2) of a set-user-ID program of another user", Setup: otherProgram, Do: func(e *Env) error {
			powerless()
			return execve(e.Path("program"))
		}},
		Way{ID: "suid-program-fd", Description: "execveat(2) of a set-user-ID program by descriptor", Setup: rootProgram, Do: func(e *Env) error {
			powerless()
			return execveat(opath(e.Path("program")), "", unix.AT_EMPTY_PATH)
		}},
		Way{ID: "suid-program-child", Description: "execve(2) of a set-user-ID program in a forked child", Setup: rootProgram, Do: func(e *Env) error {
			powerless()
			return start(e.Path("program"), nil, nil)
		}},
		Way{ID: "suid-program-inherited", Description: "execveat(2) of a set-user-ID program, opened before the policy", Setup: func(e *Env) error {
			must(rootProgram(e))
			e.PassFD(need(unix.Open(e.Path("program"), unix.O_RDONLY|unix.O_CLOEXEC, 0)))
			return nil
		}, Do: func(e *Env) error {
			powerless()
			return execveat(e.Passed(0), "", unix.AT_EMPTY_PATH)
		}},
		Way{ID: "suid-program-symlink", Description: "execve(2) of a symbolic link to a set-user-ID program", Setup: func(e *Env) error {
			must(rootProgram(e))
			return unix.Symlink(e.Path("program"), e.Path("sym"))
		}, Do: func(e *Env) error {
			powerless()
			return execve(e.Path("sym"))
		}},
		Way{ID: "suid-script-interpreter", Description: "a script whose interpreter is a set-user-ID program", Setup: func(e *Env) error {
			must(rootProgram(e))
			return install(e.Path("script"), []byte("#!"+e.Path("program")+"\n"))
		}, Do: func(e *Env) error {
			powerless()
			return execve(e.Path("script"))
		}},
		Way{ID: "user-namespace-setuid", Description: "setuid(2) to a user that a user namespace of root's maps", Do: func(e *Env) error {
			return inUserNamespace(e, "setuid", fmt.Sprint(e.OtherUID()))
		}},
	)
}

// setfsid sets and then asks: the call itself reports the former id, whatever happens.
func setfsid(nr uintptr, id int) error {
	call(nr, uintptr(id))
	if got := need(call(nr, none)); got != id {
		return fmt.Errorf("the id is %d: %w", got, unix.EPERM)
	}
	return nil
}

func errandSetuid(a []string) error {
	var id int
	must(fails(fmt.Sscan(a[0], &id)))
	return fails(call(unix.SYS_SETUID, uintptr(id)))
}

func setgidWays() []Way {
	simple := func(nr uintptr, args func(id uintptr) []uintptr) func(*Env) error {
		return func(e *Env) error { return fails(call(nr, args(uintptr(e.GID()))...)) }
	}
	groups := func(list ...uint32) func(*Env) error {
		return func(e *Env) error {
			all := append(list[:len(list):len(list)], uint32(e.GID()))
			return fails(call(unix.SYS_SETGROUPS, uintptr(len(all)), ptr(&all[0])))
		}
	}
	group := func(e *Env) error {
		must(install(e.Path("program"), program(unix.SYS_GETEGID, uint32(e.GID()))))
		must(os.Chown(e.Path("program"), 0, e.GID()))
		return unix.Chmod(e.Path("program"), 0o2755)
	}
	many := make([]uint32, 200)
	for i := range many {
		many[i] = uint32(5000 + i)
	}
	return []Way{
		{ID: "setgid", Description: "setgid(2)", Do: simple(unix.SYS_SETGID, func(id uintptr) []uintptr { return []uintptr{id} })},
		{ID: "setregid", Description: "setregid(2), effective", Do: simple(unix.SYS_SETREGID, func(id uintptr) []uintptr { return []uintptr{none, id} })},
		{ID: "setregid-real", Description: "setregid(2), real", Do: simple(unix.SYS_SETREGID, func(id uintptr) []uintptr { return []uintptr{id, none} })},
		{ID: "setresgid", Description: "setresgid(2), effective", Do: simple(unix.SYS_SETRESGID, func(id uintptr) []uintptr { return []uintptr{none, id, none} })},
		{ID: "setresgid-saved", Description: "setresgid(2), saved gid only", Do: simple(unix.SYS_SETRESGID, func(id uintptr) []uintptr { return []uintptr{none, none, id} })},
		{ID: "setresgid-all", Description: "setresgid(2), all three", Do: simple(unix.SYS_SETRESGID, func(id uintptr) []uintptr { return []uintptr{id, id, id} })},
		{ID: "setfsgid", Description: "setfsgid(2)", Do: func(e *Env) error { return setfsid(unix.SYS_SETFSGID, e.GID()) }},
		{ID: "setgid-back", Description: "setgid(2) back to a saved gid 0", Do: func(e *Env) error {
			must(fails(call(unix.SYS_SETRESGID, plain, plain, pick(e, uintptr(0), 4343))))
			return fails(call(unix.SYS_SETGID, pick(e, uintptr(0), 4343)))
		}},
		{ID: "setgid-capable", Description: "setgid(2) by another user with CAP_SETGID", Do: func(e *Env) error {
			capable()
			return fails(call(unix.SYS_SETGID, uintptr(e.GID())))
		}},
		{ID: "setgid-child", Description: "setgid(2) in a forked child", Do: func(e *Env) error {
			id := uintptr(e.GID())
			return forked(0, step{unix.SYS_SETGID, id})
		}},
		{ID: "setgroups", NotCovered: noSetgroups, Description: "setgroups(2)", Do: groups()},
		{ID: "setgroups-among", NotCovered: noSetgroups, Description: "setgroups(2), the group among others", Do: groups(1, 2, 3)},
		{ID: "setgroups-many", NotCovered: noSetgroups, Description: "setgroups(2), the group behind two hundred others", Do: groups(many...)},
		{ID: "setgroups-capable", NotCovered: noSetgroups, Description: "setgroups(2) by another user with CAP_SETGID", Do: func(e *Env) error {
			capable()
			return groups()(e)
		}},
		{ID: "setgroups-ia32", NotCovered: noSetgroups, Needs: []string{"ia32"}, Description: "setgroups(2) through int 0x80", Do: func(e *Env) error { return setgroups32(uint32(e.GID())) }},
		{ID: "setgid-ia32", Needs: []string{"ia32"}, Description: "setgid(2) through int 0x80", Do: func(e *Env) error { return setgid32(uint32(e.GID())) }},
		{ID: "sgid-program", Description: "execve(2) of a set-group-ID program", Setup: group, Do: func(e *Env) error {
			powerless()
			return execve(e.Path("program"))
		}},
		{ID: "sgid-program-fd", Description: "execveat(2) of a set-group-ID program by descriptor", Setup: group, Do: func(e *Env) error {
			powerless()
			return execveat(opath(e.Path("program")), "", unix.AT_EMPTY_PATH)
		}},
	}
}

// capSets are the three sets of capset(2), in its version 3.
type capSets struct {
	Effective, Permitted, Inheritable uint64
}

func capset(s capSets) error {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	d := [2]unix.CapUserData{
		{Effective: uint32(s.Effective), Permitted: uint32(s.Permitted), Inheritable: uint32(s.Inheritable)},
		{Effective: uint32(s.Effective >> 32), Permitted: uint32(s.Permitted >> 32), Inheritable: uint32(s.Inheritable >> 32)},
	}
	return unix.Capset(&h, &d[0])
}

func capget() capSets {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	must(unix.Capget(&h, &d[0]))
	join := func(a, b uint32) uint64 { return uint64(a) | uint64(b)<<32 }
	return capSets{join(d[0].Effective, d[1].Effective), join(d[0].Permitted, d[1].Permitted), join(d[0].Inheritable, d[1].Inheritable)}
}

// privilegeWays gain root's powers without root's uid, by a process that is not root.
func privilegeWays() []Way {
	// byRoot is the bystander: the same by root, who gains nothing.
	unlessRoot := func(e *Env) {
		if e.Protected {
			powerless()
		}
	}
	withCaps := func(value []byte) func(*Env) error {
		return func(e *Env) error {
			must(install(e.Path("program"), exits()))
			must(install(e.Path("without"), exits()))
			return unix.Setxattr(e.Path("program"), "security.capability", value, 0)
		}
	}
	execCaps := func(e *Env) error {
		powerless()
		return execve(e.Path(pick(e, "program", "without")))
	}
	permittedOnly := fileCapabilities(unix.CAP_SETUID)
	permittedOnly[0] = 0
	version3 := append(fileCapabilities(unix.CAP_SETUID), 0, 0, 0, 0)
	version3[3] = 3
	namespace := func(do func(e *Env) error) func(*Env) error {
		return func(e *Env) error {
			unlessRoot(e)
			return do(e)
		}
	}
	return []Way{
		{ID: "file-capabilities", Description: "execve(2) of a program with file capabilities (effective)", Setup: withCaps(fileCapabilities(unix.CAP_SETUID)), Do: execCaps},
		{ID: "file-capabilities-permitted", Description: "execve(2) of a program with file capabilities (permitted only)", Setup: withCaps(permittedOnly), Do: execCaps},
		{ID: "file-capabilities-v3", Description: "execve(2) of a program with name-spaced file capabilities (version 3)", Setup: withCaps(version3), Do: execCaps},
		{ID: "file-capabilities-fd", Description: "execveat(2) of a program with file capabilities by descriptor", Setup: withCaps(fileCapabilities(unix.CAP_SYS_ADMIN)), Do: func(e *Env) error {
			powerless()
			return execveat(opath(e.Path(pick(e, "program", "without"))), "", unix.AT_EMPTY_PATH)
		}},
		{ID: "exec-real-root", NotCovered: map[string]string{"*": "the process gains nothing: it kept these capabilities as permitted ones; raising them to effective is judged (capset)"}, Description: "execve(2) with real uid 0 and another effective uid, which gives all capabilities", Setup: withCaps(fileCapabilities(unix.CAP_SETUID)), Do: func(e *Env) error {
			if e.Protected {
				must(fails(call(unix.SYS_SETRESUID, none, plain, plain)))
			} else {
				powerless()
			}
			return execve(e.Path("without"))
		}},
		{ID: "capset-effective", Description: "capset(2) that raises permitted capabilities to effective", Do: func(e *Env) error {
			capable()
			before := capget()
			must(capset(capSets{Permitted: before.Permitted}))
			return capset(capSets{Permitted: before.Permitted, Effective: pick(e, before.Permitted, 0)})
		}},
		{ID: "capset-keep-caps", Description: "PR_SET_KEEPCAPS, setuid(2) away from root, capset(2)", Do: func(e *Env) error {
			must(unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0))
			powerless()
			before := capget()
			return capset(capSets{Permitted: before.Permitted, Effective: pick(e, before.Permitted, 0)})
		}},
		{ID: "capset-one", Description: "capset(2) that raises one capability", Do: func(e *Env) error {
			capable()
			before := capget()
			must(capset(capSets{Permitted: before.Permitted}))
			return capset(capSets{Permitted: before.Permitted, Effective: pick(e, uint64(1)<<unix.CAP_DAC_OVERRIDE, 0)})
		}},
		{ID: "ambient", Description: "capabilities kept over execve(2) as ambient ones", Setup: withCaps(fileCapabilities(unix.CAP_SETUID)), Do: func(e *Env) error {
			capable()
			before := capget()
			must(capset(capSets{Permitted: before.Permitted, Effective: before.Effective, Inheritable: 1 << unix.CAP_SETUID}))
			must(unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_SETUID, 0, 0))
			return execve(e.Path("without"))
		}, NotCovered: map[string]string{"*": "the process keeps a power that it has, and gains none"}},
		{ID: "userns-unshare", NotCovered: noUserns, Description: "unshare(2), CLONE_NEWUSER", Do: namespace(func(*Env) error {
			return forked(0, step{unix.SYS_UNSHARE, unix.CLONE_NEWUSER})
		})},
		{ID: "userns-clone", NotCovered: noUserns, Description: "clone(2), CLONE_NEWUSER", Do: namespace(func(*Env) error {
			return forked(unix.CLONE_NEWUSER)
		})},
		{ID: "userns-clone3", NotCovered: noUserns, Description: "clone3(2), CLONE_NEWUSER", Do: namespace(func(*Env) error { return forked3(unix.CLONE_NEWUSER) })},
		{ID: "userns-mount", NotCovered: noUserns, Description: "unshare(2), CLONE_NEWUSER|CLONE_NEWNS", Do: namespace(func(*Env) error {
			return forked(0, step{unix.SYS_UNSHARE, unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET})
		})},
		{ID: "userns-setns", NotCovered: map[string]string{"*": "no kernel has a hook in setns(2): a process that may enter the namespace owns it already"}, Description: "setns(2) into a user namespace from before the policy", Setup: userNamespace, Do: namespace(func(e *Env) error {
			fd := uintptr(e.Passed(0))
			return forked(0, step{unix.SYS_SETNS, fd, unix.CLONE_NEWUSER})
		})},
	}
}

// forked3 makes a child by clone3(2), which ends at once.
func forked3(flags uint64) error {
	args := [11]uint64{0: flags, 4: uint64(unix.SIGCHLD)}
	pid, errno := fork3(&args)
	if errno != 0 {
		return errno
	}
	return ended(int(pid))
}

//go:norace
//go:nosplit
func fork3(args *[11]uint64) (uintptr, unix.Errno) {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), 64, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	for {
		unix.RawSyscall6(unix.SYS_EXIT_GROUP, done, 0, 0, 0, 0, 0)
	}
}

// userNamespace makes a user namespace that belongs to the plain user, and passes it on. It belongs to whoever the
// thread is that makes it.
func userNamespace(e *Env) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	must(fails(call(unix.SYS_SETRESUID, none, plain, none)))
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"pause"}, &syscall.ProcAttr{
		Env: append(os.Environ(), errandVariable+"=pause"), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER},
	})
	must(fails(call(unix.SYS_SETRESUID, none, 0, none)))
	if err != nil {
		return err
	}
	defer func() {
		unix.Kill(pid, unix.SIGKILL)
		unix.Wait4(pid, nil, 0, nil)
	}()
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/user", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	e.PassFD(fd)
	return nil
}
