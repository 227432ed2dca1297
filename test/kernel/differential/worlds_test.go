//go:build vm

package differential

import (
	"os"
	"path"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// worlds makes the worlds that policies are about, one at a time.
func worlds(t *testing.T) []*world {
	t.Helper()
	return []*world{manyNames(t), belowSharedMemory(t), mountPoints(t)}
}

// manyNames is the world of hard links and bind mounts, of paths that are too
// deep, and of what lies outside.
func manyNames(t *testing.T) *world {
	t.Helper()
	w := &world{root: "/tmp/compare/root"}
	w.makeFiles(t)
	in := func(name string) string { return path.Join(w.root, name) }
	link := func(from, to string) {
		os.Remove(to)
		guardtest.Check(t, os.Link(from, to))
	}
	link(in("f"), in("b/f"))
	w.at("f").links, w.at("b/f").links = []string{in("b/f")}, []string{in("f")}

	outside := path.Dir(w.root)
	for _, d := range []string{outside + "/out", outside + "/bound"} {
		w.makeDirectory(t, d)
	}
	w.makeFile(t, outside+"/out/file")
	link(in("g.txt"), outside+"/out/link")
	w.spots = append(w.spots, spot{path: outside + "/out/link", kind: isFile, links: []string{in("g.txt")}, data: true, mount: w.root})

	w.makeFile(t, makeDeep(t, in("a"))+"/f")
	w.spots[len(w.spots)-1].unknown = true

	// root/a/b is shown at root/b/a/b, and root/b outside.
	guardtest.Mount(t, in("b"), outside+"/bound", "", unix.MS_BIND)
	guardtest.Mount(t, in("a/b"), in("b/a/b"), "", unix.MS_BIND)
	both := func(s *spot, from, to string) {
		if rest, ok := strings.CutPrefix(s.path+"/", in(from)+"/"); ok {
			s.names = append(s.names, path.Join(in(to), rest))
		}
	}
	for i := range w.spots {
		s := &w.spots[i]
		both(s, "a/b", "b/a/b")
		both(s, "b/a/b", "a/b")
		if strings.HasPrefix(s.path+"/", in("b/a/b")+"/") {
			s.mount = in("b/a/b")
		}
	}
	w.at("b/a/b").mounted = true
	bound := w.at("../bound")
	bound.names, bound.mount, bound.mounted = []string{in("b")}, outside+"/bound", true
	shown := *w.at("a/b/c/f")
	shown.path, shown.names, shown.mount = in("b/a/b/c/f"), []string{in("a/b/c/f")}, in("b/a/b")
	w.spots = append(w.spots, shown)
	for _, name := range []string{"f", "a", ".h"} {
		s := *w.at(path.Join("b", name))
		s.path, s.names, s.mount = path.Join(outside, "bound", name), []string{s.path}, outside+"/bound"
		w.spots = append(w.spots, s)
	}
	w.makeSpecial()
	w.fill(t)
	return w
}

// fileComponents is how many components a file's path has at most that is walked.
const fileComponents = 2048

// makeDeep makes a directory that is deeper, and returns a path to it by links, since its own is too
// long for a system call.
func makeDeep(t *testing.T, at string) string {
	t.Helper()
	const each = 700
	for range fileComponents/each + 1 {
		down := strings.Repeat("d/", each)
		guardtest.Check(t, os.MkdirAll(at+"/"+down, 0o755))
		guardtest.Check(t, os.Symlink(down, at+"/down"))
		at += "/down"
	}
	return at
}

// makeSpecial adds what is no file of the world.
func (w *world) makeSpecial() {
	w.spots = append(w.spots, spot{path: "/proc/version", kind: isFile, foreign: true, mount: "/proc"})
}

// belowSharedMemory is a world whose programs are fileless. A part of it is shown
// at another place in the performers' mount namespaces.
func belowSharedMemory(t *testing.T) *world {
	t.Helper()
	w := &world{root: "/dev/shm/compare/root", fileless: true}
	w.makeFiles(t)
	in := func(name string) string { return path.Join(w.root, name) }
	guardtest.Check(t, os.Mkdir(in("b/bound"), 0o755))
	w.prepare = func(t *testing.T, p *player) {
		p.Must(t, unix.SYS_MOUNT, p.Batch.Text(in("a")), p.Batch.Text(in("b/bound")), 0, unix.MS_BIND, 0)
	}
	for _, name := range []string{"f", "b/f", "b", "g.txt", "b/c/g.txt"} {
		s := *w.at(path.Join("a", name))
		s.path, s.names, s.mount = path.Join(in("b/bound"), name), []string{s.path}, in("b/bound")
		w.spots = append(w.spots, s)
	}
	w.fill(t)
	return w
}

// mountPoints is a world in which something is mounted at each place.
func mountPoints(t *testing.T) *world {
	t.Helper()
	w := &world{root: "/tmp/mounts/root"}
	w.makeFiles(t)
	w.fill(t)
	for i := range w.spots {
		s := &w.spots[i]
		s.mount = path.Dir(s.path)
		if s.kind == isAbsent {
			continue
		}
		from := s.path
		if s.path == path.Join(w.root, "b/f") {
			from, s.foreign = "/proc/version", true
		}
		guardtest.Mount(t, from, s.path, "", unix.MS_BIND)
		s.mounted = true
	}
	return w
}
