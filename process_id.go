package ebpfguard

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/policy"
)

// startField is the number of the field of /proc/PID/stat that tells the start
// (proc_pid_stat(5)), counted from the state, which is the third.
const startField = 22 - 3

// RunningProcess returns what tells a running process from all others. The pid is
// that of the pid namespace of /proc, which has to be the initial one.
func RunningProcess(pid int) (policy.ProcessID, error) {
	name := fmt.Sprintf("/proc/%d/stat", pid)
	data, err := os.ReadFile(name)
	if err != nil {
		return policy.ProcessID{}, fmt.Errorf("looking for process %d: %w", pid, err)
	}
	// The name of the program, in parentheses, may have any bytes in it.
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) <= startField {
		return policy.ProcessID{}, fmt.Errorf("%s has %d fields after the name; %d are expected", name, len(fields), startField+1)
	}
	ticks, err := strconv.ParseUint(string(fields[startField]), 10, 64)
	if err != nil {
		return policy.ProcessID{}, fmt.Errorf("reading the start in %s: %w", name, err)
	}
	return policy.ProcessAt(uint32(pid), ticks), nil
}

// Boottime returns the time that policies end by: nanoseconds of CLOCK_BOOTTIME, which
// counts while the machine is suspended too.
func Boottime() (uint64, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, fmt.Errorf("reading CLOCK_BOOTTIME: %w", err)
	}
	return uint64(now.Nano()), nil
}
