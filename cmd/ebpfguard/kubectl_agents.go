package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/cluster"
	"github.com/ebpfguard/ebpfguard/internal/duration"
)

const (
	// agentsAtOnce is how many agents are asked at the same time.
	agentsAtOnce = 32
	// agentTime is how long one may take to answer. To put a mitigation in force it may have to load programs.
	agentTime = time.Minute
	// maxAnswer bounds what one may answer.
	maxAnswer = 64 << 20
)

// askAgent runs a command of ebpfguard in an agent's pod and returns what it printed.
func askAgent(ctx context.Context, c *cluster.Cluster, a cluster.Agent, stdin io.Reader, args ...string) (stdout, stderr string, err error) {
	within, cancel := context.WithTimeout(ctx, agentTime)
	defer cancel()
	var out, problems limitedBuffer
	err = c.Exec(within, a, cluster.Command{Args: args, Stdin: stdin, Stdout: &out, Stderr: &problems})
	var exit *cluster.ExitError
	switch {
	case errors.As(err, &exit):
		err = errors.New(cmp.Or(withoutUsage(problems.String()), "its command failed with "+exit.Error()))
	case within.Err() != nil && ctx.Err() == nil:
		err = fmt.Errorf("its agent did not answer within %s, and may still do what it was asked; see 'kubectl describe pod -n %s'", duration.Text(agentTime), strings.ReplaceAll(a.String(), "/", " "))
	}
	if err != nil {
		err = fmt.Errorf("node %s: %w", a.Node, err)
	}
	return out.String(), problems.String(), err
}

// withoutUsage returns the error that a command of ebpfguard printed, without its name, and without where help is: the
// caller has not called that command.
func withoutUsage(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "run '") {
			lines = append(lines, strings.TrimPrefix(line, "ebpfguard: "))
		}
	}
	return strings.TrimSpace(strings.Join(lines, ""))
}

// limitedBuffer takes so much that no agent can fill the memory.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxAnswer {
		return 0, fmt.Errorf("the answer has more than %d MiB", maxAnswer>>20)
	}
	return b.Buffer.Write(p)
}

// answerOf is what an agent answered.
type answerOf[T any] struct {
	agent cluster.Agent
	value T
	err   error
}

// eachAgent asks agents, some at once, and returns the answers in the order of the nodes.
func eachAgent[T any](agents map[string]cluster.Agent, ask func(cluster.Agent) (T, error)) []answerOf[T] {
	answers := make([]answerOf[T], 0, len(agents))
	for _, node := range slices.Sorted(maps.Keys(agents)) {
		answers = append(answers, answerOf[T]{agent: agents[node]})
	}
	var running sync.WaitGroup
	room := make(chan struct{}, agentsAtOnce)
	for i := range answers {
		room <- struct{}{}
		running.Go(func() {
			defer func() { <-room }()
			answers[i].value, answers[i].err = ask(answers[i].agent)
		})
	}
	running.Wait()
	return answers
}

// failures prints which agents did not answer, and returns errReported if any did not.
func failures[T any](cmd *cobra.Command, answers []answerOf[T]) error {
	var failed error
	for _, a := range answers {
		if a.err != nil {
			failed = errReported
			fmt.Fprintln(cmd.ErrOrStderr(), "ebpfguard: "+printableLines(a.err.Error()))
		}
	}
	return failed
}

// agentsOf returns the agents of all nodes, or of the one that is named.
func agentsOf(ctx context.Context, c *cluster.Cluster, node string) (map[string]cluster.Agent, error) {
	agents, err := c.Agents(ctx, node)
	switch {
	case err != nil:
		return nil, err
	case len(agents) == 0 && node != "":
		return nil, fmt.Errorf("no agent runs on the node %q; 'kubectl ebpfguard status' shows which nodes have one", node)
	case len(agents) == 0:
		return nil, c.NoAgents()
	}
	return agents, nil
}

// agentOf returns the agent of the node that a pod is on.
func agentOf(ctx context.Context, c *cluster.Cluster, p *cluster.Pod) (cluster.Agent, error) {
	if p.Spec.NodeName == "" {
		return cluster.Agent{}, fmt.Errorf("the pod %s is on no node yet; wait until it is, or use 'kubectl ebpfguard quarantine'", p)
	}
	agents, err := c.Agents(ctx, p.Spec.NodeName)
	if err != nil {
		return cluster.Agent{}, err
	}
	a, ok := agents[p.Spec.NodeName]
	if !ok {
		return a, fmt.Errorf("the pod %s is on the node %q, which has no agent: nothing is enforced there; see 'kubectl ebpfguard status'", p, p.Spec.NodeName)
	}
	return a, nil
}
