package enrich

import (
	"regexp"
	"strings"
)

// Unit returns the systemd unit that a process belongs to by the path of its control
// group, the user's own unit if there is one; empty when there is none. As systemd
// does, it takes the first unit below the slices (src/basic/cgroup-util.c,
// cg_path_get_unit): what lies deeper belongs to the unit, or to a container.
func Unit(cgroup string) string {
	unit, rest := firstUnit(cgroup)
	if strings.HasPrefix(unit, "user@") {
		if own, _ := firstUnit(rest); own != "" {
			return own
		}
	}
	return unit
}

// firstUnit skips slices and returns the unit that follows, and the path below it.
func firstUnit(cgroup string) (unit, rest string) {
	for rest = strings.TrimPrefix(cgroup, "/"); rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		name = strings.TrimPrefix(name, "_") // how systemd escapes names of the kernel's own files
		i := strings.LastIndexByte(name, '.')
		if i < 1 {
			return "", ""
		}
		switch name[i+1:] {
		case "slice":
		case "service", "scope", "socket", "mount", "swap":
			return name, rest
		default:
			return "", ""
		}
	}
	return "", ""
}

// A container's directory: its id alone, or behind the name of its runtime and in a
// scope (docker-ID.scope, cri-containerd-ID.scope, kubepods…:cri-containerd:ID).
var containerPattern = regexp.MustCompile(`^(?:(.*)[-:])?([0-9a-f]{64})(?:\.scope)?$`)

// ContainerID returns the id of the container that a process is in by the path of its
// control group, the innermost one's; empty when it is in none.
func ContainerID(cgroup string) string {
	for cgroup != "" {
		i := strings.LastIndexByte(cgroup, '/')
		match := containerPattern.FindStringSubmatch(cgroup[i+1:])
		// A monitor has the id of its container, but runs outside.
		if match != nil && !strings.HasSuffix(match[1], "conmon") {
			return match[2]
		}
		cgroup = cgroup[:max(i, 0)]
	}
	return ""
}
