//go:build vm

package differential

import (
	"net/netip"
	"os"
	"path"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
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
	if err := os.MkdirAll(top, 0o755); err != nil {
		t.Fatal(err)
	}
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
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	w.spots = append(w.spots, spot{path: at, kind: isDirectory, mount: w.root})
}

func (w *world) makeFile(t *testing.T, at string) {
	t.Helper()
	if err := os.WriteFile(at, []byte(guardtest.Content), 0o755); err != nil {
		t.Fatal(err)
	}
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
	if err := unix.Statfs(top, &stat); err != nil {
		t.Fatal(err)
	}
	guardtest.Mount(t, "tmpfs", top, "", unix.MS_REMOUNT, "nr_inodes="+itoa(stat.Files-stat.Ffree))
}

func itoa(n uint64) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

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
		if err := os.Link(from, to); err != nil {
			t.Fatal(err)
		}
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

	deep := in("a") + strings.Repeat("/d", policyComponents)
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	w.makeFile(t, deep+"/f")
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

// policyComponents is how many components a path has at most that is found out.
const policyComponents = 64

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
	if err := os.Mkdir(in("b/bound"), 0o755); err != nil {
		t.Fatal(err)
	}
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
				switch pattern := pattern.(type) {
				case policy.FilePattern:
					paths = append(paths, pattern.Paths...)
				case policy.ProgramPattern:
					paths = append(paths, pattern.Paths...)
				case policy.MountPattern:
					paths = append(paths, pattern.Targets...)
				}
			}
		}
	}
	return paths
}

// player is a performer that policies are about.
type player struct {
	*guardtest.Performer
	// process is what policies see of it; alias is another name of its program
	// by a hard link.
	process policy.Process
	alias   string
	ids
}

// ids are the identity of a player.
type ids struct{ uid, euid, suid, gid, egid, sgid uint32 }

// cast are the performers: programs that policies name, in directories that they
// name, by script, by hard link, by descent, or whose path nobody can find out;
// with several users and control groups.
func cast(t *testing.T) []*player {
	t.Helper()
	program := guardtest.PerformerProgram()
	deep := "/tmp/deep" + strings.Repeat("/d", policyComponents) + "/program"
	for _, at := range []string{programA, programB, programC, interpreter, "/tmp/other/d", deep} {
		guardtest.MakeProgram(t, at, program)
	}
	guardtest.MakeProgram(t, script, []byte("#!"+interpreter+"\n"))
	const link = "/tmp/other/link"
	if err := os.Link(programA, link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(link) })
	for _, group := range []string{"/a.slice", "/a.slice/b.service", "/c.slice", "/c.slice/b.service"} {
		directory := "/sys/fs/cgroup" + group
		if err := os.MkdirAll(directory, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(directory) })
	}
	make := func(name, program, group string, i ids) *player {
		return &player{Performer: guardtest.NewPerformer(t, name), process: policy.Process{Binary: program, UID: i.uid, Cgroup: group}, ids: i}
	}
	a := make("a", programA, "/", ids{})
	b := make("b", programB, "/a.slice", ids{1000, 0, 0, 1000, 0, 0})
	c := make("c", programC, "/a.slice/b.service", ids{1, 1000, 0, 1, 10, 0})
	s := make("script", interpreter, "/c.slice/b.service", ids{0, 1, 65534, 0, 1000, 1})
	s.process.Script = script
	l := make("link", link, "/", ids{1000, 1000, 1000, 1000, 1000, 1000})
	l.alias = programA
	u := make("unknown", deep, "/a.slice", ids{1, 0, 0, 0, 0, 0})
	u.process.Unknown = true
	d := make("descendant", "/tmp/other/d", "/", ids{0, 0, 1000, 10, 0, 0})
	d.process.Ancestors = []string{programA}

	a.Start(t, programA, a.process.Cgroup, d.File)
	for _, p := range []*player{b, c, l, u} {
		p.Start(t, p.process.Binary, p.process.Cgroup)
	}
	s.Start(t, script, s.process.Cgroup)
	// d is a child of a.
	clone := a.Batch.Call(unix.SYS_CLONE, unix.CLONE_VM|unix.CLONE_VFORK|uintptr(unix.SIGCHLD))
	a.Batch.Call(unix.SYS_DUP3, guardtest.PerformerFD+1, guardtest.PerformerFD, 0)
	a.Batch.Call(unix.SYS_EXECVE, a.Batch.Text(d.process.Binary), 0, 0)
	a.Batch.SkipFrom(clone)
	a.Perform(t)
	d.PID = int(a.Result(clone))
	t.Cleanup(func() { unix.Kill(d.PID, unix.SIGKILL) })
	a.Batch = guardtest.NewBatch()
	a.Must(t, unix.SYS_CLOSE, guardtest.PerformerFD+1)
	all := []*player{a, b, c, s, l, u, d}
	for _, p := range all {
		id, err := ebpfguard.RunningProcess(p.PID)
		guardtest.Check(t, err)
		p.process.IDs = []policy.ProcessID{id}
	}
	d.process.IDs = append(d.process.IDs, a.process.IDs[0])
	return all
}

