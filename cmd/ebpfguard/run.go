package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/daemon/config"
	"github.com/ebpfguard/ebpfguard/sink/registry"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// runFlags are the flags of run.
type runFlags struct {
	files     policyFiles
	audit     bool
	allowGaps bool
	place     hostPlace
	ready     string
	alerts    string
	output    output
	// outputs are those of --outputs, which is given if named.
	outputs []setup.Spec
	named   bool
}

func newRunCommand() *cobra.Command {
	flags := runFlags{output: outputText}
	cmd := &cobra.Command{
		Use:   "run FILE|DIR|- ...",
		Short: "Enforce policies in the foreground",
		Long: `Enforce policies in the foreground.

Prints an alert to the standard output for each operation that it refuses or,
with audit, would refuse. Enforcement ends with the command: SIGINT and SIGTERM
end both. It then prints the totals to the standard error and exits with 0.

It attaches only the operations that the policies have rules for, so that the
others cost nothing. If this kernel cannot enforce all of the policies, it
refuses them; with --allow-gaps it prints what is not covered and enforces the
rest. "ebpfguard check" shows what this kernel covers. The same goes for what is
missing here, in a container for instance.

SIGHUP reads the policies again and reopens the files of alerts. The new
policies replace the old ones at once; if anything is wrong with them, the old
ones stay in force.

` + registry.Help(),
		Example: `  # Enforce, and see what is refused
  sudo ebpfguard run policies/

  # See what would be refused, without refusing it
  sudo ebpfguard run policies/ --audit

  # For scripts: wait for /run/ready, then read alerts from a file
  sudo ebpfguard run ssh.yaml --ready-file /run/ready \
      --alerts /var/log/alerts.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if flags.files, err = flags.files.and(args); err != nil {
				return err
			}
			flags.named = cmd.Flags().Changed("outputs")
			if flags.named && cmd.Flags().Changed("output") {
				return usagef("--output is the format of the standard output, and --outputs replaces that; write --outputs '{type: stdout, format: %s}'", flags.output)
			}
			if _, err := flags.specs(); err != nil {
				return &usageError{err}
			}
			reload, end := make(chan os.Signal, 1), make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP)
			signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
			// Enforcement goes on when the reader of the alerts ends.
			signal.Ignore(syscall.SIGPIPE)
			r := newRunner(flags, cmd.OutOrStdout(), cmd.ErrOrStderr())
			root, err := flags.place.find()
			if err != nil {
				return fmt.Errorf("run: %w", err)
			}
			options := ebpfguard.Options{AllowGaps: flags.allowGaps, Enrich: true, HostRoot: root}
			r.open, r.gaps = openManager(options), ebpfguard.Gaps
			r.place = func() []ebpfguard.Check { return ebpfguard.ProbePlace(options) }
			r.reload, r.end = reload, end
			// A second signal ends at once.
			r.ending = func() { signal.Stop(end) }
			saveMemory(r.log)
			return r.run()
		},
	}
	flags.files.add(cmd, "read policies from")
	f := cmd.Flags()
	f.BoolVar(&flags.audit, "audit", false, "refuse nothing; raise an alert for what would be refused")
	flags.place.add(f)
	f.BoolVar(&flags.allowGaps, "allow-gaps", false, "enforce what this kernel can from here, even if it cannot enforce all of the policies, or something is missing in this container")
	f.StringVar(&flags.ready, "ready-file", "", "create `FILE` when every policy is in force, and remove it at the end")
	f.StringVar(&flags.alerts, "alerts", "", "also append the alerts to `FILE`, as JSON lines")
	f.Var(config.OutputsValue(&flags.outputs), "outputs", "write alerts to `OUTPUT` in place of the standard output, such as '{type: journald}' (can be repeated); none for no output")
	outputFlag(f, &flags.output, "the `format` of the alerts on the standard output: text or json", outputText, outputJSON)
	return cmd
}
