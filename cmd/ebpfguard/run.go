package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// runFlags are the flags of run.
type runFlags struct {
	files     []string
	audit     bool
	allowGaps bool
	ready     string
	alerts    string
	output    output
}

func newRunCommand() *cobra.Command {
	flags := runFlags{output: outputText}
	cmd := &cobra.Command{
		Use:   "run [-p] FILE|DIR ...",
		Short: "Enforce policies in the foreground",
		Long: `Enforce policies in the foreground.

Prints an alert to the standard output for each operation that is refused or,
with audit, would have been. Enforcement ends with the command: at SIGINT or
SIGTERM it detaches, prints the totals to the standard error and exits with 0.

Only the operations that the policies have rules for are attached, so that the
others cost nothing. Policies that this kernel cannot enforce fully are refused,
unless --allow-gaps is given: then what is not covered is printed, and the rest
enforced. "ebpfguard check" tells what this kernel covers.

SIGHUP reads the policies again and opens the file of --alerts anew. They replace
the former ones at once; if anything is wrong with them, the former ones stay in
force. An operation that they are the first to have rules for is attached before.`,
		Example: `  # Enforce, and see what is refused.
  sudo ebpfguard run -p policies/

  # See what would be refused, without refusing it.
  sudo ebpfguard run -p policies/ --audit

  # For scripts: wait for /run/ready, then read alerts from a file.
  sudo ebpfguard run -p ssh.yaml --ready-file /run/ready --alerts /var/log/alerts.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.files = append(flags.files, args...)
			if len(flags.files) == 0 {
				return usagef("no policy is given; name a file or directory with -p")
			}
			reload, end := make(chan os.Signal, 1), make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP)
			signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
			// Enforcement goes on when the reader of the alerts ends.
			signal.Ignore(syscall.SIGPIPE)
			r := newRunner(flags, cmd.OutOrStdout(), cmd.ErrOrStderr())
			r.open, r.gaps = openManager(flags.allowGaps), ebpfguard.Gaps
			r.reload, r.end = reload, end
			// A second signal ends at once.
			r.ending = func() { signal.Stop(end) }
			return r.run()
		},
	}
	policyFlag(cmd, &flags.files)
	f := cmd.Flags()
	f.BoolVar(&flags.audit, "audit", false, "refuse nothing; raise alerts for what would be refused")
	f.BoolVar(&flags.allowGaps, "allow-gaps", false, "enforce as much of the policies as this kernel can")
	f.StringVar(&flags.ready, "ready-file", "", "write `FILE` when every policy is in force, remove it at the end")
	f.StringVar(&flags.alerts, "alerts", "", "append the alerts to `FILE` as well, as JSON lines")
	f.VarP(&flags.output, "output", "o", "the `format` of the alerts on the standard output: text or json")
	return cmd
}

// guard is what run needs of [ebpfguard.Manager].
type guard interface {
	Attach(...policy.Operation) error
	Alerts(context.Context) iter.Seq2[ebpfguard.Alert, error]
	Apply([]policy.Policy) (ebpfguard.Changes, error)
	Stats(policy.Operation) (ebpfguard.Stats, error)
	Close() error
}

func openManager(allowGaps bool) func() (guard, error) {
	return func() (guard, error) {
		m, err := ebpfguard.NewManager(ebpfguard.Options{AllowGaps: allowGaps})
		if err != nil {
			return nil, err
		}
		return m, nil
	}
}

// runner enforces policies until it is told to end.
type runner struct {
	flags  runFlags
	open   func() (guard, error)
	gaps   func([]policy.Policy) ([]string, error) // ebpfguard.Gaps
	reload <-chan os.Signal
	end    <-chan os.Signal
	ending func()

	guard      guard
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
		flags:  flags,
		gaps:   func([]policy.Policy) ([]string, error) { return nil, nil },
		ending: func() {},
		alerts: &alertWriter{},
		ready:  readyFile(flags.ready),
		stdout: stdout,
		stderr: stderr,
		log:    log,
	}
}

func (r *runner) run() (err error) {
	// One of a former run that was killed would promise too much.
	if err := r.ready.remove(); err != nil {
		return err
	}
	set, err := r.load()
	if err != nil {
		return fmt.Errorf("run: the policies cannot be used:\n%w", err)
	}
	r.alerts, err = newAlertWriter(r.log, r.stdout, r.flags.output, r.flags.alerts)
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
	if err := r.attach(set); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	written := r.alerts.write(ctx, r.guard)
	changes, err := r.guard.Apply(set)
	if err != nil {
		cancel()
		<-written
		return fmt.Errorf("run: %w", err)
	}
	defer r.finish(cancel, written)
	r.log.Info(r.enforcing(), "policies", len(set), "operations", r.operations, "revision", changes.Revision)
	if err := r.ready.write(changes.Revision, set); err != nil {
		return err
	}
	r.wait()
	r.ending()
	return r.ready.remove()
}

// wait reloads whenever it is told to, until it is told to end.
func (r *runner) wait() {
	for {
		select {
		case s := <-r.end:
			r.log.Info("ending", "signal", s.String())
			return
		case <-r.reload:
			if err := r.again(); err != nil {
				r.log.Error("the policies were NOT reloaded; the former ones stay in force", "error", err)
			}
		}
	}
}

// again replaces the policies by those that the files hold now.
func (r *runner) again() error {
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
	changes, err := r.guard.Apply(set)
	if err != nil {
		return err
	}
	r.log.Info("reloaded", "policies", len(set), "operations", r.operations, "revision", changes.Revision,
		"added", changes.Added, "removed", changes.Removed, "changed", changes.Changed)
	if err := r.ready.write(changes.Revision, set); err != nil {
		r.log.Error("the policies are in force, but the ready file is the former one", "error", err)
	}
	return nil
}

// load reads the policies and prints what is odd about them.
func (r *runner) load() ([]policy.Policy, error) {
	set, err := policy.Load(r.flags.files...)
	if err != nil {
		return nil, err
	}
	for _, warning := range policy.Warnings(set) {
		fmt.Fprintln(r.stderr, warning)
	}
	if r.flags.audit {
		for i := range set {
			set[i].Mode = policy.ModeAudit
		}
	}
	return set, nil
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

// checkGaps tells what this kernel cannot enforce, as an error unless that is
// accepted.
func (r *runner) checkGaps(set []policy.Policy) error {
	gaps, err := r.gaps(set)
	if err != nil || len(gaps) == 0 {
		return err
	}
	if !r.flags.allowGaps {
		return fmt.Errorf("the policies are %w by this kernel as they are:\n%s\nchange the rules, use a later kernel, or add --allow-gaps to enforce the rest",
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
		r.log.Error("the policies are in force until the process has ended", "error", err)
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
