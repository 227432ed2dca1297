package machine

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// maxLinks is how many symbolic links the kernel follows.
const maxLinks = 40

// found is what a path of this machine stands for.
type found struct {
	state state
	mode  fs.FileMode
	// real is the path without links.
	real string
	// linked says that a link is on the way that somebody may switch.
	linked bool
	// directory and missing are where a path that is absent ends, and the name
	// that is not there.
	directory, missing string
}

type state uint8

const (
	// unseen is what this process may not see, or what is too much to look at.
	unseen state = iota
	absent
	there
)

// settledLinks are the links that every system has and nobody switches.
var settledLinks = []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr/sbin", "/usr/lib64", "/var/run", "/var/lock"}

// look follows a clean absolute path.
func (m *Machine) look(name string) found {
	if m.looks++; m.looks > maxLooks {
		return found{}
	}
	f := found{state: there, real: "/", mode: fs.ModeDir}
	rest := names(name)
	for links := 0; len(rest) > 0; {
		next := path.Join(f.real, rest[0])
		if next == "/proc/self" || next == "/proc/thread-self" {
			return found{} // what it is depends on who looks
		}
		info, err := m.root.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
			f.state, f.directory, f.missing = absent, f.real, rest[0]
			return f
		case err != nil:
			return found{}
		case info.Mode()&fs.ModeSymlink == 0:
			f.real, f.mode, rest = next, info.Mode(), rest[1:]
			continue
		}
		target, err := m.root.Readlink(next)
		if links++; err != nil || links > maxLinks {
			return found{}
		}
		f.linked = f.linked || !slices.Contains(settledLinks, next)
		if path.IsAbs(target) {
			f.real = "/"
		} else {
			target = path.Join(f.real, target)
			f.real = "/"
		}
		rest = append(names(target), rest[1:]...)
	}
	return f
}

// names returns the components of a path.
func names(name string) []string {
	return slices.DeleteFunc(strings.Split(path.Clean(name), "/"), func(c string) bool { return c == "" })
}

// maxEntries is how many names of a directory are looked at for one that was meant.
const maxEntries = 5000

// meant returns the path that was probably meant by one that is absent, empty if
// nobody knows.
func (m *Machine) meant(name string, f found) string {
	directory, err := m.root.OpenFile(f.directory, os.O_RDONLY)
	if err != nil {
		return ""
	}
	defer directory.Close()
	entries, _ := directory.Readdirnames(maxEntries)
	slices.Sort(entries)
	near := strictyaml.Nearest(f.missing, entries)
	if near == "" || f.linked || len(f.missing) <= shortName && !alike(f.missing, near) {
		return ""
	}
	meant := path.Join(f.directory, near)
	if rest := strings.TrimPrefix(strings.TrimSuffix(name, "/"), path.Join(f.directory, f.missing)); rest != "" {
		meant += rest
	}
	if m.look(meant).state != there {
		return ""
	}
	return meant
}

// shortName is up to which length two changes make another name: sed is not sudo.
const shortName = 5

// alike reports whether two names differ in one byte, or by two that changed places.
func alike(a, b string) bool {
	if strictyaml.EditDistance(a, b) <= 1 {
		return true
	}
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) - 1 {
		if a[:i] == b[:i] && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:] {
			return true
		}
	}
	return false
}
