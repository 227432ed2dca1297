// Command suite runs the tests of several packages on every kernel of the table, and prints one table of the results:
//
//	go run ./internal/vmtest/suite -tags vm ./...
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

const usage = 2

type options struct {
	kernels, run, tags, arch string
	// output is a file that gets the tests' output as well.
	output   string
	timeout  time.Duration
	parallel int
	// add are pairs of HOST:GUEST.
	add []string
	// guest is what all guests have in common.
	guest    vmtest.Config
	packages []string
	// ends are packages that are left out on kernels between two others, once those that run on one kernel only.
	ends, once []string
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
	var modules, packages, ends, once string
	f := flag.NewFlagSet("suite", flag.ContinueOnError)
	f.StringVar(&o.kernels, "kernels", "all", "comma-separated `names` of the table's kernels")
	f.StringVar(&o.arch, "arch", "amd64", "`architecture` of the kernels")
	f.StringVar(&o.run, "run", "", "run only the tests that match `REGEXP`, and only the packages that have one")
	f.Func("test", "run only the test of this `NAME`", func(name string) error {
		o.run = exactly(name)
		return nil
	})
	f.StringVar(&o.tags, "tags", "", "build `tags`")
	f.StringVar(&o.output, "output", "", "write the tests' output to `FILE` as well")
	f.IntVar(&o.parallel, "parallel", runtime.NumCPU(), "`number` of guests side by side")
	f.DurationVar(&o.timeout, "timeout", 40*time.Minute, "`time` that a package's tests may take on one kernel")
	f.StringVar(&packages, "packages", "", "comma-separated Debian `packages` for the guest")
	f.StringVar(&modules, "modules", "", "comma-separated kernel `modules` to load; NAME? where the kernel has it")
	f.StringVar(&ends, "ends", "", "comma-separated `packages`, such as ./test/kernel/load, to leave out on kernels between two others, unless -run names tests")
	f.StringVar(&once, "once", "", "comma-separated `packages` to test on one kernel only, unless -run names tests")
	f.StringVar(&o.guest.Append, "append", "", "kernel `arguments`")
	f.IntVar(&o.guest.CPUs, "smp", 0, "`number` of cpus; one, and another that a test may ask for, if 0")
	f.IntVar(&o.guest.MemoryMiB, "memory", 2048, "memory in `MiB`")
	f.BoolVar(&o.guest.ICount, "icount", false, "let the guest's clock count instructions")
	f.BoolVar(&o.guest.Verbose, "v", false, "print the kernel's log")
	f.Func("env", "`K=V` for the tests; repeatable", func(value string) error {
		o.guest.Env = append(o.guest.Env, value)
		return nil
	})
	f.Func("add", "`HOST:GUEST` file or folder to have in the guest; repeatable", func(value string) error {
		o.add = append(o.add, value)
		return nil
	})
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: suite [flags] PACKAGE...")
		f.PrintDefaults()
	}
	err := f.Parse(args)
	list := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
	}
	o.guest.Modules, o.guest.Packages = list(modules), list(packages)
	o.guest.Spare = o.guest.CPUs == 0
	paths := func(patterns string) (paths []string) {
		for _, p := range list(patterns) {
			paths = append(paths, module+strings.TrimPrefix(p, "."))
		}
		return paths
	}
	o.ends, o.once = paths(ends), paths(once)
	o.packages = f.Args()
	if err == nil && len(o.packages) == 0 {
		o.packages = []string{"./..."}
	}
	return o, err
}

// run tests on all kernels and reports whether all went well.
func run(ctx context.Context, o options) (bool, error) {
	start := time.Now()
	kernels, err := choose(o.kernels, o.arch)
	if err != nil {
		return false, err
	}
	if o.guest.Files, err = vmtest.Files(o.add); err != nil {
		return false, err
	}
	packages, err := findPackages(ctx, o.tags, o.packages)
	if err != nil {
		return false, err
	}
	if packages, err = withTests(packages, o.run); err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "ebpfguard-suite-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	binaries, err := buildAll(ctx, o, dir, packages)
	if err != nil {
		return false, err
	}
	fmt.Printf("built the tests of %d packages in %s\n", len(binaries), time.Since(start).Round(time.Second))
	var out io.Writer = os.Stdout
	if o.output != "" {
		if err := os.MkdirAll(filepath.Dir(o.output), 0o755); err != nil {
			return false, err
		}
		f, err := os.Create(o.output)
		if err != nil {
			return false, err
		}
		defer f.Close()
		out = io.MultiWriter(os.Stdout, f)
	}
	results := testAll(ctx, o, kernels, binaries, out)
	fmt.Println()
	writeSummary(os.Stdout, results, time.Since(start))
	return succeeded(results), context.Cause(ctx)
}

func choose(names, arch string) ([]vmtest.Kernel, error) {
	var kernels []vmtest.Kernel
	if names == "all" {
		return vmtest.Of(arch), nil
	}
	for name := range strings.SplitSeq(names, ",") {
		k, err := vmtest.ByName(name)
		if arch != "amd64" && (err != nil || k.Architecture() != arch) {
			k, err = vmtest.ByName(name + "-" + arch)
		}
		if err != nil {
			return nil, err
		}
		if k.Architecture() != arch {
			return nil, fmt.Errorf("test on kernel %s: it is one of %s; give -arch %[2]s", name, k.Architecture())
		}
		kernels = append(kernels, k)
	}
	return kernels, nil
}
