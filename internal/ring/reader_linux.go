package ring

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Reader reads the records of a map of type [ebpf.RingBuf].
type Reader struct {
	file *os.File // another descriptor of the map, for waiting
	conn syscall.RawConn

	mu sync.Mutex // of what follows, and of reading
	// position and data are what is mapped; nil when closed.
	position, data []byte
	ring           ring
}

// NewReader maps a buffer. Of several readers each would get a part of the records.
func NewReader(m *ebpf.Map) (_ *Reader, err error) {
	size, page := int(m.MaxEntries()), os.Getpagesize()
	if m.Type() != ebpf.RingBuf || size == 0 || size&(size-1) != 0 {
		return nil, fmt.Errorf("a map of type %v and size %d is no ring buffer", m.Type(), size)
	}
	fd, err := unix.FcntlInt(uintptr(m.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicating a descriptor: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // else os does not wait for it
		return nil, errors.Join(err, unix.Close(fd))
	}
	r := &Reader{file: os.NewFile(uintptr(fd), "ring buffer")}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if err := r.file.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("waiting for a ring buffer: %w", err)
	}
	if r.conn, err = r.file.SyscallConn(); err != nil {
		return nil, err
	}
	if r.position, err = unix.Mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("mapping the position in a ring buffer: %w", err)
	}
	if r.data, err = unix.Mmap(fd, int64(page), page+size, unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("mapping the data of a ring buffer: %w", err)
	}
	r.ring = ring{
		consumed: (*uintptr)(unsafe.Pointer(&r.position[0])), produced: (*uintptr)(unsafe.Pointer(&r.data[0])),
		data: r.data[page:],
	}
	return r, nil
}

// Read waits for a record and reads it into a buffer, which it makes larger if it has to. The error
// is [os.ErrClosed] when the reader was closed.
//
// The kernel wakes up who waits when it adds a record to an empty buffer. So what is there is read
// before waiting, to the last record.
func (r *Reader) Read(buffer []byte) (record []byte, err error) {
	waited := r.conn.Read(func(uintptr) bool {
		record, err = r.tryRead(buffer)
		return !errors.Is(err, errEmpty)
	})
	if waited != nil { // it was closed while it waited, or before
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.data == nil {
			return nil, os.ErrClosed
		}
		return nil, waited
	}
	return record, err
}

func (r *Reader) tryRead(buffer []byte) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.data == nil {
		return nil, os.ErrClosed
	}
	return r.ring.next(buffer)
}

// TryRead is Read, but does not wait: it returns nil when there is no record.
func (r *Reader) TryRead(buffer []byte) ([]byte, error) {
	record, err := r.tryRead(buffer)
	if errors.Is(err, errEmpty) {
		err = nil
	}
	return record, err
}

// Close ends a Read that waits.
func (r *Reader) Close() error {
	r.mu.Lock()
	var err error
	for _, memory := range [][]byte{r.position, r.data} {
		if memory != nil {
			err = errors.Join(err, unix.Munmap(memory))
		}
	}
	r.position, r.data, r.ring = nil, nil, ring{}
	r.mu.Unlock()
	closed := r.file.Close()
	if errors.Is(closed, os.ErrClosed) {
		closed = nil
	}
	return errors.Join(err, closed)
}
