package enrich

import (
	"encoding/binary"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
)

// TestReadProc finds this process and a child of it.
func TestReadProc(t *testing.T) {
	child := exec.Command("/bin/sh", "-c", "read x; exit 0", "a child", "")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); child.Wait() }()
	c := New(Options{})
	if err := c.ReadProc("/proc"); err != nil {
		t.Fatal(err)
	}
	pid := uint32(child.Process.Pid)
	for key := range c.entries {
		if key.pid != pid {
			continue
		}
		args, ancestors := c.Describe(Relative{Process: Process{pid, key.tick * procfs.Tick}}, 1<<62, nil)
		if !slices.Equal(args, child.Args) || len(ancestors) == 0 {
			t.Fatalf("%q %v", args, ancestors)
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if parent := ancestors[0]; parent.PID != uint32(os.Getpid()) || parent.Binary != self || !slices.Equal(parent.Args, os.Args) {
			t.Errorf("parent %+v, want %d %s %q", parent, os.Getpid(), self, os.Args)
		}
		return
	}
	t.Errorf("process %d was not found", pid)
}

func TestDecode(t *testing.T) {
	const binaryPath, arguments = "/bin/a", "a\x00b c\x00"
	record, err := binary.Append(nil, binary.NativeEndian, abi.Execution{
		Time: 1, Start: 2, ParentStart: 3, Inode: 4, Pid: 5, Ppid: 6,
		BinaryLength: uint16(len(binaryPath)), ArgumentsLength: uint16(len(arguments)),
	})
	if err != nil {
		t.Fatal(err)
	}
	record = append(record, binaryPath+arguments...)
	got, err := decode(record)
	want := Execution{Process: Process{5, 2}, Parent: Process{6, 3}, Time: 1, Inode: 4, Binary: binaryPath, Arguments: arguments}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for n := range record {
		if _, err := decode(record[:n]); err == nil {
			t.Errorf("%d of %d bytes are taken for an execution", n, len(record))
		}
	}
}
