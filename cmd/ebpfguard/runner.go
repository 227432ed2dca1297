package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/daemon/lockout"
	"github.com/ebpfguard/ebpfguard/internal/machine"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// guard is what run needs of [ebpfguard.Manager].
type guard interface {
	Attach(...policy.Operation) error
	Alerts(context.Context) iter.Seq2[ebpfguard.Alert, error]
	Apply([]policy.Policy) (ebpfguard.Changes, error)
	Relinked() ([]string, error)
	Stats(policy.Operation) (ebpfguard.Stats, error)
	containers.Guard
	Close() error
}

func openManager(options ebpfguard.Options) func() (guard, error) {
	return func() (guard, error) {
		m, err := ebpfguard.NewManager(options)
		if err != nil {
			return nil, err
		}
		return m, nil
	}
}

// runner enforces policies until a signal ends it.
type runner struct {
	flags  runFlags
	open   func() (guard, error)
	gaps   func([]policy.Policy) ([]string, error) // ebpfguard.Gaps
	place  func() []ebpfguard.Check                // ebpfguard.ProbePlace
	reload <-chan os.Signal
	end    <-chan os.Signal
	ending func()

	sources  []containers.Kind
	followed *followed

	guard      guard
	set        []policy.Policy    // in force
	operations []policy.Operation // attached
	alerts     *alertWriter
	ready      readyFile
	stdout     io.Writer
	stderr     io.Writer
	log        *slog.Logger
}

func newRunner(flags runFlags, stdout, stderr io.Writer) *runner {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	return &runner{
		flags:   flags,
		gaps:    func([]policy.Policy) ([]string, error) { return nil, nil },
		place:   func() []ebpfguard.Check { return nil },
		sources: allSources(),
		ending:  func() {},
		alerts:  &alertWriter{outputs: &setup.Outputs{}},
		ready:   readyFile(flags.ready),
		stdout:  stdout,
		stderr:  stderr,
		log:     log,
	}
}

func (r *runner) run() (err error) {
	// A previous run that was killed may have left one.
	if err := r.ready.remove(); err != nil {
		return err
	}
	set, err := r.load()
	if err != nil {
		return fmt.Errorf("run: the policies cannot be used:\n%w", err)
	}
	specs, err := r.flags.specs()
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	r.alerts, err = newAlertWriter(r.log, specs, setup.Environment{Stdout: r.stdout})
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	defer func() { err = errors.Join(err, r.alerts.close()) }()
	if err := r.ready.check(); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	r.guard, err = r.open()
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	defer func() { err = errors.Join(err, r.guard.Close()) }()
	for _, c := range r.place() {
		if c.Gap && !c.OK {
			r.log.Warn("enforcing with a gap", "gap", c.Name+" "+c.Detail, "remedy", c.Remedy)
		}
	}
	if err := r.attach(set); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	written := r.alerts.write(ctx, r.guard)
	defer r.unfollow()
	r.followContainers(set)
	changes, err := r.guard.Apply(set)
	if err == nil {
		err = r.relabel()
	}
	if err != nil {
		cancel()
		<-written
		return fmt.Errorf("run: %w", err)
	}
	r.set = set
	defer r.finish(cancel, written)
	r.log.Info(r.enforcing(), "policies", len(set), "operations", r.operations, "revision", changes.Revision)
	if err := r.ready.write(changes.Revision, set); err != nil {
		return err
	}
	r.wait()
	r.ending()
	return r.ready.remove()
}

// linkInterval is how often the symbolic links on the paths of the policies are looked at.
const linkInterval = time.Second

// wait reloads on reload, and when a symbolic link on a path of the policies was switched,
// until end.
func (r *runner) wait() {
	links := time.NewTimer(linkInterval)
	defer links.Stop()
	for {
		select {
		case <-links.C:
			start := time.Now()
			if err := r.followLinks(); err != nil {
				r.log.Error("symbolic links on paths of the policies lead elsewhere now, and the policies are still about where they led before", "error", err)
			}
			// Who can switch a link shall not keep the machine busy with it.
			links.Reset(linkInterval + 10*time.Since(start))
		case s := <-r.end:
			r.log.Info("ending", "signal", s.String())
			return
		case <-r.reload:
			if err := r.reloadPolicies(); err != nil {
				r.log.Error("the policies were NOT reloaded; the previous ones stay in force", "error", err)
			}
		}
	}
}

// followLinks applies the policies again if a symbolic link leads elsewhere.
func (r *runner) followLinks() error {
	moved, err := r.guard.Relinked()
	if err != nil || len(moved) == 0 {
		return err
	}
	changes, err := r.guard.Apply(r.set)
	if err != nil {
		return err
	}
	r.log.Info("symbolic links on paths of the policies lead elsewhere now: the policies were applied again", "paths", moved, "revision", changes.Revision)
	if err := r.ready.write(changes.Revision, r.set); err != nil {
		r.log.Error("the policies are in force, but the ready file is out of date", "error", err)
	}
	return nil
}

