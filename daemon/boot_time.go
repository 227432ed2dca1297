package daemon

import "golang.org/x/sys/unix"

// bootTime returns the time of CLOCK_BOOTTIME in nanoseconds.
func bootTime() uint64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0 // cannot fail: the clock exists since 2.6.39
	}
	return uint64(now.Nano())
}
