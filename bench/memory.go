package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// compileBenchmarks are those of the sets that memory.md tells of.
var compileBenchmarks = []string{"100000_rules_of_a_path", "pattern_of_1000000_CIDRs"}

// memory measures what the guard takes of memory, and how long the largest sets
// take to compile on this machine.
func memory(ctx context.Context, tmp string, o options) error {
	// By kernel, quantity and set.
	all := results{}
	for _, kernel := range strings.Split(o.kernels, ",") {
		k, err := vmtest.ByName(kernel)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "bench: measuring memory on kernel %s\n", kernel)
		out, err := boot(ctx, tmp, vmtest.Config{Kernel: k, MemoryMiB: 4096, Args: []string{"-memory"}})
		if err != nil {
			return fmt.Errorf("on kernel %s: %w", kernel, err)
		}
		all[kernel] = map[string]map[string]float64{}
		if err := read(out, all[kernel]); err != nil {
			return err
		}
	}
	times, err := compileTimes(ctx)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintln(&b, "# What the guard takes of memory")
	for _, kernel := range slices.Sorted(maps.Keys(all)) {
		printMemory(&b, kernel, all[kernel])
	}
	if err := printStorage(&b); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\nOn a machine without emulation, compiling 100,000 rules of a path takes %.1f s and 1,000,000 networks %.1f s\n(`make bench-go`).\n",
		times[0], times[1])
	if err := os.MkdirAll(o.memory, 0o755); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(o.memory, "memory.json"), all); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.memory, "memory.md"), b.Bytes(), 0o644)
}

// What the guest calls the columns, and what people do.
var memoryColumns = []struct{ quantity, title string }{
	{"bytes of all other maps", "maps"},
	{"bytes of the buffer of alerts", "buffer of alerts"},
	{"bytes of resident memory", "process"},
	{"bytes of resident memory at the most", "process, at the most"},
	{"compile and apply, instructions", "to compile and apply"},
}

func printMemory(w io.Writer, kernel string, figures map[string]map[string]float64) {
	fmt.Fprintf(w, "\nKernel %s, memory in MiB and time in millions of instructions of the guest:\n\n| ", kernel)
	for _, c := range memoryColumns {
		fmt.Fprintf(w, "| %s ", c.title)
	}
	fmt.Fprintf(w, "|\n|---%s|\n", strings.Repeat("|---:", len(memoryColumns)))
	for _, set := range []string{"no rules", "1000 paths", "100000 paths", "1000000 networks"} {
		fmt.Fprintf(w, "| %s ", set)
		for _, c := range memoryColumns {
			value := figures[c.quantity][set]
			if strings.HasPrefix(c.quantity, "bytes") {
				fmt.Fprintf(w, "| %.2f ", value/(1<<20))
			} else {
				fmt.Fprintf(w, "| %.0f ", value/1e6)
			}
		}
		fmt.Fprintln(w, "|")
	}
	fmt.Fprintf(w, "\nWith rules about files, the kernel keeps %.0f bytes more for each file that was opened.\n",
		figures["bytes of the kernel's for a file that was opened"]["with rules of files"])
}

// printStorage tells what a process takes by the sizes of what is kept for it. Processes are
// too few, and the kernel keeps too much of what former ones had, to see it in the slab.
func printStorage(w io.Writer) error {
	spec, err := bpf.LoadGuard()
	if err != nil {
		return err
	}
	size := func(name string) uint32 { return spec.Maps[name].ValueSize }
	_, err = fmt.Fprintf(w, "\nBy the sizes of the types, without what the allocator adds, a process takes %d bytes, and %d more if the names of its\n"+
		"program and control group have over %d bytes. It takes %d more once it uses a file whose path must be walked, %d\n"+
		"more once it has to be identified or classified, and %d more at its first alert. The file of a program that was\n"+
		"started takes %d.\n",
		size(bpf.GuardMapTasks), size(bpf.GuardMapLongTexts), abi.ShortText, size(bpf.GuardMapScratches), size(bpf.GuardMapIdentities), size(bpf.GuardMapAlertBuffers), size(bpf.GuardMapLabels))
	return err
}

// compileTimes returns the seconds that the benchmarks take.
func compileTimes(ctx context.Context) ([]float64, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-benchtime", "3x",
		"-bench", "^BenchmarkCompile$/^("+strings.Join(compileBenchmarks, "|")+")$", "./internal/compile")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	times := make([]float64, len(compileBenchmarks))
	for i, name := range compileBenchmarks {
		for line := range strings.Lines(string(out)) {
			if f := strings.Fields(line); len(f) > 3 && f[3] == "ns/op" && strings.Contains(f[0], "/"+name) {
				ns, err := strconv.ParseFloat(f[2], 64)
				if err != nil {
					return nil, fmt.Errorf("result %q: %w", line, err)
				}
				times[i] = ns / 1e9
			}
		}
		if times[i] == 0 {
			return nil, fmt.Errorf("%s: no result of %s:\n%s", strings.Join(cmd.Args, " "), name, out)
		}
	}
	return times, nil
}
