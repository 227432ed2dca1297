package enrich

import (
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
)

// ReadProc adds what the processes run that were started before the executions were
// told of, in one pass over proc, the mount point of the proc filesystem. Of a process
// that is known already nothing is added.
func (c *Cache) ReadProc(proc string) error {
	running, err := procfs.ProcessesIn(proc)
	if err != nil {
		return err
	}
	found := map[uint32]Execution{}
	parents := map[uint32]uint32{}
	for _, p := range running {
		found[p.PID], parents[p.PID] = readProcess(filepath.Join(proc, strconv.FormatUint(uint64(p.PID), 10)), p), p.PPID
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

// readProcess reads what a process runs; of a kernel thread, and of a process that ended
// meanwhile, there is no more than that it is there.
func readProcess(dir string, p procfs.Process) Execution {
	e := Execution{Process: Process{p.PID, p.Start}}
	var err error
	if e.Binary, err = os.Readlink(filepath.Join(dir, "exe")); err != nil {
		return e
	}
	e.Inode = inode(filepath.Join(dir, "exe"))
	cmdline, err := os.Open(filepath.Join(dir, "cmdline"))
	if err != nil {
		return e
	}
	defer cmdline.Close()
	if arguments, err := io.ReadAll(io.LimitReader(cmdline, abi.MaxArguments)); err == nil {
		e.Arguments = string(arguments)
	}
	return e
}
