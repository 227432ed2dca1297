// Package procfs reads what the proc filesystem tells about processes and about the
// machine (proc(5)). All of it is of this process's pid namespace.
package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Dir is where the proc filesystem is mounted.
const Dir = "/proc"

// Tick is the unit of the times in /proc/PID/stat, in nanoseconds: USER_HZ is 100 on
// every architecture that Go knows.
const Tick = 10_000_000

// kernelThread is PF_KTHREAD of the kernel's include/linux/sched.h.
const kernelThread = 0x00200000

// maxLineage bounds the ancestors of a process: pids are used again while they are read,
// so the parents could form a circle.
const maxLineage = 1000

// Process is a process as /proc/PID/stat tells it.
type Process struct {
	PID, PPID uint32
	// Start is when it was forked, in nanoseconds of CLOCK_BOOTTIME, rounded down to a
	// [Tick].
	Start uint64
	// Comm is its name, which it may choose itself: up to 15 bytes of anything.
	Comm string
	// Kernel says that it is a thread of the kernel.
	Kernel bool
	// Dead says that it has ended and only waits for its parent to read how.
	Dead bool
}

// Path returns the path of a file below /proc/PID.
func Path(pid uint32, name string) string {
	return filepath.Join(Dir, strconv.FormatUint(uint64(pid), 10), name)
}

// Stat reads /proc/PID/stat. The error wraps [fs.ErrNotExist] when there is no such
// process.
func Stat(pid uint32) (Process, error) { return StatIn(Dir, pid) }

// StatIn is [Stat] for a proc filesystem that is mounted elsewhere.
func StatIn(dir string, pid uint32) (Process, error) {
	name := fmt.Sprintf("%s/%d/stat", dir, pid)
	data, err := os.ReadFile(name)
	if errors.Is(err, syscall.ESRCH) { // it ended between the open and the read
		err = fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	}
	if err != nil {
		return Process{}, err
	}
	p, err := parseStat(pid, data)
	if err != nil {
		return p, fmt.Errorf("reading %s: %w", name, err)
	}
	return p, nil
}

// parseStat reads a line of proc_pid_stat(5). The name may hold anything, so what
// follows it begins at the last parenthesis.
func parseStat(pid uint32, data []byte) (Process, error) {
	begin, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if begin < 0 || end < begin {
		return Process{}, fmt.Errorf("there is no name in %q", data)
	}
	// The manual counts the fields from 1, and the state is its third, the first here.
	const state, parent, flags, start = 0, 4 - 3, 9 - 3, 22 - 3
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) <= start {
		return Process{}, fmt.Errorf("there are %d fields after the name; at least %d are expected", len(fields), start+1)
	}
	ppid, err1 := strconv.ParseUint(fields[parent], 10, 32)
	bits, err2 := strconv.ParseUint(fields[flags], 10, 64)
	ticks, err3 := strconv.ParseUint(fields[start], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return Process{}, err
	}
	return Process{
		PID: pid, PPID: uint32(ppid), Start: ticks * Tick, Comm: string(data[begin+1 : end]),
		Kernel: bits&kernelThread != 0, Dead: slices.Contains([]string{"Z", "X", "x"}, fields[state]),
	}, nil
}

// Processes returns all processes, in the order of their pids as text.
func Processes() ([]Process, error) { return ProcessesIn(Dir) }

// ProcessesIn is [Processes] for a proc filesystem that is mounted elsewhere. Processes
// that end meanwhile are left out.
func ProcessesIn(dir string) ([]Process, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing the processes: %w", err)
	}
	var all []Process
	for _, e := range entries {
		pid, err := strconv.ParseUint(e.Name(), 10, 32)
		if err != nil {
			continue
		}
		if p, err := StatIn(dir, uint32(pid)); err == nil {
			all = append(all, p)
		}
	}
	return all, nil
}

// Tasks returns how many tasks there are, also those of other PID namespaces, of
// /proc/loadavg (proc(5)).
func Tasks() (uint32, error) {
	name := filepath.Join(Dir, "loadavg")
	data, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	return parseTasks(name, string(data))
}

func parseTasks(name, line string) (uint32, error) {
	if fields := strings.Fields(line); len(fields) == 5 {
		if _, all, ok := strings.Cut(fields[3], "/"); ok {
			if n, err := strconv.ParseUint(all, 10, 32); err == nil {
				return uint32(n), nil
			}
		}
	}
	return 0, fmt.Errorf("%s has no number of tasks: %q", name, line)
}

// Lineage returns a process and those that it descends from, the nearest first, as far
// as they live. The error wraps [fs.ErrNotExist] when there is no such process.
func Lineage(pid uint32) ([]Process, error) {
	var line []Process
	for next := pid; next != 0 && len(line) < maxLineage; {
		p, err := Stat(next)
		if err != nil {
			if len(line) == 0 {
				return nil, err
			}
			break // it ended meanwhile
		}
		line = append(line, p)
		next = p.PPID
	}
	return line, nil
}

// Executable returns the path of a process's program, also of one that was removed;
// empty when it cannot be read, and for threads of the kernel.
func Executable(pid uint32) string {
	path, err := os.Readlink(Path(pid, "exe"))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(path, " (deleted)")
}

// User returns the real user id of a process, false when it cannot be read.
func User(pid uint32) (uint32, bool) {
	data, err := os.ReadFile(Path(pid, "status"))
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

// namespaceCgroup is where this process's cgroup namespace begins, as the host names it.
var namespaceCgroup atomic.Pointer[string]

// UseNamespaceCgroup tells where this process's cgroup namespace begins, for [Cgroup]; empty if nobody knows.
func UseNamespaceCgroup(path string) { namespaceCgroup.Store(&path) }

// Cgroup returns the path of a process's control group in the unified hierarchy, "/" for
// the root; empty when it cannot be read. It is the host's path, as far as [UseNamespaceCgroup] was told.
func Cgroup(pid uint32) string {
	here := CgroupHere(pid)
	if begins := namespaceCgroup.Load(); begins != nil && *begins != "" && here != "" {
		return filepath.Join(*begins, here)
	}
	return here
}

// CgroupHere is [Cgroup] as this process's cgroup namespace has it: what is outside of it begins with "/..".
func CgroupHere(pid uint32) string {
	data, err := os.ReadFile(Path(pid, "cgroup"))
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

// ResidentBytes returns how much memory this process has in use; 0 when it cannot be read.
func ResidentBytes() uint64 {
	data, _ := os.ReadFile(Dir + "/self/statm")
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}

// BootID returns the random number by which the kernel names this boot; empty when it
// cannot be read.
func BootID() string {
	id, _ := os.ReadFile(Dir + "/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}
