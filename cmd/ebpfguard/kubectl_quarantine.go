package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/cluster"
)

// quarantineLabel is what the policy of examples/kubernetes selects.
const quarantineLabel = "ebpfguard.io/quarantine"

func newQuarantineCommand(o *clusterFlags) *cobra.Command {
	lifted := false
	cmd := &cobra.Command{
		Use:   "quarantine POD",
		Short: "Put a pod into quarantine by its label, or take it out",
		Long: `Give a pod the label ` + quarantineLabel + `=true, or take it away with --lift.

What that forbids says a ClusterPolicy whose podSelector selects the label, such
as that of examples/kubernetes: the command warns when there is none. It needs
the right to patch the pod and none to run commands in the agents. The label
lasts until somebody removes it, and goes with the pod.`,
		Example: `  kubectl ebpfguard quarantine web-0 -n shop
  kubectl ebpfguard quarantine web-0 -n shop --lift`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: o.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := onePod(cmd, args)
			if err != nil {
				return err
			}
			return o.use(cmd, func(ctx context.Context, c *cluster.Cluster) error { return quarantine(ctx, cmd, c, name, !lifted) })
		},
	}
	cmd.Flags().BoolVar(&lifted, "lift", false, "take the pod out of quarantine")
	return cmd
}

func quarantine(ctx context.Context, cmd *cobra.Command, c *cluster.Cluster, name string, in bool) error {
	p, err := c.Pod(ctx, name)
	if err != nil {
		return err
	}
	before, had := p.Labels[quarantineLabel]
	switch {
	case !in && !had:
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "pod %s is not in quarantine\n", p)
		return err
	case !in:
		if _, err := c.SetLabel(ctx, p, quarantineLabel, nil); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "pod %s is no longer in quarantine\n", p)
		return err
	}
	value := "true"
	if before != value {
		if p, err = c.SetLabel(ctx, p, quarantineLabel, &value); err != nil {
			return err
		}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "pod %s has the label %s=%s\ntake it out with: kubectl ebpfguard quarantine %s -n %s --lift\n",
		p, quarantineLabel, value, p.Name, p.Namespace)
	for _, warning := range quarantineWarnings(ctx, c, p) {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+printable(warning))
	}
	return nil
}

// quarantineWarnings returns why the label may forbid nothing.
func quarantineWarnings(ctx context.Context, c *cluster.Cluster, p *cluster.Pod) []string {
	policies, err := c.ClusterPolicies(ctx)
	if err != nil {
		return []string{fmt.Sprintf("whether a ClusterPolicy selects the label is unknown: %v", err)}
	}
	var selecting []v1alpha1.ClusterPolicy
	for _, policy := range policies {
		if selectsQuarantine(policy.Spec.PodSelector, p.Labels) {
			selecting = append(selecting, policy)
		}
	}
	if len(selecting) == 0 {
		return []string{"no ClusterPolicy selects the label for this pod, so nothing is forbidden; apply one with podSelector: {matchLabels: {" + quarantineLabel + `: "true"}}`}
	}
	var warnings []string
	status, err := c.NodeStatus(ctx, p.Spec.NodeName)
	for _, policy := range selecting {
		switch what := "the ClusterPolicy " + policy.Name; {
		case policy.Spec.Mode == "audit":
			warnings = append(warnings, what+" has the mode audit: it forbids nothing")
		case p.Spec.NodeName == "": // it is enforced where the pod will be, or status says why not
		case err != nil:
			warnings = append(warnings, fmt.Sprintf("whether %s is in force on the pod's node %s is unknown: %v", what, p.Spec.NodeName, err))
		default:
			if generation := inForce(status, policy.Name); generation != policy.Generation {
				warnings = append(warnings, fmt.Sprintf("%s is not in force on the pod's node %s; see 'kubectl ebpfguard status'", what, p.Spec.NodeName))
			}
		}
	}
	return warnings
}

// selectsQuarantine reports whether a selector selects a pod with these labels for its label of quarantine.
func selectsQuarantine(selector *metav1.LabelSelector, of labels.Set) bool {
	if selector == nil {
		return false
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return false // the API server refuses such a policy
	}
	without := labels.Set{}
	for key, value := range of {
		if key != quarantineLabel {
			without[key] = value
		}
	}
	return s.Matches(of) && !s.Matches(without)
}

// inForce returns the generation of a policy that is in force on a node, 0 if none is.
func inForce(s *v1alpha1.NodeStatus, policy string) int64 {
	for _, p := range s.Status.Policies {
		if p.Policy == policy {
			return p.Generation
		}
	}
	return 0
}
