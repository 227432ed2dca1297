//go:build vm

package differential

import (
	"os"
	"path"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/policytest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// world is a directory that has the files of [policytest.Random.Paths], and ways
// to reach them by other names.
type world struct {
	root  string
	spots []spot
	// fileless says that it lies below /dev/shm.
	fileless bool
	// prepare makes what a performer has in its own mount namespace only.
	prepare func(t *testing.T, p *player)
}

// spot is a place for a file, and what is known of the file that is reached by
// it.
type spot struct {
	path string
	// names are other names of it by its directories, links are other names by
	// hard links, which are known when a policy names them.
	names, links []string
	// unknown says that its name cannot be found out.
	unknown bool
	kind    spotKind
	// mounted says that something is mounted just there.
	mounted bool
	// foreign says that it is no ordinary file: only read it.
	foreign bool
	// mount is equal for spots on the same mount.
	mount string
	// data says that the file is written to, and not started.
	data bool
	// fd is what performers keep of it open, for writing too if it is data.
	fd int
}

type spotKind uint8

const (
	isFile spotKind = iota + 1
	isDirectory
	isAbsent
)

// absent are the files that do not exist.
var absent = []string{"a/g.txt", "b/.h"}

// makeFiles makes the world's directories and files on a filesystem of its own.
func (w *world) makeFiles(t *testing.T) {
	t.Helper()
	top := path.Dir(w.root)
	guardtest.Check(t, os.MkdirAll(top, 0o755))
	guardtest.Mount(t, "tmpfs", top, "tmpfs", 0)
	directories, files := policytest.With(1, policytest.Options{Root: w.root}).Paths()
	for _, d := range directories {
		w.makeDirectory(t, d)
	}
	for _, f := range files {
		if w.isAbsent(f) {
			w.spots = append(w.spots, spot{path: f, kind: isAbsent, mount: w.root})
			continue
		}
		w.makeFile(t, f)
	}
}

func (w *world) isAbsent(file string) bool {
	for _, a := range absent {
		if file == path.Join(w.root, a) {
			return true
		}
	}
	return false
}

func (w *world) makeDirectory(t *testing.T, at string) {
	t.Helper()
	guardtest.Check(t, os.MkdirAll(at, 0o755))
	w.spots = append(w.spots, spot{path: at, kind: isDirectory, mount: w.root})
}

func (w *world) makeFile(t *testing.T, at string) {
	t.Helper()
	guardtest.Check(t, os.WriteFile(at, []byte(guardtest.Content), 0o755))
	w.spots = append(w.spots, spot{path: at, kind: isFile, data: strings.HasSuffix(at, ".txt"), mount: w.root})
}

func (w *world) at(name string) *spot {
	for i := range w.spots {
		if w.spots[i].path == path.Join(w.root, name) {
			return &w.spots[i]
		}
	}
	panic("no spot " + name)
}

// fill leaves no room for another file: what would make one fails, after it was
// judged.
func (w *world) fill(t *testing.T) {
	t.Helper()
	var stat unix.Statfs_t
	top := path.Dir(w.root)
	guardtest.Check(t, unix.Statfs(top, &stat))
	guardtest.Mount(t, "tmpfs", top, "", unix.MS_REMOUNT, "nr_inodes="+strconv.FormatUint(stat.Files-stat.Ffree, 10))
}

// file returns the names of what is at the spot, for the policies of a set for an
// operation.
func (s spot) file(set []policy.Policy, operation policy.Operation) policy.Names {
	if s.unknown {
		return policy.Names{Unknown: true}
	}
	n := policy.Names{Path: s.path, Aliases: append([]string{}, s.names...)}
	for _, l := range s.links {
		if isNamed(set, operation, l) {
			n.Aliases = append(n.Aliases, l)
		}
	}
	return n
}

// isNamed reports whether a path of the operation's rules leads through the name:
// then the guard has looked at what is there.
func isNamed(set []policy.Policy, operation policy.Operation, name string) bool {
	for _, text := range pathsOf(set, operation) {
		p, err := policy.ParsePathPattern(text)
		if err == nil && strings.HasPrefix("/"+strings.Join(p.Literal(), "/")+"/", name+"/") {
			return true
		}
	}
	return false
}

// pathsOf returns the path patterns of the operation's rules.
func pathsOf(set []policy.Policy, operation policy.Operation) []string {
	var paths []string
	for _, p := range set {
		for _, r := range p.Rules {
			if r.Operation != operation {
				continue
			}
			for _, pattern := range append(append([]policy.Pattern{}, r.Allow...), r.Deny...) {
				paths = append(paths, policy.PathsOf(pattern)...)
			}
		}
	}
	return paths
}
