package mitigate

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

// NoMatchWarning returns why a mitigation matches no process now, if that is so: with a
// mistyped path it would protect nothing. It may be meant for what starts later, so it is
// no error.
func (m Machine) NoMatchWarning(wanted policy.Subject) string {
	subject, err := resolveUsers(policy.Policy{Subject: wanted})
	if err != nil {
		return "" // cannot be: it was validated
	}
	switch {
	case len(subject.Binaries) == 1:
		return noMatchForBinary(subject.Binaries[0], m.selectorOf(subject))
	case len(subject.Cgroups) == 1:
		return noMatchForCgroup(subject.Cgroups[0], m.selectorOf(subject))
	case len(subject.Containers) > 0:
		if !anyProcess(m.selectorOf(subject).selects) {
			return "no process is in a " + DescribeSubject(wanted) + " now ('ebpfguard containers' lists those that are known); this mitigation matches containers of that name that start later"
		}
	case len(subject.Pods) > 0:
		if !anyProcess(m.selectorOf(subject).selects) {
			return "no process is in a " + DescribeSubject(wanted) + " on this node now; this mitigation matches pods of that name that start later"
		}
	case len(subject.Users.Ranges) > 0:
		if !anyProcess(m.selectorOf(subject).selects) {
			return DescribeSubject(wanted) + " has no process now; this mitigation matches processes that it starts later"
		}
	}
	return ""
}

func noMatchForBinary(text string, s selector) string {
	pattern, err := policy.ParsePathPattern(text)
	if err != nil {
		return "" // cannot be: it was validated
	}
	missing := func(what, path string) string {
		return fmt.Sprintf("there is no %s %s here; this mitigation matches nothing until that %s exists", what, path, what)
	}
	if pattern.Kind != policy.PathExact {
		folder := text[:strings.LastIndexByte(literal(text), '/')+1]
		if _, err := hostroot.Host().Stat(folder); errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return missing("directory", folder)
		}
		if !anyProcess(s.selects) {
			return fmt.Sprintf("no process runs a program of %s now; this mitigation matches processes that start one later", text)
		}
		return ""
	}
	file, err := hostroot.Host().Stat(text)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return missing("file", text)
	case err != nil: // nothing is known
		return ""
	case !file.IsDir() && !file.Mode().IsRegular():
		return fmt.Sprintf("%s is not a regular file and no program, so this mitigation matches nothing; look who replaced it", text)
	case file.IsDir():
		return fmt.Sprintf("%s is a directory and not a program, so this mitigation matches nothing; write %s/ for the programs in it", text, text)
	case file.Mode()&0o111 == 0:
		return fmt.Sprintf("%s is not executable; this mitigation matches nothing until it is", text)
	case isScript(text): // /proc does not show who runs it
		return ""
	}
	if !anyProcess(s.selects) {
		return fmt.Sprintf("no process runs %s now; this mitigation matches processes that start it later", text)
	}
	return ""
}

func isScript(path string) bool {
	file, err := hostroot.Host().OpenRegular(path)
	if err != nil {
		return false
	}
	defer file.Close()
	start := make([]byte, 2)
	_, err = file.Read(start)
	return err == nil && string(start) == "#!"
}

func noMatchForCgroup(path string, s selector) string {
	if root, mount := hostroot.Host().Cgroups(); literal(path) == path && hasCgroups(root, mount) {
		if _, err := root.Stat(mount + path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Sprintf("there is no cgroup %s here (systemd-cgls lists them); this mitigation matches nothing until that cgroup exists", path)
		}
	}
	if !anyProcess(s.selects) {
		return fmt.Sprintf("no process is in the cgroup %s now; this mitigation matches processes that start in it later", path)
	}
	return ""
}

// anyProcess reports whether there is such a process. When the processes cannot be listed it is
// taken for true: nothing is known then.
func anyProcess(is func(pid uint32) bool) bool {
	all, err := procfs.Processes()
	if err != nil {
		return true
	}
	for _, p := range all {
		if !p.Kernel && !p.Dead && is(p.PID) {
			return true
		}
	}
	return false
}
