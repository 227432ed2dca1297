//go:build !linux

package ring

import (
	"errors"

	"github.com/cilium/ebpf"
)

// Reader reads the records of a map of type [ebpf.RingBuf].
type Reader struct{}

var errLinux = errors.New("there are such ring buffers on Linux only")

// NewReader maps a buffer.
func NewReader(*ebpf.Map) (*Reader, error) { return nil, errLinux }

// Read waits for a record.
func (*Reader) Read([]byte) ([]byte, error) { return nil, errLinux }

// TryRead is Read, but does not wait.
func (*Reader) TryRead([]byte) ([]byte, error) { return nil, errLinux }

// Close ends a Read that waits.
func (*Reader) Close() error { return nil }
