package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// workload is something that bench/workload asks the kernel for.
type workload struct {
	// name is for people, command for the program.
	name, command string
	// group is the operation whose rules concern it.
	group string
	// times is how often it is done.
	times int
	// what tells which figure of all those times counts.
	what figure
	// later tells that the kernel leaves much to be done later, which the mean
	// contains: it is a workload of its own then.
	later bool
}

// figure is what becomes of the times that something took.
type figure int

const (
	// median is what it takes when the kernel does nothing else meanwhile: no tick
	// of the clock, nothing that is freed later, no refill of a pool of memory.
	// That repeats, to the instruction where nothing is made anew.
	median figure = iota + 1
	// least is that for what has no usual course: a mount waits, or does not, for
	// what the last one left.
	least
	// mean is for what concerns new objects: every so many of them cost a page of
	// memory.
	mean
)

// coldFiles is how many files are opened for the first time.
const coldFiles = 10_000

var workloads = []workload{
	{"open+close, depth 3", "open3", "file", 5000, median, false},
	{"open+close, depth 10", "open10", "file", 5000, median, false},
	{"open+close, never seen before", "open_cold", "file", coldFiles, mean, false},
	{"open+close, each of 10,000", "open_warm", "file", coldFiles, mean, false},
	{"stat", "stat", "file", 5000, median, false},
	{"read", "read", "file", 5000, median, false},
	{"write", "write", "file", 5000, median, false},
	{"socket+bind+close", "bind", "bind", 3000, median, false},
	{"connect, UDP", "connect_udp", "connect", 5000, median, false},
	{"socket+connect+close, TCP", "connect_tcp", "connect", 1500, median, false},
	{"sendto, UDP", "sendto", "connect", 3000, median, false},
	{"fork+exec+wait", "fork_exec", "exec", 1500, median, true},
	{"fork+wait", "fork", "exec", 2000, median, true},
	{"setuid(0)", "setuid", "setuid", 5000, median, false},
	{"mount+umount", "mount", "mount", 1000, least, true},
}

// Where the program lies in the guest, and where the files are that it uses: not
// on the guest's root, which is a filesystem of its own kind.
const (
	workloadPath = "/bench-workload"
	dir          = "/tmp/bench"
)

var (
	program = filepath.Join(dir, "true")
	target  = filepath.Join(dir, "mount")
)

func makeFiles() {
	must(os.MkdirAll(dir, 0o755))
	must(unix.Mount("bench", dir, "tmpfs", 0, ""))
	content, err := os.ReadFile(workloadPath)
	must(err)
	must(os.WriteFile(program, content, 0o755)) // without arguments it ends at once
	for _, path := range []string{dir + "/file", dir + strings.Repeat("/d", 7) + "/file"} {
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		must(os.WriteFile(path, []byte("some text"), 0o644))
	}
	must(os.Mkdir(target, 0o755))
}

// makeColdFiles makes files that nobody has opened since.
func makeColdFiles() {
	cold := filepath.Join(dir, "cold")
	must(os.RemoveAll(cold))
	must(os.Mkdir(cold, 0o755))
	for i := range coldFiles {
		path := filepath.Join(cold, strconv.Itoa(i))
		must(unix.Mknod(path, unix.S_IFREG|0o644, 0))
	}
	// Until the kernel has freed what it kept of the former ones, which otherwise
	// falls into the time of some runs, and not of others.
	time.Sleep(5 * time.Second)
}

// run measures the workload: the instructions that it takes once, by name of what
// was measured. A refusal that is not expected would make a figure of something
// else.
func (w workload) run(refused bool, before ...string) map[string]float64 {
	if w.command == "open_cold" || w.command == "open_warm" {
		makeColdFiles()
	}
	command := slices.Concat(before, []string{workloadPath, w.command, strconv.Itoa(w.times), dir})
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if exit := new(exec.ExitError); refused && errors.As(err, &exit) && exit.ExitCode() == 3 {
		err = nil
	}
	if err != nil {
		fatal(fmt.Errorf("%s: %w", w.name, err))
	}
	var times []float64
	sum := 0.0
	for _, line := range strings.Fields(string(out)) {
		n, err := strconv.ParseFloat(line, 64)
		must(err)
		times = append(times, n)
		sum += n
	}
	slices.Sort(times)
	average := sum / float64(len(times))
	figures := map[string]float64{w.name: times[len(times)/2]}
	switch w.what {
	case least:
		figures[w.name] = times[0]
	case mean:
		figures[w.name] = average
	}
	if w.later {
		figures[w.name+", mean"] = average
	}
	return figures
}

func must(err error) {
	if err != nil {
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}
