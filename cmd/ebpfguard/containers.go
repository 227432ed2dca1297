package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

// shortID is how much of a container's id people see, as with docker and podman.
const shortID = 12

func newContainersCommand() *cobra.Command {
	var daemon remote
	format := output("table")
	cmd := &cobra.Command{
		Use:   "containers",
		Short: "List the containers that the daemon knows",
		Long: `List the containers that a running daemon knows. Policies select them by what is
listed here. 'ebpfguard status' says which sources tell of containers, and
whether some run that none tells of.

-o wide adds control groups, sources, digests and labels.`,
		Example: `  ebpfguard containers
  ebpfguard containers -o wide
  ebpfguard containers -o json | jq -r '.containers[].container.image'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return daemon.ask(cmd, func(ctx context.Context, guard *client.Client) error {
				response, err := guard.ListContainers(ctx, &pb.ListContainersRequest{})
				if err != nil {
					return err
				}
				return printAnswer(cmd.OutOrStdout(), format, response, func() error {
					return printContainers(cmd.OutOrStdout(), response.Containers, format == "wide")
				})
			})
		},
	}
	daemon.add(cmd)
	outputFlag(cmd.Flags(), &format, "the `format`: table, wide or json", "table", "wide", outputJSON)
	return cmd
}

func printContainers(w io.Writer, known []*pb.KnownContainer, wide bool) error {
	if len(known) == 0 {
		_, err := fmt.Fprintln(w, "no container is known; 'ebpfguard status --all' shows who tells of containers")
		return err
	}
	rows := [][]string{{"NAME", "ID", "RUNTIME", "POD", "IMAGE"}}
	if wide {
		rows[0] = append(rows[0], "DIGEST", "SOURCES", "CGROUP", "LABELS")
	}
	for _, k := range known {
		c := k.GetContainer()
		pod := "-"
		if p := c.GetPod(); p != nil {
			pod = p.GetNamespace() + "/" + p.GetName()
		}
		id := c.GetId()
		if !wide && len(id) > shortID && strings.Trim(id, "0123456789abcdef") == "" {
			id = id[:shortID]
		}
		row := []string{cmp.Or(c.GetName(), "-"), id, cmp.Or(c.GetRuntime(), "-"), pod, cmp.Or(c.GetImage(), "-")}
		if wide {
			var labels []string
			for _, key := range slices.Sorted(maps.Keys(c.GetLabels())) {
				labels = append(labels, key+"="+c.GetLabels()[key])
			}
			row = append(row, cmp.Or(c.GetImageDigest(), "-"), strings.Join(k.GetSources(), ","), strings.Join(k.GetCgroups(), ","), cmp.Or(strings.Join(labels, ","), "-"))
		}
		rows = append(rows, row)
	}
	return table(w, nil, rows...)
}

// containerNames returns the names of the containers that are known.
func containerNames(ctx context.Context, guard *client.Client) ([]string, error) {
	response, err := guard.ListContainers(ctx, &pb.ListContainersRequest{})
	var names []string
	for _, k := range response.GetContainers() {
		if name := k.GetContainer().GetName(); name != "" {
			names = append(names, name)
		}
	}
	return slices.Compact(names), err // they are sorted
}
