package coverage

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// rawInt80 makes a system call of the 32-bit kind, whose numbers and structures are others.
func rawInt80(nr, a, b, c uint32) int32

func int80(nr, a, b, c uint32) error {
	if r := rawInt80(nr, a, b, c); r < 0 {
		return unix.Errno(-r)
	}
	return nil
}

// low copies bytes to where a 32-bit pointer reaches.
func low(b []byte) uint32 {
	m := need(unix.MmapPtr(-1, 0, nil, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_32BIT))
	copy((*[4096]byte)(m)[:], b)
	return uint32(uintptr(m))
}

// lowString is low for a path.
func lowString(s string) uint32 { return low([]byte(s)) }

// probeIA32 asks in a child: where 32-bit calls are switched off, they are a fault.
func probeIA32() string {
	const getpid32 = 20
	pid, errno := forkInt80(getpid32)
	if errno != 0 {
		return errno.Error()
	}
	if err := ended(int(pid)); err != nil {
		return "no 32-bit system calls"
	}
	return ""
}

//go:norace
//go:nosplit
func forkInt80(nr uint32) (uintptr, unix.Errno) {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	status := uintptr(1)
	if rawInt80(nr, 0, 0, 0) > 0 {
		status = done
	}
	for {
		unix.RawSyscall6(unix.SYS_EXIT_GROUP, status, 0, 0, 0, 0, 0)
	}
}

func mount32(e *Env) error {
	const mount = 21
	kind := lowString("tmpfs")
	return int80(mount, kind, lowString(e.Point()), kind) // the flags, in esi, are nothing and the data, in edi, is never read
}

func umount32(e *Env) error {
	const umount2 = 52
	return int80(umount2, lowString(e.Point()), 0, 0)
}

// execve32 executes with 32-bit vectors in low memory.
func execve32(e *Env) error {
	const execve = 11
	path := lowString(e.Program())
	vector := make([]byte, 8)
	binary.NativeEndian.PutUint32(vector, path)
	return int80(execve, path, low(vector), 0)
}

// setflags32 is chattr(1) of a 32-bit process.
func setflags32(fd int) error {
	const ioctl, setflags, noDump = 54, 0x40046602, 0x40
	return int80(ioctl, uint32(fd), setflags, lowWords(noDump))
}

func setuid32(id uint32) error { return int80(213, id, 0, 0) }

func setuid16(id uint32) error { return int80(23, id, 0, 0) }

func setgid32(id uint32) error { return int80(214, id, 0, 0) }

func setgroups32(id uint32) error {
	list := binary.NativeEndian.AppendUint32(nil, id)
	return int80(206, 1, low(list), 0)
}

// lowWords is low for 32-bit numbers.
func lowWords(words ...uint32) uint32 {
	var b []byte
	for _, w := range words {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	return low(b)
}
