//go:build vm

package guardtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A performer is a process of a very small program, which makes the system calls
// that it finds in memory it shares with the test, and nothing else: a Go program
// would trip over the policies that it is there for. Many calls are told at a
// time, so that thousands are made in a second, even in emulation.
type Performer struct {
	Name   string
	PID    int
	memory []byte
	File   *os.File
	Batch  *Batch
}

// The layout of the memory: how many batches were wanted and how many are done,
// two words, then the calls, then what they point to. A call is its number, six
// arguments, its result, and by how many bytes to go on further when the result
// is positive: in the parent, past what a child does. A negative number ends the
// batch.
const (
	performerAt   = 0x10000000
	performerSize = 1 << 20
	callsAt       = 64
	callSize      = 9 * 8
	dataAt        = 1 << 19
	maxCalls      = (dataAt-callsAt)/callSize - 1
	PerformerFD   = 3
)

// performerText is the program for x86-64:
//
//	    mmap(performerAt, performerSize, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_FIXED, performerFD, 0)
//	wait:
//	    while wanted == done: futex(&wanted, FUTEX_WAIT, done)
//	    for call := &calls[0]; call.number >= 0; call++ {
//	        call.result = syscall(call.number, call.args...)
//	        if call.result > 0: call += call.skip
//	    }
//	    done++
//	    futex(&done, FUTEX_WAKE, 1)
//	    goto wait
var performerText = []byte{
	0xbf, 0x00, 0x00, 0x00, 0x10, // mov edi, performerAt
	0xbe, 0x00, 0x00, 0x10, 0x00, // mov esi, performerSize
	0xba, 0x03, 0x00, 0x00, 0x00, // mov edx, PROT_READ|PROT_WRITE
	0x41, 0xba, 0x11, 0x00, 0x00, 0x00, // mov r10d, MAP_SHARED|MAP_FIXED
	0x41, 0xb8, PerformerFD, 0x00, 0x00, 0x00, // mov r8d, performerFD
	0x45, 0x31, 0xc9, // xor r9d, r9d
	0xb8, 0x09, 0x00, 0x00, 0x00, // mov eax, SYS_MMAP
	0x0f, 0x05, // syscall
	0xbb, 0x00, 0x00, 0x00, 0x10, // mov ebx, performerAt
	// wait:
	0x8b, 0x13, // mov edx, [rbx]
	0x3b, 0x53, 0x04, // cmp edx, [rbx+4]
	0x75, 0x11, // jne run
	0xb8, 0xca, 0x00, 0x00, 0x00, // mov eax, SYS_FUTEX
	0x48, 0x89, 0xdf, // mov rdi, rbx
	0x31, 0xf6, // xor esi, esi: FUTEX_WAIT
	0x45, 0x31, 0xd2, // xor r10d, r10d: no timeout
	0x0f, 0x05, // syscall
	0xeb, 0xe8, // jmp wait
	// run:
	0x4c, 0x8d, 0x63, callsAt, // lea r12, [rbx+callsAt]
	// next:
	0x49, 0x8b, 0x04, 0x24, // mov rax, [r12]
	0x48, 0x85, 0xc0, // test rax, rax
	0x78, 0x35, // js done
	0x49, 0x8b, 0x7c, 0x24, 0x08, // mov rdi, [r12+8]
	0x49, 0x8b, 0x74, 0x24, 0x10, // mov rsi, [r12+16]
	0x49, 0x8b, 0x54, 0x24, 0x18, // mov rdx, [r12+24]
	0x4d, 0x8b, 0x54, 0x24, 0x20, // mov r10, [r12+32]
	0x4d, 0x8b, 0x44, 0x24, 0x28, // mov r8, [r12+40]
	0x4d, 0x8b, 0x4c, 0x24, 0x30, // mov r9, [r12+48]
	0x0f, 0x05, // syscall
	0x49, 0x89, 0x44, 0x24, 0x38, // mov [r12+56], rax
	0x49, 0x83, 0xc4, callSize, // add r12, callSize
	0x48, 0x85, 0xc0, // test rax, rax
	0x7e, 0xc9, // jle next
	0x4d, 0x03, 0x64, 0x24, 0xf8, // add r12, [r12-8]
	0xeb, 0xc2, // jmp next
	// done:
	0xff, 0x43, 0x04, // inc dword [rbx+4]
	0xb8, 0xca, 0x00, 0x00, 0x00, // mov eax, SYS_FUTEX
	0x48, 0x8d, 0x7b, 0x04, // lea rdi, [rbx+4]
	0xbe, 0x01, 0x00, 0x00, 0x00, // mov esi, FUTEX_WAKE
	0xba, 0x01, 0x00, 0x00, 0x00, // mov edx, 1
	0x0f, 0x05, // syscall
	0xeb, 0x8c, // jmp wait
}

