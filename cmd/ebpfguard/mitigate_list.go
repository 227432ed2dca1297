package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/internal/duration"
)

func newMitigateListCommand(daemon *remote) *cobra.Command {
	format := outputText
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the mitigations and the time they have left",
		Example: `  ebpfguard mitigate list
  ebpfguard mitigate list -o json | jq -r '.[].name'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var found []*pb.Policy
			err := daemon.ask(cmd, func(ctx context.Context, guard *client.Client) error {
				response, err := guard.List(ctx, &pb.ListRequest{})
				for _, p := range response.GetPolicies() {
					if p.Mitigation != nil {
						found = append(found, p)
					}
				}
				return err
			})
			if err != nil {
				return err
			}
			if format == outputJSON {
				return printPolicies(cmd.OutOrStdout(), found, "json")
			}
			if len(found) == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "no mitigations are in force")
				return err
			}
			rows := [][]string{{"NAME", "WHAT", "FOR", "MODE", "LEFT", "HITS"}}
			for _, p := range found {
				var hits uint64
				for _, r := range p.Rules {
					hits += r.Hits
				}
				rows = append(rows, []string{p.Name, p.Mitigation.Profile, p.Mitigation.Subject, p.Mode,
					duration.Rough(p.Mitigation.Left.AsDuration()), number(hits)})
			}
			return table(cmd.OutOrStdout(), []int{4, 5}, rows...)
		},
	}
	outputFlag(cmd.Flags(), &format, "the `format`: text or json", outputText, outputJSON)
	return cmd
}

func newMitigateLiftCommand(daemon *remote) *cobra.Command {
	var format output
	all := false
	cmd := &cobra.Command{
		Use:   "lift NAME ...|--all",
		Short: "End mitigations early",
		Long:  `End mitigations early: all that you name, or none if one of them does not exist.`,
		Example: `  ebpfguard mitigate lift incident-1234
  ebpfguard mitigate lift --all`,
		RunE: func(cmd *cobra.Command, names []string) error {
			switch {
			case len(names) == 0 && !all:
				return usagef("no mitigation is named; 'ebpfguard mitigate list' lists them, --all means all")
			case len(names) > 0 && all:
				return usagef("--all and names are given; keep one of them")
			}
			return daemon.change(cmd, func(ctx context.Context, guard *client.Client) error {
				response, err := guard.Lift(ctx, &pb.LiftRequest{Names: names, All: all})
				if err != nil {
					return err
				}
				return printAnswer(cmd.OutOrStdout(), format, response, func() error {
					for _, name := range response.Lifted {
						fmt.Fprintf(cmd.OutOrStdout(), "lifted %s\n", printable(name))
					}
					if len(response.Lifted) == 0 {
						fmt.Fprintln(cmd.OutOrStdout(), "no mitigations are in force")
					}
					return nil
				})
			})
		},
		ValidArgsFunction: daemon.complete(namesOf(pb.Origin_ORIGIN_MITIGATION)),
	}
	cmd.Flags().BoolVar(&all, "all", false, "end all mitigations")
	answerFlag(cmd.Flags(), &format)
	return cmd
}
