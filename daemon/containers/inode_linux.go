package containers

import (
	"io/fs"
	"syscall"
)

// Inode returns the number of a file's inode, which of a control group is its id (since Linux 5.5, on 64-bit machines).
func Inode(info fs.FileInfo) (uint64, bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return s.Ino, true
}
