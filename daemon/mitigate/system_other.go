//go:build !linux

package mitigate

import (
	"errors"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
)

// Nothing is killed but on Linux, where the daemon runs.

func openVictim(procfs.Process) (*victim, error) { return nil, errors.ErrUnsupported }
func (victim) stop() error                       { return errors.ErrUnsupported }
func (victim) kill() error                       { return errors.ErrUnsupported }
func (victim) await(time.Time) error             { return errors.ErrUnsupported }
func (victim) close() error                      { return nil }
func hasCgroups(*hostroot.Root, string) bool     { return false }
