// Package hostroot opens files by the paths that they have on the host, where this process has another root directory: in
// a container. Symbolic links are followed as the host does, also absolute ones, and never lead out of the host's root.
package hostroot

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/internal/regular"
)

// Auto stands in options for the root directory that [Find] finds.
const Auto = "auto"

// FirstProcess is where the root directory of process 1 is, which is the host's in the host's pid namespace.
const FirstProcess = "/proc/1/root"

// Remedy is what to do where the host's root is out of reach.
const Remedy = "share the host's pid namespace (--pid host, hostPID: true) and add CAP_SYS_PTRACE, or mount the host's / at /host and add --host-root /host"

// Root is the root directory of the host as this process reaches it. Nil is that of this process.
type Root struct {
	name string
	dir  *os.File
}

// Open opens a root directory by its path here; nil for an empty one.
func Open(name string) (*Root, error) {
	if name == "" {
		return nil, nil
	}
	if !filepath.IsAbs(name) {
		return nil, fmt.Errorf("the host's root %q is not absolute; write the whole path, such as /host", name)
	}
	dir, err := openRoot(name)
	if err != nil {
		return nil, fmt.Errorf("open the host's root: %w", err)
	}
	return &Root{filepath.Clean(name), dir}, nil
}

// Close gives the root up.
func (r *Root) Close() error {
	if r == nil {
		return nil
	}
	return r.dir.Close()
}

// Name returns the path of the root here, empty for that of this process. Below it a path leads to the same file as for
// the host only while no symbolic link is on the way.
func (r *Root) Name() string {
	if r == nil {
		return ""
	}
	return r.name
}

// Here returns the path by which this process reaches a file of the host, links followed as far as there is one: for what
// takes a path and no file, such as a socket.
func (r *Root) Here(name string) string {
	if r == nil {
		return name
	}
	for folder, rest := name, ""; ; folder, rest = path.Dir(folder), path.Join(path.Base(folder), rest) {
		if real, err := r.EvalSymlinks(folder); err == nil || folder == "/" {
			return path.Join(r.name, real, rest)
		}
	}
}

// host is what [Use] was told.
var host atomic.Pointer[Root]

// Use tells where the host's root is for all who ask by [Host], and how the host names control groups. A program that
// guards calls it once, before anything else.
func Use(r *Root) {
	host.Store(r)
	begins, err := r.NamespaceCgroup()
	if err != nil {
		begins = "" // the guard refuses that, unless gaps are allowed
	}
	procfs.UseNamespaceCgroup(begins)
}

// Host returns the host's root for what does not belong to one manager: this process is in one place.
func Host() *Root { return host.Load() }

// OpenFile opens a file; flags are those of open(2).
func (r *Root) OpenFile(name string, flags int) (*os.File, error) {
	if r == nil {
		return os.OpenFile(name, flags, 0)
	}
	file, err := r.open(name, flags)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: r.name + name, Err: err}
	}
	return file, nil
}

// OpenRegular is [regular.Open] below the root.
func (r *Root) OpenRegular(name string) (*os.File, error) {
	if r == nil {
		return regular.Open(name)
	}
	return regular.OpenBy(r.OpenFile, name)
}

// maxFile bounds what ReadFile reads: files of settings and of the kernel.
const maxFile = 64 << 20

// ReadFile reads a whole file, which may be one of the kernel's.
func (r *Root) ReadFile(name string) ([]byte, error) {
	if r == nil {
		return os.ReadFile(name)
	}
	file, err := r.OpenRegular(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxFile))
}

// Stat is [os.Stat] below the root.
func (r *Root) Stat(name string) (fs.FileInfo, error) {
	if r == nil {
		return os.Stat(name)
	}
	return r.stat(name, true)
}

// Lstat is [os.Lstat] below the root.
func (r *Root) Lstat(name string) (fs.FileInfo, error) {
	if r == nil {
		return os.Lstat(name)
	}
	return r.stat(name, false)
}

// Readlink is [os.Readlink] below the root.
func (r *Root) Readlink(name string) (string, error) {
	if r == nil {
		return os.Readlink(name)
	}
	return r.readlink(name)
}

// maxLinks is how many symbolic links the kernel follows (MAXSYMLINKS).
const maxLinks = 40

// EvalSymlinks is [filepath.EvalSymlinks] below the root, for absolute paths.
func (r *Root) EvalSymlinks(name string) (string, error) {
	if r == nil {
		return filepath.EvalSymlinks(name)
	}
	real, rest := "/", names(name)
	for links := 0; len(rest) > 0; {
		next := path.Join(real, rest[0]) // that of .. is the directory above, for real has no link
		rest = rest[1:]
		info, err := r.Lstat(next)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			real = next
			continue
		}
		target, err := r.Readlink(next)
		if err != nil {
			return "", err
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "follow", Path: r.name + name, Err: errTooManyLinks}
		}
		if path.IsAbs(target) {
			real = "/"
		}
		rest = append(names(target), rest...)
	}
	return real, nil
}

// names returns the components of a path, with those that lead up.
func names(name string) []string {
	return strings.FieldsFunc(name, func(c rune) bool { return c == '/' })
}

// Glob is [filepath.Glob] below the root, where no symbolic link is on the way.
func (r *Root) Glob(pattern string) ([]string, error) {
	found, err := filepath.Glob(r.Name() + pattern)
	for i := range found {
		found[i] = strings.TrimPrefix(found[i], r.Name())
	}
	return found, err
}
