package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/daemon"
	"github.com/ebpfguard/ebpfguard/daemon/config"
	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/daemon/containers/kinds"
	"github.com/ebpfguard/ebpfguard/sink/registry"
)

func newDaemonCommand() *cobra.Command {
	var file string
	var options daemon.Options
	defaults := config.Default()
	flags := defaults.Flags()
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Enforce a directory of policies, and serve the API",
		Long: `Enforce a directory of policies, and serve the API.

Enforces the policies in a directory, which it watches, the policies that
"ebpfguard apply" adds, and mitigations. Enforcement is pinned: it goes on when
the daemon ends for any reason, and the next daemon takes it over. "ebpfguard
down" ends it.

Every option is also a key of the configuration file, with underscores for
dashes; flags win. With an error in that file the daemon does not start. With an
error in a policy of the directory the previous policies stay in force; the log,
the status and the metrics say so.

SIGHUP reads the configuration and the directory again and reopens the files of
alerts. SIGTERM and SIGINT end the daemon.

` + registry.Help() + "\n\n" + strings.TrimSuffix(containers.Help(kinds.All), "\n"),
		Example: `  # As the service does
  sudo ebpfguard daemon --config /etc/ebpfguard/config.yaml

  # By hand; leaves nothing behind
  sudo ebpfguard daemon --policies $PWD/policies --pins= --state= \
      --socket /run/guard.sock

  # Write alerts to a file of at most 1 MiB, and denials to journald too
  sudo ebpfguard daemon \
      --outputs '{type: file, path: /var/log/alerts, max_bytes: 1MiB}' \
      --outputs '{type: journald, filter: {verdicts: [deny, kill]}}'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			configure := func() (config.Config, error) { return config.Load(file, flags) }
			c, err := configure()
			if err != nil {
				return refuseConfig(fmt.Errorf("daemon: the configuration cannot be used:\n%w", err))
			}
			options.Level = new(slog.LevelVar)
			options.Level.Set(c.LogLevel)
			options.Log = newLog(cmd.ErrOrStderr(), c.LogFormat, options.Level)
			options.Stdout, options.Configure = cmd.OutOrStdout(), configure
			options.Version = version(debug.ReadBuildInfo())
			options.Hook = hookCommand(c.Socket)
			return runDaemon(c, options)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&file, "config", "", "read the configuration from `FILE` (default "+config.DefaultFile+", if it exists)")
	f.AddFlagSet(flags)
	completeNames(cmd, "group", "/etc/group")
	f.BoolVar(&options.ReplacePins, "replace-pins", false, "replace pins that are damaged, of a newer version or not of ebpfguard")
	f.StringVar(&options.ReadyFile, "ready-file", "", "create `FILE` when everything is in force, and remove it at the end")
	return cmd
}

// refuseConfig tells systemd why the daemon does not start.
func refuseConfig(err error) error {
	daemon.NotifyFailure(err)
	return &configError{err}
}

func newLog(w io.Writer, format config.LogFormat, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	handler := func(w io.Writer) slog.Handler {
		if format == config.LogJSON {
			return slog.NewJSONHandler(w, options)
		}
		return slog.NewTextHandler(w, options)
	}
	if writesToJournal(w) {
		return slog.New(newJournalHandler(w, handler))
	}
	return slog.New(handler(w))
}

// gcPercent trades processor time for memory: what a guard keeps is small, what it
// reads and throws away for a change is not.
const gcPercent = 40

// saveMemory is for those who enforce for long.
func saveMemory(log *slog.Logger) {
	debug.SetGCPercent(gcPercent)
	// Huge pages would fill up again what was given back: khugepaged makes one of what is
	// used here and there (Documentation/admin-guide/mm/transhuge.rst).
	if err := unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0); err != nil {
		log.Debug("huge pages cannot be disabled, so this takes more memory than it needs", "error", err)
	}
}

func runDaemon(c config.Config, options daemon.Options) error {
	saveMemory(options.Log)
	d, err := daemon.New(c, options)
	if err != nil {
		return refuseConfig(fmt.Errorf("daemon: %w", err))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends at once
	// Enforcement goes on when the reader of the alerts ends.
	signal.Ignore(syscall.SIGPIPE)
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	go func() {
		for range reload {
			d.Reload()
		}
	}()
	if err := d.Run(ctx); err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	return nil
}
