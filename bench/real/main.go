// Command real measures what the guard costs programs that people run: a web
// server, a compiler, a database, scripts. With and without it in turn, in one
// virtual machine whose clock counts instructions.
//
//	go run ./bench/real -kernels 6.12 -write docs/bench
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// packages are what the workloads need in the guest.
var packages = []string{
	"apache2-utils", "coreutils", "dash", "e2fsprogs", "gcc", "grep", "libc6-dev", "make", "mount", "nginx-light", "sqlite3",
}

type options struct {
	kernels, workloads, write string
	rounds                    int
}

func main() {
	var o options
	flag.StringVar(&o.kernels, "kernels", "6.12", "comma-separated `names` of kernels")
	flag.StringVar(&o.workloads, "workloads", "", "measure only workloads that match this `regexp`")
	flag.StringVar(&o.write, "write", "", "write real.json and real.md to this `folder`")
	flag.IntVar(&o.rounds, "rounds", 3, "attach and detach the guard so many `times`")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "real: unexpected argument %q; `real -h` shows the flags\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "real:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	tmp, err := os.MkdirTemp("", "ebpfguard-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	guest := filepath.Join(tmp, "guest")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", guest, "./bench/real/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(build.Args, " "), err, out)
	}
	all := results{}
	for _, kernel := range strings.Split(o.kernels, ",") {
		start := time.Now()
		if err := measure(ctx, guest, kernel, o, all); err != nil {
			return fmt.Errorf("on kernel %s: %w", kernel, err)
		}
		fmt.Fprintf(os.Stderr, "real: kernel %s took %v\n", kernel, time.Since(start).Round(time.Second))
	}
	text := markdown(all)
	fmt.Print(text)
	if o.write == "" {
		return nil
	}
	content, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.write, "real.json"), append(content, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.write, "real.md"), []byte(text), 0o644)
}

func measure(ctx context.Context, guest, kernel string, o options, all results) error {
	k, err := vmtest.ByName(kernel)
	if err != nil {
		return err
	}
	// The guest tells how far it is; what it found is on the lines with braces.
	r, w := io.Pipe()
	read := make(chan error, 1)
	var rest bytes.Buffer
	go func() {
		err := readResults(r, kernel, all, &rest)
		_, _ = io.Copy(io.Discard, r) // or the guest would wait
		read <- err
	}()
	exit, err := vmtest.Run(ctx, vmtest.Config{
		Kernel: k, ICount: true, WordCopies: true, MemoryMiB: 4096, Timeout: 2 * time.Hour,
		Binary: guest, Packages: packages, Modules: []string{"loop"},
		Args:   []string{"-workloads", o.workloads, "-rounds", fmt.Sprint(o.rounds)},
		Stdout: w, Stderr: os.Stderr,
	})
	w.Close()
	readErr := <-read
	if err != nil {
		return err
	}
	if exit != 0 {
		return fmt.Errorf("the guest ended with %d:\n%s", exit, rest.String())
	}
	return readErr
}

// readResults takes results from the guest's output, and passes on what is none:
// the progress to people, the rest to w.
func readResults(r io.Reader, kernel string, all results, w io.Writer) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "#"):
			fmt.Fprintln(os.Stderr, line)
		case strings.HasPrefix(line, "{"):
			if err := all.add(kernel, lines.Bytes()); err != nil {
				return fmt.Errorf("result %q: %w", line, err)
			}
		default:
			fmt.Fprintln(w, line)
		}
	}
	return lines.Err()
}
