package coverage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// features finds out once each what this kernel lacks. A probe says why, and nothing when the feature is there.
type features struct {
	known map[string]string
}

var probes = map[string]func() string{
	"openat2":            syscallProbe("openat2", unix.SYS_OPENAT2),
	"resolve_cached":     probeResolveCached,
	"pidfd_getfd":        syscallProbe("pidfd_getfd", unix.SYS_PIDFD_GETFD),
	"fchmodat2":          syscallProbe("fchmodat2", unix.SYS_FCHMODAT2),
	"setxattrat":         syscallProbe("setxattrat", unix.SYS_SETXATTRAT),
	"file_setattr":       syscallProbe("file_setattr", unix.SYS_FILE_SETATTR),
	"mount_setattr":      syscallProbe("mount_setattr", unix.SYS_MOUNT_SETATTR),
	"open_tree_attr":     syscallProbe("open_tree_attr", unix.SYS_OPEN_TREE_ATTR),
	"io_uring":           syscallProbe("io_uring", unix.SYS_IO_URING_SETUP),
	"io_uring_direct":    uringProbe("direct descriptors", uringOpSocket), // one release younger, and its own probe
	"io_uring_openat2":   uringProbe("openat2", uringOpOpenat2),
	"io_uring_renameat":  uringProbe("renameat", uringOpRenameat),
	"io_uring_unlinkat":  uringProbe("unlinkat", uringOpUnlinkat),
	"io_uring_mkdirat":   uringProbe("mkdirat", uringOpMkdirat),
	"io_uring_symlinkat": uringProbe("symlinkat", uringOpSymlinkat),
	"io_uring_linkat":    uringProbe("linkat", uringOpLinkat),
	"io_uring_xattr":     uringProbe("setxattr", uringOpSetxattr),
	"io_uring_ftruncate": uringProbe("ftruncate", uringOpFtruncate),
	"io_uring_bind":      uringProbe("bind", uringOpBind),
	"io_uring_listen":    uringProbe("listen", uringOpListen),
	"io_uring_sendto":    probeUringSendTo,
	"execve_check":       probeExecveCheck,
	"overlay":            filesystemProbe("overlay"),
	"binfmt_misc":        filesystemProbe("binfmt_misc"),
	"ext4":               probeExt4,
	"ext4_options":       probeExt4Options,
	"loop_write_only":    probeLoopWriteOnly,
	"erofs_file":         probeErofsFile,
	"sctp":               socketProbe(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP),
	"mptcp":              socketProbe(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP),
	"dccp":               socketProbe(unix.AF_INET, sockDCCP, unix.IPPROTO_DCCP),
	"smc":                socketProbe(unix.AF_SMC, unix.SOCK_STREAM, 0),
	"smc_protocol":       socketProbe(unix.AF_INET, unix.SOCK_STREAM, ipprotoSMC),
	"udplite":            socketProbe(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE),
	"rds":                socketProbe(unix.AF_RDS, unix.SOCK_SEQPACKET, 0),
	"rxrpc":              socketProbe(unix.AF_RXRPC, unix.SOCK_DGRAM, unix.AF_INET),
	"tree_namespace":     probeTreeNamespace,
	"local_port_range":   probeLocalPortRange,
	"l2tp":               socketProbe(unix.AF_INET, unix.SOCK_DGRAM, ipprotoL2TP),
	"ld.so":              fileProbe(vmtest.Loader),
	"shell":              fileProbe("/bin/sh"),
	"legacy":             probeLegacy,
	"ia32":               probeIA32,
}

// missing returns why this kernel lacks a feature, and nothing if it does not.
func (f *features) missing(name string) string {
	if why, ok := f.known[name]; ok {
		return why
	}
	probe, ok := probes[name]
	if !ok {
		panic("no probe for " + name)
	}
	if f.known == nil {
		f.known = make(map[string]string)
	}
	why := probe()
	f.known[name] = why
	return why
}

// syscallProbe calls with arguments that every kernel refuses, one way or the other.
func syscallProbe(name string, nr uintptr) func() string {
	return func() string {
		_, err := call(nr, ^uintptr(0), 0, 0, 0, 0, 0)
		if errors.Is(err, unix.ENOSYS) {
			return "no " + name
		}
		return ""
	}
}

func socketProbe(family, kind, protocol int) func() string {
	return func() string {
		fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return fmt.Sprintf("no such socket: %s", err)
		}
		unix.Close(fd)
		return ""
	}
}

func filesystemProbe(name string) func() string {
	return func() string {
		raw, err := os.ReadFile("/proc/filesystems")
		for line := range strings.Lines(string(raw)) {
			if fields := strings.Fields(line); len(fields) > 0 && fields[len(fields)-1] == name {
				return ""
			}
		}
		if err != nil {
			return err.Error()
		}
		return "no " + name
	}
}

