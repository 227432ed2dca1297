package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/cluster"
	"github.com/ebpfguard/ebpfguard/internal/duration"
)

func newClusterMitigateCommand(o *clusterFlags) *cobra.Command {
	var flags mitigateFlags
	cmd := &cobra.Command{
		Use:   "mitigate POD --profile PROFILE|-f FILE --ttl TIME",
		Short: "Forbid a pod something for a limited time, at once",
		Long: `Forbid a pod something for a limited time, at once.

It finds the pod's node and runs 'ebpfguard mitigate' there, so the kernel ends
it on time. All containers of the pod are meant, also those that are restarted,
and a pod that gets the same name on the same node, as that of a StatefulSet
does. A pod that a Deployment makes in its place has another name and is not
meant: for that write a policy, or use the label of 'kubectl ebpfguard
quarantine' in the pod template. 'ebpfguard mitigate --help' has the profiles.`,
		Example: `  # No network for web-0, for ten minutes
  kubectl ebpfguard mitigate web-0 --profile no-network --ttl 10m

  # Kill what runs in it, and what it starts for an hour
  kubectl ebpfguard mitigate web-0 -n shop --profile kill --ttl 1h \
      --message INC-1234

  # The rules of a policy without a subject
  kubectl ebpfguard mitigate web-0 -f no-shells.yaml --ttl 2h`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: o.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := onePod(cmd, args)
			if err == nil {
				err = flags.check(flags.files)
			}
			if err != nil {
				return err
			}
			return o.use(cmd, func(ctx context.Context, c *cluster.Cluster) error { return flags.mitigatePod(ctx, cmd, c, name) })
		},
	}
	cmd.Flags().SortFlags = false
	flags.addMeasure(cmd.Flags())
	completeWords(cmd, "profile", profileNames())
	return cmd
}

// mitigatePod mitigates a pod on its node.
func (m *mitigateFlags) mitigatePod(ctx context.Context, cmd *cobra.Command, c *cluster.Cluster, name string) error {
	p, err := c.Pod(ctx, name)
	if err != nil {
		return err
	}
	a, err := agentOf(ctx, c, p)
	if err != nil {
		return err
	}
	command := []string{"mitigate", "--pod", p.String(), "--ttl", time.Duration(m.ttl).String(), "--output", "json"}
	for flag, value := range map[string]string{"profile": m.profile, "name": m.name, "message": m.message} {
		if value != "" {
			command = append(command, "--"+flag+"="+value)
		}
	}
	for flag, on := range map[string]bool{"audit": m.audit, "force": m.force} {
		if on {
			command = append(command, "--"+flag)
		}
	}
	var stdin io.Reader
	if len(m.files) > 0 {
		_, text, err := readRules(cmd, m.files[0])
		if err != nil {
			return err
		}
		stdin, command = strings.NewReader(text), append(command, "--file=-")
	}
	answer, _, err := askAgent(ctx, c, a, stdin, command...)
	if err != nil {
		return err
	}
	return m.printAnswer(cmd, a, answer)
}

// mitigateAnswer is what 'ebpfguard mitigate -o json' prints, as far as it is shown.
type mitigateAnswer struct {
	Node       string         `json:"node"`
	Mitigation mitigationForm `json:"mitigation"`
	Warnings   []string       `json:"warnings"`
}

type mitigationForm struct {
	Name    string    `json:"name"`
	Profile string    `json:"profile"`
	Subject string    `json:"subject"`
	Expires time.Time `json:"expires"`
	Left    float64   `json:"left"`
	Killed  []uint32  `json:"killed,omitempty"`
}

func (m mitigationForm) left() string {
	return duration.Rough(time.Duration(m.Left * float64(time.Second)))
}

func (m *mitigateFlags) printAnswer(cmd *cobra.Command, a cluster.Agent, text string) error {
	answer := mitigateAnswer{Node: a.Node}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return unreadable(a, err)
	}
	if m.output == outputJSON {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	printWarnings(cmd.ErrOrStderr(), answer.Warnings)
	what, made := printable(answer.Mitigation.Profile), answer.Mitigation
	if m.audit {
		what += " (audit: only reported)"
	}
	w, name, node := cmd.OutOrStdout(), printable(made.Name), printable(a.Node)
	fmt.Fprintf(w, "%s on node %s: %s for %s, for %s until %s\n", name, node, what, printable(made.Subject),
		duration.Rough(time.Duration(m.ttl)), made.Expires.Local().Format("2006-01-02 15:04:05"))
	if n := len(made.Killed); n > 0 {
		fmt.Fprintf(w, "killed %s\n", count(n, "process", "processes"))
	}
	_, err := fmt.Fprintf(w, "end it earlier with: kubectl ebpfguard lift %s --node %s\n", name, node)
	return err
}

// unreadable is the error for an answer that is not what this command knows.
func unreadable(a cluster.Agent, err error) error {
	return fmt.Errorf("node %s: its agent's answer cannot be read; is it of another version? %w", a.Node, err)
}
