package ebpfguard

import (
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/compile"
)

// resolveProgram finds what the path of a binary in a policy stands for. A path
// that leads nowhere is matched from the moment that something is started from
// it.
func resolveProgram(path string) compile.Program {
	program := compile.Program{Paths: []string{path}}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return program
	}
	if resolved != path {
		program.Paths = append(program.Paths, resolved)
	}
	program.Identity = identify(resolved)
	return program
}

// fsIOCGetVersion is FS_IOC_GETVERSION (include/uapi/linux/fs.h); the kernel
// writes an int whatever the declared size, see ioctl_iflags(2).
const fsIOCGetVersion = 0x80087601

// identify returns the identity of a file as the kernel programs see it, nil
// when it cannot be told for sure: then the path alone counts.
func identify(path string) *compile.Identity {
	// Opening what is not a regular file may have effects.
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer file.Close()
	fd := int(file.Fd())
	var stat unix.Stat_t
	if unix.Fstat(fd, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	var fs unix.Statfs_t
	if unix.Fstatfs(fd, &fs) != nil {
		return nil
	}
	identity := &compile.Identity{
		Device: uint64(unix.Major(stat.Dev))<<20 | uint64(unix.Minor(stat.Dev)),
		Inode:  stat.Ino,
	}
	switch fs.Type {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC: // do not use inode numbers again
		return identity
	case unix.BTRFS_SUPER_MAGIC: // stat(2) tells the subvolume's device
		return nil
	}
	var generation uint32
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsIOCGetVersion, uintptr(unsafe.Pointer(&generation))); errno != 0 {
		return nil
	}
	identity.Generation = generation
	return identity
}
