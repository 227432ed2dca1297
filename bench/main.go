// Command bench measures what the guard costs the programs that it judges: in
// virtual machines whose clock counts instructions, so that the figures repeat.
//
//	go run ./bench -kernels 6.1,6.12,7 -write docs/bench
//	go run ./bench -kernels 6.12 -check bench/baseline.json
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// tolerance is by how much a figure may be greater than in the baseline, as a share of
// the whole; slack is how many instructions more say nothing, where the whole is short.
const (
	tolerance = 0.03
	slack     = 100
)

type options struct {
	kernels, setups, workloads string
	rules                      int
	write, check, baseline     string
	memory, daemon             string
	runs                       int
}

// results are instructions by kernel, workload and setup.
type results map[string]map[string]map[string]float64

// nothing is the setup that the others are compared with.
const (
	nothing = "nothing attached"
	denied  = "denied, with an alert"
)

func main() {
	var o options
	flag.StringVar(&o.kernels, "kernels", "6.1,6.12,7", "comma-separated `names` of kernels")
	flag.StringVar(&o.setups, "setups", "", "measure only setups that match this `regexp`")
	flag.StringVar(&o.workloads, "workloads", "", "measure only workloads that match this `regexp`")
	flag.IntVar(&o.rules, "rules", 1_000_000, "measure with at most this `number` of rules or networks")
	flag.StringVar(&o.write, "write", "", "write results.json, results.md and plots to this `folder`")
	flag.StringVar(&o.check, "check", "", "fail when a figure is worse than in this `file`")
	flag.StringVar(&o.baseline, "baseline", "", "write the figures to this `file`, for -check")
	flag.StringVar(&o.memory, "memory", "", "measure memory instead, and write memory.json and memory.md to this `folder`")
	flag.StringVar(&o.daemon, "daemon", "", "measure the daemon's memory instead, write daemon.json and daemon.md to this `folder`, and fail when it is too much")
	flag.IntVar(&o.runs, "runs", 1, "measure this `number` of times, tell by how much the runs differ, and fail when they do not agree")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: unexpected argument %q; `bench -h` shows the flags\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	tmp, err := os.MkdirTemp("", "ebpfguard-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := build(ctx, tmp); err != nil {
		return err
	}
	if o.daemon != "" {
		return daemon(ctx, tmp, o)
	}
	if o.memory != "" {
		return memory(ctx, tmp, o)
	}
	all := results{}
	var disagree error
	for _, kernel := range strings.Split(o.kernels, ",") {
		var runs []map[string]map[string]float64
		for range max(o.runs, 1) {
			fmt.Fprintf(os.Stderr, "bench: measuring on kernel %s\n", kernel)
			start := time.Now()
			figures, err := measure(ctx, tmp, kernel, o)
			if err != nil {
				return fmt.Errorf("on kernel %s: %w", kernel, err)
			}
			fmt.Fprintf(os.Stderr, "bench: kernel %s took %v\n", kernel, time.Since(start).Round(time.Second))
			printTables(os.Stdout, kernel, figures)
			runs = append(runs, figures)
		}
		all[kernel] = runs[0]
		if len(runs) > 1 {
			disagree = errors.Join(disagree, printDifferences(os.Stdout, kernel, runs))
		}
	}
	if disagree != nil {
		return disagree
	}
	if o.write != "" {
		if err := write(o.write, all); err != nil {
			return err
		}
	}
	if o.baseline != "" {
		return writeJSON(o.baseline, all)
	}
	if o.check != "" {
		return check(o.check, all)
	}
	return nil
}

// build builds the programs of the guest.
func build(ctx context.Context, tmp string) error {
	for _, command := range []*exec.Cmd{
		exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(tmp, "guest"), "./bench/guest"),
		exec.CommandContext(ctx, "clang", "-O2", "-Wall", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector",
			"-o", filepath.Join(tmp, "workload"), "bench/workload/workload.c"),
	} {
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(command.Args, " "), err, out)
		}
	}
	return nil
}

func measure(ctx context.Context, tmp, kernel string, o options) (map[string]map[string]float64, error) {
	k, err := vmtest.ByName(kernel)
	if err != nil {
		return nil, err
	}
	setups, err := regexp.Compile(o.setups)
	if err != nil {
		return nil, err
	}
	figures := map[string]map[string]float64{}
	config := vmtest.Config{
		Kernel: k, MemoryMiB: 4096,
		Args: []string{"-setups", o.setups, "-workloads", o.workloads, "-rules", fmt.Sprint(o.rules)},
	}
	out, err := boot(ctx, tmp, config)
	if err != nil {
		return nil, err
	}
	if err := read(out, figures); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(setupOrder, func(s string) bool { return strings.HasPrefix(s, "AppArmor") && setups.MatchString(s) }) {
		return figures, nil
	}
	// A boot of its own: a kernel with AppArmor asks it whatever is done.
	config.Kernel.LSM += ",apparmor"
	config.Packages = []string{"apparmor"}
	config.Args = append(config.Args, "-apparmor")
	if out, err = boot(ctx, tmp, config); err != nil {
		return nil, err
	}
	return figures, read(out, figures)
}

