package ebpfguard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
)

// probePlace looks at what a manager with these options needs of the place where this process runs.
func probePlace(options Options, root *hostroot.Root) []Check {
	checks := []Check{placePaths(root), placeOthers(), placeProcesses(), placePrograms(options), placeCgroups(root)}
	if options.PinPath != "" {
		checks = append(checks, placePins(options.PinPath, root))
	}
	return append(checks, placeSignals(), placeSwitch(root))
}

// placePaths reports whether paths in policies mean the files of the host.
func placePaths(root *hostroot.Root) Check {
	c := Check{Name: checkPaths, Gap: true}
	if root == nil {
		why := hostroot.Foreign()
		if why == "" {
			c.OK, c.Detail = true, "policies name the files that this machine's first process sees"
			return c
		}
		c.Detail = why + ", so a policy's paths mean the files of this place, and protect those of the host by name only: by a hard link or another mount they are reached"
		switch found, err := hostroot.Find(); {
		case err != nil:
			_, c.Remedy, _ = strings.Cut(err.Error(), "; ")
		default:
			c.Remedy = "set Options.HostRoot to " + found + " (--host-root auto)"
		}
		return c
	}
	c.Detail = "policies name the files below " + root.Name()
	var first, here unix.Stat_t
	if hostroot.HasHostPIDs() && unix.Stat(hostroot.FirstProcess+"/.", &first) == nil && unix.Stat(root.Name()+"/.", &here) == nil && (first.Dev != here.Dev || first.Ino != here.Ino) {
		c.Detail += ", which is not the root directory of this machine's first process"
		c.Remedy = "use --host-root auto, or mount the host's / there"
		return c
	}
	if root.Name() == hostroot.FirstProcess {
		c.OK = true
		return c
	}
	mounts := root.Mounts()
	slices.Reverse(mounts) // the one on top
	if !slices.ContainsFunc(mounts, func(m hostroot.Mount) bool { return m.Type == "proc" || m.Type == "sysfs" || m.Type == "devtmpfs" }) {
		c.Detail += ", where the other filesystems of the host are missing: the files there would be mistaken for those below their mount points"
		c.Remedy = "mount the host's / there recursively (rbind)"
		return c
	}
	if i := slices.IndexFunc(mounts, func(m hostroot.Mount) bool { return m.Path == "/" }); i >= 0 && !mounts[i].Receives {
		c.Detail += ", where what the host mounts later does not appear: the files there would be known by name only"
		c.Remedy = "mount it with the propagation rslave (in Kubernetes mountPropagation: HostToContainer), from a host whose / is shared, as systemd has it (mount --make-rshared /)"
		return c
	}
	c.OK = true
	return c
}

// has reports whether this process has a capability over the whole machine.
func has(capability int) bool {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if unix.Capget(&header, &data[0]) != nil {
		return true // nobody can tell
	}
	return hostroot.HasHostUsers() && data[capability/32].Effective&(1<<(capability%32)) != 0
}