// PerformerProgram returns the program as an ELF file of one page.
func PerformerProgram() []byte {
	const base, headers = 0x400000, 64 + 56
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, v := range []any{
		uint16(2), uint16(62), uint32(1), uint64(base + headers), uint64(64), uint64(0), uint32(0), // ET_EXEC, EM_X86_64
		uint16(64), uint16(56), uint16(1), uint16(64), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), uint64(4096), uint64(4096), uint64(4096), // PT_LOAD
	} {
		binary.Write(&b, binary.LittleEndian, v)
	}
	b.Write(performerText)
	return append(b.Bytes(), make([]byte, 4096-b.Len())...)
}

// NewPerformer makes the memory of a performer that is still to be started.
func NewPerformer(t *testing.T, name string) *Performer {
	t.Helper()
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	p := &Performer{Name: name, File: os.NewFile(uintptr(fd), name), Batch: NewBatch()}
	t.Cleanup(func() { p.File.Close() })
	if err := p.File.Truncate(performerSize); err != nil {
		t.Fatal(err)
	}
	if p.memory, err = unix.Mmap(fd, 0, performerSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(p.memory) })
	return p
}

// Start starts the program, or script, in a mount namespace of its own and in a
// control group. What is passed has the numbers from 4 on.
func (p *Performer) Start(t *testing.T, program, cgroup string, passed ...*os.File) {
	t.Helper()
	group, err := os.Open("/sys/fs/cgroup" + cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	command := exec.Command(program)
	command.ExtraFiles = append([]*os.File{p.File}, passed...)
	command.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: unix.CLONE_NEWNS, UseCgroupFD: true, CgroupFD: int(group.Fd()),
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	p.PID = command.Process.Pid
	t.Cleanup(func() { command.Process.Kill(); command.Wait() })
}

func (p *Performer) word(i int) *uint32 { return (*uint32)(unsafe.Pointer(&p.memory[4*i])) }

// Begin has the performer make the calls of its batch, end waits until they are
// made. In between, other performers can do the same.
func (p *Performer) Begin() {
	p.Batch.write(p.memory)
	atomic.AddUint32(p.word(0), 1)
	futex(p.word(0), futexWake, 1, nil)
}

const (
	futexWait = 0
	futexWake = 1
)

func futex(word *uint32, operation int, value uint32, timeout *unix.Timespec) {
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), uintptr(operation), uintptr(value), uintptr(unsafe.Pointer(timeout)), 0, 0)
}

func (p *Performer) End() error {
	for deadline := time.Now().Add(Patience); ; {
		done := atomic.LoadUint32(p.word(1))
		if done == atomic.LoadUint32(p.word(0)) {
			return nil
		}
		futex(p.word(1), futexWait, done, &unix.Timespec{Sec: 1})
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
		if err != nil || bytes.Contains(state, []byte(") Z ")) {
			return fmt.Errorf("performer %s has ended", p.Name)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("performer %s hangs", p.Name)
		}
	}
}

// Perform makes the calls of the batch and begins another.
func (p *Performer) Perform(t *testing.T) {
	t.Helper()
	p.Begin()
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
}

// Must makes one call, which has to succeed, and returns its result.
func (p *Performer) Must(t *testing.T, number uintptr, args ...uintptr) int64 {
	t.Helper()
	call := p.Batch.Call(number, args...)
	p.Perform(t)
	result := p.Result(call)
	if result < 0 {
		t.Fatalf("performer %s: system call %d: %v", p.Name, number, unix.Errno(-result))
	}
	p.Batch = NewBatch()
	return result
}

// NotMade is the result of a call that was not made or did not return.
const NotMade = 1 << 62

func (p *Performer) Result(call int) int64 {
	return int64(binary.LittleEndian.Uint64(p.memory[callsAt+callSize*call+56:]))
}

// Load returns the word at an address in the batch's data.
func (p *Performer) Load(at uintptr) uint32 {
	return binary.LittleEndian.Uint32(p.memory[at-performerAt:])
}

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

// OpenedFD is the number that a file gets that a performer opens.
const OpenedFD = PerformerFD + 1

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
