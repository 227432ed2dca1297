//go:build vm

package guardtest

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Batch is a list of system calls and what they point to.
type Batch struct {
	calls []call
	data  []byte
	texts map[string]uintptr
}

type call struct {
	number uintptr
	args   [6]uintptr
	skip   int
}

func NewBatch() *Batch { return &Batch{texts: map[string]uintptr{}} }

// Call adds a call and returns its index.
func (b *Batch) Call(number uintptr, args ...uintptr) int {
	c := call{number: number}
	copy(c.args[:], args)
	b.calls = append(b.calls, c)
	return len(b.calls) - 1
}

// Child adds calls that a child makes, and returns where its status will be.
func (b *Batch) Child(add func()) (status uintptr) {
	clone := b.Call(unix.SYS_CLONE, unix.CLONE_VM|unix.CLONE_VFORK|uintptr(unix.SIGCHLD))
	add()
	b.Call(unix.SYS_EXIT, 0)
	b.SkipFrom(clone)
	status = b.Bytes(make([]byte, 4))
	b.Call(unix.SYS_WAIT4, ^uintptr(0), status, 0, 0)
	return status
}

// SkipFrom has the parent go on here after a call that makes a child.
func (b *Batch) SkipFrom(clone int) { b.calls[clone].skip = len(b.calls) - 1 - clone }

// Bytes returns the address of data.
func (b *Batch) Bytes(data []byte) uintptr {
	for len(b.data)%8 != 0 {
		b.data = append(b.data, 0)
	}
	at := uintptr(performerAt + dataAt + len(b.data))
	b.data = append(b.data, data...)
	return at
}

// Text returns the address of a string.
func (b *Batch) Text(s string) uintptr {
	at, ok := b.texts[s]
	if !ok {
		at = b.Bytes(append([]byte(s), 0))
		b.texts[s] = at
	}
	return at
}

// write writes the batch as the program reads it.
func (b *Batch) write(memory []byte) {
	if len(b.calls) > maxCalls || dataAt+len(b.data) > len(memory) {
		panic("the batch does not fit")
	}
	at := callsAt
	put := func(v uint64) {
		binary.LittleEndian.PutUint64(memory[at:], v)
		at += 8
	}
	for _, c := range b.calls {
		put(uint64(c.number))
		for _, a := range c.args {
			put(uint64(a))
		}
		put(NotMade)
		put(uint64(c.skip * callSize))
	}
	put(1 << 63)
	copy(memory[dataAt:], b.data)
}

func (b *Batch) Socket(a Action, v6only bool) {
	b.Call(unix.SYS_SOCKET, uintptr(a.Family), uintptr(a.Type|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC), 0)
	option := func(level, name int, value byte) {
		b.Call(unix.SYS_SETSOCKOPT, OpenedFD, uintptr(level), uintptr(name), b.Bytes([]byte{value, 0, 0, 0}), 4)
	}
	option(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	option(unix.SOL_IP, unix.IP_FREEBIND, 1)
	if a.Family == unix.AF_INET6 {
		option(unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
		only := byte(0)
		if v6only {
			only = 1
		}
		option(unix.SOL_IPV6, unix.IPV6_V6ONLY, only)
	}
}
