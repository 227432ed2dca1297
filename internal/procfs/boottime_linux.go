package procfs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// BootTime returns the time of CLOCK_BOOTTIME in nanoseconds: since the kernel was
// booted, with the time that the machine was suspended.
func BootTime() (uint64, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, fmt.Errorf("reading CLOCK_BOOTTIME: %w", err)
	}
	return uint64(now.Nano()), nil
}
