//go:build vm

package guardtest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// modes are how files are opened.
var modes = map[string]int{
	"r": unix.O_RDONLY, "w": unix.O_WRONLY, "rw": unix.O_RDWR, "trunc": unix.O_WRONLY | unix.O_TRUNC, "create": unix.O_CREAT | unix.O_WRONLY,
	"path": unix.O_PATH, "tmpfile": unix.O_TMPFILE | unix.O_WRONLY,
}

// heldFiles are the descriptors that a doer keeps, by the names that tests give them.
var heldFiles = map[string]int{}

// heldHandle is the handle that a doer keeps.
var heldHandle unix.FileHandle

func (e errand) run(o *Outcome) error {
	a := e.Args
	switch e.Do {
	case "open":
		return openAt(unix.AT_FDCWD, a[0], a[1])
	case "openat": // below a descriptor that is kept
		return openAt(heldFiles[a[0]], a[1], a[2])
	case "open-fd": // through /proc
		return openAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", heldFiles[a[0]]), a[1])
	case "handle": // keeps that of a file below a descriptor that is kept
		var err error
		heldHandle, _, err = unix.NameToHandleAt(heldFiles[a[0]], a[1], 0)
		return err
	case "open-handle": // of the mount of a descriptor that is kept
		return opened(unix.OpenByHandleAt(heldFiles[a[0]], heldHandle, modes[a[1]]|unix.O_CLOEXEC))
	case "hold":
		fd, err := unix.Open(a[1], modes[a[2]]|unix.O_CLOEXEC, 0o644)
		heldFiles[a[0]] = fd
		return err
	case "read":
		_, err := unix.Pread(heldFiles[a[0]], make([]byte, 1), 0)
		return err
	case "write":
		_, err := unix.Pwrite(heldFiles[a[0]], []byte("x"), 0)
		return err
	case "fork":
		return forkAndOpen(a[0])
	case "forks":
		return forks(o, number(a[0]), number(a[1]))
	case "exec":
		return syscall.Exec(a[0], a, os.Environ())
	case "spawn", "orphan":
		return takeOver(a, e.Do == "orphan")
	case "setuid": // real, effective and saved, -1 for the same
		return setresuid(number(a[0]), number(a[1]), number(a[2]))
	case "hammer":
		return hammer(o, number(a[0]), a[1:])
	case "watch":
		return watchPlaces(o, number(a[0]), a[1], heldFiles[a[2]], a[3])
	}
	if change, ok := changes[e.Do]; ok {
		return change(a)
	}
	if use, ok := openErrands[e.Do]; ok {
		return use(a)
	}
	return fmt.Errorf("no errand %q", e.Do)
}

