package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/cluster"
)

func newClusterMitigationsCommand(o *clusterFlags) *cobra.Command {
	node, format := "", outputText
	cmd := &cobra.Command{
		Use:   "mitigations",
		Short: "List the mitigations of all nodes and the time they have left",
		Example: `  kubectl ebpfguard mitigations
  kubectl ebpfguard mitigations --node worker-1 -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.use(cmd, func(ctx context.Context, c *cluster.Cluster) error {
				answers, err := nodeMitigations(ctx, c, node)
				if err != nil {
					return err
				}
				if err := printNodeMitigations(cmd, answers, format); err != nil {
					return err
				}
				return failures(cmd, answers)
			})
		},
	}
	cmd.Flags().StringVar(&node, "node", "", "only those of this `node`")
	outputFlag(cmd.Flags(), &format, "the `format`: text or json", outputText, outputJSON)
	return cmd
}

// nodeMitigation is a mitigation of a node.
type nodeMitigation struct {
	Node string `json:"node"`
	mitigationForm
	Mode string `json:"mode"`
	Hits uint64 `json:"hits"`
}

// nodeMitigations asks the agents for their mitigations.
func nodeMitigations(ctx context.Context, c *cluster.Cluster, node string) ([]answerOf[[]nodeMitigation], error) {
	agents, err := agentsOf(ctx, c, node)
	if err != nil {
		return nil, err
	}
	return eachAgent(agents, func(a cluster.Agent) ([]nodeMitigation, error) {
		text, _, err := askAgent(ctx, c, a, nil, "mitigate", "list", "--output", "json")
		if err != nil {
			return nil, err
		}
		// What 'ebpfguard mitigate list -o json' prints, as far as it is shown.
		var policies []struct {
			Name       string         `json:"name"`
			Mode       string         `json:"mode"`
			Mitigation mitigationForm `json:"mitigation"`
			Rules      []struct {
				Hits uint64 `json:"hits"`
			} `json:"rules"`
		}
		if err := json.Unmarshal([]byte(text), &policies); err != nil {
			return nil, unreadable(a, err)
		}
		var found []nodeMitigation
		for _, p := range policies {
			m := nodeMitigation{Node: a.Node, mitigationForm: p.Mitigation, Mode: p.Mode}
			m.Name = p.Name
			for _, r := range p.Rules {
				m.Hits += r.Hits
			}
			found = append(found, m)
		}
		return found, nil
	}), nil
}

func printNodeMitigations(cmd *cobra.Command, answers []answerOf[[]nodeMitigation], format output) error {
	all := []nodeMitigation{}
	for _, a := range answers {
		all = append(all, a.value...)
	}
	w := cmd.OutOrStdout()
	if format == outputJSON {
		return printJSON(w, all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no mitigations are in force")
		return err
	}
	rows := [][]string{{"NODE", "NAME", "WHAT", "FOR", "MODE", "LEFT", "HITS"}}
	for _, m := range all {
		rows = append(rows, []string{m.Node, m.Name, m.Profile, m.Subject, m.Mode, m.left(), number(m.Hits)})
	}
	return table(w, []int{5, 6}, rows...)
}

func newClusterLiftCommand(o *clusterFlags) *cobra.Command {
	node, all := "", false
	cmd := &cobra.Command{
		Use:   "lift NAME ...|--all",
		Short: "End mitigations early",
		Long: `End mitigations early: all that you name, or none if one of them does not exist.
It looks for them on all nodes, or on that of --node.`,
		Example: `  kubectl ebpfguard lift mitigation/no-network-1 --node worker-1
  kubectl ebpfguard lift --all`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, names []string) error {
			switch {
			case len(names) == 0 && !all:
				return usagef("no mitigation is named; 'kubectl ebpfguard mitigations' lists them, --all means all")
			case len(names) > 0 && all:
				return usagef("--all and names are given; keep one of them")
			}
			return o.use(cmd, func(ctx context.Context, c *cluster.Cluster) error { return lift(ctx, cmd, c, node, names) })
		},
	}
	cmd.Flags().StringVar(&node, "node", "", "only those of this `node`")
	cmd.Flags().BoolVar(&all, "all", false, "end all mitigations")
	return cmd
}

// lift ends mitigations of some names, or all without names.
func lift(ctx context.Context, cmd *cobra.Command, c *cluster.Cluster, node string, names []string) error {
	known, err := nodeMitigations(ctx, c, node)
	if err != nil {
		return err
	}
	unknown := failures(cmd, known)
	agents, chosen := map[string]cluster.Agent{}, map[string][]string{}
	where := map[string][]string{}
	for _, a := range known {
		for _, m := range a.value {
			if len(names) == 0 || slices.Contains(names, m.Name) {
				agents[m.Node], chosen[m.Node] = a.agent, append(chosen[m.Node], m.Name)
				where[m.Name] = append(where[m.Name], m.Node)
			}
		}
	}
	for _, name := range names {
		switch nodes := where[name]; {
		case len(nodes) == 0:
			return fmt.Errorf("there is no mitigation %q; 'kubectl ebpfguard mitigations' lists them", name)
		case len(nodes) > 1:
			return fmt.Errorf("there is a mitigation %q on each of the nodes %s; choose one with --node", name, strings.Join(nodes, ", "))
		}
	}
	answers := eachAgent(agents, func(a cluster.Agent) (struct{}, error) {
		_, _, err := askAgent(ctx, c, a, nil, append([]string{"mitigate", "lift", "--"}, chosen[a.Node]...)...)
		return struct{}{}, err
	})
	for _, a := range answers {
		for _, name := range chosen[a.agent.Node] {
			if a.err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "lifted %s on node %s\n", printable(name), printable(a.agent.Node))
			}
		}
	}
	if len(slices.Collect(maps.Keys(chosen))) == 0 && unknown == nil {
		fmt.Fprintln(cmd.OutOrStdout(), "no mitigations are in force")
	}
	if err := failures(cmd, answers); err != nil {
		return err
	}
	return unknown
}
