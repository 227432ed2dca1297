package ebpfguard

import (
	"fmt"
	"os"
	"syscall"
)

// initialPIDNamespace is PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h, which never changes.
const initialPIDNamespace = "pid:[4026531836]"

// foreignPlace says why the paths of policies mean other files than those of the host; empty if they
// mean these, or nobody can tell.
func foreignPlace() string {
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	if own != initialPIDNamespace {
		return "this process is in a container: its pid namespace is not the host's"
	}
	// A service may have a mount namespace of its own, with the same files.
	first, err1 := os.Stat("/proc/1/root/.")
	here, err2 := os.Stat("/")
	if err1 != nil || err2 != nil {
		return ""
	}
	a, ok1 := first.Sys().(*syscall.Stat_t)
	b, ok2 := here.Sys().(*syscall.Stat_t)
	if ok1 && ok2 && (a.Dev != b.Dev || a.Ino != b.Ino) {
		return fmt.Sprintf("this process has another root directory (device %d, inode %d) than the first process of this machine (device %d, inode %d)", b.Dev, b.Ino, a.Dev, a.Ino)
	}
	return ""
}
