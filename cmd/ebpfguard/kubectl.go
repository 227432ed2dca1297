package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/cluster"
)

// kubectl runs the program pluginName for 'kubectl ebpfguard', and completionName when a shell completes that.
const (
	pluginName     = "kubectl-ebpfguard"
	completionName = "kubectl_complete-ebpfguard"
)

// commandOf returns the root command for the name by which the program is called, and its arguments.
func commandOf(args []string) (*cobra.Command, []string) {
	switch filepath.Base(args[0]) {
	case pluginName:
		return newPluginCommand(), args[1:]
	case completionName:
		return newPluginCommand(), append([]string{cobra.ShellCompRequestCmd}, args[1:]...)
	}
	return newRootCommand(), args[1:]
}

// newPluginCommand returns the root command of the plugin.
func newPluginCommand() *cobra.Command {
	cmd := newClusterCommand()
	cmd.Use, cmd.Hidden = pluginName, false
	cmd.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl ebpfguard"}
	cmd.CompletionOptions.DisableDefaultCmd = true
	return finishRoot(cmd)
}

// newClusterCommand returns the commands of the plugin, which are also there as 'ebpfguard kubectl'.
func newClusterCommand() *cobra.Command {
	var flags clusterFlags
	cmd := &cobra.Command{
		Use:    "kubectl",
		Short:  "Ask and steer the guards of a Kubernetes cluster's nodes",
		Hidden: true,
		Long: `Ask and steer the guards of a Kubernetes cluster's nodes.

It is kubectl's plugin: call it as 'kubectl ebpfguard'. It uses your kubeconfig
and your rights. status and quarantine only talk to the API server, convert to
nobody; the other commands run 'ebpfguard' in the pods of the agents, which
needs the right to 'create' and 'get' pods/exec there.

The exit code is 1 also when some nodes could not be asked: what the others said
is printed, and the standard error names those.`,
		Example: `  # Is every node guarded, and each policy in force?
  kubectl ebpfguard status

  # What was refused in a pod, in a namespace, anywhere and from now on?
  kubectl ebpfguard alerts web-0
  kubectl ebpfguard alerts -n shop
  kubectl ebpfguard alerts -A --follow

  # May this pod's processes read the token of its service account?
  kubectl ebpfguard explain web-0 --operation file_open --path \
      /run/secrets/kubernetes.io/serviceaccount/token

  # No network for a pod, for ten minutes
  kubectl ebpfguard mitigate web-0 --profile no-network --ttl 10m`,
	}
	onlyCommands(cmd)
	f := cmd.PersistentFlags()
	f.StringVar(&flags.Kubeconfig, "kubeconfig", "", "the `file` that says how to reach the cluster (default $KUBECONFIG, or ~/.kube/config)")
	f.StringVar(&flags.Context, "context", "", "the `context` of the kubeconfig")
	f.StringVarP(&flags.Namespace, "namespace", "n", "", "the pod's `namespace` (default that of the context)")
	f.StringVar(&flags.GuardNamespace, "guard-namespace", "ebpfguard", "the `namespace` where the agents are")
	cmd.AddCommand(
		newClusterStatusCommand(&flags), newClusterAlertsCommand(&flags), newClusterExplainCommand(&flags),
		newClusterMitigateCommand(&flags), newClusterMitigationsCommand(&flags), newClusterLiftCommand(&flags), newQuarantineCommand(&flags),
		newConvertCommand(&flags),
	)
	return cmd
}

// clusterFlags say which cluster is asked.
type clusterFlags struct{ cluster.Options }

// use calls f with the cluster. An interrupt ends the context.
func (o *clusterFlags) use(cmd *cobra.Command, f func(context.Context, *cluster.Cluster) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := cluster.Open(o.Options)
	if err == nil {
		err = f(ctx, c)
	}
	var usage *usageError
	switch {
	case err == nil, errors.Is(err, errReported), errors.As(err, &usage):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%s: interrupted", cmd.Name())
	}
	return fmt.Errorf("%s: %w", cmd.Name(), err)
}

// onePod returns the name of the pod that the arguments name.
func onePod(cmd *cobra.Command, args []string) (string, error) {
	if len(args) != 1 {
		return "", usagef("%s takes one pod; name it, and its namespace with -n", cmd.Name())
	}
	return args[0], nil
}

// completePods completes the name of a pod.
func (o *clusterFlags) completePods(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	err := o.use(cmd, func(ctx context.Context, c *cluster.Cluster) error {
		pods, err := c.Pods(ctx)
		for _, p := range pods {
			names = append(names, p.Name)
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
