//go:build vm

package guardtest

import (
	"net/netip"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// BindTo binds a UDP socket.
func BindTo(address netip.Addr, port uint16) func(*Batch) int {
	return withSocket(unix.SYS_BIND, address, port)
}

// ConnectTo connects a UDP socket.
func ConnectTo(address netip.Addr, port uint16) func(*Batch) int {
	return withSocket(unix.SYS_CONNECT, address, port)
}

func withSocket(number uintptr, address netip.Addr, port uint16) func(*Batch) int {
	return func(b *Batch) int {
		a := Inet(address, port, unix.SOCK_DGRAM, 0)
		b.Socket(a, false)
		where := a.Sockaddr(address)
		call := b.Call(number, OpenedFD, b.Bytes(where), uintptr(len(where)))
		b.Call(unix.SYS_CLOSE, OpenedFD)
		return call
	}
}

// Lone starts a performer that no policy names.
func Lone(t *testing.T) *Performer {
	t.Helper()
	program := filepath.Join(t.TempDir(), "performer")
	MakeProgram(t, program, PerformerProgram())
	p := NewPerformer(t, "lone")
	p.Start(t, program, "/")
	p.Must(t, unix.SYS_CLOSE_RANGE, OpenedFD, uintptr(^uint32(0)), 0)
	return p
}

// Attempt makes a call, and then others, and returns what became of it.
func (p *Performer) Attempt(t *testing.T, add func(*Batch) int) unix.Errno {
	t.Helper()
	p.Batch = NewBatch()
	call := add(p.Batch)
	p.Perform(t)
	if r := p.Result(call); r < 0 {
		return unix.Errno(-r)
	}
	return 0
}

// OpenFile opens a file and closes it.
func OpenFile(path string, flags int) func(*Batch) int {
	return func(b *Batch) int {
		call := b.Open(b.Text(path), flags|unix.O_CLOEXEC, 0)
		b.Call(unix.SYS_CLOSE, OpenedFD)
		return call
	}
}
