//go:build !linux

package procfs

import (
	"errors"
	"fmt"
)

// BootTime returns an error that wraps [errors.ErrUnsupported]: only Linux has
// CLOCK_BOOTTIME.
func BootTime() (uint64, error) {
	return 0, fmt.Errorf("reading CLOCK_BOOTTIME, which only Linux has: %w", errors.ErrUnsupported)
}
