package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/internal/duration"
)

func newGetCommand() *cobra.Command {
	var daemon remote
	var container string
	format := output("table")
	cmd := &cobra.Command{
		Use:   "get [NAME ...]",
		Short: "List the policies in force",
		Long: `List the policies in force, or print them.

HITS counts the operations that the policy audited, denied or killed since it
last changed. ORIGIN says how to change the policy: "file" in its file in the
policy directory, "applied" with apply and delete, "mitigation" with mitigate
lift.`,
		Example: `  ebpfguard get
  ebpfguard get -o wide
  ebpfguard get no-rogue-sshd -o yaml > no-rogue-sshd.yaml
  ebpfguard get --container web
  ebpfguard get -o json | jq -r '.[] | select(.mode == "audit") | .name'`,
		RunE: func(cmd *cobra.Command, names []string) error {
			if len(names) > 0 && container != "" {
				return usagef("policies are named and a --container is given; keep one of them")
			}
			var policies []*pb.Policy
			err := daemon.ask(cmd, func(ctx context.Context, guard *client.Client) (err error) {
				policies, err = getPolicies(ctx, guard, names, container)
				return err
			})
			if err != nil {
				return err
			}
			return printPolicies(cmd.OutOrStdout(), policies, format)
		},
		ValidArgsFunction: daemon.complete(namesOf()),
	}
	daemon.add(cmd)
	cmd.Flags().StringVar(&container, "container", "", "only the policies whose subjects select the container with this `name` or id")
	_ = cmd.RegisterFlagCompletionFunc("container", daemon.complete(containerNames))
	outputFlag(cmd.Flags(), &format, "the `format`: table, wide, yaml or json", "table", "wide", "yaml", outputJSON)
	return cmd
}

// getPolicies returns the policies of these names, or all, or those about a container.
func getPolicies(ctx context.Context, guard *client.Client, names []string, container string) ([]*pb.Policy, error) {
	if len(names) == 0 {
		response, err := guard.List(ctx, &pb.ListRequest{Container: container})
		return response.GetPolicies(), err
	}
	var policies []*pb.Policy
	for _, name := range names {
		response, err := guard.Get(ctx, &pb.GetRequest{Name: name})
		if err != nil {
			return nil, err
		}
		policies = append(policies, response.Policy)
	}
	return policies, nil
}

// namesOf returns the names of the policies of these origins, or of all.
func namesOf(origins ...pb.Origin) func(context.Context, *client.Client) ([]string, error) {
	return func(ctx context.Context, guard *client.Client) ([]string, error) {
		var names []string
		response, err := guard.List(ctx, &pb.ListRequest{})
		for _, p := range response.GetPolicies() {
			if len(origins) == 0 || slices.Contains(origins, p.Origin) {
				names = append(names, p.Name)
			}
		}
		return names, err
	}
}

func printPolicies(w io.Writer, policies []*pb.Policy, format output) error {
	switch format {
	case "json":
		list := make([]any, len(policies))
		for i, p := range policies {
			list[i] = plainMessage(p.ProtoReflect())
		}
		return printJSON(w, list)
	case "yaml":
		for i, p := range policies {
			if i > 0 {
				fmt.Fprintln(w, "---")
			}
			fmt.Fprintln(w, strings.TrimRight(strings.TrimPrefix(p.Yaml, "---\n"), "\n"))
		}
		return nil
	}
	if len(policies) == 0 {
		_, err := fmt.Fprintln(w, "no policies are in force; add one with 'ebpfguard apply FILE'")
		return err
	}
	rows := [][]string{{"NAME", "MODE", "ORIGIN", "RULES", "HITS"}}
	if format == "wide" {
		rows[0] = append(rows[0], "ALERTS LOST", "ALERTS LIMITED", "OPERATIONS", "ENDS IN", "SOURCE")
	}
	for _, p := range policies {
		var hits, lost, limited uint64
		var operations []string
		for _, r := range p.Rules {
			hits, lost, limited = hits+r.Hits, lost+r.AlertsLost, limited+r.AlertsLimited
			if !slices.Contains(operations, r.Operation) {
				operations = append(operations, r.Operation)
			}
		}
		row := []string{p.Name, p.Mode, origin(p.Origin), number(len(p.Rules)), number(hits)}
		if format == "wide" {
			ends := "-"
			if p.Mitigation != nil {
				ends = duration.Rough(p.Mitigation.Left.AsDuration())
			}
			row = append(row, number(lost), number(limited), strings.Join(operations, ","), ends, cmp.Or(p.Source, "-"))
		}
		rows = append(rows, row)
	}
	numbers := []int{3, 4}
	if format == "wide" {
		numbers = append(numbers, 5, 6)
	}
	return table(w, numbers, rows...)
}

func origin(o pb.Origin) string { return enumWord(o.Descriptor(), o.Number()) }
