package ebpfguard

import (
	"encoding/binary"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
)

// resolve finds what a path in a policy stands for. A path that leads nowhere
// is matched from the moment that something is there.
func resolve(root *hostroot.Root, path string) compile.Resolved {
	canonical := canonicalOf(root, path)
	if canonical == "" {
		return compile.Resolved{}
	}
	return compile.Resolved{Canonical: canonical, Identity: identify(root, canonical), Device: deviceAt(root, canonical)}
}

// deviceAt returns what stands for the device whose node is at a path, nil if it is none.
func deviceAt(root *hostroot.Root, path string) *compile.Identity {
	info, err := root.Lstat(path)
	if err != nil {
		return nil
	}
	stat := info.Sys().(*syscall.Stat_t)
	number := uint64(unix.Major(uint64(stat.Rdev)))<<20 | uint64(unix.Minor(uint64(stat.Rdev)))
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFBLK:
		return &compile.Identity{Device: abi.DeviceBlock, Inode: number}
	case unix.S_IFCHR:
		return &compile.Identity{Device: abi.DeviceCharacter, Inode: number}
	}
	return nil
}

// maxDevices bounds the device nodes that are looked at.
const maxDevices = 1 << 16

// devices returns the device nodes below /dev.
func devices(root *hostroot.Root) []compile.Mount {
	var all []compile.Mount
	filepath.WalkDir(root.Name()+"/dev", func(path string, d fs.DirEntry, err error) error {
		path = strings.TrimPrefix(path, root.Name())
		switch {
		case err != nil:
			return nil // what cannot be listed is known by its name
		case len(all) == maxDevices:
			return filepath.SkipAll
		case d.Type()&fs.ModeDevice != 0:
			if device := deviceAt(root, path); device != nil {
				all = append(all, compile.Mount{Path: path, Identity: *device})
			}
		}
		return nil
	})
	return all
}

// canonicalOf returns where a path leads whose directory has no link on the way; empty if that
// is nowhere.
func canonicalOf(root *hostroot.Root, path string) string {
	info, err := root.Lstat(path)
	if err != nil {
		return ""
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return path
	}
	canonical, err := root.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	return canonical
}

// mounts returns the mount points of the host's mount namespace.
func mounts(root *hostroot.Root) []compile.Mount {
	var all []compile.Mount
	for _, m := range root.Mounts() {
		if identity := identify(root, m.Path); identity != nil {
			all = append(all, compile.Mount{Path: m.Path, Identity: *identity})
		}
	}
	return all
}

// identify returns the identity of a file as the kernel programs see it, nil
// when it cannot be told for sure: then the path alone counts. Nothing is
// opened that could have effects.
func identify(root *hostroot.Root, path string) *compile.Identity {
	file, err := root.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC)
	if err != nil {
		return nil
	}
	defer file.Close()
	fd := int(file.Fd())
	var stat unix.Stat_t
	var filesystem unix.Statfs_t
	if unix.Fstat(fd, &stat) != nil || unix.Fstatfs(fd, &filesystem) != nil {
		return nil
	}
	identity := &compile.Identity{
		Device: uint64(unix.Major(stat.Dev))<<20 | uint64(unix.Minor(stat.Dev)),
		Inode:  stat.Ino,
	}
	switch filesystem.Type {
	case unix.TMPFS_MAGIC:
		// It does not use inode numbers again, but the next one may have its device number; what statfs(2) tells of
		// its UUID is its own.
		if bpf.ShowsTmpfs() {
			identity.Generation = uint32(filesystem.Fsid.Val[0] ^ filesystem.Fsid.Val[1])
		}
		return identity
	case unix.RAMFS_MAGIC: // does not use inode numbers again
		return identity
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC:
		// There is one of these, however often it is mounted; below its root
		// names count, since inode numbers come and go.
		identity.Device = uint64(filesystem.Type)
		if stat.Ino != 1 {
			return nil
		}
		return identity
	case unix.BTRFS_SUPER_MAGIC: // stat(2) tells the subvolume's device
		return nil
	case unix.OVERLAYFS_SUPER_MAGIC:
		// Numbers of files are those of the layers, of directories its own.
		return nil
	}
	generation, ok := generationOf(root, fd, path, stat.Mode)
	if !ok {
		return nil
	}
	identity.Generation = generation
	return identity
}

// Types of file handles (include/linux/exportfs.h, fs/xfs/xfs_export.h).
const (
	fileidIno32Gen       = 1
	fileidIno32GenParent = 2
	fileidIno64Gen       = 0x81
	fileidIno64GenParent = 0x82
)

// fsIOCGetVersion is FS_IOC_GETVERSION (include/uapi/linux/fs.h); the kernel
// writes an int whatever the declared size, see ioctl_iflags(2).
const fsIOCGetVersion = 0x80087601

// generationOf returns the generation of a file's inode number, from its handle
// or, of a regular file, by ioctl.
func generationOf(root *hostroot.Root, fd int, path string, mode uint32) (uint32, bool) {
	handle, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	if err == nil {
		b := handle.Bytes()
		switch {
		case (handle.Type() == fileidIno32Gen || handle.Type() == fileidIno32GenParent) && len(b) >= 8:
			return binary.NativeEndian.Uint32(b[4:]), true
		case (handle.Type() == fileidIno64Gen || handle.Type() == fileidIno64GenParent) && len(b) >= 12:
			return binary.NativeEndian.Uint32(b[8:]), true
		}
	}
	if mode&unix.S_IFMT != unix.S_IFREG {
		return 0, false
	}
	file, err := root.OpenFile(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW)
	if err != nil {
		return 0, false
	}
	defer file.Close()
	var generation uint32
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), fsIOCGetVersion, uintptr(unsafe.Pointer(&generation))); errno != 0 {
		return 0, false
	}
	return generation, true
}
