package enrich

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
)

// ReadProc adds what the processes run that were started before the executions were
// told of, in one pass over proc, the mount point of the proc filesystem. Of a process
// that is known already nothing is added.
func (c *Cache) ReadProc(proc string) error {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return fmt.Errorf("listing the processes that run: %w", err)
	}
	found := map[uint32]Execution{}
	parents := map[uint32]uint32{}
	for _, e := range entries {
		pid, err := strconv.ParseUint(e.Name(), 10, 32)
		if err != nil {
			continue
		}
		p, parent, err := readProcess(filepath.Join(proc, e.Name()), uint32(pid))
		if err != nil {
			continue // it has ended
		}
		found[p.PID], parents[p.PID] = p, parent
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.catchUp()
	for pid, p := range found {
		if c.entries[p.key()] != nil {
			continue
		}
		if parent, ok := found[parents[pid]]; ok {
			p.Parent = parent.Process
		}
		c.add(p)
	}
	return nil
}

// readProcess reads what a process runs; of a kernel thread there is no more than
// that it is there.
func readProcess(dir string, pid uint32) (e Execution, parent uint32, err error) {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return e, 0, err
	}
	start, parent, err := parseStat(stat)
	if err != nil {
		return e, 0, err
	}
	e.Process = Process{pid, start * tick}
	if e.Binary, err = os.Readlink(filepath.Join(dir, "exe")); err != nil {
		return e, parent, nil
	}
	var file unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "exe"), &file); err == nil {
		e.Inode = file.Ino
	}
	cmdline, err := os.Open(filepath.Join(dir, "cmdline"))
	if err != nil {
		return e, parent, nil
	}
	defer cmdline.Close()
	arguments, err := io.ReadAll(io.LimitReader(cmdline, int64(bpf.MaxArguments)))
	if err == nil {
		e.Arguments = string(arguments)
	}
	return e, parent, nil
}

// parseStat returns the start, in ticks, and the parent of a process by its
// /proc/PID/stat (proc(5)). The name, in parentheses, may hold anything.
func parseStat(stat []byte) (start uint64, parent uint32, err error) {
	const parentField, startField = 1, 19 // from the third one on
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= startField {
		return 0, 0, fmt.Errorf("%q has too few fields", stat)
	}
	number, err := strconv.ParseUint(string(fields[parentField]), 10, 32)
	if err != nil {
		return 0, 0, err
	}
	start, err = strconv.ParseUint(string(fields[startField]), 10, 64)
	return start, uint32(number), err
}
