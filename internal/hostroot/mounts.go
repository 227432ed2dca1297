package hostroot

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/procfs"
)

// Mount is a line of proc_pid_mountinfo(5).
type Mount struct {
	// Path is the mount point, below the root.
	Path string
	// Source is the directory of the filesystem that is mounted, Device the filesystem's device, as MAJOR:MINOR.
	Source, Device string
	Type           string
	// Receives says that mounts which the host makes below it later appear here too, as they do by themselves in the
	// host's own mount namespace.
	Receives bool
}

// ofProcess are roots of processes, of which /proc tells the mounts.
var ofProcess = regexp.MustCompile(`^/proc/(self|[0-9]+)/root$`)

// Mounts returns the mounts below the root that are not covered by its own mount, in their order; none if they cannot be
// read.
func (r *Root) Mounts() []Mount {
	if r == nil {
		return mountsOf(procfs.Dir+"/self/mountinfo", "")
	}
	if process := ofProcess.FindStringSubmatch(r.name); process != nil {
		return mountsOf(procfs.Dir+"/"+process[1]+"/mountinfo", "")
	}
	real, err := filepath.EvalSymlinks(r.name)
	if err != nil {
		return nil
	}
	return mountsOf(procfs.Dir+"/self/mountinfo", real)
}

func mountsOf(name, below string) []Mount {
	file, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer file.Close()
	return parseMounts(file, below)
}

// maxLine is the longest line of mounts that is read: overlays of many layers have long ones.
const maxLine = 1 << 20

func parseMounts(lines io.Reader, below string) []Mount {
	var all []Mount
	s := bufio.NewScanner(lines)
	s.Buffer(nil, maxLine)
	for s.Scan() {
		left, right, _ := strings.Cut(s.Text(), " - ")
		fields, types := strings.Fields(left), strings.Fields(right)
		if len(fields) < 6 || len(types) == 0 {
			continue
		}
		path := unescape.Replace(fields[4])
		if below != "" && below != "/" {
			rest, ok := strings.CutPrefix(path, below)
			if !ok || rest != "" && rest[0] != '/' {
				continue
			}
			if path = rest; path == "" {
				path = "/"
			}
		}
		all = append(all, Mount{
			Path: path, Source: unescape.Replace(fields[3]), Device: fields[2], Type: types[0],
			Receives: slices.ContainsFunc(fields[6:], func(f string) bool { return strings.HasPrefix(f, "master:") || strings.HasPrefix(f, "shared:") }),
		})
	}
	return all
}

// unescape undoes what the kernel does to paths in mountinfo.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// Cgroups returns where the unified hierarchy of control groups (cgroup2) is mounted, and below which root: the host's if
// it is there, else that of this process. With hierarchies of version 1 beside it, it is elsewhere than usual, for systemd
// below /sys/fs/cgroup/unified. The path is the usual one when there is none.
func (r *Root) Cgroups() (*Root, string) {
	if path := cgroupMount(r.Mounts()); path != "" {
		return r, path
	}
	if path := cgroupMount((*Root)(nil).Mounts()); path != "" {
		return nil, path
	}
	return nil, DefaultCgroups
}

// CgroupMount returns where the unified hierarchy is mounted for this process.
func CgroupMount() string {
	_, path := (*Root)(nil).Cgroups()
	return path
}

// DefaultCgroups is where the unified hierarchy of control groups usually is.
const DefaultCgroups = "/sys/fs/cgroup"

// cgroupMount finds the mount of the whole hierarchy. One of a part of it, as containers have, will do if there is no
// other.
func cgroupMount(mounts []Mount) string {
	found := ""
	for _, m := range mounts {
		if m.Type == "cgroup2" && (m.Path == DefaultCgroups || found == "" || m.Source == "/" && !strings.HasPrefix(found, DefaultCgroups)) {
			found = m.Path
		}
	}
	return found
}
