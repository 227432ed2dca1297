package coverage

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The parts of include/uapi/linux/io_uring.h that the ways need.
const (
	uringOpSendmsg   = 9
	uringOpAccept    = 13
	uringOpConnect   = 16
	uringOpFallocate = 17
	uringOpOpenat    = 18
	uringOpRead      = 22
	uringOpWrite     = 23
	uringOpSend      = 26
	uringOpRecv      = 27
	uringOpOpenat2   = 28
	uringOpSplice    = 30
	uringOpRenameat  = 35
	uringOpUnlinkat  = 36
	uringOpMkdirat   = 37
	uringOpSymlinkat = 38
	uringOpLinkat    = 39
	uringOpFsetxattr = 41
	uringOpSetxattr  = 42
	uringOpSocket    = 45
	uringOpSendZC    = 47
	uringOpFtruncate = 55
	uringOpBind      = 56
	uringOpListen    = 57

	uringSetupSQPoll = 1 << 1
	uringEnterEvents = 1 << 0
	uringEnterWakeup = 1 << 1
	uringOffSQ       = 0
	uringOffCQ       = 0x8000000
	uringOffSQEs     = 0x10000000

	// sqeAsync has a worker thread do the operation.
	sqeAsync     = 1 << 4
	sqeFixedFile = 1 << 0
)

type uringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	resv                                                                   [3]uint32
	// The offsets: sq is head, tail, mask, entries, flags, dropped, array; cq is head, tail, mask, entries, overflow, cqes.
	sq, cq [10]uint32
}

// sqe is what an operation is submitted as.
type sqe struct {
	op, flags   uint8
	fd          int
	off, addr   uint64
	len         uint32
	opFlags     uint32
	bufIndex    uint16
	fileIndex   uint32
	addr3       uint64
	addrLen     uint16 // of SEND, in the place of fileIndex
	keep, keep2 any    // what the kernel reads during the operation
}

type uring struct {
	fd           int
	p            uringParams
	sq, cq, sqes []byte
}

func newUring(flags ...uint32) (*uring, error) {
	u := &uring{}
	for _, f := range flags {
		u.p.flags |= f
	}
	u.p.sqThreadIdle = 1000
	fd, err := call(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&u.p)))
	if err != nil {
		return nil, fmt.Errorf("io_uring_setup: %w", err)
	}
	u.fd = fd
	if err := u.mapRings(); err != nil {
		u.close()
		return nil, fmt.Errorf("map the ring: %w", err)
	}
	return u, nil
}

func (u *uring) mapRings() (err error) {
	for _, m := range []struct {
		ring   *[]byte
		offset int64
		size   uint32
	}{
		{&u.sq, uringOffSQ, u.p.sq[6] + u.p.sqEntries*4},
		{&u.cq, uringOffCQ, u.p.cq[5] + u.p.cqEntries*16},
		{&u.sqes, uringOffSQEs, u.p.sqEntries * 64},
	} {
		*m.ring, err = unix.Mmap(u.fd, m.offset, int(m.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *uring) close() {
	for _, m := range [][]byte{u.sq, u.cq, u.sqes} {
		if m != nil {
			unix.Munmap(m)
		}
	}
	unix.Close(u.fd)
}

func word(ring []byte, offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&ring[offset])) }

// do submits one operation and waits for its result.
func (u *uring) do(s sqe) (int, error) {
	e := u.sqes[:64]
	clear(e)
	e[0], e[1] = s.op, s.flags
	le := binary.NativeEndian
	le.PutUint32(e[4:], uint32(s.fd))
	le.PutUint64(e[8:], s.off)
	le.PutUint64(e[16:], s.addr)
	le.PutUint32(e[24:], s.len)
	le.PutUint32(e[28:], s.opFlags)
	le.PutUint16(e[40:], s.bufIndex)
	le.PutUint32(e[44:], s.fileIndex)
	if s.addrLen != 0 {
		le.PutUint16(e[44:], s.addrLen)
	}
	le.PutUint64(e[48:], s.addr3)
	*word(u.sq, u.p.sq[6]) = 0
	atomic.AddUint32(word(u.sq, u.p.sq[1]), 1)
	head := atomic.LoadUint32(word(u.cq, u.p.cq[0]))
	submit := uintptr(1)
	// A signal, such as those of the Go scheduler, ends the wait early: with EINTR when nothing was submitted before.
	for head == atomic.LoadUint32(word(u.cq, u.p.cq[1])) {
		_, err := call(unix.SYS_IO_URING_ENTER, uintptr(u.fd), submit, 1, uringEnterEvents|uringEnterWakeup)
		switch err {
		case nil:
			submit = 0
		case unix.EINTR:
		default:
			return -1, fmt.Errorf("io_uring_enter: %w", err)
		}
	}
	at := u.p.cq[5] + (head&*word(u.cq, u.p.cq[2]))*16
	res := int32(*word(u.cq, at+8))
	atomic.AddUint32(word(u.cq, u.p.cq[0]), 1)
	runtime.KeepAlive(s)
	if res < 0 {
		return -1, unix.Errno(-res)
	}
	return int(res), nil
}

// ring does one operation on a ring of its own.
func ring(s sqe, flags ...uint32) (int, error) {
	u, err := newUring(flags...)
	must(err)
	defer u.close()
	return u.do(s)
}

// registerFiles fills the table of fixed files; -1 is an empty slot.
func (u *uring) registerFiles(fds ...int32) {
	const registerFiles = 2
	must(fails(call(unix.SYS_IO_URING_REGISTER, uintptr(u.fd), registerFiles, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)))))
}

// cstring makes a pointer for the kernel; the caller keeps the second result alive.
func cstring(s string) (uint64, *byte) {
	p := need(unix.BytePtrFromString(s))
	return uint64(uintptr(unsafe.Pointer(p))), p
}

// ptr makes a pointer for a raw system call. Go's collector does not move heap objects, and the callers keep theirs alive.
func ptr[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// str makes a string for a raw system call. It is never freed: the process is about to end.
func str(s string) uintptr {
	p := need(unix.BytePtrFromString(s))
	kept = append(kept, p)
	return uintptr(unsafe.Pointer(p))
}

// kept are the strings that str made.
var kept []*byte
