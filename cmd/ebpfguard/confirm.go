package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/internal/duration"
)

func newConfirmCommand() *cobra.Command {
	var daemon remote
	var request pb.ConfirmRequest
	var format output
	cmd := &cobra.Command{
		Use:   "confirm",
		Short: "Keep what was applied with --confirm, before it is taken back",
		Long: `Keep what was applied with --confirm, before it is taken back.

'ebpfguard apply --confirm 2m' puts policies in force for two minutes. Unless
you confirm them in time, the policies that were there before are in force again
after that. If the daemon starts again before, it takes the change back.`,
		Example: `  ebpfguard apply ssh.yaml --confirm 2m
  ebpfguard confirm

  # It was not good
  ebpfguard confirm --rollback`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return daemon.change(cmd, func(ctx context.Context, guard *client.Client) error {
				response, err := guard.Confirm(ctx, &request)
				if err != nil {
					return err
				}
				return printAnswer(cmd.OutOrStdout(), format, response, func() error {
					return printChanges(cmd.OutOrStdout(), response.Changes, false)
				})
			})
		},
	}
	daemon.add(cmd)
	answerFlag(cmd.Flags(), &format)
	cmd.Flags().BoolVar(&request.Rollback, "rollback", false, "take the change back at once")
	return cmd
}

// printUnconfirmed says until when a change has to be confirmed.
func printUnconfirmed(w io.Writer, u *pb.Unconfirmed) error {
	if u == nil {
		return nil
	}
	_, err := fmt.Fprintf(w, "keep it with: ebpfguard confirm\notherwise it is taken back in %s, at %s\n", duration.Rough(u.Left.AsDuration()),
		u.Ends.AsTime().Local().Format("15:04:05"))
	return err
}
