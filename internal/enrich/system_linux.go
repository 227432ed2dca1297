package enrich

import "golang.org/x/sys/unix"

// alive reports whether there is a process of that number.
func alive(pid uint32) bool { return unix.Kill(int(pid), 0) != unix.ESRCH }

// inode returns the inode number of a file, 0 when it cannot be told.
func inode(path string) uint64 {
	var file unix.Stat_t
	if unix.Stat(path, &file) != nil {
		return 0
	}
	return file.Ino
}
