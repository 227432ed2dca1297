package mitigate

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// procDir is where the proc filesystem is mounted.
const procDir = "/proc"

// tick is what /proc/PID/stat counts times in, on every architecture.
const tick = 10_000_000

// kernelThread is PF_KTHREAD of the kernel's include/linux/sched.h.
const kernelThread = 0x00200000

// running is a process as /proc tells it.
type running struct {
	pid, ppid uint32
	// start is in nanoseconds of CLOCK_BOOTTIME, to 10 ms.
	start  uint64
	comm   string
	kernel bool
	// dead is a zombie: it does nothing any more.
	dead bool
}

// stat reads /proc/PID/stat. The error wraps [fs.ErrNotExist] for a process that is not
// there.
func stat(pid uint32) (running, error) {
	data, err := os.ReadFile(fmt.Sprintf("%s/%d/stat", procDir, pid))
	if errors.Is(err, unix.ESRCH) {
		err = fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	}
	if err != nil {
		return running{}, err
	}
	return parseStat(pid, data)
}

// parseStat reads a line of proc_pid_stat(5). The name may hold anything, so what
// follows begins at the last parenthesis.
func parseStat(pid uint32, data []byte) (running, error) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return running{}, fmt.Errorf("/proc/%d/stat: unexpected %q", pid, data)
	}
	fields := strings.Fields(string(data[end+1:])) // from the third on
	if len(fields) < 20 {
		return running{}, fmt.Errorf("/proc/%d/stat: unexpected %q", pid, data)
	}
	ppid, err1 := strconv.ParseUint(fields[4-3], 10, 32)
	flags, err2 := strconv.ParseUint(fields[9-3], 10, 64)
	ticks, err3 := strconv.ParseUint(fields[22-3], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return running{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return running{
		pid: pid, ppid: uint32(ppid), start: ticks * tick, comm: string(data[open+1 : end]),
		kernel: flags&kernelThread != 0, dead: slices.Contains([]string{"Z", "X", "x"}, fields[0]),
	}, nil
}

// processes returns all that run.
func processes() ([]running, error) {
	entries, err := os.ReadDir(procDir)
	if err != nil {
		return nil, err
	}
	var all []running
	for _, e := range entries {
		pid, err := strconv.ParseUint(e.Name(), 10, 32)
		if err != nil {
			continue
		}
		if p, err := stat(uint32(pid)); err == nil { // else it has ended
			all = append(all, p)
		}
	}
	return all, nil
}

// lineage returns a process and those that it descends from, as far as they live.
func lineage(pid uint32) ([]running, error) {
	var line []running
	for next := pid; next != 0 && len(line) < 1000; {
		p, err := stat(next)
		if err != nil {
			if len(line) == 0 {
				return nil, err
			}
			break // it ended meanwhile
		}
		line = append(line, p)
		next = p.ppid
	}
	return line, nil
}

// executable returns the path of the program; empty if it is not known.
func executable(pid uint32) string {
	path, err := os.Readlink(fmt.Sprintf("%s/%d/exe", procDir, pid))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(path, " (deleted)")
}

// userOf returns the real user id.
func userOf(pid uint32) (uint32, bool) {
	data, err := os.ReadFile(fmt.Sprintf("%s/%d/status", procDir, pid))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(data)) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			fields := strings.Fields(ids)
			if len(fields) > 0 {
				uid, err := strconv.ParseUint(fields[0], 10, 32)
				return uint32(uid), err == nil
			}
		}
	}
	return 0, false
}

// cgroupOf returns the path of the control group in the unified hierarchy.
func cgroupOf(pid uint32) string {
	data, err := os.ReadFile(fmt.Sprintf("%s/%d/cgroup", procDir, pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSuffix(path, "\n")
		}
	}
	return ""
}
