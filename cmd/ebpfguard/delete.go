package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

func newDeleteCommand() *cobra.Command {
	var daemon remote
	dryRun, force := false, false
	cmd := &cobra.Command{
		Use:   "delete NAME ...",
		Short: "Remove policies that were applied",
		Long: `Remove policies that were applied.

Removes all of them at once, or none if one does not exist. To remove a policy of
the policy directory, remove its file. To end a mitigation, use 'ebpfguard
mitigate lift'.`,
		Example: `  ebpfguard delete no-rogue-sshd --dry-run
  ebpfguard delete no-rogue-sshd web-egress`,
		RunE: func(cmd *cobra.Command, names []string) error {
			if len(names) == 0 {
				return usagef("no policy is named; 'ebpfguard get' lists those in force")
			}
			return daemon.change(cmd, func(ctx context.Context, guard *client.Client) error {
				response, err := guard.Delete(ctx, &pb.DeleteRequest{Names: names, DryRun: dryRun, Force: force})
				if err != nil {
					return err
				}
				return printChanges(cmd.OutOrStdout(), response.Changes, dryRun)
			})
		},
		ValidArgsFunction: daemon.complete(namesOf(pb.Origin_ORIGIN_APPLIED)),
	}
	daemon.add(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "remove them even if that locks you out: an exception may be what lets you work")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be removed, and remove nothing")
	return cmd
}