// boot runs the guest in a machine whose clock counts instructions, and returns
// what it wrote.
func boot(ctx context.Context, tmp string, c vmtest.Config) (*bytes.Buffer, error) {
	c.ICount, c.Timeout = true, 2*time.Hour
	// What is at random would differ between boots: fork+exec by 2 %.
	c.Append = "nokaslr norandmaps randomize_kstack_offset=off"
	c.Modules = []string{"overlay"}
	c.Files = map[string]string{"/bench-workload": filepath.Join(tmp, "workload")}
	return runGuest(ctx, tmp, c)
}

// runGuest runs the guest in a machine, and returns what it wrote.
func runGuest(ctx context.Context, tmp string, c vmtest.Config) (*bytes.Buffer, error) {
	var out bytes.Buffer
	c.Binary = filepath.Join(tmp, "guest")
	c.Stdout, c.Stderr = io.MultiWriter(&out, &progress{w: os.Stderr}), os.Stderr
	exit, err := vmtest.Run(ctx, c)
	if err == nil && exit != 0 {
		err = fmt.Errorf("the guest ended with %d:\n%s", exit, out.String())
	}
	return &out, err
}

// read adds to the figures what the guest wrote.
func read(out io.Reader, figures map[string]map[string]float64) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "{") {
			continue
		}
		var r struct {
			Setup, Workload string
			Value           float64
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("result %q: %w", lines.Text(), err)
		}
		if figures[r.Workload] == nil {
			figures[r.Workload] = map[string]float64{}
		}
		figures[r.Workload][r.Setup] = r.Value
	}
	return lines.Err()
}

// progress passes on what is no result.
type progress struct {
	w    io.Writer
	line []byte
}

func (p *progress) Write(b []byte) (int, error) {
	for _, c := range b {
		p.line = append(p.line, c)
		if c != '\n' {
			continue
		}
		if p.line[0] == '#' {
			p.w.Write(p.line)
		}
		p.line = p.line[:0]
	}
	return len(b), nil
}

// check compares with the figures of a file what the setups add to the workloads. The
// tolerance is a share of the whole, so that another version of the kernel and
// noise where little is added do not matter.
func check(file string, all results) error {
	baseline, err := readJSON(file)
	if err != nil {
		return err
	}
	var worse []string
	compared := 0
	for kernel, figures := range all {
		for workload, setups := range figures {
			for setup, value := range setups {
				before, ok := baseline[kernel][workload]
				if _, known := before[setup]; !ok || !known || setup == nothing {
					continue
				}
				compared++
				added, addedBefore := value-setups[nothing], before[setup]-before[nothing]
				if added > addedBefore+max(slack, tolerance*before[nothing]) {
					worse = append(worse, fmt.Sprintf("%s, %s on %s: %+.0f instructions, %+.0f before", workload, setup, kernel, added, addedBefore))
				}
			}
		}
	}
	slices.Sort(worse)
	if len(worse) > 0 {
		return fmt.Errorf("more than %.0f %% slower than %s says; if that has to be, `make bench-baseline` writes it anew:\n  %s",
			100*tolerance, file, strings.Join(worse, "\n  "))
	}
	if compared == 0 {
		return fmt.Errorf("%s has no figure of what was measured", file)
	}
	fmt.Printf("%d figures: none is more than %.0f %% slower than %s says\n", compared, 100*tolerance, file)
	return nil
}

// write writes the results and draws them. What was not measured keeps the results that the
// folder has of it.
func write(folder string, measured results) error {
	all, err := merge(filepath.Join(folder, "results.json"), measured)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, kernel := range slices.Sorted(maps.Keys(all)) {
		printTables(&b, kernel, all[kernel])
		name := filepath.Join(folder, "kernel-"+kernel+".svg")
		if err := os.WriteFile(name, plot(kernel, all[kernel]), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(folder, "results.md"), b.Bytes(), 0o644)
}

// merge writes results to a file, in which what was not measured stays, and returns all of them.
func merge(file string, measured results) (results, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	all, err := readJSON(file)
	if errors.Is(err, fs.ErrNotExist) {
		all, err = results{}, nil
	}
	if err != nil {
		return nil, err
	}
	for kernel, setups := range measured {
		if all[kernel] == nil {
			all[kernel] = setups
			continue
		}
		for setup, figures := range setups {
			if all[kernel][setup] == nil {
				all[kernel][setup] = figures
				continue
			}
			maps.Copy(all[kernel][setup], figures)
		}
	}
	return all, writeJSON(file, all)
}

func readJSON(file string) (results, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all results
	if err := json.Unmarshal(content, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return all, nil
}

func writeJSON(file string, all results) error {
	content, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(content, '\n'), 0o644)
}