// changes are the errands that change a file or a mount.
var changes = map[string]func(a []string) error{
	"mkdir":   func(a []string) error { return unix.Mkdir(a[0], 0o755) },
	"rmdir":   func(a []string) error { return unix.Rmdir(a[0]) },
	"mknod":   func(a []string) error { return unix.Mknod(a[0], unix.S_IFREG|0o644, 0) },
	"fifo":    func(a []string) error { return unix.Mkfifo(a[0], 0o644) },
	"socket":  bindSocket,
	"symlink": func(a []string) error { return unix.Symlink(a[0], a[1]) },
	"link":    func(a []string) error { return unix.Link(a[0], a[1]) },
	"unlink":  func(a []string) error { return unix.Unlink(a[0]) },
	"rename":  func(a []string) error { return unix.Rename(a[0], a[1]) },
	"exchange": func(a []string) error {
		return unix.Renameat2(unix.AT_FDCWD, a[0], unix.AT_FDCWD, a[1], unix.RENAME_EXCHANGE)
	},
	"truncate": func(a []string) error { return unix.Truncate(a[0], 0) },
	"chmod":    func(a []string) error { return unix.Chmod(a[0], 0o755) },
	"ioctl":    callIoctl,
	"reopen":   reopen,
	"chown":    func(a []string) error { return unix.Chown(a[0], 0, 0) },
	"utimes":   func(a []string) error { return unix.Utimes(a[0], []unix.Timeval{{Sec: 1}, {Sec: 1}}) },
	"setxattr": func(a []string) error { return unix.Setxattr(a[0], "trusted.test", []byte("x"), 0) },
	"chroot":   func(a []string) error { return unix.Chroot(a[0]) },
	"chdir":    func(a []string) error { return unix.Chdir(a[0]) },
	"bind":     func(a []string) error { return unix.Mount(a[0], a[1], "", unix.MS_BIND|unix.MS_REC, "") },
	"ext4":     func(a []string) error { return unix.Mount(a[0], a[1], "ext4", 0, "") },
	"proc":     func(a []string) error { return unix.Mount("test", a[0], "proc", 0, "") },
	"put":      func(a []string) error { return os.WriteFile(a[0], []byte(a[1]), 0o644) },
	"run":      func(a []string) error { return exec.Command(a[0], a[1:]...).Run() },
	"tmpfs":    func(a []string) error { return unix.Mount("test", a[0], "tmpfs", 0, "") },
	"overlay": func(a []string) error { // lower directories, mount point
		return unix.Mount("test", a[1], "overlay", unix.MS_RDONLY, "lowerdir="+a[0])
	},
	"move":   func(a []string) error { return unix.Mount(a[0], a[1], "", unix.MS_MOVE, "") },
	"detach": func(a []string) error { return unix.Unmount(a[0], unix.MNT_DETACH) },
	"umount": func(a []string) error { return unix.Unmount(a[0], 0) },
	// A mount namespace of its own.
	"unshare": func([]string) error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return err
		}
		return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	},
	// The mount namespace of another process.
	"setns": func(a []string) error {
		fd, err := unix.Open("/proc/"+a[0]+"/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		// The threads of a process share what they see, unless they say otherwise.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return err
		}
		return unix.Setns(fd, unix.CLONE_NEWNS)
	},
}

func openAt(dir int, path, mode string) error {
	flags, ok := modes[mode]
	if !ok {
		return fmt.Errorf("no mode %q", mode)
	}
	return opened(unix.Openat(dir, path, flags|unix.O_CLOEXEC, 0o644))
}

func opened(fd int, err error) error {
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func bindSocket(a []string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrUnix{Name: a[0]})
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// setresuid changes the ids of this thread, which is the only one that acts.
func setresuid(real, effective, saved int) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(real), uintptr(effective), uintptr(saved)); errno != 0 {
		return errno
	}
	return nil
}

// takeOver starts a doer that goes on in place of this one, which waits for it
// or ends at once.
func takeOver(argv []string, orphan bool) error {
	child := exec.Command(argv[0], argv[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		return err
	}
	if !orphan {
		child.Wait()
	}
	os.Exit(0)
	return nil
}

// forkAndOpen opens a file in a child that starts no other program.
func forkAndOpen(path string) error {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	pid, errno := forkOpenExit(name)
	if errno != 0 {
		return errno
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(int(pid), &status, 0, nil); err != nil {
		return err
	}
	if errno := status.ExitStatus(); errno != 0 {
		return syscall.Errno(errno)
	}
	return nil
}

// forkOpenExit forks. The child has one thread of a runtime that expects more,
// so it calls nothing but the kernel.
//
//go:norace
//go:nosplit
func forkOpenExit(path *byte) (uintptr, syscall.Errno) {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	_, _, errno = unix.RawSyscall6(unix.SYS_OPENAT, ^uintptr(-unix.AT_FDCWD-1), uintptr(unsafe.Pointer(path)), unix.O_RDONLY, 0, 0, 0)
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(errno), 0, 0)
	}
}

