package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// slack is how much longer than the tests' own timeout a guest may run, so that they can report what hangs.
const slack = time.Minute

// testAll tests on several kernels side by side, each guest on one processor. The output of each is printed in one piece
// when it is done, that of a lone kernel as it comes.
func testAll(ctx context.Context, o options, kernels []vmtest.Kernel, binaries []binary, out io.Writer) []*result {
	results := make([]*result, len(kernels))
	places := make(chan struct{}, max(1, o.parallel))
	out = &locked{to: out}
	var printing sync.Mutex
	var group sync.WaitGroup
	for _, g := range o.plan(kernels, binaries, cap(places)) {
		k := kernels[g.kernel]
		if results[g.kernel] == nil {
			results[g.kernel] = newResult(k.Name)
		}
		r := results[g.kernel]
		places <- struct{}{}
		if ctx.Err() != nil {
			<-places
			break
		}
		fmt.Printf("kernel %s: started %d packages\n", k.Name, len(g.binaries))
		group.Go(func() {
			defer func() { <-places }()
			if len(kernels) == 1 {
				r.test(ctx, o, k, g.binaries, out)
				return
			}
			var text bytes.Buffer
			r.test(ctx, o, k, g.binaries, &locked{to: &text})
			printing.Lock()
			defer printing.Unlock()
			fmt.Fprintf(out, "\n======== kernel %s ========\n", k.Name)
			out.Write(text.Bytes())
		})
	}
	group.Wait()
	return slices.DeleteFunc(results, func(r *result) bool { return r == nil })
}

// planned is a guest that is to be: the index of its kernel, and what runs in it.
type planned struct {
	kernel   int
	binaries []binary
}

// plan says which guests there are, in the order in which they start: what takes longest first, so that no place is idle
// for long at the end. Those are the kernels on which everything runs, the newest first; then what runs on one kernel
// only, in a guest of its own; then the kernels between. A lone kernel has as many guests as there are places.
func (o options) plan(kernels []vmtest.Kernel, binaries []binary, places int) []planned {
	var whole, once, between, refusing []planned
	for i, k := range slices.Backward(kernels) {
		mine := o.testedOn(k, binaries)
		if k.Usual && len(kernels) > 1 {
			var apart []binary
			for _, b := range mine {
				if slices.Contains(o.once, b.importPath) {
					apart = append(apart, b)
				}
			}
			if len(apart) > 0 {
				once = append(once, planned{i, apart})
				mine = slices.DeleteFunc(slices.Clone(mine), func(b binary) bool { return slices.Contains(apart, b) })
			}
		}
		guests := [][]binary{mine}
		if len(kernels) == 1 {
			guests = share(mine, places)
		}
		to := &whole
		switch {
		case len(k.Operations) == 0:
			to = &refusing
		case k.Between:
			to = &between
		}
		for _, g := range guests {
			if len(g) > 0 {
				*to = append(*to, planned{i, g})
			}
		}
	}
	return slices.Concat(whole, once, between, refusing)
}

// testedOn returns the binaries that run on a kernel. Much of what a manager, the daemon and the command do differs little
// from one kernel to the next, and takes long: what -ends names runs on the oldest kernel and the newest, what -once
// names on a usual one alone; both also where the kernel cannot enforce, since that is soon said. All runs on all when
// the tests have to be thorough or are chosen by name.
func (o options) testedOn(k vmtest.Kernel, binaries []binary) []binary {
	if o.run != "" || slices.Contains(o.guest.Env, vmtest.FullEnv+"=1") || len(k.Operations) == 0 {
		return binaries
	}
	return slices.DeleteFunc(slices.Clone(binaries), func(b binary) bool {
		return k.Between && slices.Contains(o.ends, b.importPath) || !k.Usual && slices.Contains(o.once, b.importPath)
	})
}

// share deals the binaries out to guests. Those of one top folder stay together: they share what is pinned in a guest,
// and take turns with what others change there.
func share(binaries []binary, guests int) [][]binary {
	folders := make(map[string][]binary)
	for _, b := range binaries {
		top, _, _ := strings.Cut(strings.TrimPrefix(b.importPath, module+"/"), "/")
		folders[top] = append(folders[top], b)
	}
	shares := make([][]binary, min(guests, len(folders)))
	largest := slices.SortedFunc(maps.Keys(folders), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(folders[b]), len(folders[a])), strings.Compare(a, b))
	})
	for _, top := range largest {
		least := slices.MinFunc(shares, func(a, b []binary) int { return cmp.Compare(len(a), len(b)) })
		i := slices.IndexFunc(shares, func(s []binary) bool { return len(s) == len(least) })
		shares[i] = append(shares[i], folders[top]...)
	}
	return shares
}

// test runs the binaries in one guest.
func (r *result) test(ctx context.Context, o options, k vmtest.Kernel, binaries []binary, out io.Writer) {
	start := time.Now()
	meter := &vmtest.Meter{}
	c := o.guest
	c.Kernel, c.Meter, c.Stderr = k, meter, out
	c.Files = maps.Clone(c.Files)
	readers := make([]*reader, len(binaries))
	programs := make([]vmtest.Program, len(binaries))
	for i, b := range binaries {
		maps.Copy(c.Files, vmtest.Testdata(b.dir))
		readers[i] = r.reader(ctx, b, meter, out)
		programs[i] = vmtest.Program{Binary: b.path, Args: o.testArgs(), Dir: vmtest.GuestDir(b.dir), Timeout: o.timeout + slack, Stdout: readers[i]}
	}
	ended, err := vmtest.RunEach(ctx, c, programs)
	r.mu.Lock()
	r.elapsed += time.Since(start)
	r.cpu += meter.CPU()
	r.mu.Unlock()
	for i, reader := range readers {
		reader.Close()
		e := vmtest.Result{Exit: 1, Err: err}
		if err == nil {
			e = ended[i]
		}
		r.end(binaries[i].importPath, e, out)
	}
}

func (o options) testArgs() []string {
	args := []string{"-test.v=test2json", "-test.paniconexit0", "-test.timeout=" + o.timeout.String()}
	if o.run != "" {
		args = append(args, "-test.run="+o.run)
	}
	return args
}

// reader turns a test binary's output into events, with the go command's own converter.
type reader struct {
	start func() (io.WriteCloser, <-chan struct{}, error)
	in    io.WriteCloser
	done  <-chan struct{}
}

func (r *result) reader(ctx context.Context, b binary, meter *vmtest.Meter, out io.Writer) *reader {
	return &reader{start: func() (io.WriteCloser, <-chan struct{}, error) {
		cmd := exec.CommandContext(ctx, "go", "tool", "test2json", "-t", "-p", b.importPath)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, nil, err
		}
		events, err := cmd.StdoutPipe()
		if err != nil {
			return nil, nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, nil, err
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.read(events, out, meter.CPU)
			_ = cmd.Wait()
		}()
		return in, done, nil
	}}
}

// Write starts the converter when the binary begins.
func (r *reader) Write(p []byte) (int, error) {
	if r.in == nil {
		var err error
		if r.in, r.done, err = r.start(); err != nil {
			return 0, fmt.Errorf("start test2json: %w", err)
		}
	}
	return r.in.Write(p)
}

// Close waits until all that was written has been read.
func (r *reader) Close() error {
	if r.in != nil {
		r.in.Close()
		<-r.done
	}
	return nil
}

// locked lets the tests and the runner write to one place.
type locked struct {
	mu sync.Mutex
	to io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}
