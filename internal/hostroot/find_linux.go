package hostroot

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// The numbers of the first namespaces, in the kernel's include/linux/proc_ns.h, which never change.
const (
	firstCgroups = "cgroup:[4026531835]"
	firstUsers   = "user:[4026531837]"
	firstPIDs    = "pid:[4026531836]"
)

// HasHostPIDs reports whether this process sees the host's processes; also true when nobody can tell.
func HasHostPIDs() bool { return isFirst("pid", firstPIDs) }

// HasHostCgroups reports whether control groups have the host's names for this process; also true when nobody can tell.
func HasHostCgroups() bool { return isFirst("cgroup", firstCgroups) }

// HasHostUsers reports whether root here is the host's; also true when nobody can tell.
func HasHostUsers() bool { return isFirst("user", firstUsers) }

func isFirst(namespace, first string) bool {
	own, err := os.Readlink("/proc/self/ns/" + namespace)
	return err != nil || own == first
}

// Foreign says why paths mean other files for this process than for the host; empty if they mean the same, or nobody can
// tell.
func Foreign() string {
	if !HasHostPIDs() {
		return "this process is in a container: its pid namespace is not the host's"
	}
	// A service may have a mount namespace of its own, with the same files.
	var first, here unix.Stat_t
	err := unix.Stat(FirstProcess+"/.", &first)
	if err == nil && unix.Stat("/", &here) == nil && (first.Dev != here.Dev || first.Ino != here.Ino) {
		return fmt.Sprintf("this process has another root directory (device %d, inode %d) than the first process of this machine (device %d, inode %d)",
			here.Dev, here.Ino, first.Dev, first.Ino)
	}
	// Without CAP_SYS_PTRACE only the mounts of the first process tell.
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		theirs, ours := mountedAtRoot("/proc/1/mountinfo"), mountedAtRoot("/proc/self/mountinfo")
		if theirs.Device != "" && ours.Device != "" && (theirs.Device != ours.Device || theirs.Source != ours.Source) {
			return fmt.Sprintf("this process has another root directory (%s of device %s) than the first process of this machine (%s of device %s)",
				ours.Source, ours.Device, theirs.Source, theirs.Device)
		}
	}
	return ""
}

// mountedAtRoot returns the mount of the root directory that is on top.
func mountedAtRoot(name string) Mount {
	all := mountsOf(name, "")
	slices.Reverse(all)
	if i := slices.IndexFunc(all, func(m Mount) bool { return m.Path == "/" }); i >= 0 {
		return all[i]
	}
	return Mount{}
}

// OfFirst returns the mounts of process 1, which are the host's; none when they cannot be told.
func OfFirst() []Mount {
	if !HasHostPIDs() {
		return nil
	}
	return mountsOf("/proc/1/mountinfo", "")
}

// Find returns the path of the host's root here, empty when that of this process is the host's, or nobody can tell. The
// error says why it cannot be reached, and ends with what to do.
func Find() (string, error) {
	why := Foreign()
	switch {
	case why == "":
		return "", nil
	case !HasHostPIDs():
		return "", fmt.Errorf("%s, so process 1 here is not the host's; %s", why, Remedy)
	}
	root, err := Open(FirstProcess)
	if err != nil {
		return "", fmt.Errorf("%s, and that of process 1 cannot be reached: %w; add CAP_SYS_PTRACE (--cap-add SYS_PTRACE), and where AppArmor confines containers --security-opt apparmor=unconfined", why, err)
	}
	return FirstProcess, root.Close()
}
