package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/cluster"
	"github.com/ebpfguard/ebpfguard/daemon/kubernetes"
	"github.com/ebpfguard/ebpfguard/internal/terminal"
	"github.com/ebpfguard/ebpfguard/policy"
)

// The flags of explain that a pod answers, and what says the node.
var podFlags = []string{"container", "container-id", "image", "label", "runtime", "pod", "pod-label", "service-account", "owner", "cgroup", "unidentified", "unknown"}

func newClusterExplainCommand(o *clusterFlags) *cobra.Command {
	container, operation, format := "", "", outputText
	cmd := &cobra.Command{
		Use:   "explain POD [-c CONTAINER]",
		Short: "Tell what the guard of a pod's node decides for the pod, and why",
		Long: `Tell what the guard of a pod's node decides for a process in the pod, and why.

It finds the pod's node and runs 'ebpfguard explain' there, with what the API
server tells of the pod and of one of its containers: by default the one of the
annotation kubectl.kubernetes.io/default-container, or the first. The process is
root's (--uid 0) and of a program that no policy names, unless you say more.
Without an operation it tells which policies and rules concern the process.

Users' names are those of the node. 'ebpfguard explain --help' has more examples
of operations.`,
		Example: `  # Which policies concern web-0?
  kubectl ebpfguard explain web-0 -n shop

  # May its nginx start a shell?
  kubectl ebpfguard explain web-0 --binary /usr/sbin/nginx \
      --operation bprm_check_security --path /usr/bin/dash

  # May its sidecar reach the metadata service?
  kubectl ebpfguard explain web-0 -c proxy --operation socket_connect \
      --address 169.254.169.254 --port 80`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: o.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := onePod(cmd, args)
			if err != nil {
				return err
			}
			if operation != "" {
				o, err := policy.ParseOperation(operation)
				if err != nil {
					return usagef("--operation: %w", err)
				}
				if err := policy.CheckFlags(o, givenOf(cmd.Flags(), policy.ObjectFlags())); err != nil {
					return &usageError{err}
				}
			}
			return o.use(cmd, func(ctx context.Context, c *cluster.Cluster) error {
				p, err := c.Pod(ctx, name)
				if err != nil {
					return err
				}
				command, err := explainCommand(cmd, p, container)
				if err != nil {
					return err
				}
				if operation != "" {
					command = append(command, "--operation="+operation)
				}
				a, err := agentOf(ctx, c, p)
				if err != nil {
					return err
				}
				text, _, err := askAgent(ctx, c, a, nil, append(command, "--output="+string(format))...)
				if err != nil {
					return err
				}
				return printRemote(cmd.OutOrStdout(), a, text, format)
			})
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&container, "container", "c", "", "the `container` of the pod")
	f.StringVar(&operation, "operation", "", "the `operation`: "+strings.Join(operationNames(), ", "))
	completeWords(cmd, "operation", operationNames())
	outputFlag(f, &format, "the `format`: text or json", outputText, outputJSON)
	addDescription(cmd, ownFlags())
	addDescription(cmd, policy.ObjectFlags())
	return cmd
}

// ownFlags are the flags about a process that the pod does not answer.
func ownFlags() []*policy.Flag {
	return slices.DeleteFunc(policy.ProcessFlags(), func(f *policy.Flag) bool { return slices.Contains(podFlags, f.Name) })
}

// explainCommand returns the command line for the agent.
func explainCommand(cmd *cobra.Command, p *cluster.Pod, container string) ([]string, error) {
	chosen, err := containerOf(cmd.ErrOrStderr(), p, container)
	if err != nil {
		return nil, err
	}
	command := []string{
		"explain", "--container=" + chosen.Name, "--image=" + chosen.Image, "--pod=" + p.String(),
		"--service-account=" + cmp.Or(p.Spec.ServiceAccountName, "default"),
	}
	for _, key := range slices.Sorted(maps.Keys(p.Labels)) {
		command = append(command, "--pod-label="+key+"="+p.Labels[key])
	}
	for _, owner := range kubernetes.Owners(p) {
		command = append(command, "--owner="+owner)
	}
	given := givenOf(cmd.Flags(), ownFlags())
	maps.Copy(given, givenOf(cmd.Flags(), policy.ObjectFlags()))
	for _, flag := range slices.Sorted(maps.Keys(given)) {
		for _, value := range given[flag] {
			command = append(command, "--"+flag+"="+value)
		}
	}
	return command, nil
}

// containerOf returns the container of a pod that is meant, as kubectl chooses one.
func containerOf(stderr io.Writer, p *cluster.Pod, name string) (cluster.Container, error) {
	all := p.Containers()
	if len(all) == 0 {
		return cluster.Container{}, fmt.Errorf("the pod %s has no containers", p)
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	known := strings.Join(names, ", ")
	wanted := cmp.Or(name, p.Annotations["kubectl.kubernetes.io/default-container"], names[0])
	i := slices.Index(names, wanted)
	if i < 0 {
		return cluster.Container{}, fmt.Errorf("the pod %s has no container %q; choose from %s with -c", p, wanted, known)
	}
	if name == "" && len(all) > 1 {
		fmt.Fprintf(stderr, "the container is %s; choose from %s with -c\n", printable(wanted), printable(known))
	}
	return all[i], nil
}

// printRemote prints what a command printed on another machine, which must not steer the terminal.
func printRemote(w io.Writer, a cluster.Agent, text string, format output) error {
	if format != outputJSON {
		_, err := io.WriteString(w, printableLines(text))
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(text), "", "  "); err != nil {
		return unreadable(a, err)
	}
	_, err := w.Write(terminal.EscapeJSON(b.Bytes()))
	return err
}
