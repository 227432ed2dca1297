// Command suite runs the tests on every kernel of the table, one after the other, and prints one table of the results:
//
//	go run ./internal/vmtest/suite -tags vm ./...
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

const (
	usage      = 2
	vmrunBuild = "github.com/ebpfguard/ebpfguard/internal/vmtest/vmrun"
)

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

type options struct {
	kernels, run, tags string
	// output is a file that gets the tests' output as well.
	output   string
	timeout  time.Duration
	parallel int
	// vmrun collects the flags that go on to vmrun.
	vmrun    list
	packages []string
}

func main() {
	o, err := parse(os.Args[1:])
	if err == flag.ErrHelp {
		return
	}
	if err != nil {
		os.Exit(usage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("suite", flag.ContinueOnError)
	f.StringVar(&o.kernels, "kernels", "all", "comma-separated `names` of the table's kernels")
	f.StringVar(&o.run, "run", "", "run only the tests that match `REGEXP`, and only the packages that have one")
	f.Func("test", "run only the test of this `NAME`", func(name string) error {
		o.run = exactly(name)
		return nil
	})
	f.StringVar(&o.tags, "tags", "", "build `tags`")
	f.StringVar(&o.output, "output", "", "write the tests' output to `FILE` as well")
	f.IntVar(&o.parallel, "parallel", runtime.NumCPU(), "`number` of kernels side by side")
	f.DurationVar(&o.timeout, "timeout", 40*time.Minute, "`time` that a package's tests may take on one kernel")
	for name, help := range map[string]string{
		"packages": "Debian `packages` for the guest", "modules": "kernel `modules` to load", "append": "kernel `arguments`",
		"cpu": "emulated cpu `model`", "smp": "`number` of cpus", "memory": "memory in `MiB`", "env": "`K=V` for the tests; repeatable",
	} {
		f.Func(name, help, func(value string) error {
			o.vmrun = append(o.vmrun, "-"+name, value)
			return nil
		})
	}
	f.Func("add", "`HOST:GUEST` file or folder to have in the guest; repeatable", func(value string) error {
		host, guest, _ := strings.Cut(value, ":")
		// The runner starts in the package's folder, not in this one.
		host, err := filepath.Abs(host)
		o.vmrun = append(o.vmrun, "-add", host+":"+guest)
		return err
	})
	for name, help := range map[string]string{"icount": "let the guest's clock count instructions", "v": "print the kernel's log"} {
		f.BoolFunc(name, help, func(string) error {
			o.vmrun = append(o.vmrun, "-"+name)
			return nil
		})
	}
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: suite [flags] PACKAGE...")
		f.PrintDefaults()
	}
	err := f.Parse(args)
	o.packages = f.Args()
	if err == nil && len(o.packages) == 0 {
		o.packages = []string{"./..."}
	}
	return o, err
}

// run tests kernel after kernel and reports whether all went well.
func run(ctx context.Context, o options) (bool, error) {
	kernels, err := choose(o.kernels)
	if err != nil {
		return false, err
	}
	if o.run != "" {
		packages, err := findPackages(ctx, o.tags, o.packages)
		if err != nil {
			return false, err
		}
		if packages, err = withTests(packages, o.run); err != nil {
			return false, err
		}
		o.packages = nil
		for _, p := range packages {
			o.packages = append(o.packages, p.ImportPath)
		}
	}
	dir, err := os.MkdirTemp("", "ebpfguard-suite-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	vmrun := filepath.Join(dir, "vmrun")
	build := exec.CommandContext(ctx, "go", "build", "-o", vmrun, vmrunBuild)
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		return false, fmt.Errorf("build vmrun: %w; run the command inside the checkout of ebpfguard", err)
	}
	var out io.Writer = os.Stdout
	if o.output != "" {
		f, err := os.Create(o.output)
		if err != nil {
			return false, err
		}
		defer f.Close()
		out = io.MultiWriter(os.Stdout, f)
	}
	start := time.Now()
	results := testAll(ctx, o, kernels, vmrun, out)
	fmt.Println()
	writeSummary(os.Stdout, results, time.Since(start))
	return succeeded(results), context.Cause(ctx)
}

// testAll tests several kernels side by side: much of what a guest does keeps one processor busy. The newest come first,
// which take longest, and the last one to start may have as many guests as there are places, so that none is idle at the
// end. The output of each is printed in one piece when it is done, that of a lone one as it comes.
func testAll(ctx context.Context, o options, kernels []vmtest.Kernel, vmrun string, out io.Writer) []*result {
	results := make([]*result, len(kernels))
	places := make(chan struct{}, max(1, o.parallel))
	var printing sync.Mutex
	var group sync.WaitGroup
	for i, k := range slices.Backward(kernels) {
		places <- struct{}{}
		results[i] = newResult(k.Name)
		if ctx.Err() != nil {
			break
		}
		fmt.Printf("kernel %s: started\n", k.Name)
		guests := 1
		if i == 0 {
			guests = cap(places)
		}
		group.Go(func() {
			defer func() { <-places }()
			start := time.Now()
			if len(kernels) == 1 {
				results[i].err = test(ctx, o, k, guests, vmrun, results[i], out)
				results[i].elapsed = time.Since(start)
				return
			}
			var text bytes.Buffer
			results[i].err = test(ctx, o, k, guests, vmrun, results[i], &text)
			results[i].elapsed = time.Since(start)
			printing.Lock()
			defer printing.Unlock()
			fmt.Fprintf(out, "\n======== kernel %s ========\n", k.Name)
			out.Write(text.Bytes())
		})
	}
	group.Wait()
	return slices.DeleteFunc(results, func(r *result) bool { return r == nil })
}

func choose(names string) ([]vmtest.Kernel, error) {
	if names == "all" {
		return vmtest.Kernels, nil
	}
	var kernels []vmtest.Kernel
	for name := range strings.SplitSeq(names, ",") {
		k, err := vmtest.ByName(name)
		if err != nil {
			return nil, err
		}
		kernels = append(kernels, k)
	}
	return kernels, nil
}

// test runs `go test` in a process group of its own, so that ending it ends the runner and its guest as well.
func test(ctx context.Context, o options, k vmtest.Kernel, guests int, vmrun string, r *result, out io.Writer) error {
	runner := append([]string{vmrun, "-kernel", k.Name}, o.vmrun...)
	for i, arg := range runner {
		quoted, err := quote(arg)
		if err != nil {
			return err
		}
		runner[i] = quoted
	}
	args := []string{"test", "-json", "-p", strconv.Itoa(guests), "-count=1", "-timeout", o.timeout.String(), "-exec", strings.Join(runner, " ")}
	if o.run != "" {
		args = append(args, "-run", o.run)
	}
	if o.tags != "" {
		args = append(args, "-tags", o.tags)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, o.packages...)...)
	// Tests run in a guest without a C library.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	// What goes wrong while packages are built or guests booted; the tests' own output comes by the pipe.
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := r.read(events, out)
	if err := cmd.Wait(); err != nil {
		return err
	}
	return readErr
}

// quote protects an argument within the -exec flag, which knows quotes but no escapes.
func quote(arg string) (string, error) {
	switch {
	case !strings.ContainsAny(arg, " \t\n'\""):
		return arg, nil
	case !strings.Contains(arg, "'"):
		return "'" + arg + "'", nil
	case !strings.Contains(arg, `"`):
		return `"` + arg + `"`, nil
	}
	return "", fmt.Errorf("pass %s to vmrun: it holds both kinds of quotes; leave one out", arg)
}