// The programs that policies name, or whose directories they name.
const (
	programA    = "/tmp/programs/a"
	programB    = "/tmp/programs/sub/b"
	programC    = "/tmp/programs/c"
	script      = "/tmp/programs/sub/script"
	interpreter = "/tmp/interpreters/i"
)

// Descriptors that performers keep: of the files of a world, to read and to
// write, and of a memfd.
const (
	memoryFD = 20
	firstFD  = 30
)

// heldSockets are UDP sockets that performers keep, connected or bound, as the
// reference semantics see them. Their descriptors begin with firstSocketFD.
var heldSockets = []struct {
	socket policy.Socket
	bound  bool
}{
	{heldAt("127.0.0.1:23"), false}, {heldAt("127.0.0.2:40000"), false}, {heldAt("[::1]:22"), false}, {heldAt("[::ffff:127.0.0.1]:80"), false},
	{heldAt("127.0.0.1:40001"), true}, {heldAt("0.0.0.0:40010"), true}, {heldAt("[::1]:80"), true}, {heldAt("[::]:40000"), true},
}

const firstSocketFD = memoryFD + 1

func heldAt(at string) policy.Socket {
	a := netip.MustParseAddrPort(at)
	return policy.Socket{
		Address: a.Addr(), Port: a.Port(), Protocol: policy.UDP, Automatic: policy.DefaultAutomatic,
		DualStack: a.Addr() == netip.IPv6Unspecified(),
	}
}

func (p *player) holdSockets(t *testing.T) {
	t.Helper()
	for i, h := range heldSockets {
		a := guardtest.Action{Family: unix.AF_INET, Type: unix.SOCK_DGRAM, Address: h.socket.Address, Port: h.socket.Port}
		if a.Address.Is6() {
			a.Family = unix.AF_INET6
		}
		opened := p.Must(t, unix.SYS_SOCKET, uintptr(a.Family), unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
		p.Must(t, unix.SYS_SETSOCKOPT, uintptr(opened), unix.SOL_SOCKET, unix.SO_REUSEADDR, p.Batch.Bytes([]byte{1, 0, 0, 0}), 4)
		take := uintptr(unix.SYS_CONNECT)
		if h.bound {
			take = unix.SYS_BIND
		}
		address := a.Sockaddr(a.Address)
		p.Must(t, take, uintptr(opened), p.Batch.Bytes(address), uintptr(len(address)))
		p.Must(t, unix.SYS_DUP3, uintptr(opened), uintptr(firstSocketFD+i), 0)
		p.Must(t, unix.SYS_CLOSE, uintptr(opened))
	}
}

// settle prepares a performer, before there are policies.
func (p *player) settle(t *testing.T, all []*world) {
	t.Helper()
	p.Must(t, unix.SYS_CLOSE_RANGE, guardtest.OpenedFD, uintptr(unchanged), 0)
	fd := firstFD
	for _, w := range all {
		if w.prepare != nil && len(p.process.Ancestors) == 0 { // else it is in its ancestor's mount namespace
			w.prepare(t, p)
		}
		for i := range w.spots {
			s := &w.spots[i]
			if s.kind != isFile || s.foreign {
				continue
			}
			mode := unix.O_RDONLY
			if s.data {
				mode = unix.O_RDWR
			}
			opened := p.Must(t, unix.SYS_OPEN, p.Batch.Text(s.path), uintptr(mode), 0)
			p.Must(t, unix.SYS_DUP3, uintptr(opened), uintptr(fd), 0)
			p.Must(t, unix.SYS_CLOSE, uintptr(opened))
			s.fd = fd
			fd++
		}
	}
	p.holdSockets(t)
	opened := p.Must(t, unix.SYS_MEMFD_CREATE, p.Batch.Text("memory"), 0)
	p.Must(t, unix.SYS_WRITE, uintptr(opened), p.Batch.Text(guardtest.Content), uintptr(len(guardtest.Content)))
	p.Must(t, unix.SYS_DUP3, uintptr(opened), memoryFD, 0)
	p.Must(t, unix.SYS_CLOSE, uintptr(opened))
	// It keeps its capabilities whatever its identity becomes.
	const noSetuidFixup = 1 << 2 // SECBIT_NO_SETUID_FIXUP, capabilities(7)
	p.Must(t, unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, noSetuidFixup)
	p.Must(t, unix.SYS_SETGROUPS, 0, 0)
	p.Must(t, unix.SYS_SETRESGID, uintptr(p.gid), uintptr(p.egid), uintptr(p.sgid))
	p.Must(t, unix.SYS_SETRESUID, uintptr(p.uid), uintptr(p.euid), uintptr(p.suid))
}

// seen returns the process as the policies of a set see it.
func (p *player) seen(set []policy.Policy) policy.Process {
	process := p.process
	for _, q := range set {
		for _, binary := range q.Subject.Binaries {
			if p.alias != "" && binary == p.alias {
				process.Binary = p.alias
			}
		}
	}
	return process
}
