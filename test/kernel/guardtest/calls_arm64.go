//go:build vm

package guardtest

import "golang.org/x/sys/unix"

// This architecture has only the calls that take a folder, too: here the current one.
const atCWD = ^uintptr(-unix.AT_FDCWD - 1)

func (b *Batch) Open(path uintptr, flags int, mode uintptr) int {
	return b.Call(unix.SYS_OPENAT, atCWD, path, uintptr(flags), mode)
}

func (b *Batch) Mkdir(path, mode uintptr) int { return b.Call(unix.SYS_MKDIRAT, atCWD, path, mode) }
func (b *Batch) Mknod(path, mode uintptr) int { return b.Call(unix.SYS_MKNODAT, atCWD, path, mode, 0) }
func (b *Batch) Symlink(target, path uintptr) int {
	return b.Call(unix.SYS_SYMLINKAT, target, atCWD, path)
}
func (b *Batch) Link(from, to uintptr) int { return b.Call(unix.SYS_LINKAT, atCWD, from, atCWD, to, 0) }
func (b *Batch) Rename(from, to uintptr) int {
	return b.Call(unix.SYS_RENAMEAT, atCWD, from, atCWD, to)
}
func (b *Batch) Unlink(path uintptr) int { return b.Call(unix.SYS_UNLINKAT, atCWD, path, 0) }
func (b *Batch) Rmdir(path uintptr) int {
	return b.Call(unix.SYS_UNLINKAT, atCWD, path, unix.AT_REMOVEDIR)
}
func (b *Batch) Chmod(path, mode uintptr) int { return b.Call(unix.SYS_FCHMODAT, atCWD, path, mode) }
func (b *Batch) Chown(path, uid, gid uintptr) int {
	return b.Call(unix.SYS_FCHOWNAT, atCWD, path, uid, gid, 0)
}
