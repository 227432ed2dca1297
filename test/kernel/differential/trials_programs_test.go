//go:build vm

package differential

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// somewhere is where performers map files.
const somewhere = 0x20000000

// mapped maps an open file to be executed, which is both to execute it and to
// bring in a program.
func (c *comparison) mapped(*player) (trial, bool) {
	s, ok := c.spotOf(func(s spot) bool { return s.fd > 0 && !s.data })
	program := c.program(s)
	program.loaded = true
	return trial{what: "map", asked: []question{c.file(s, policy.Exec), program}, make: func(b *guardtest.Batch) int {
		return b.Call(unix.SYS_MMAP, somewhere, 4096, unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_FIXED, uintptr(s.fd), 0)
	}}, ok
}

func (c *comparison) program(s spot) question {
	return question{operation: policy.BprmCheckSecurity, object: policy.Program{Names: s.file(c.set, policy.BprmCheckSecurity), Fileless: c.world.fileless}}
}

// arguments returns a call's list of arguments, or no argument at all: the kernels
// of the table put an empty one there before anybody is asked.
func (c *comparison) arguments() func(*guardtest.Batch) uintptr {
	if c.r.IntN(4) == 0 {
		return func(*guardtest.Batch) uintptr { return 0 }
	}
	return func(b *guardtest.Batch) uintptr {
		return b.Bytes(append(binary.LittleEndian.AppendUint64(nil, uint64(b.Text("x"))), make([]byte, 8)...))
	}
}

// execute starts what is no program after all.
func (c *comparison) execute(*player) (trial, bool) {
	s, ok := c.spotOf(func(s spot) bool { return s.kind == isFile && !s.data && !s.foreign })
	arguments := c.arguments()
	return trial{what: "execve", asked: []question{c.file(s, policy.Exec), c.program(s)}, fails: []unix.Errno{unix.ENOEXEC}, make: func(b *guardtest.Batch) int {
		return b.Call(unix.SYS_EXECVE, b.Text(s.path), arguments(b), 0)
	}}, ok && c.executes
}

func (c *comparison) executeMemory(*player) (trial, bool) {
	arguments := c.arguments()
	asked := []question{
		{operation: policy.FileOpen, object: policy.File{Access: policy.Exec, Kind: policy.Memfd}},
		{operation: policy.BprmCheckSecurity, object: policy.Program{Fileless: true}},
	}
	return trial{what: "execve of a memfd", asked: asked, fails: []unix.Errno{unix.ENOEXEC}, make: func(b *guardtest.Batch) int {
		return b.Call(unix.SYS_EXECVEAT, memoryFD, b.Text(""), arguments(b), 0, unix.AT_EMPTY_PATH)
	}}, true
}
