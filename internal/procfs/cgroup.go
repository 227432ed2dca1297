package procfs

import (
	"os"
	"strings"
)

// DefaultCgroupMount is where the unified hierarchy of control groups usually is.
const DefaultCgroupMount = "/sys/fs/cgroup"

// CgroupMount returns where the unified hierarchy of control groups (cgroup2) is mounted: with those of
// version 1 beside it, it is elsewhere, for systemd below /sys/fs/cgroup/unified. It is
// [DefaultCgroupMount] when there is none.
func CgroupMount() string {
	data, err := os.ReadFile(Dir + "/self/mountinfo")
	if err != nil {
		return DefaultCgroupMount
	}
	return cgroupMount(string(data))
}

// cgroupMount finds the mount of the whole hierarchy in the lines of proc_pid_mountinfo(5). One of a
// part of it, as containers have, will do if there is no other.
func cgroupMount(mounts string) string {
	found := ""
	for line := range strings.Lines(mounts) {
		left, right, _ := strings.Cut(line, " - ")
		fields, types := strings.Fields(left), strings.Fields(right)
		if len(fields) < 5 || len(types) == 0 || types[0] != "cgroup2" {
			continue
		}
		path := unescape.Replace(fields[4])
		if path == DefaultCgroupMount || found == "" || fields[3] == "/" && !strings.HasPrefix(found, DefaultCgroupMount) {
			found = path
		}
	}
	if found == "" {
		return DefaultCgroupMount
	}
	return found
}

// unescape undoes what the kernel does to paths in mountinfo.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
