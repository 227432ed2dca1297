package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/cluster"
)

// clusterAlerts are the flags of the plugin's alerts.
type clusterAlerts struct {
	everywhere, follow bool
	node               string
	tail               int
	filter             []string // for the agents' command
	output             output
}

// alertFilters are the flags of 'ebpfguard alerts' that the plugin hands on.
var alertFilters = []string{"operation", "policy", "verdict", "severity", "binary", "container"}

func newClusterAlertsCommand(o *clusterFlags) *cobra.Command {
	flags := clusterAlerts{output: outputText}
	cmd := &cobra.Command{
		Use:   "alerts [POD]",
		Short: "Show the alerts of a pod, of a namespace or of all nodes",
		Long: `Show the alerts of a pod, of a namespace's pods or with -A of all nodes, in the
order of their times and each with its node.

Each agent keeps its last 1,024. --follow goes on with what comes, also from
nodes that join and agents that are replaced, until you interrupt it. A node
whose agent cannot be asked is named on the standard error, and makes the exit
code 1. The outputs of the agents are the place to keep alerts. -o json prints
the lines of docs/alerts.md, with the key "node" before the others.`,
		Example: `  kubectl ebpfguard alerts web-0 -n shop
  kubectl ebpfguard alerts -A --follow --verdict deny,kill
  kubectl ebpfguard alerts -A --node worker-1 -o json | jq -r .policy`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: o.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return usagef("alerts takes one pod; name no more, or use -A")
			case len(args) == 1 && flags.everywhere:
				return usagef("-A and a pod are given; keep one of them")
			case flags.tail < 1:
				return usagef("--tail %d shows nothing; write how many alerts to show", flags.tail)
			}
			for _, name := range alertFilters {
				values, _ := cmd.Flags().GetStringSlice(name)
				for _, value := range values {
					flags.filter = append(flags.filter, "--"+name+"="+value)
				}
			}
			return o.use(cmd, func(ctx context.Context, c *cluster.Cluster) error { return flags.show(ctx, cmd, c, args) })
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVarP(&flags.everywhere, "all-namespaces", "A", false, "all alerts of the nodes, also of what is in no pod")
	f.BoolVarP(&flags.follow, "follow", "f", false, "go on with the alerts that come")
	f.StringVar(&flags.node, "node", "", "only of this `node`")
	f.IntVar(&flags.tail, "tail", 1000, "show at most this `number` of alerts, the last ones, before those that come")
	outputFlag(f, &flags.output, "the `format`: text or json", outputText, outputJSON)
	f.StringSlice("operation", nil, "only of these `operations`")
	f.StringSlice("policy", nil, "only of these policies, `names` or with * globs")
	f.StringSlice("verdict", nil, "only these `verdicts`: audit, deny or kill")
	f.StringSlice("severity", nil, "only of these `severities`; none stands for rules without one")
	f.StringSlice("binary", nil, "only of these programs, `paths` or patterns as in a policy")
	f.StringSlice("container", nil, "only in these containers of pods, `names` or with * globs")
	completeList(cmd, "operation", fixed(operationNames()))
	completeList(cmd, "verdict", fixed([]string{"audit", "deny", "kill"}))
	return cmd
}

// show shows the alerts that the flags choose.
func (f *clusterAlerts) show(ctx context.Context, cmd *cobra.Command, c *cluster.Cluster, pod []string) error {
	switch {
	case len(pod) == 1:
		p, err := c.Pod(ctx, pod[0])
		switch {
		case err == nil && f.node == "":
			f.node = p.Spec.NodeName
		case errors.Is(err, cluster.ErrNoPod):
			fmt.Fprintf(cmd.ErrOrStderr(), "there is no pod %s in the namespace %s now; all nodes are asked for alerts of one\n", printable(pod[0]), printable(c.Namespace))
		case err != nil:
			return err
		}
		f.filter = append(f.filter, "--pod="+c.Namespace+"/"+pod[0])
	case !f.everywhere:
		f.filter = append(f.filter, "--pod="+c.Namespace+"/*")
	}
	agents, err := agentsOf(ctx, c, f.node)
	if err != nil {
		return err
	}
	printer := &alertMerge{cmd: cmd, format: f.output, colour: colours(cmd.OutOrStdout())}
	failed := f.unguarded(ctx, cmd, c, agents)
	answers := eachAgent(agents, func(a cluster.Agent) (lastAlerts, error) {
		text, problems, err := askAgent(ctx, c, a, nil, f.command("--until-now")...)
		if err == nil {
			printer.tell(a.Node, problems)
		}
		return f.last(parseAlerts(a.Node, text, printer.problem)), err
	})
	var all []nodeAlert
	older := 0
	for _, a := range answers {
		all, older = append(all, a.value.alerts...), older+a.value.older
	}
	shown := f.last(all)
	if err := printer.print(shown.alerts...); err != nil {
		return err
	}
	if older += shown.older; older > 0 {
		printer.problem(fmt.Sprintf("%s not shown; ask for more with --tail", many(older, "older alert is", "older alerts are")))
	}
	failed = errors.Join(failures(cmd, answers), failed)
	if f.follow {
		return errors.Join(f.followAgents(ctx, cmd, c, printer, all), failed)
	}
	return failed
}

// command is what runs in the agents' pods.
func (f *clusterAlerts) command(more ...string) []string {
	return slices.Concat([]string{"alerts", "--recent", "--output=json"}, more, f.filter)
}

// lastAlerts are the last of some alerts, and how many there are before them.
type lastAlerts struct {
	alerts []nodeAlert
	older  int
}

// last returns the last alerts by their times.
func (f *clusterAlerts) last(all []nodeAlert) lastAlerts {
	slices.SortStableFunc(all, nodeAlert.compare)
	older := max(0, len(all)-f.tail)
	return lastAlerts{all[older:], older}
}

// unguarded says which of the nodes that are asked have no agent.
func (f *clusterAlerts) unguarded(ctx context.Context, cmd *cobra.Command, c *cluster.Cluster, agents map[string]cluster.Agent) error {
	if f.node != "" {
		return nil
	}
	nodes, err := c.Nodes(ctx)
	if apierrors.IsForbidden(err) {
		return nil // 'status' says that this right is missing
	}
	if err != nil {
		return err
	}
	without := foldedProblems{}
	for _, n := range nodes {
		if _, ok := agents[n.Name]; !ok && n.IsLinux() {
			without.add(stateNoAgent, "no agent runs there, so there are no alerts of it", n.Name)
		}
	}
	for _, line := range without.lines() {
		fmt.Fprintln(cmd.ErrOrStderr(), "ebpfguard: "+printable(line))
		err = errReported
	}
	return err
}
