package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

func newDeleteCommand() *cobra.Command {
	var daemon remote
	var files policyFiles
	var format output
	dryRun, force := false, false
	cmd := &cobra.Command{
		Use:   "delete NAME ...|-f FILE",
		Short: "Remove policies that were applied",
		Long: `Remove policies that were applied.

Removes all of them at once, or none if one does not exist. -f stands for the
names of the policies in a file. To remove a policy of the policy directory,
remove its file. To end a mitigation, use 'ebpfguard mitigate lift'.`,
		Example: `  ebpfguard delete no-rogue-sshd --dry-run
  ebpfguard delete no-rogue-sshd web-egress

  # All that this file put in force
  ebpfguard delete -f ssh.yaml`,
		RunE: func(cmd *cobra.Command, names []string) error {
			if len(names)+len(files) == 0 {
				return usagef("no policy is named; 'ebpfguard get' lists those in force")
			}
			if len(files) > 0 {
				set, err := policy.Load(files...)
				if err != nil {
					return fmt.Errorf("delete: the names of the policies cannot be read:\n%w", err)
				}
				for _, p := range set {
					names = append(names, p.Name)
				}
			}
			return daemon.change(cmd, func(ctx context.Context, guard *client.Client) error {
				response, err := guard.Delete(ctx, &pb.DeleteRequest{Names: names, DryRun: dryRun, Force: force})
				if err != nil {
					return err
				}
				return printAnswer(cmd.OutOrStdout(), format, response, func() error {
					return printChanges(cmd.OutOrStdout(), response.Changes, dryRun)
				})
			})
		},
		ValidArgsFunction: daemon.complete(namesOf(pb.Origin_ORIGIN_APPLIED)),
	}
	daemon.add(cmd)
	files.add(cmd, "remove the policies named in")
	answerFlag(cmd.Flags(), &format)
	cmd.Flags().BoolVar(&force, "force", false, "remove them even if that locks you out: an exception may be what lets you work")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be removed, and remove nothing")
	return cmd
}
