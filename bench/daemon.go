package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/footprint"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// daemon measures what the daemon takes of memory, in machines with the processors and the
// clock that they have in the tests: that it runs beside those who are refused matters here,
// the instructions do not.
func daemon(ctx context.Context, tmp string, o options) error {
	program := filepath.Join(tmp, "ebpfguard")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, "./cmd/ebpfguard")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(build.Args, " "), err, out)
	}
	measured := results{}
	for _, kernel := range strings.Split(o.kernels, ",") {
		k, err := vmtest.ByName(kernel)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "bench: measuring the daemon's memory on kernel %s\n", kernel)
		out, err := runGuest(ctx, tmp, vmtest.Config{
			Kernel: k, Args: []string{"-daemon"}, Files: map[string]string{"/usr/bin/ebpfguard": program}, Timeout: 20 * time.Minute,
		})
		if err != nil {
			return fmt.Errorf("on kernel %s: %w", kernel, err)
		}
		measured[kernel] = map[string]map[string]float64{}
		if err := read(out, measured[kernel]); err != nil {
			return err
		}
	}
	all, err := merge(filepath.Join(o.daemon, "daemon.json"), measured)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	printDaemon(&b, all)
	if err := os.WriteFile(filepath.Join(o.daemon, "daemon.md"), b.Bytes(), 0o644); err != nil {
		return err
	}
	var tooMuch error
	for _, kernel := range slices.Sorted(maps.Keys(measured)) {
		if err := footprintOf(measured[kernel]).Err(); err != nil {
			tooMuch = errors.Join(tooMuch, fmt.Errorf("on kernel %s: %w", kernel, err))
		}
	}
	return tooMuch
}

// footprintOf reads what the guest wrote.
func footprintOf(figures map[string]map[string]float64) footprint.Figures {
	of := func(when string) uint64 {
		return uint64(figures["bytes of the daemon, "+when][fmt.Sprintf("%d rules", footprint.Rules)])
	}
	return footprint.Figures{Start: of("at the most until it enforces"), Idle: of("at rest"), Storm: of("at the most in a storm")}
}

func printDaemon(w io.Writer, all results) {
	fmt.Fprintf(w, "# What the daemon takes of memory\n\nResident memory in MiB, with %d rules of a path each and one of a port. In the storm %d operations are refused.\n\n",
		footprint.Rules, footprint.Refusals)
	fmt.Fprintf(w, "| kernel | at rest | in the storm, at the most | until it enforces, at the most |\n|---|---:|---:|---:|\n")
	for _, kernel := range slices.Sorted(maps.Keys(all)) {
		f := footprintOf(all[kernel])
		mib := func(bytes uint64) float64 { return float64(bytes) / (1 << 20) }
		fmt.Fprintf(w, "| %s | %.1f | %.1f | %.1f |\n", kernel, mib(f.Idle), mib(f.Storm), mib(f.Start))
	}
	fmt.Fprintf(w, "| may be | < %d | < %d | |\n", footprint.MaxIdle>>20, footprint.MaxStorm>>20)
}
