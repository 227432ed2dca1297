package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/cluster"
	"github.com/ebpfguard/ebpfguard/internal/duration"
)

func newClusterStatusCommand(o *clusterFlags) *cobra.Command {
	format := outputText
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether every node is guarded, and each policy in force",
		Long: `Show whether every node is guarded, and each policy in force.

It prints the nodes with what their agents tell, those without an agent first,
and the policies that are not in force as they should be. The exit code is 0
only if all is well. It runs nothing on the nodes: 'ebpfguard status' in the
pod of an agent tells more of one.`,
		Example: `  kubectl ebpfguard status
  kubectl ebpfguard status -o json | jq -r '.problems[]'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.use(cmd, func(ctx context.Context, c *cluster.Cluster) error {
				s, err := askCluster(ctx, c, time.Now())
				if err != nil {
					return err
				}
				if format == outputJSON {
					err = printJSON(cmd.OutOrStdout(), s)
				} else {
					err = s.print(cmd.OutOrStdout())
				}
				if err == nil && len(s.Problems) > 0 {
					return errReported
				}
				return err
			})
		},
	}
	outputFlag(cmd.Flags(), &format, "the `format`: text or json", outputText, outputJSON)
	return cmd
}

// clusterStatus is how the guards of a cluster are.
type clusterStatus struct {
	// Guarded of the Nodes enforce all that is meant for them.
	Guarded  int        `json:"guarded"`
	Policies int        `json:"policies"`
	Problems []string   `json:"problems"`
	Nodes    []nodeLine `json:"nodes"`
}

// nodeLine is a node in it.
type nodeLine struct {
	Node     string     `json:"node"`
	State    nodeState  `json:"state"`
	Agent    string     `json:"agent"`
	Version  string     `json:"version"`
	Kernel   string     `json:"kernel"`
	Revision int64      `json:"revision"`
	Policies int        `json:"policies"`
	Denials  int64      `json:"denials"`
	Gaps     []string   `json:"gaps,omitempty"`
	Seen     *time.Time `json:"seen"`
	ago      string
}

// nodeState says how a node is, the worst first.
type nodeState string

const (
	stateNoAgent  nodeState = "NO AGENT"
	stateNotReady nodeState = "NOT READY"
	stateSilent   nodeState = "SILENT"
	// stateIncomplete: not all policies that are meant for it are in force.
	stateIncomplete nodeState = "INCOMPLETE"
	stateDegraded   nodeState = "DEGRADED"
	stateEnforced   nodeState = "ENFORCED"
)

var nodeStates = []nodeState{stateNoAgent, stateNotReady, stateSilent, stateIncomplete, stateDegraded, stateEnforced}

func (s nodeState) rank() int { return slices.Index(nodeStates, s) }

// An agent writes its status every half minute, the more rarely the more nodes there are (daemon/kubernetes, pace). When
// nothing came three times, with a minute for clocks that differ, it is silent.
const (
	heartbeat       = 30 * time.Second
	heartbeatOfNode = 60 * time.Millisecond
	clocks          = time.Minute
)

func silentAfter(nodes int) time.Duration {
	return 3*max(heartbeat, time.Duration(nodes)*heartbeatOfNode) + clocks
}

// askCluster asks the API server for all of it.
func askCluster(ctx context.Context, c *cluster.Cluster, now time.Time) (*clusterStatus, error) {
	statuses, err := c.NodeStatuses(ctx)
	if err != nil {
		return nil, err
	}
	agents, err := c.Agents(ctx, "")
	if err != nil {
		return nil, err
	}
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("which nodes have no agent cannot be told: %w", err)
	}
	policies, err := wantedPolicies(ctx, c)
	if err != nil {
		return nil, err
	}
	if len(agents) == 0 && len(statuses) == 0 {
		return nil, c.NoAgents()
	}
	told := map[string]*v1alpha1.NodeStatus{}
	for i := range statuses {
		told[statuses[i].Name] = &statuses[i]
	}
	s := &clusterStatus{Policies: len(policies), Problems: []string{}, Nodes: []nodeLine{}}
	problems := foldedProblems{}
	for _, n := range nodes {
		if !n.IsLinux() {
			continue
		}
		agent, ok := agents[n.Name]
		line, problem := describeNode(told[n.Name], silentAfter(len(nodes)), now)
		line.Node, line.Agent = n.Name, "none"
		if ok {
			line.Agent = agent.Phase()
		}
		switch {
		case !ok:
			line.State, problem = stateNoAgent, "no agent runs there: no policy of the cluster is enforced, but for what a former agent left; see 'kubectl get pods -n "+c.GuardNamespace+" -o wide'"
		case !agent.IsReady():
			line.State, problem = stateNotReady, "its agent is not ready: what it put in force stays; see 'kubectl describe pod -n "+strings.ReplaceAll(agent.String(), "/", " ")+"'"
		}
		if problem != "" {
			problems.add(line.State, problem, n.Name)
		}
		for _, p := range policies {
			if what := p.on(n, told[n.Name]); what != "" {
				problems.add(stateIncomplete, what, n.Name)
				if line.State == stateEnforced || line.State == stateDegraded {
					line.State = stateIncomplete
				}
			}
		}
		if line.State == stateEnforced {
			s.Guarded++
		}
		s.Nodes = append(s.Nodes, line)
	}
	slices.SortFunc(s.Nodes, func(a, b nodeLine) int {
		return cmp.Or(a.State.rank()-b.State.rank(), strings.Compare(a.Node, b.Node))
	})
	s.Problems = problems.lines()
	return s, nil
}

// describeNode says what the agent of a node tells, nil if it never did, and what is wrong with that.
func describeNode(told *v1alpha1.NodeStatus, silence time.Duration, now time.Time) (line nodeLine, problem string) {
	line = nodeLine{State: stateSilent, ago: "never"}
	if told == nil {
		return line, "its agent has told nothing yet; if that lasts, see 'kubectl logs' of the agent"
	}
	s := told.Status
	seen := s.Seen.Time
	line.Version, line.Kernel, line.Revision, line.Policies, line.Gaps = s.Version, s.Kernel, s.Revision, len(s.Policies), s.Gaps
	line.Seen, line.ago = &seen, duration.Rough(max(now.Sub(seen), 0))
	for _, p := range s.Policies {
		line.Denials += p.Denials
	}
	condition := func(kind string) *metav1.Condition {
		i := slices.IndexFunc(s.Conditions, func(c metav1.Condition) bool { return c.Type == kind })
		if i < 0 {
			return &metav1.Condition{Status: metav1.ConditionUnknown}
		}
		return &s.Conditions[i]
	}
	enforced, degraded := condition(v1alpha1.Enforced), condition(v1alpha1.Degraded)
	switch {
	case now.Sub(seen) > silence:
		return line, "its agent has told nothing for a while: what was in force stays; see 'kubectl logs' of the agent"
	case degraded.Status == metav1.ConditionTrue:
		line.State, problem = stateDegraded, fmt.Sprintf("degraded, %s: %s", degraded.Reason, degraded.Message)
	case enforced.Status == metav1.ConditionTrue:
		line.State = stateEnforced
	}
	if enforced.Status != metav1.ConditionTrue {
		line.State = stateIncomplete
		problem = cmp.Or(problem, "not enforced, "+enforced.Reason+": "+enforced.Message)
	}
	return line, problem
}

func (s *clusterStatus) print(w io.Writer) error {
	head := "ENFORCED"
	if len(s.Problems) > 0 {
		head = "DEGRADED"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %d of %d nodes enforce all that is meant for them; %s\n", head, s.Guarded, len(s.Nodes), count(s.Policies, "policy", "policies"))
	for _, p := range s.Problems {
		b.WriteString(wrapFrom("! ", printable(p)) + "\n")
	}
	b.WriteString("\n")
	rows := [][]string{{"NODE", "STATE", "AGENT", "VERSION", "KERNEL", "REVISION", "POLICIES", "DENIALS", "SEEN"}}
	for _, n := range s.Nodes {
		none := func(text string) string {
			if n.Seen == nil {
				return "-"
			}
			return text
		}
		rows = append(rows, []string{
			n.Node, string(n.State), n.Agent, none(n.Version), none(n.Kernel), none(fmt.Sprint(n.Revision)), none(fmt.Sprint(n.Policies)),
			none(number(uint64(max(n.Denials, 0)))), n.ago,
		})
	}
	if err := table(&b, []int{5, 6, 7, 8}, rows...); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}
