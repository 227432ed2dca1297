package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

func newStatusCommand() *cobra.Command {
	var daemon remote
	var format output
	var all, alive, enforcing bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether all is well, what is in force and what was decided",
		Long: `Show whether all is well, what is in force and what was decided.

The first line begins with ENFORCING, with STARTING while the daemon starts,
with DEGRADED if something needs attention, or with NOT RUNNING. The next lines
then say what it is and what to do. What does not fit a terminal of 24 lines of
80 columns is left out, and the last line says so; --all prints everything.

The counters begin when enforcement begins, and outlive the daemon. An operation
is ALLOWED by an allow pattern, AUDITED or DENIED by a deny pattern. DENIED
includes KILLED. AUDITED and DENIED include UNDECIDED, where too little was
known. What no pattern matches is allowed and not counted. No rule in force is
about an operation that is (off). HITS of a rule counts what it audited, denied
or killed since its policy last changed.

LOST alerts did not fit into the kernel's buffer. LIMITED alerts exceeded the
limit of their rule. The operations were decided in both cases.

The exit code is 0 if the daemon is enforcing, 1 if it is starting or degraded,
or does not answer, and 3 if none runs. With --enforcing it is 0 if all that was
accepted is in force, whatever else needs attention. With --alive it is 0 if the
daemon answers: for who starts a daemon anew that does not.`,
		Example: `  ebpfguard status
  ebpfguard status --all | less
  ebpfguard status >/dev/null || echo "not all is well"
  ebpfguard status -o json | jq '[.operations[].denied] | add'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := daemon.ask(cmd, func(ctx context.Context, guard *client.Client) error {
				s, err := guard.Status(ctx, &pb.StatusRequest{})
				if err != nil {
					return err
				}
				err = printAnswer(cmd.OutOrStdout(), format, s, func() error {
					_, err := io.WriteString(cmd.OutOrStdout(), describeStatus(s, time.Now(), all))
					return err
				})
				well := alive || enforcing && s.GetInForce() || s.State == pb.StatusResponse_STATE_ENFORCING
				if err == nil && !well {
					err = errReported
				}
				return err
			})
			if format == outputText && noDaemonRuns(err) {
				fmt.Fprint(cmd.OutOrStdout(), describeNotRunning(err))
				err = fmt.Errorf("%w: %w", errReported, err)
			}
			return err
		},
	}
	daemon.add(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "print everything, however long it gets")
	cmd.Flags().BoolVar(&alive, "alive", false, "exit with 0 if the daemon answers, whatever its state")
	cmd.Flags().BoolVar(&enforcing, "enforcing", false, "exit with 0 if all that was accepted is in force, whatever else needs attention")
	cmd.MarkFlagsMutuallyExclusive("alive", "enforcing")
	answerFlag(cmd.Flags(), &format)
	return cmd
}
