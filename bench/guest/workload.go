package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// workload is something that bench/workload asks the kernel for.
type workload struct {
	// name is for people, command for the program.
	name, command string
	// group is the operation whose rules concern it.
	group string
	// times is how often it is done in a batch.
	times int
}

// batches are in a measurement, of which the least counts: what else the kernel
// does meanwhile, such as freeing what former processes and mounts had, only adds.
const batches = 20

// coldFiles is how many files are opened for the first time.
const coldFiles = 10_000

var workloads = []workload{
	{"open+close, depth 3", "open3", "file", 500},
	{"open+close, depth 10", "open10", "file", 500},
	{"open+close, never seen before", "open_cold", "file", coldFiles / batches},
	{"open+close, each of 10,000", "open_warm", "file", coldFiles / batches},
	{"stat", "stat", "file", 1250},
	{"read", "read", "file", 1250},
	{"write", "write", "file", 1250},
	{"socket+bind+close", "bind", "bind", 250},
	{"connect, UDP", "connect_udp", "connect", 750},
	{"socket+connect+close, TCP", "connect_tcp", "connect", 75},
	{"sendto, UDP", "sendto", "connect", 250},
	{"fork+exec+wait", "fork_exec", "exec", 50},
	{"fork+wait", "fork", "exec", 75},
	{"setuid(0)", "setuid", "setuid", 1250},
	{"mount+umount", "mount", "mount", 25},
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
}

// run measures the workload: the instructions that it takes once. A refusal that
// is not expected would make a figure of something else.
func (w workload) run(refused bool, before ...string) float64 {
	if w.command == "open_cold" || w.command == "open_warm" {
		makeColdFiles()
	}
	command := slices.Concat(before, []string{workloadPath, w.command, strconv.Itoa(w.times), strconv.Itoa(batches), dir})
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if exit := new(exec.ExitError); refused && errors.As(err, &exit) && exit.ExitCode() == 3 {
		err = nil
	}
	if err != nil {
		fatal(fmt.Errorf("%s: %w", w.name, err))
	}
	least := math.Inf(1)
	for _, line := range strings.Fields(string(out)) {
		n, err := strconv.ParseFloat(line, 64)
		must(err)
		least = min(least, n/float64(w.times))
	}
	return least
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
