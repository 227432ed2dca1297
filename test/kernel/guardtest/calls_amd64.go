//go:build vm

package guardtest

import "golang.org/x/sys/unix"

// The calls that take a path and no folder, as the libraries of this architecture make them.

func (b *Batch) Open(path uintptr, flags int, mode uintptr) int {
	return b.Call(unix.SYS_OPEN, path, uintptr(flags), mode)
}

func (b *Batch) Mkdir(path, mode uintptr) int     { return b.Call(unix.SYS_MKDIR, path, mode) }
func (b *Batch) Mknod(path, mode uintptr) int     { return b.Call(unix.SYS_MKNOD, path, mode, 0) }
func (b *Batch) Symlink(target, path uintptr) int { return b.Call(unix.SYS_SYMLINK, target, path) }
func (b *Batch) Link(from, to uintptr) int        { return b.Call(unix.SYS_LINK, from, to) }
func (b *Batch) Rename(from, to uintptr) int      { return b.Call(unix.SYS_RENAME, from, to) }
func (b *Batch) Unlink(path uintptr) int          { return b.Call(unix.SYS_UNLINK, path) }
func (b *Batch) Rmdir(path uintptr) int           { return b.Call(unix.SYS_RMDIR, path) }
func (b *Batch) Chmod(path, mode uintptr) int     { return b.Call(unix.SYS_CHMOD, path, mode) }
func (b *Batch) Chown(path, uid, gid uintptr) int { return b.Call(unix.SYS_CHOWN, path, uid, gid) }