// reloadPolicies replaces the policies by those that the files hold now.
func (r *runner) reloadPolicies() error {
	r.alerts.reopen()
	if slices.Contains(r.flags.files, "-") {
		return errors.New("the standard input cannot be read again; run with files to reload")
	}
	set, err := r.load()
	if err != nil {
		return err
	}
	if err := r.attach(set); err != nil {
		return err
	}
	r.followContainers(set)
	changes, err := r.guard.Apply(set)
	if err != nil {
		return err
	}
	if err := r.relabel(); err != nil {
		r.log.Error("the policies are in force, but what runs in containers is not labelled", "error", err)
	}
	r.set = set
	r.log.Info("reloaded", "policies", len(set), "operations", r.operations, "revision", changes.Revision,
		"added", changes.Added, "removed", changes.Removed, "changed", changes.Changed)
	if err := r.ready.write(changes.Revision, set); err != nil {
		r.log.Error("the policies are in force, but the ready file is out of date", "error", err)
	}
	return nil
}

// load reads the policies and prints what is odd about them.
func (r *runner) load() ([]policy.Policy, error) {
	set, err := policy.Load(r.flags.files...)
	if err != nil {
		return nil, err
	}
	for _, warning := range slices.Concat(policy.Unread(r.flags.files...), policy.Warnings(set), machine.Warnings(set)) {
		fmt.Fprintln(r.stderr, warning)
	}
	if r.flags.audit {
		for i := range set {
			set[i].Mode = policy.ModeAudit
		}
	}
	return set, r.checkLockout(set)
}

// checkLockout warns of policies that lock out while this command runs, for its end is theirs. It
// refuses those that kill process 1 or this command.
func (r *runner) checkLockout(set []policy.Policy) error {
	refused, err := lockout.Check(lockout.Options{}, nil, set)
	switch {
	case err != nil:
		r.log.Debug("cannot find out whether the policies lock out", "error", err)
	case lockout.Fatal(refused):
		return fmt.Errorf("they would end this machine or this command: %s; allow what is needed", lockout.Describe(refused))
	case len(refused) > 0:
		fmt.Fprintf(r.stderr, "warning: until this command ends: %s; SIGINT (Ctrl-C) ends it\n", lockout.Describe(refused))
	}
	return nil
}

// attach attaches the operations that the policies need. What is attached
// stays: an operation that no policy concerns is allowed. Policies that will be
// refused for their gaps attach nothing.
func (r *runner) attach(set []policy.Policy) error {
	if err := r.checkGaps(set); err != nil {
		return err
	}
	var needed []policy.Operation
	for _, p := range set {
		for _, rule := range p.Rules {
			if !slices.Contains(r.operations, rule.Operation) && !slices.Contains(needed, rule.Operation) {
				needed = append(needed, rule.Operation)
			}
		}
	}
	if len(needed) == 0 {
		return nil
	}
	if err := r.guard.Attach(needed...); err != nil {
		return err
	}
	r.operations = append(r.operations, needed...)
	return nil
}

// checkGaps reports what this kernel cannot enforce, as an error unless that is
// accepted.
func (r *runner) checkGaps(set []policy.Policy) error {
	gaps, err := r.gaps(set)
	if err != nil || len(gaps) == 0 {
		return err
	}
	if !r.flags.allowGaps {
		return fmt.Errorf("the policies are %w in full by this kernel:\n%s\nchange the rules, use a later kernel, or add --allow-gaps to enforce the rest",
			ebpfguard.ErrNotSupported, strings.Join(gaps, "\n"))
	}
	for _, gap := range gaps {
		r.log.Warn("the policies are enforced with a gap", "gap", gap)
	}
	return nil
}

func (r *runner) enforcing() string {
	if r.flags.audit {
		return "auditing, nothing is refused"
	}
	return "enforcing"
}

// drainTime is how long the end waits for alerts that are still to be written.
const drainTime = 2 * time.Second

// finish lifts all policies, writes the alerts that are left and prints the
// totals, last of all.
func (r *runner) finish(cancel context.CancelFunc, written <-chan struct{}) {
	if _, err := r.guard.Apply(nil); err != nil {
		r.log.Error("the policies cannot be removed; they end with this process", "error", err)
	}
	total := r.stats()
	deadline := time.Now().Add(drainTime)
	for r.alerts.taken() < total.Alerts && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	<-written
	lost := total.AlertsLost + r.alerts.lost()
	if taken := r.alerts.taken(); taken < total.Alerts {
		lost += total.Alerts - taken
	}
	fmt.Fprintf(r.stderr, "ended: %d denied, %d audited, %d alerts lost\n", total.Denied, total.Audited, lost)
}

// stats adds up what was decided.
func (r *runner) stats() ebpfguard.Stats {
	var total ebpfguard.Stats
	for _, o := range r.operations {
		stats, err := r.guard.Stats(o)
		if err != nil {
			r.log.Error("the totals are incomplete", "operation", o, "error", err)
			continue
		}
		total.Denied += stats.Denied
		total.Audited += stats.Audited
		total.Alerts += stats.Alerts
		total.AlertsLost += stats.AlertsLost
	}
	return total
}