// hammer opens each of the files many times, each in a thread of its own, and
// counts what was refused.
func hammer(o *Outcome, times int, paths []string) error {
	o.Counts = make([]int, len(paths))
	errs := make([]error, len(paths))
	var group sync.WaitGroup
	for i, path := range paths {
		group.Go(func() {
			runtime.LockOSThread()
			for range times {
				switch err := openAt(unix.AT_FDCWD, path, "r"); err {
				case nil:
				case unix.EPERM:
					o.Counts[i]++
				default:
					errs[i] = err
				}
			}
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// The states of what is watched: even while it stands still, see watchPlaces.
const (
	placeOpen  = 0 // modulo 4: it lies where everybody may open it
	placeShut  = 2 // it lies where nobody may
	PlaceEnd   = 1 << 62
	placeBytes = 4096
)

// MapPlace maps the word by which a test tells doers where things are.
func MapPlace(path string) (*atomic.Uint64, func(), error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, nil, err
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, placeBytes); err != nil {
		return nil, nil, err
	}
	m, err := unix.Mmap(fd, 0, placeBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return (*atomic.Uint64)(unsafe.Pointer(&m[0])), func() { unix.Munmap(m) }, nil
}

// watchPlaces opens a file below a directory that is kept, or without a name what is kept
// itself, whose place the test changes meanwhile, by several threads until the test ends it. The word at place counts
// up when a change begins and when it has returned; so an open that sees the same even number
// before and after was all the while in one place, and is told its answer.
// Counts: wrongly passed, wrongly refused, rightly passed, rightly refused,
// neither.
func watchPlaces(o *Outcome, threads int, place string, dir int, name string) error {
	word, unmap, err := MapPlace(place)
	if err != nil {
		return err
	}
	defer unmap()
	if name == "" {
		name = fmt.Sprintf("/proc/self/fd/%d", dir)
	}
	var counts [5]atomic.Int64
	var group sync.WaitGroup
	for range threads {
		group.Go(func() {
			runtime.LockOSThread()
			for {
				before := word.Load()
				if before >= PlaceEnd {
					return
				}
				err := openAt(dir, name, "r")
				switch {
				case err != nil && err != unix.EPERM:
					panic(err)
				case word.Load() != before || before%2 != 0:
					counts[4].Add(1)
				case before%4 == placeShut && err == nil:
					counts[0].Add(1)
				case before%4 == placeOpen && err != nil:
					counts[1].Add(1)
				case err == nil:
					counts[2].Add(1)
				default:
					counts[3].Add(1)
				}
				if err != nil {
					// Let alerts be read.
					time.Sleep(100 * time.Microsecond)
				}
			}
		})
	}
	group.Wait()
	for i := range counts {
		o.Counts = append(o.Counts, int(counts[i].Load()))
	}
	return nil
}

// callIoctl calls an ioctl on a file that it opens for reading, with an argument that
// leads nowhere.
func callIoctl(a []string) error {
	fd, err := unix.Open(a[0], unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(number(a[1])), 0); errno != 0 {
		return errno
	}
	return nil
}

// reopen opens something without a name once more, by the process's own descriptor.
func reopen(a []string) error {
	var fd int
	var err error
	switch a[0] {
	case "pipe":
		var ends [2]int
		err = unix.Pipe2(ends[:], unix.O_CLOEXEC)
		fd = ends[1]
		defer unix.Close(ends[0])
	case "memfd":
		fd, err = unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	case "deleted":
		if fd, err = unix.Open(a[1], unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o644); err == nil {
			err = unix.Unlink(a[1])
		}
	case "tmpfile":
		fd, err = unix.Open(a[1], unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o644)
	}
	switch {
	case err != nil && a[0] == "tmpfile": // it never has a name
		return err
	case err != nil:
		return fmt.Errorf("make it: %v", err) // no errno: not what is tried
	}
	defer unix.Close(fd)
	again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(again)
	}
	return err
}
