package main

import (
	"cmp"
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
	// contains: it is a workload of its own then. It is that of the middle half of
	// batches, since a batch now and then takes a tenth more, at random.
	later bool
	// in is where its files are, if not in dir.
	in string
	// files is how many it opens for the first time, and folders in how many
	// directories it opens some.
	files, folders int
	// mounts tells that it mounts, which Landlock does not let it do.
	mounts bool
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

// coldFiles is how many files are opened for the first time, and coldFolders in how many
// directories; manyFolders is more than the guard keeps states of.
const (
	coldFiles   = 10_000
	coldFolders = 2000
	manyFolders = 8000
)

// The files of a workload are in dir unless it says otherwise. Those of the groups
// "file", "storm" and "names" ask for file_open; "storm" is what happens to a file
// while the machine lives, and "names" changes names and attributes.
var workloads = []workload{
	{name: "open+close, depth 3", command: "open3", group: "file", times: 5000, what: median},
	{name: "open+close, depth 10", command: "open10", group: "file", times: 5000, what: median},
	{name: "open+close, never seen before", command: "open_cold", group: "file", times: coldFiles, what: mean, files: coldFiles},
	{name: "open+close, each of 10,000", command: "open_warm", group: "file", times: coldFiles, what: mean, files: coldFiles},
	{name: "stat", command: "stat", group: "file", times: 5000, what: median},
	{name: "read", command: "read", group: "file", times: 5000, what: median},
	{name: "write", command: "write", group: "file", times: 5000, what: median},
	{name: "open+close, depth 40", command: "open40", group: "storm", times: 3000, what: median},
	{name: "open+close after a rename, depth 3", command: "open3_rename", group: "storm", times: 2000, what: median},
	{name: "open+close after a rename, depth 10", command: "open10_rename", group: "storm", times: 2000, what: median},
	{name: "open+close after a rename, depth 40", command: "open40_rename", group: "storm", times: 2000, what: median},
	{name: "open+close after a directory is renamed, depth 3", command: "open3_dir", group: "storm", times: 2000, what: median},
	{name: "open+close after a directory is renamed, depth 10", command: "open10_dir", group: "storm", times: 2000, what: median},
	{name: "open+close after a directory is renamed, depth 40", command: "open40_dir", group: "storm", times: 2000, what: median},
	{name: "open+close after a mount, depth 3", command: "open3_mount", group: "storm", times: 1000, what: median, mounts: true},
	{name: "open+close after a mount, depth 10", command: "open10_mount", group: "storm", times: 1000, what: median, mounts: true},
	{name: "open+close after a mount, depth 40", command: "open40_mount", group: "storm", times: 1000, what: median, mounts: true},
	{name: "open+close after a lazy umount", command: "open3_lazy", group: "storm", times: 500, what: median, mounts: true},
	{name: "open+close on a bind mount", command: "open3", group: "storm", times: 3000, what: median, in: bound},
	{name: "open+close on a bind mount after a rename", command: "open3_rename", group: "storm", times: 2000, what: median, in: bound},
	{name: "open+close on a bind mount after a mount", command: "open3_mount", group: "storm", times: 1000, what: median, in: bound, mounts: true},
	{name: "open+close on a bind mount, never seen before", command: "open_cold", group: "storm", times: 3000, what: mean, in: bound, files: 3000},
	{name: "open+close on overlayfs", command: "open3", group: "storm", times: 3000, what: median, in: overlaid},
	{name: "open+close on overlayfs after a rename", command: "open3_rename", group: "storm", times: 2000, what: median, in: overlaid},
	{name: "open+close on overlayfs after a mount", command: "open3_mount", group: "storm", times: 1000, what: median, in: overlaid, mounts: true},
	{name: "open+close on overlayfs, never seen before", command: "open_cold", group: "storm", times: 3000, what: mean, in: overlaid, files: 3000},
	{name: "open+close in a directory never seen before", command: "open_dirs", group: "storm", times: coldFolders, what: mean, folders: coldFolders},
	{name: "open+close, never seen before, in 8,000 directories", command: "open_many", group: "storm", times: manyFolders, what: mean, folders: manyFolders},
	{name: "open+close after a change of the user", command: "open3_uid", group: "storm", times: 2000, what: median},
	{name: "open+close, the first of a process", command: "open3_first", group: "storm", times: 300, what: median},
	{name: "mmap, to be executed", command: "mmap", group: "storm", times: 2000, what: median},
	{name: "mprotect, to be executed", command: "mprotect", group: "storm", times: 2000, what: median},
	{name: "write+read of a pipe", command: "pipe", group: "storm", times: 3000, what: median},
	{name: "mkdir+rmdir", command: "mkdir", group: "names", times: 2000, what: median},
	{name: "create+close+unlink", command: "create", group: "names", times: 2000, what: median},
	{name: "rename", command: "rename", group: "names", times: 2000, what: median},
	{name: "link", command: "link", group: "names", times: 2000, what: median},
	{name: "chmod", command: "chmod", group: "names", times: 2000, what: median},
	{name: "utimes", command: "utimes", group: "names", times: 2000, what: median},
	{name: "truncate", command: "truncate", group: "names", times: 2000, what: median},
	{name: "socket+bind+close", command: "bind", group: "bind", times: 3000, what: median},
	{name: "socket+bind+close, 2 ports in turn", command: "bind2", group: "bind", times: 3000, what: median},
	{name: "connect, UDP", command: "connect_udp", group: "connect", times: 5000, what: median},
	{name: "connect, UDP, 2 ports in turn", command: "connect_udp2", group: "connect", times: 3000, what: median},
	{name: "connect, UDP, 8 addresses in turn", command: "connect_udp8", group: "connect", times: 3000, what: median},
	{name: "socket+connect+close, TCP", command: "connect_tcp", group: "connect", times: 1500, what: median},
	{name: "sendto, UDP", command: "sendto", group: "connect", times: 3000, what: median},
	{name: "fork+exec+wait", command: "fork_exec", group: "exec", times: 400, what: median, later: true},
	{name: "fork+wait", command: "fork", group: "exec", times: 800, what: median, later: true},
	{name: "setuid(0)", command: "setuid", group: "setuid", times: 5000, what: median},
	{name: "mount+umount", command: "mount", group: "mount", times: 400, what: least, later: true, mounts: true},
}

// Where the program lies in the guest, and where the files are that it uses: not
// on the guest's root, which is a filesystem of its own kind.
const (
	workloadPath = "/bench-workload"
	dir          = "/tmp/bench"
	bound        = "/tmp/bench-bound"   // a part of dir, mounted there
	overlaid     = "/tmp/bench-overlay" // another part, below an overlayfs
	boundPart    = dir + "/part"
	lower        = dir + "/lower"
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
	for _, path := range []string{
		dir + "/file", dir + strings.Repeat("/d", 7) + "/file", dir + strings.Repeat("/d", 37) + "/file",
		dir + "/names/file", dir + "/other", boundPart + "/file", lower + "/file",
	} {
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		must(os.WriteFile(path, []byte("some text"), 0o644))
	}
	for _, path := range []string{target, bound, overlaid, dir + "/upper", dir + "/work"} {
		must(os.Mkdir(path, 0o755))
	}
	must(unix.Mount(boundPart, bound, "", unix.MS_BIND, ""))
	mountOverlay()
}

func mountOverlay() {
	must(unix.Mount("overlay", overlaid, "overlay", 0, "lowerdir="+lower+",upperdir="+dir+"/upper,workdir="+dir+"/work"))
}

// makeCold makes the files that the workload is the first to open, and directories in
// which nobody has opened a file.
func (w workload) makeCold() {
	if w.files+w.folders == 0 {
		return
	}
	place := cmp.Or(w.in, dir)
	if w.in == overlaid { // may not change below it
		must(unix.Unmount(overlaid, 0))
		place = lower
	}
	making := filepath.Join(place, "making")
	cold, folders := filepath.Join(making, "cold"), filepath.Join(making, "dirs")
	must(errors.Join(os.Mkdir(making, 0o755), os.Mkdir(cold, 0o755), os.Mkdir(folders, 0o755)))
	for i := range w.files {
		must(unix.Mknod(filepath.Join(cold, strconv.Itoa(i)), unix.S_IFREG|0o644, 0))
	}
	for i := range w.folders {
		folder := filepath.Join(folders, strconv.Itoa(i))
		must(unix.Mkdir(folder, 0o755))
		for _, name := range []string{"file", "other"} {
			must(unix.Mknod(filepath.Join(folder, name), unix.S_IFREG|0o644, 0))
		}
	}
	// The guard judged the making, and may know the directories from that: as others.
	for _, made := range []string{cold, folders} {
		at := filepath.Join(place, filepath.Base(made))
		must(errors.Join(os.RemoveAll(at), os.Rename(made, at)))
	}
	must(os.Remove(making))
	if w.in == overlaid {
		mountOverlay()
	}
	// Until the kernel has freed what it kept of the former ones, which otherwise
	// falls into the time of some runs, and not of others.
	time.Sleep(5 * time.Second)
}

// run measures the workload: the instructions that it takes once, by name of what
// was measured. A refusal that is not expected would make a figure of something
// else.
func (w workload) run(refused bool, before ...string) map[string]float64 {
	w.makeCold()
	var times []float64
	for range w.rounds() {
		times = append(times, w.execute(refused, before...)...)
	}
	figures := map[string]float64{}
	if w.later {
		figures[w.name+", mean"] = middle(batches(times))
	}
	slices.Sort(times)
	switch w.what {
	case median:
		figures[w.name] = times[len(times)/2]
	case least:
		figures[w.name] = times[0]
	case mean:
		figures[w.name] = average(times)
	}
	return figures
}

// rounds is how many processes do the workload one after the other. What the kernel's
// pools of memory hold differs from one to the next, by more than the guard costs a fork.
func (w workload) rounds() int {
	if w.later {
		return 3
	}
	return 1
}

// execute executes the workload's program, and returns what it took each time.
func (w workload) execute(refused bool, before ...string) []float64 {
	command := slices.Concat(before, []string{workloadPath, w.command, strconv.Itoa(w.times), cmp.Or(w.in, dir), dir})
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
	for _, line := range strings.Fields(string(out)) {
		n, err := strconv.ParseFloat(line, 64)
		must(err)
		times = append(times, n)
	}
	return times
}

// batch is how many times make a batch: enough for the kernel to come to what it put off.
const batch = 50

// batches returns the means of as many times as make a batch, which follow each other.
func batches(times []float64) []float64 {
	var means []float64
	for part := range slices.Chunk(times, batch) {
		means = append(means, average(part))
	}
	return means
}

// middle is the mean of the middle half.
func middle(values []float64) float64 {
	slices.Sort(values)
	quarter := len(values) / 4
	return average(values[quarter : len(values)-quarter])
}

func average(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
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
