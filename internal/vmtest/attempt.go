package vmtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest/wire"
)

// An emulated kernel sometimes dies while it boots: with several CPUs QEMU's emulation races with the kernel's patching
// of its own code (7.3 was seen to oops in sched_clock_cpu 1.2 s after power-on). That says nothing about the command,
// which had not started, so the guest is booted again. Whatever happens after the start is the command's result, and
// a panic then must stay a failure: it may well be our programs' doing.
const (
	// maxBoots is how often a guest is booted in all before the runner gives up.
	maxBoots = 3
	// bootLimit is many times what an emulated boot takes, with all packages in its initramfs, on a busy machine.
	bootLimit = 2 * time.Minute
	// bootPoll is how often the runner looks whether the command has started.
	bootPoll = 100 * time.Millisecond
	// failedBootLog is how many lines of the kernel's log a boot leaves that is tried again.
	failedBootLog = 40
)

var errBootHung = fmt.Errorf("the command has not started within %v", bootLimit)

// report is what came over the status port.
type report struct {
	// started tells that init was about to start the command.
	started bool
	// ended tells that init reported a result, which status holds.
	ended  bool
	status wire.Status
	err    error
}

func readReport(path string) report {
	raw, err := os.ReadFile(path)
	if err != nil {
		return report{err: fmt.Errorf("%w: %w", ErrNoStatus, err)}
	}
	var r report
	// Half a line that starts like the report is counted as one: the command may have run.
	rest, whole := strings.CutPrefix(string(raw), wire.Started)
	r.started = whole || strings.HasPrefix(rest, wire.Started[:1])
	if err := json.Unmarshal([]byte(rest), &r.status); err != nil {
		r.err = fmt.Errorf("%w; the kernel's log above may say why", ErrNoStatus)
		return r
	}
	r.ended = true
	return r
}

func (r report) result() (wire.Status, error) { return r.status, r.err }

// again decides whether a guest that is gone is booted once more, and says why it is.
//   - boots is how often it was booted so far.
//   - gone is what boot returned: nil when the guest ended by itself, errBootHung when the runner ended it.
func (r report) again(boots int, gone error) (why string, ok bool) {
	switch {
	case r.started || r.ended || boots >= maxBoots:
		return "", false
	case gone == nil:
		return "the guest ended before the command started", true
	case errors.Is(gone, errBootHung):
		return gone.Error(), true
	}
	// QEMU itself failed, or the caller's time is over or patience is out: another try would end likewise.
	return "", false
}

// bootUntilStarted boots until a boot has got as far as the command, and returns what the guest reported.
func (m machine) bootUntilStarted(ctx context.Context, c Config, out io.Writer) (wire.Status, error) {
	for boots := 1; ; boots++ {
		// What an earlier boot left must not be taken for this one's.
		if err := errors.Join(removeIfExists(m.Log), removeIfExists(m.Status)); err != nil {
			return wire.Status{}, err
		}
		gone := m.bootOnce(ctx, out)
		r := readReport(m.Status)
		why, again := r.again(boots, gone)
		lines := failedBootLog
		switch {
		case c.Verbose:
			printLog(c.Stderr, m.Log, 0)
		case r.err != nil:
			if !again {
				lines = 60
			}
			printLog(c.Stderr, m.Log, lines)
		}
		if !again {
			if r.err != nil && !r.started && boots > 1 {
				r.err = fmt.Errorf("%w; booted %d times", r.err, boots)
			}
			if r.err != nil {
				r.err = errors.Join(gone, r.err)
			}
			return r.result()
		}
		fmt.Fprintf(c.Stderr, "vmrun: %s (its log is above): booting again, %d of %d\n", why, boots+1, maxBoots)
	}
}

// bootOnce runs the guest to its end, and ends it when it does not get as far as the command.
func (m machine) bootOnce(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		limit := time.After(bootLimit)
		poll := time.NewTicker(bootPoll)
		defer poll.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-poll.C:
				if info, err := os.Stat(m.Status); err == nil && info.Size() > 0 {
					return
				}
			case <-limit:
				cancel(errBootHung)
				return
			}
		}
	}()
	return m.boot(ctx, out)
}

func removeIfExists(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
