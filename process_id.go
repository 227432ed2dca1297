package ebpfguard

import (
	"fmt"

	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

// RunningProcess returns what tells a running process from all others, for
// [Processes]. The pid is that of the pid namespace of /proc, which has to be the initial
// one. The error wraps [io/fs.ErrNotExist] when there is no such process.
func RunningProcess(pid int) (policy.ProcessID, error) {
	p, err := procfs.Stat(uint32(pid))
	if err != nil {
		return policy.ProcessID{}, fmt.Errorf("looking for process %d: %w", pid, err)
	}
	return policy.ProcessID{PID: p.PID, Start: p.Start}, nil
}

// Boottime returns the time that policies end by: nanoseconds of CLOCK_BOOTTIME, which
// counts while the machine is suspended too. On systems other than Linux it is an error.
func Boottime() (uint64, error) { return procfs.BootTime() }
