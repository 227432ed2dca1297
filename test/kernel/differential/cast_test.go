//go:build vm

package differential

import (
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/policytest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

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
// with several users, control groups and containers, of one of which nothing is known.
func cast(t *testing.T, g *guardtest.Guard) []*player {
	t.Helper()
	program := guardtest.PerformerProgram()
	deep := "/tmp/deep" + strings.Repeat("/d", programComponents) + "/program"
	for _, at := range []string{programA, programB, programC, interpreter, "/tmp/other/d", deep} {
		guardtest.MakeProgram(t, at, program)
	}
	guardtest.MakeProgram(t, script, []byte("#!"+interpreter+"\n"))
	const link = "/tmp/other/link"
	guardtest.Check(t, os.Link(programA, link))
	t.Cleanup(func() { os.Remove(link) })
	unidentified := "/docker-" + strings.Repeat("0123456789abcdef", 4) + ".scope"
	web, db := policytest.Containers()[0], policytest.Containers()[1]
	in := map[string]policy.Container{"/a.slice": web, "/c.slice/b.service": db}
	for _, group := range []string{"/a.slice", "/a.slice/b.service", "/c.slice", "/c.slice/b.service", unidentified} {
		directory := "/sys/fs/cgroup" + group
		guardtest.Check(t, os.MkdirAll(directory, 0o755))
		t.Cleanup(func() { os.Remove(directory) })
		if container, ok := in[group]; ok {
			info, err := os.Stat(directory)
			guardtest.Check(t, err)
			guardtest.Check(t, g.AddContainer(info.Sys().(*syscall.Stat_t).Ino, container))
			t.Cleanup(func() { guardtest.Check(t, g.RemoveContainer(container.ID)) })
		}
	}
	make := func(name, program, group string, i ids) *player {
		return &player{Performer: guardtest.NewPerformer(t, name), process: policy.Process{Binary: program, UID: i.uid, Cgroup: group}, ids: i}
	}
	a := make("a", programA, "/", ids{})
	b := make("b", programB, "/a.slice", ids{1000, 0, 0, 1000, 0, 0})
	c := make("c", programC, "/a.slice/b.service", ids{1, 1000, 0, 1, 10, 0})
	s := make("script", interpreter, "/c.slice/b.service", ids{0, 1, 65534, 0, 1000, 1})
	s.process.Script = script
	l := make("link", link, unidentified, ids{1000, 1000, 1000, 1000, 1000, 1000})
	l.alias = programA
	l.process.Unidentified = true
	b.process.Containers, c.process.Containers, s.process.Containers = []policy.Container{web}, []policy.Container{web}, []policy.Container{db}
	u := make("unknown", deep, "/a.slice", ids{1, 0, 0, 0, 0, 0})
	u.process.Unknown, u.process.Containers = true, []policy.Container{web}
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

// programComponents is how many components the path of a subject's program has at most.
const programComponents = 64

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
			opened := p.MustDo(t, func(b *guardtest.Batch) int { return b.Open(b.Text(s.path), mode, 0) })
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
