package machines

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/policy"
)

const (
	// payload begins the name of the group in which LXC puts a container of root (since LXC 4.0).
	payload = "lxc.payload."
	// lxcDir is where LXC keeps a directory for each container.
	lxcDir = "/var/lib/lxc"
)

// newLXC returns a source by the root of the control groups. LXC makes the group before it starts the
// container's init there.
func newLXC(root string) *source {
	return &source{name: "lxc", dir: root, read: func() ([]machine, error) { return readLXC(root, lxcDir) }}
}

func readLXC(root, dir string) ([]machine, error) {
	groups, err := filepath.Glob(filepath.Join(root, payload+"*"))
	if err != nil {
		return nil, err
	}
	var all []machine
	for _, group := range groups {
		suffix := strings.TrimPrefix(filepath.Base(group), payload)
		name := lxcName(suffix, func(name string) bool {
			_, err := os.Stat(filepath.Join(dir, name))
			return err == nil
		})
		info, err := os.Stat(group)
		if err != nil {
			continue // it has ended
		}
		inode, _ := containers.Inode(info)
		all = append(all, machine{containers.Container{
			Container: policy.Container{ID: "lxc:" + suffix, Name: name, Runtime: "lxc"},
			Cgroup:    "/" + filepath.Base(group),
			Running:   true,
		}, inode})
	}
	return all, nil
}

var numbered = regexp.MustCompile(`^(.+)-[0-9]+$`)

// lxcName returns the name of the container: a group has a number at its end when another one of the
// container is left from before.
func lxcName(suffix string, exists func(string) bool) string {
	if match := numbered.FindStringSubmatch(suffix); match != nil && !exists(suffix) && exists(match[1]) {
		return match[1]
	}
	return suffix
}
