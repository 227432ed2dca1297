//go:build vm

package guardtest

import (
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What Counts says of the children of the errand "forks".
const (
	ForkPassed = iota
	ForkRefused
	ForkNoMemory // it could not be made
	ForkOther
)

// forks makes children, and when all of them are there has each bind a port. They start no
// program.
func forks(o *Outcome, count, port int) error {
	spare.Do(spareThreads)
	var start [2]int
	if err := unix.Pipe2(start[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	address := [16]byte{byte(unix.AF_INET), 0, byte(port >> 8), byte(port), 127, 0, 0, 1}
	o.Counts = make([]int, ForkOther+1)
	made := 0
	for range count {
		pid, errno := forkBindExit(uintptr(start[0]), uintptr(start[1]), &address)
		switch {
		case errno == unix.ENOMEM:
			o.Counts[ForkNoMemory]++
		case errno != 0:
			return errno
		case pid != 0:
			made++
		}
	}
	unix.Close(start[1])
	unix.Close(start[0])
	for range made {
		var status unix.WaitStatus
		if _, err := unix.Wait4(-1, &status, 0, nil); err != nil {
			return err
		}
		switch syscall.Errno(status.ExitStatus()) {
		case 0:
			o.Counts[ForkPassed]++
		case unix.EPERM:
			o.Counts[ForkRefused]++
		default:
			o.Counts[ForkOther]++
		}
	}
	return nil
}

var spare sync.Once

// spareThreads has the runtime make threads while they can be made, and it keeps what it made.
// Who asks for forks may take the memory of the guard before it asks again. Then no task is
// made, and a runtime that wants a thread ends the process.
func spareThreads() {
	const threads = 16
	var made, released sync.WaitGroup
	made.Add(threads)
	released.Add(threads)
	release := make(chan struct{})
	for range threads {
		go func() {
			defer released.Done()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			made.Done()
			<-release
		}()
	}
	made.Wait()
	close(release)
	released.Wait()
}

// forkBindExit forks. The child waits until nothing holds the pipe open for writing, and exits
// with what became of its bind. As in forkOpenExit it calls nothing but the kernel.
//
//go:norace
//go:nosplit
func forkBindExit(read, write uintptr, address *[16]byte) (uintptr, syscall.Errno) {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	var nothing [1]byte
	unix.RawSyscall(unix.SYS_CLOSE, write, 0, 0)
	unix.RawSyscall(unix.SYS_READ, read, uintptr(unsafe.Pointer(&nothing)), 1)
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0)
	if errno == 0 {
		one := int32(1)
		unix.RawSyscall6(unix.SYS_SETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, uintptr(unsafe.Pointer(&one)), 4, 0)
		_, _, errno = unix.RawSyscall(unix.SYS_BIND, fd, uintptr(unsafe.Pointer(address)), 16)
	}
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(errno), 0, 0)
	}
}
