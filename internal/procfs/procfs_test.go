package procfs

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const tail = " 1 1 0 -1 2097152 0 0 0 0 0 0 0 0 20 0 1 0 77 0 0"
	for _, name := range []string{"sh", "a) b (c", "\n", ""} {
		p, err := parseStat(5, []byte("5 ("+name+") S 4"+tail))
		if want := (Process{PID: 5, PPID: 4, Start: 77 * Tick, Comm: name, Kernel: true}); err != nil || p != want {
			t.Errorf("%q: %+v, %v; want %+v", name, p, err, want)
		}
	}
	if p, err := parseStat(5, []byte("5 (a) Z 4"+tail)); err != nil || !p.Dead {
		t.Errorf("a zombie: %+v, %v", p, err)
	}
	for _, wrong := range []string{"", "5 a S 4" + tail, "5 )a( S 4" + tail, "5 (a) S", "5 (a) S x" + tail} {
		if _, err := parseStat(5, []byte(wrong)); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

// TestSelf compares what is read about this process with what it knows of itself.
func TestSelf(t *testing.T) {
	pid := uint32(os.Getpid())
	line, err := Lineage(pid)
	if err != nil || len(line) < 2 || line[0].PID != pid || line[0].PPID != uint32(os.Getppid()) || line[1].PID != line[0].PPID {
		t.Fatalf("%v, %+v", err, line)
	}
	now, err := BootTime()
	if age := time.Duration(now - line[0].Start); err != nil || line[0].Start == 0 || age < 0 || age > time.Hour {
		t.Errorf("%v, it was started %v ago", err, age)
	}
	all, err := Processes()
	if err != nil || !slices.Contains(all, line[0]) {
		t.Errorf("%v, it is not among %d processes", err, len(all))
	}
	program, err := os.Executable()
	if got := Executable(pid); err != nil || got != program {
		t.Errorf("%v, the program is %q, want %q", err, got, program)
	}
	if uid, ok := User(pid); !ok || uid != uint32(os.Getuid()) {
		t.Errorf("the user is %d, %v", uid, ok)
	}
	if ResidentBytes() < 1<<20 {
		t.Errorf("it takes %d bytes", ResidentBytes())
	}
	if tasks, err := Tasks(); err != nil || int(tasks) < len(all) {
		t.Errorf("%v, there are %d tasks of %d processes", err, tasks, len(all))
	}
	if len(BootID()) != len("00000000-0000-0000-0000-000000000000") {
		t.Errorf("the boot id is %q", BootID())
	}
}

func TestParseTasks(t *testing.T) {
	if n, err := parseTasks("loadavg", "0.61 0.61 0.55 3/828 22084\n"); n != 828 || err != nil {
		t.Errorf("%d tasks, %v", n, err)
	}
	for _, wrong := range []string{"", "0.61 0.61 0.55 828 22084", "0.61 0.61 0.55 3/x 22084", "0.61 0.61 0.55 3/828"} {
		if _, err := parseTasks("loadavg", wrong); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

// TestNoProcess asks for a pid that no process can have.
func TestNoProcess(t *testing.T) {
	const none = 1<<22 + 1 // PID_MAX_LIMIT is 1<<22
	if _, err := Stat(none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
	if _, err := Lineage(none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("lineage: %v", err)
	}
	if _, ok := User(none); ok || Executable(none) != "" || Cgroup(none) != "" {
		t.Error("something is told of it")
	}
}
