// Package ring reads the kernel's ring buffers. It does what ringbuf of cilium/ebpf does, but maps
// the data once and not twice in a row: resident memory counts each mapping, so a buffer of 8 MiB
// would count as 16.
package ring

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// What the kernel writes before a record: struct bpf_ringbuf_hdr, BPF_RINGBUF_BUSY_BIT and
// BPF_RINGBUF_DISCARD_BIT.
const (
	headerSize = 8
	busy       = 1 << 31
	discarded  = 1 << 30
)

var errEmpty = errors.New("the ring buffer is empty")

// ring is the memory that is shared with the kernel.
type ring struct {
	consumed, produced *uintptr
	data               []byte // its size is a power of two
}

// empty reports whether there is nothing to read.
func (r *ring) empty() bool { return atomic.LoadUintptr(r.produced) == atomic.LoadUintptr(r.consumed) }

// next reads a record into a buffer, which it makes larger if it has to, or returns errEmpty.
func (r *ring) next(buffer []byte) ([]byte, error) {
	size := uintptr(len(r.data))
	for {
		from := atomic.LoadUintptr(r.consumed)
		available := atomic.LoadUintptr(r.produced) - from
		if available == 0 {
			return nil, errEmpty
		}
		if available < headerSize {
			return nil, fmt.Errorf("reading the header of a record: %w", io.ErrUnexpectedEOF)
		}
		// Records begin at multiples of 8 bytes, so a header never goes on at the other end. The
		// kernel clears the bit last (v6.8, kernel/bpf/ringbuf.c, bpf_ringbuf_commit).
		header := atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.data[from&(size-1)])))
		if header&busy != 0 { // it is being written
			runtime.Gosched()
			continue
		}
		length := uintptr(header &^ (busy | discarded))
		to := from + headerSize + (length+7)&^7
		if to-from > available || to-from > size {
			return nil, fmt.Errorf("reading a record of %d bytes: %w", length, io.ErrUnexpectedEOF)
		}
		if header&discarded == 0 {
			start := (from + headerSize) & (size - 1)
			end := min(start+length, size)
			buffer = append(buffer[:0], r.data[start:end]...)
			buffer = append(buffer, r.data[:length-(end-start)]...)
		}
		atomic.StoreUintptr(r.consumed, to)
		if header&discarded == 0 {
			return buffer, nil
		}
	}
}
