package lockout

import (
	"syscall"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
)

func identify(root *hostroot.Root, path string) (identity, bool) {
	info, err := root.Stat(path)
	if err != nil {
		return identity{}, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, false
	}
	return identity{stat.Dev, stat.Ino}, true
}
