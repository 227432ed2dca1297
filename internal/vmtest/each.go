package vmtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest/wire"
)

// Program is one of those that a guest runs one after the other.
type Program struct {
	// Binary is the host's path of a program: a static one, or one whose libraries are among the packages. The names of
	// the files differ.
	Binary string
	Args   []string
	// Dir is the guest's working directory.
	Dir string
	// Timeout is when the guest is ended, counted from the program's begin.
	Timeout time.Duration
	// Stdout receives its output, standard error included, and is closed at its end if it can be.
	Stdout io.Writer
}

// Result is how a program ended.
type Result struct {
	Exit int
	// Err is about the machine: a program that fails has an exit status and no error.
	Err error
	// Console is the end of the kernel's log, if the guest died.
	Console []string
	// CPU is what the guest took of the host's processors meanwhile, if there is a Meter.
	CPU time.Duration
}

// RunEach boots the kernel and runs the programs one after the other. When the guest dies in one of them, that one has
// failed, and another boot runs those after it. The error is about what comes before the first boot.
func RunEach(ctx context.Context, c Config, programs []Program) ([]Result, error) {
	c = c.withDefaults()
	warn := func(s string) { fmt.Fprintln(c.Stderr, "vmrun:", s) }
	for _, p := range programs {
		if err := checkBinary(c, p.Binary); err != nil {
			return nil, err
		}
	}
	f, err := fetchAll(ctx, c, warn)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ebpfguard-vm-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	m := newMachine(ctx, c, f, dir)
	warn(m.describe(f.image))
	start := time.Now()
	defer func() { warn(fmt.Sprintf("guest ran for %.1f s", time.Since(start).Seconds())) }()

	results := make([]Result, len(programs))
	for first := 0; first < len(programs); {
		job := c.job(programs[first:])
		if err := writeInitramfs(ctx, m.Initramfs, c, f, programs[first:], job); err != nil {
			return nil, fmt.Errorf("make the initramfs: %w", err)
		}
		done, err := m.runJob(ctx, c, programs[first:], results[first:])
		first += done
		if err == nil {
			break
		}
		if ctx.Err() != nil || done == 0 {
			for i := range results[first:] {
				results[first+i] = Result{Exit: 1, Err: err}
			}
			break
		}
		if left := len(programs) - first; left > 0 {
			warn(fmt.Sprintf("booting again for the %d programs that have not run", left))
		}
	}
	return results, nil
}

func (c Config) job(programs []Program) wire.Job {
	job := wire.Job{Env: guestEnv(c), Outputs: slices.Sorted(maps.Keys(c.Outputs))}
	for _, p := range programs {
		job.Programs = append(job.Programs, wire.Program{
			Path: "/.vmtest/" + filepath.Base(p.Binary), Args: p.Args, Dir: path.Join("/", p.Dir),
		})
	}
	if c.Systemd {
		job.Root, job.Files = wire.RootDevice, slices.Sorted(maps.Keys(c.Files))
	}
	if c.Disk != "" {
		job.Root, job.OwnInit = wire.RootDevice, true
	}
	if c.Network != nil {
		job.Address = c.Network.Address
	}
	return job
}

// runJob boots once for the programs, and returns how many have ended, be it with the guest. The error is why the
// others have not run, or what went wrong after the last.
func (m machine) runJob(ctx context.Context, c Config, programs []Program, results []Result) (int, error) {
	bounded, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &splitter{meter: c.Meter, programs: programs, results: results, cancel: cancel, rest: c.Stderr}
	defer s.watch.stop()
	status, err := m.bootUntilStarted(bounded, c, s)
	if err == nil {
		err = saveOutputs(c.Outputs, status.Files)
		if status.Error != "" {
			err = errors.New(status.Error)
		}
	}
	if err != nil {
		err = fmt.Errorf("run the guest: %w", err)
	}
	done := s.ended
	if s.running {
		s.end(wire.Ended{Program: done, Exit: 1})
		if err == nil {
			err = fmt.Errorf("run the guest: %w", ErrNoStatus)
		}
		results[done].Err, results[done].Console = err, lastLines(m.Log, consoleLines)
		return done + 1, err
	}
	if err != nil && done == len(programs) {
		results[done-1].Exit, results[done-1].Err = max(results[done-1].Exit, 1), err
	}
	return done, err
}

// watchdog ends a guest whose program takes too long.
type watchdog struct{ timer *time.Timer }

func (w *watchdog) set(limit time.Duration, cancel context.CancelCauseFunc) {
	w.stop()
	w.timer = time.AfterFunc(limit, func() {
		cancel(fmt.Errorf("not finished within %v; raise -timeout or look for what hangs", limit))
	})
}

func (w *watchdog) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// consoleLines are enough to see what an oops is about.
const consoleLines = 25

// teardown is how long a guest may take between two programs and to its power-off.
const teardown = 2 * time.Minute

// splitter takes the guest's output apart: what is between two marks is that of one program.
type splitter struct {
	meter    *Meter
	programs []Program
	results  []Result
	cancel   context.CancelCauseFunc
	// rest gets what no program wrote.
	rest io.Writer

	// ended counts the programs that have ended; running reports whether another one has begun.
	ended   int
	running bool
	began   time.Duration
	watch   watchdog
	// held is the end of what came, which may be the begin of a mark.
	held []byte
}

func (s *splitter) Write(p []byte) (int, error) {
	s.held = append(s.held, p...)
	for {
		at := bytes.Index(s.held, []byte(wire.Mark))
		if at < 0 {
			return len(p), s.pass(len(s.held) - partial(s.held))
		}
		if err := s.pass(at); err != nil {
			return 0, err
		}
		line, rest, whole := bytes.Cut(s.held, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		s.mark(line[len(wire.Mark):])
		s.held = rest
	}
}

// partial returns how many bytes at the end of the text may be the begin of a mark.
func partial(text []byte) int {
	for n := min(len(wire.Mark)-1, len(text)); n > 0; n-- {
		if bytes.HasSuffix(text, []byte(wire.Mark[:n])) {
			return n
		}
	}
	return 0
}

// pass gives the first bytes that are held to their receiver.
func (s *splitter) pass(n int) error {
	text := s.held[:n]
	s.held = s.held[n:]
	w := s.rest
	if s.running {
		w = s.programs[s.ended].Stdout
	}
	if w == nil || n == 0 {
		return nil
	}
	_, err := w.Write(text)
	return err
}

func (s *splitter) mark(line []byte) {
	what, about, _ := bytes.Cut(line, []byte(" "))
	var e wire.Ended
	if err := json.Unmarshal(about, &e); err != nil || e.Program != s.ended || e.Program >= len(s.programs) || s.running == (string(what)+" " == wire.Begin) {
		s.cancel(fmt.Errorf("init told nonsense: %q", line))
		return
	}
	switch string(what) + " " {
	case wire.Begin:
		s.running, s.began = true, s.meter.CPU()
		s.watch.set(s.programs[e.Program].Timeout, s.cancel)
	case wire.End:
		s.end(e)
		s.watch.set(teardown, s.cancel)
	}
}

func (s *splitter) end(e wire.Ended) {
	s.running = false
	s.ended++
	r := &s.results[e.Program]
	r.Exit, r.CPU = e.Exit, s.meter.CPU()-s.began
	if e.Error != "" {
		r.Exit, r.Err = max(e.Exit, 1), fmt.Errorf("run the guest: %s", e.Error)
	}
	if w, ok := s.programs[e.Program].Stdout.(io.Closer); ok && s.programs[e.Program].Stdout != os.Stdout {
		w.Close()
	}
}
