//go:build !linux

package bpf

import (
	"errors"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Only Linux has what system_linux.go uses. The package is built for other systems so
// that programs which use it can be, and can say that they enforce nothing there.

const mmapable = 0

func mmap(*ebpf.Map) ([]byte, error)                 { return nil, errors.ErrUnsupported }
func munmap([]byte) error                            { return errors.ErrUnsupported }
func attachLSM(*ebpf.Program) (link.Link, error)     { return nil, errors.ErrUnsupported }
func attachIterator(*ebpf.Program) (iterator, error) { return nil, errors.ErrUnsupported }
func attachTracing(*ebpf.Program) (link.Link, error) { return nil, errors.ErrUnsupported }
func lacksTrampoline(error) bool                     { return false }
func ShowsTmpfs() bool                               { return false }
func getpgid() error                                 { return errors.ErrUnsupported }
func openDirectory(string) (*os.File, error)         { return nil, errors.ErrUnsupported }
func (*Pins) check() error                           { return errors.ErrUnsupported }
