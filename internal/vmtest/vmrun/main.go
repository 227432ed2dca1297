// Command vmrun runs a program on one of the kernels of the table, in a virtual machine:
//
//	go test -exec "$PWD/bin/vmrun -kernel 6.12" ./...
//
// It passes on the program's output and exit status.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// usage is the exit status for a wrong command line.
const usage = 2

// slack is how much longer than the tests' own timeout a guest may run, so that they can report what hangs.
const slack = time.Minute

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

type options struct {
	kernel, cpu, modules, packages, archives string
	list, fetch                              bool
	add, env                                 list
	config                                   vmtest.Config
}

func main() {
	os.Exit(run(os.Args[1:]))
}

func parse(args []string) (options, []string, error) {
	var o options
	f := flag.NewFlagSet("vmrun", flag.ContinueOnError)
	f.StringVar(&o.kernel, "kernel", "", "`name` of the kernel in the table; with -fetch also \"all\"")
	f.StringVar(&o.cpu, "cpu", "", "emulated cpu `model` instead of the table's")
	f.StringVar(&o.config.Append, "append", "", "further kernel `arguments`")
	f.BoolVar(&o.config.ICount, "icount", false, "let the guest's clock count instructions, on one cpu")
	f.IntVar(&o.config.CPUs, "smp", 0, "`number` of cpus; one, and another that a test may ask for, if 0")
	f.IntVar(&o.config.MemoryMiB, "memory", 2048, "memory in `MiB`")
	f.StringVar(&o.modules, "modules", "", "comma-separated kernel `modules` to load; NAME? where the kernel has it")
	f.StringVar(&o.packages, "packages", "", "comma-separated Debian `packages` to have in the guest")
	f.BoolVar(&o.config.Systemd, "systemd", false, "boot systemd from a disk that has the packages installed")
	f.StringVar(&o.archives, "archives", "", "comma-separated Debian `packages` to have on that disk as files, in "+vmtest.ArchiveFolder)
	f.Var(&o.add, "add", "`HOST:GUEST` file or folder to have in the guest; repeatable")
	f.Var(&o.env, "env", "`K=V` for the program's environment; repeatable")
	f.DurationVar(&o.config.Timeout, "timeout", 0, "kill the guest after this `time`; default the tests' own timeout and a minute, else 10m")
	f.BoolVar(&o.config.Verbose, "v", false, "print the kernel's log to stderr")
	f.BoolVar(&o.list, "list", false, "print the table of kernels")
	f.BoolVar(&o.fetch, "fetch", false, "fetch the kernel and the packages, run nothing")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: vmrun -kernel NAME [flags] PROGRAM [ARGUMENT...]")
		f.PrintDefaults()
	}
	err := f.Parse(args)
	return o, f.Args(), err
}

func run(args []string) int {
	o, rest, err := parse(args)
	if err == flag.ErrHelp {
		return 0
	}
	if err != nil {
		return usage
	}
	if o.list {
		return printTable()
	}
	if o.kernel == "" || len(rest) == 0 && !o.fetch {
		fmt.Fprintln(os.Stderr, "usage: vmrun -kernel NAME [flags] PROGRAM [ARGUMENT...]; `vmrun -list` names the kernels, `vmrun -h` the flags")
		return usage
	}
	// `go test` sends SIGQUIT when its own time is over.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	defer stop()
	packages := split(o.packages)
	if o.fetch {
		return fetch(ctx, o.kernel, packages)
	}
	c := o.config
	if c.Kernel, err = vmtest.ByName(o.kernel); err != nil {
		return fail(usage, err)
	}
	if o.cpu != "" {
		c.Kernel.CPU = o.cpu
	}
	c.Spare = c.CPUs == 0
	c.Packages, c.Archives, c.Modules, c.Env = packages, split(o.archives), split(o.modules), o.env
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if c.Files, err = vmtest.Files(o.add); err != nil {
		return fail(usage, err)
	}
	if err := place(&c, rest); err != nil {
		return fail(1, err)
	}
	exit, err := vmtest.Run(ctx, c)
	if err != nil {
		return fail(max(exit, 1), err)
	}
	return exit
}

// place puts the program where its working directory has the same path below the checkout as on the host, so that
// relative paths to added files hold, and brings a test's testdata.
func place(c *vmtest.Config, command []string) error {
	binary, err := filepath.Abs(command[0])
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("find the program: %w; give the path of a static binary", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	c.Binary, c.Args = binary, command[1:]
	c.Dir = vmtest.GuestDir(dir)
	if !strings.HasSuffix(binary, ".test") {
		return nil
	}
	mapped := vmtest.MapTestArgs(c.Args, dir)
	c.Args, c.Outputs = mapped.Args, mapped.Outputs
	if c.Timeout == 0 && mapped.Timeout > 0 {
		c.Timeout = mapped.Timeout + slack
	}
	maps.Copy(c.Files, vmtest.Testdata(dir))
	return nil
}

func split(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func fetch(ctx context.Context, name string, packages []string) int {
	kernels := vmtest.Kernels
	if name != "all" {
		k, err := vmtest.ByName(name)
		if err != nil {
			return fail(usage, err)
		}
		kernels = []vmtest.Kernel{k}
	}
	warn := func(s string) { fmt.Fprintln(os.Stderr, "vmrun:", s) }
	for _, k := range kernels {
		image, err := vmtest.Fetch(ctx, k, warn)
		if err != nil {
			return fail(1, err)
		}
		fmt.Printf("%s\t%s\t%s\n", k.Name, image.Release, image.Version)
		versions, err := vmtest.FetchPackages(ctx, k.Architecture(), packages, warn)
		if err != nil {
			return fail(1, err)
		}
		for _, v := range versions {
			fmt.Println(v)
		}
	}
	return 0
}

func printTable() int {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSUITES\tCPU\tLSM\tOPERATIONS\tFEATURES")
	for _, k := range vmtest.Kernels {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.Name, strings.Join(k.Suites, " "), k.CPU, k.LSM,
			strings.Join(k.Operations, " "), strings.Join(k.Features, " "))
	}
	w.Flush()
	return 0
}

func fail(status int, err error) int {
	fmt.Fprintln(os.Stderr, "vmrun:", err)
	return status
}
