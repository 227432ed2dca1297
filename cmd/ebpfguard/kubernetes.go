package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/daemon/config"
)

// cleanupName is that of the DaemonSet which has a pod on each node run "kubernetes cleanup".
const cleanupName = "ebpfguard-cleanup"

func newKubernetesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kubernetes",
		Short: "What the pods of the Helm chart run besides the daemon",
		Long: `What the pods of the Helm chart run besides the daemon.

"helm uninstall" has a pod on each node run "kubernetes cleanup", and then waits
by "kubernetes await-cleanup" until all have. docs/kubernetes.md says more.`,
		Example: "  ebpfguard kubernetes cleanup",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			return usagef("no command is given; choose from cleanup, await-cleanup")
		},
	}
	cmd.AddCommand(newCleanupCommand(), newAwaitCleanupCommand())
	return cmd
}

// cleaner removes what an agent leaves on its node.
type cleaner struct {
	pins, state string
	// patience is how long an agent may take to end that still has the pins.
	patience, interval time.Duration
	out                io.Writer
	// removePins is [ebpfguard.RemovePins].
	removePins func(path string, all bool) (bool, error)
}

func newCleanupCommand() *cobra.Command {
	defaults := config.Default()
	c := cleaner{interval: time.Second, removePins: ebpfguard.RemovePins}
	stay := false
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "End what is in force on this node, and remove the agent's files",
		Long: `End what is in force on this node, and remove the agent's files.

Removes the pins, as "ebpfguard down --force" does, and the directory of the
daemon's state. It waits for an agent that still runs to end.`,
		Example: "  ebpfguard kubernetes cleanup --state=/var/lib/ebpfguard",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.out = cmd.OutOrStdout()
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if err := c.run(ctx); err != nil {
				return fmt.Errorf("kubernetes cleanup: %w", err)
			}
			if stay {
				c.stay(ctx)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.pins, "pins", defaults.Pins, "remove the pins in `DIR`")
	f.StringVar(&c.state, "state", defaults.State, "remove the daemon's state, the directory `DIR`")
	f.DurationVar(&c.patience, "patience", 2*time.Minute, "how long to wait for an agent that still runs")
	f.BoolVar(&stay, "stay", false, "look again each second until a signal comes, for an agent that was just starting")
	return cmd
}

// run removes everything once.
func (c cleaner) run(ctx context.Context) error {
	patience, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	for told := false; ; {
		done, err := c.remove()
		switch {
		case err == nil:
			if !done && !told {
				fmt.Fprintln(c.out, "nothing to remove: no pins in", c.pins, "and no state in", c.state)
			}
			return nil
		case !errors.Is(err, ebpfguard.ErrPinsInUse):
			return err
		case !told:
			fmt.Fprintln(c.out, "waiting for the agent that still runs to end")
			told = true
		}
		select {
		case <-patience.Done():
			return fmt.Errorf("%w; is there another daemon on this node, such as one of a package? Stop it first (systemctl disable --now ebpfguard)", err)
		case <-time.After(c.interval):
		}
	}
}

// stay removes what appears again, until the context ends.
func (c cleaner) stay(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(c.interval):
		}
		// In use: an agent runs that has not heard yet that it is to end.
		if _, err := c.remove(); err != nil && !errors.Is(err, ebpfguard.ErrPinsInUse) {
			fmt.Fprintln(c.out, err)
		}
	}
}

// remove removes the pins, then the state: a daemon that runs has both. It reports whether there was anything.
func (c cleaner) remove() (bool, error) {
	ended, err := c.removePins(c.pins, true)
	if err != nil {
		return false, err
	}
	if ended {
		fmt.Fprintln(c.out, "enforcement has ended; removed the pins in", c.pins)
	}
	switch _, err := os.Lstat(c.state); {
	case errors.Is(err, os.ErrNotExist):
		return ended, nil
	case filepath.Dir(filepath.Clean(c.state)) == "/":
		return ended, fmt.Errorf("the state %s is a directory of the root, and not removed; name the daemon's own directory", c.state)
	}
	if err := os.RemoveAll(c.state); err != nil {
		return ended, fmt.Errorf("remove the state: %w", err)
	}
	fmt.Fprintln(c.out, "removed the state in", c.state)
	return true, nil
}
