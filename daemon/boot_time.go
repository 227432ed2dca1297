package daemon

import "github.com/ebpfguard/ebpfguard/internal/procfs"

// bootTime returns the time of CLOCK_BOOTTIME in nanoseconds. Reading it cannot fail on
// Linux; were it to, no mitigation would end here: the kernel ends them by its own clock.
func bootTime() uint64 {
	now, _ := procfs.BootTime()
	return now
}