// lacking returns those of some capabilities that this process lacks.
func lacking(capabilities map[int]string) []string {
	var missing []string
	for capability, name := range capabilities {
		if !has(capability) {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return missing
}

// missingToLoad returns the capabilities that loading LSM programs takes and this process lacks.
func missingToLoad() []string {
	if has(unix.CAP_SYS_ADMIN) {
		return nil
	}
	return lacking(map[int]string{unix.CAP_BPF: "CAP_BPF", unix.CAP_PERFMON: "CAP_PERFMON"})
}

// bpfFiltered reports whether a seccomp filter refuses bpf(2): the kernel knows no such command, and would say EINVAL.
func bpfFiltered() bool {
	_, _, errno := unix.Syscall(unix.SYS_BPF, 1<<30, 0, 0)
	return filtered() && (errno == unix.EPERM || errno == unix.ENOSYS)
}

// filtered reports whether seccomp filters what this process calls (proc_pid_status(5)).
func filtered() bool {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if mode, ok := strings.CutPrefix(line, "Seccomp:"); ok {
			return strings.TrimSpace(mode) == "2"
		}
	}
	return false
}

// placeOthers reports whether files can be looked up wherever they are: root without capabilities is a user.
func placeOthers() Check {
	c := Check{Name: checkOthers, Gap: true, OK: true, Detail: "can be looked up"}
	if !has(unix.CAP_DAC_READ_SEARCH) && !has(unix.CAP_DAC_OVERRIDE) {
		c.OK, c.Detail = false, "files in folders that only another user may enter cannot be looked up: policies know them by name only, and a hard link or another mount reaches them"
		c.Remedy = "add CAP_DAC_READ_SEARCH (--cap-add DAC_READ_SEARCH)"
	}
	return c
}

// placeProcesses reports whether this process sees those of the host.
func placeProcesses() Check {
	c := Check{Name: checkProcesses, Gap: true, OK: true, Detail: "are seen here"}
	if !hostroot.HasHostPIDs() {
		c.OK = false
		c.Detail = "are not seen here: those that run already are identified when they do something, alerts do not tell their arguments, and mitigations of processes and by kill do not find them"
		c.Remedy = "share the host's pid namespace (--pid host, hostPID: true)"
	}
	return c
}

// placePrograms reports whether it can be read what others run.
func placePrograms(options Options) Check {
	c := Check{Name: checkPrograms, Gap: options.Enrich, OK: true, Detail: "can be read in /proc"}
	if _, err := os.Readlink("/proc/1/exe"); errors.Is(err, fs.ErrPermission) {
		c.OK = false
		c.Detail = "cannot be read in /proc: alerts do not tell what processes and ancestors run that were started before, and mitigations do not find processes by their program"
		c.Remedy = "add CAP_SYS_PTRACE (--cap-add SYS_PTRACE), and where AppArmor confines containers --security-opt apparmor=unconfined"
	}
	return c
}

// placeCgroups reports whether the names of control groups can be found by their numbers.
func placeCgroups(root *hostroot.Root) Check {
	c := Check{Name: checkCgroups, OK: true}
	in, at := root.Cgroups()
	c.Detail = "are named by " + in.Name() + at
	mount, err := in.OpenFile(at, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	var filesystem unix.Statfs_t
	if err == nil {
		defer mount.Close()
		err = unix.Fstatfs(int(mount.Fd()), &filesystem)
	}
	if err != nil || filesystem.Type != unix.CGROUP2_SUPER_MAGIC {
		c.OK, c.Gap = false, root == nil && hostroot.Foreign() != ""
		c.Detail = "have no names: the hierarchy of version 2 (cgroup2) is not mounted here"
		c.Remedy = "mount it at /sys/fs/cgroup, or the host's there (--cgroupns host, --volume /sys/fs/cgroup:/sys/fs/cgroup:ro)"
		return c
	}
	c.Gap = true
	var stat unix.Stat_t
	if err = unix.Fstat(int(mount.Fd()), &stat); err == nil {
		_, err = in.CgroupPath(at, stat.Ino)
	}
	if err != nil {
		c.OK, c.Detail = false, fmt.Sprintf("have no names, nor have systemd's units and containers: %v", err)
		c.Remedy = "add CAP_DAC_READ_SEARCH (--cap-add DAC_READ_SEARCH), and let a seccomp profile allow open_by_handle_at(2)"
		return c
	}
	if _, err := root.NamespaceCgroup(); err != nil {
		c.OK = false
		c.Detail = fmt.Sprintf("have other names here than on the host, so the status and mitigations take them for others: this process has a cgroup namespace of its own, and where that begins cannot be found: %v", err)
		c.Remedy = "share the host's pid namespace (--pid host, hostPID: true), or its cgroup namespace (--cgroupns host)"
	}
	return c
}

// placePins reports whether what is pinned outlives this place.
func placePins(path string, root *hostroot.Root) Check {
	c := Check{Name: checkPins, Gap: true, OK: true, Detail: "enforcement outlives this process by " + path}
	hosts := hostroot.OfFirst()
	if len(hosts) == 0 && root != nil {
		hosts = root.Mounts()
	}
	for dir := filepath.Clean(path); ; dir = filepath.Dir(dir) {
		var stat unix.Stat_t
		if err := unix.Stat(dir, &stat); errors.Is(err, unix.ENOENT) && dir != "/" {
			continue // it is made
		} else if err != nil {
			return c // opening it tells more
		}
		device := fmt.Sprintf("%d:%d", unix.Major(stat.Dev), unix.Minor(stat.Dev))
		same := func(m hostroot.Mount) bool { return m.Type == "bpf" && m.Device == device }
		if len(hosts) > 0 && !slices.ContainsFunc(hosts, same) {
			c.OK, c.Detail = false, "enforcement ends with this container: "+path+" is on no bpf filesystem of the host"
			c.Remedy = "mount the host's there (--volume /sys/fs/bpf:/sys/fs/bpf), or pin nothing (--pins=)"
		}
		return c
	}
}

// placeSignals reports whether processes of other users can be ended.
func placeSignals() Check {
	c := Check{Name: checkSignals, OK: true, Detail: "can be sent"}
	if !has(unix.CAP_KILL) {
		c.OK, c.Detail = false, "can be sent to processes of this user only: mitigations by kill fail for others, which the kernel kills when they act"
		c.Remedy = "add CAP_KILL (--cap-add KILL)"
	}
	return c
}

// placeSwitch reports whether programs can be switched on again that somebody switched off.
func placeSwitch(root *hostroot.Root) Check {
	c := Check{Name: checkSwitch, OK: true, Detail: "can be written: the daemon switches them on again when somebody switches them off"}
	if err := root.Writable(bpf.FtraceSwitch); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.OK, c.Detail = false, fmt.Sprintf("cannot be written, so that the daemon only tells when somebody switches them off: %v", err)
		c.Remedy = "let it write " + bpf.FtraceSwitch + " of the host"
	}
	return c
}
