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

// NewPerformer makes the memory of a performer that is still to be started.
func NewPerformer(t *testing.T, name string) *Performer {
	t.Helper()
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	Check(t, err)
	p := &Performer{Name: name, File: os.NewFile(uintptr(fd), name), Batch: NewBatch()}
	t.Cleanup(func() { p.File.Close() })
	Check(t, p.File.Truncate(performerSize))
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
	Check(t, err)
	defer group.Close()
	command := exec.Command(program)
	command.ExtraFiles = append([]*os.File{p.File}, passed...)
	command.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: unix.CLONE_NEWNS, UseCgroupFD: true, CgroupFD: int(group.Fd()),
	}
	Check(t, command.Start())
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
	Check(t, p.End())
}

// Must makes one call, which has to succeed, and returns its result.
func (p *Performer) Must(t *testing.T, number uintptr, args ...uintptr) int64 {
	t.Helper()
	return p.MustDo(t, func(b *Batch) int { return b.Call(number, args...) })
}

// MustDo makes the call that is added to its batch, which has to succeed, and returns its result.
func (p *Performer) MustDo(t *testing.T, add func(*Batch) int) int64 {
	t.Helper()
	call := add(p.Batch)
	p.Perform(t)
	result := p.Result(call)
	if result < 0 {
		t.Fatalf("performer %s: %v", p.Name, unix.Errno(-result))
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

// OpenedFD is the number that a file gets that a performer opens.
const OpenedFD = PerformerFD + 1