func fileProbe(path string) func() string {
	return func() string {
		if _, err := os.Stat(path); err != nil {
			return err.Error()
		}
		return ""
	}
}

// resolveCached is RESOLVE_CACHED (5.12), which opens only what is in memory.
const resolveCached = 0x20

func probeResolveCached() string {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH, Resolve: resolveCached})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return "no RESOLVE_CACHED"
	}
	unix.Close(fd)
	return ""
}

// openTreeNamespace is OPEN_TREE_NAMESPACE (7.0), which makes a mount namespace of a tree of mounts.
const openTreeNamespace = 0x2

func probeTreeNamespace() string {
	_, err := unix.OpenTree(unix.AT_FDCWD, "", openTreeNamespace|unix.OPEN_TREE_CLOEXEC)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return "no OPEN_TREE_NAMESPACE"
	}
	return ""
}

// atExecveCheck is AT_EXECVE_CHECK (6.14), which only asks.
const atExecveCheck = 0x10000

func probeExecveCheck() string {
	if execveat(-1, "/proc/self/exe", atExecveCheck) != nil {
		return "no AT_EXECVE_CHECK"
	}
	return ""
}

// probeExt4 wants what a disk takes: the program that makes the file system, and loop devices.
func probeExt4() string {
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		return "no mkfs.ext4 in the guest"
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return "no loop devices in the guest"
	}
	return ""
}

// probeExt4Options tells whether the kernel reads rw and ro in the data of an ext4 mount. Before 5.17 ext4 read all of it
// itself, and these not at all.
func probeExt4Options() string {
	if why := probeExt4(); why != "" {
		return why
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err.Error()
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil {
		return err.Error()
	}
	if major < 5 || major == 5 && minor < 17 {
		return "ext4 ignores rw in the data"
	}
	return ""
}

// probeLoopWriteOnly reads through a loop device a file that is open for writing only, which some kernels refuse to.
func probeLoopWriteOnly() string {
	file, err := os.CreateTemp("", "coverage")
	if err != nil {
		return err.Error()
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if err := file.Truncate(1 << 16); err != nil {
		return err.Error()
	}
	writer, err := os.OpenFile(file.Name(), os.O_WRONLY, 0)
	if err != nil {
		return err.Error()
	}
	defer writer.Close()
	loop, err := unix.Open("/dev/loop6", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "no loop devices in the guest"
	}
	switch err := readLoop(loop, unix.IoctlSetInt(loop, unix.LOOP_SET_FD, int(writer.Fd()))); {
	case errors.Is(err, unix.EIO):
		return "a loop device does not read what is open for writing only"
	case err != nil:
		return err.Error()
	}
	return ""
}

// probeErofsFile mounts an empty file, which cannot succeed: a kernel that takes block devices only says so first. The file has
// to be on a file system whose pages can be read one by one, which a tmpfs's cannot.
func probeErofsFile() string {
	if why := filesystemProbe("erofs")(); why != "" {
		return why
	}
	dir, err := os.MkdirTemp("", "coverage")
	if err != nil {
		return err.Error()
	}
	defer os.Remove(dir)
	if err := unix.Mount("coverage", dir, "ramfs", 0, ""); err != nil {
		return err.Error()
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	file := dir + "/file"
	if err := os.WriteFile(file, make([]byte, 8192), 0o600); err != nil {
		return err.Error()
	}
	if err := unix.Mount(file, dir, "erofs", unix.MS_RDONLY, ""); errors.Is(err, unix.ENOTBLK) {
		return "erofs only from block devices"
	}
	return ""
}

func uringProbe(name string, op uint8) func() string {
	return func() string {
		if why := syscallProbe("io_uring", unix.SYS_IO_URING_SETUP)(); why != "" {
			return why
		}
		u, err := newUring()
		if err != nil {
			return err.Error()
		}
		defer u.close()
		// struct io_uring_probe: 16 bytes, then 8 for each operation, of which bit 0 of the flags says that it is there.
		probe := make([]byte, 16+256*8)
		const registerProbe = 8
		if _, err := call(unix.SYS_IO_URING_REGISTER, uintptr(u.fd), registerProbe, uintptr(unsafe.Pointer(&probe[0])), 256); err != nil {
			return "no io_uring probe: " + err.Error()
		}
		if op > probe[0] || probe[16+int(op)*8+2]&1 == 0 {
			return "no " + name + " through io_uring"
		}
		return ""
	}
}

// probeUringSendTo: IORING_OP_SEND takes an address since 6.0, the release that brought IORING_OP_SEND_ZC.
func probeUringSendTo() string {
	if why := uringProbe("send with an address", uringOpSendZC)(); why != "" {
		return why
	}
	return ""
}
