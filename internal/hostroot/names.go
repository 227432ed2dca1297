package hostroot

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/ebpfguard/ebpfguard/policy"
)

// Names returns the functions for [policy.ResolveNames] that look names up in the host's files of users and groups; of
// this root, what [policy.SystemNames] returns.
func (r *Root) Names() (users, groups func(name string) (uint32, error)) {
	if r == nil {
		return policy.SystemNames()
	}
	return policy.FileNames(r.ReadFile)
}

// UserName returns the name of a user in the host's file of users; empty when it has none.
func (r *Root) UserName(uid uint32) string {
	data, err := r.ReadFile("/etc/passwd")
	if err != nil {
		return ""
	}
	number := strconv.FormatUint(uint64(uid), 10)
	for line := range strings.Lines(string(data)) {
		if fields := strings.SplitN(line, ":", 4); len(fields) == 4 && fields[2] == number {
			return fields[0]
		}
	}
	return ""
}

// IsMember reports whether the host's files have a user in a group, which is not the user's first one.
func (r *Root) IsMember(uid, gid uint32) bool {
	name := r.UserName(uid)
	data, err := r.ReadFile("/etc/group")
	if err != nil || name == "" {
		return false
	}
	number := strconv.FormatUint(uint64(gid), 10)
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) == 4 && fields[2] == number && slices.Contains(strings.Split(fields[3], ","), name) {
			return true
		}
	}
	return false
}

// Hostname returns the name of the host. A container has another one, unless it shares the host's.
func (r *Root) Hostname() string {
	own, _ := os.Hostname() // what it is for is worth more than it
	if r == nil {
		return own
	}
	here, err1 := os.Readlink("/proc/self/ns/uts")
	there, err2 := os.Readlink("/proc/1/ns/uts")
	if err1 == nil && err2 == nil && here == there && r.name == FirstProcess {
		return own
	}
	data, err := r.ReadFile("/etc/hostname")
	for line := range strings.Lines(string(data)) {
		if name := strings.TrimSpace(line); err == nil && name != "" && !strings.HasPrefix(name, "#") {
			return name
		}
	}
	return own
}
