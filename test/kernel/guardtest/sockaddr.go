//go:build vm

package guardtest

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sockaddr returns the socket address as bind(2) takes it: of the family of the
// address, or of SockFamily.
func (a Action) Sockaddr(address netip.Addr) []byte {
	family := unix.AF_INET6
	if address.Is4() {
		family = unix.AF_INET
	}
	claimed := family
	if a.SockFamily >= 0 && a.SockFamily != 0 {
		claimed = a.SockFamily
	}
	if a.SockFamily < 0 { // AF_UNSPEC, which is 0
		claimed = unix.AF_UNSPEC
	}
	b := binary.NativeEndian.AppendUint16(nil, uint16(claimed))
	b = binary.BigEndian.AppendUint16(b, a.Port)
	if family == unix.AF_INET {
		b = append(b, address.AsSlice()...)
		return append(b, make([]byte, 8)...)
	}
	b = append(b, 0, 0, 0, 0)
	bytes := address.As16()
	b = append(b, bytes[:]...)
	return append(b, 0, 0, 0, 0)
}

func rawBind(fd int, address []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&address[0])), uintptr(len(address)))
	if errno != 0 {
		return errno
	}
	return nil
}

// The parts of include/uapi/linux/io_uring.h that a bind needs.
type uringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	resv                                                                   [3]uint32
	sq, cq                                                                 [10]uint32
}

const (
	uringOpBind       = 56
	uringEnterGetEvts = 1
	uringOffSQRing    = 0
	uringOffCQRing    = 0x8000000
	uringOffSQEs      = 0x10000000
)

// uringBind binds a socket through io_uring (6.11 and later).
func uringBind(fd int, address []byte) error {
	var p uringParams
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(ring))
	mapRing := func(offset int64, size int) ([]byte, error) {
		return unix.Mmap(int(ring), offset, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	}
	// The offsets: sq is head, tail, mask, entries, flags, dropped, array;
	// cq is head, tail, mask, entries, overflow, cqes.
	sq, err := mapRing(uringOffSQRing, int(p.sq[6]+p.sqEntries*4))
	if err != nil {
		return err
	}
	defer unix.Munmap(sq)
	cq, err := mapRing(uringOffCQRing, int(p.cq[5]+p.cqEntries*16))
	if err != nil {
		return err
	}
	defer unix.Munmap(cq)
	sqes, err := mapRing(uringOffSQEs, int(p.sqEntries)*64)
	if err != nil {
		return err
	}
	defer unix.Munmap(sqes)
	pointer := uintptr(unsafe.Pointer(&address[0]))
	sqes[0] = uringOpBind
	binary.NativeEndian.PutUint32(sqes[4:], uint32(fd))
	binary.NativeEndian.PutUint64(sqes[8:], uint64(len(address))) // addr2
	binary.NativeEndian.PutUint64(sqes[16:], uint64(pointer))     // addr
	binary.NativeEndian.PutUint32(sq[p.sq[6]:], 0)
	binary.NativeEndian.PutUint32(sq[p.sq[1]:], binary.NativeEndian.Uint32(sq[p.sq[1]:])+1)
	_, _, errno = unix.Syscall6(unix.SYS_IO_URING_ENTER, ring, 1, 1, uringEnterGetEvts, 0, 0)
	runtime.KeepAlive(address)
	if errno != 0 {
		return errno
	}
	if result := int32(binary.NativeEndian.Uint32(cq[p.cq[5]+8:])); result < 0 {
		return unix.Errno(-result)
	}
	return nil
}
