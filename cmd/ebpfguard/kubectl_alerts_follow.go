package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/cluster"
)

const (
	// maxFollowed is how many nodes can be followed: each has a connection.
	maxFollowed = 256
	// joinInterval is how often it is looked for agents that are not followed.
	joinInterval = 5 * time.Second
	// orderTime is how long an alert waits for earlier ones of other nodes.
	orderTime = 500 * time.Millisecond
	// maxLine bounds a line of an agent.
	maxLine = 1 << 20
)

// following follows the alerts of agents.
type following struct {
	*clusterAlerts
	cluster *cluster.Cluster
	merge   *alertMerge
	came    chan nodeAlert

	mu     sync.Mutex
	active map[string]bool
	// last is the last alert of a node, behind which its next connection goes on.
	last map[string]nodeAlert
	told map[string]string // what was said last of a node
	lost bool
}

// followAgents prints the alerts after those that are known until the context ends.
func (f *clusterAlerts) followAgents(ctx context.Context, cmd *cobra.Command, c *cluster.Cluster, merge *alertMerge, known []nodeAlert) error {
	if merge.colour { // on a terminal
		fmt.Fprintln(cmd.ErrOrStderr(), "waiting for alerts; press Ctrl-C to stop")
	}
	follow := &following{
		clusterAlerts: f, cluster: c, merge: merge, came: make(chan nodeAlert, 1024),
		active: map[string]bool{}, last: map[string]nodeAlert{}, told: map[string]string{},
	}
	for _, a := range known {
		if before := follow.last[a.node]; a.BootID != before.BootID || a.Sequence > before.Sequence {
			follow.last[a.node] = a
		}
	}
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running.Go(func() { follow.join(ctx, &running) })
	err := follow.print(ctx) // interrupting it is how it ends
	follow.mu.Lock()
	defer follow.mu.Unlock()
	if err == nil && follow.lost {
		return errReported
	}
	return err
}

// join follows the agents that are not followed, again and again.
func (f *following) join(ctx context.Context, running *sync.WaitGroup) {
	for ctx.Err() == nil {
		agents, err := f.cluster.Agents(ctx, f.node)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			f.say("", "the agents cannot be listed, it is tried again: "+err.Error())
		case len(agents) > maxFollowed:
			f.say("", fmt.Sprintf("there are %d nodes, and %d can be followed; choose one with --node, or use the outputs of the agents", len(agents), maxFollowed))
		default:
			f.say("", "")
			for node, a := range agents {
				f.mu.Lock()
				start := !f.active[node]
				f.active[node] = true
				f.mu.Unlock()
				if start {
					running.Go(func() { f.stream(ctx, a) })
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(joinInterval):
		}
	}
}

// say tells a problem of a node once, until it is another one.
func (f *following) say(node, problem string) {
	f.mu.Lock()
	again := f.told[node] == problem
	f.told[node] = problem
	f.lost = f.lost || problem != ""
	f.mu.Unlock()
	if again || problem == "" {
		return
	}
	if node != "" {
		problem = "node " + node + ": " + problem
	}
	f.merge.problem(problem)
}

// stream follows an agent until its command ends.
func (f *following) stream(ctx context.Context, a cluster.Agent) {
	defer func() {
		f.mu.Lock()
		f.active[a.Node] = false
		f.mu.Unlock()
	}()
	f.mu.Lock()
	before := f.last[a.Node]
	f.mu.Unlock()
	// The command ends when its standard input does, which never gives anything.
	open, end := io.Pipe()
	defer end.Close()
	var problems bytes.Buffer
	lines := &lineWriter{each: func(line []byte) { f.take(ctx, a.Node, before, line) }}
	err := f.cluster.Exec(ctx, a, cluster.Command{
		Args: f.command("--with-stdin"), Stdin: open, Stdout: lines,
		Stderr: &lineWriter{each: func(line []byte) {
			text, failed := strings.CutPrefix(string(line), "ebpfguard: ")
			switch {
			case !failed:
				f.merge.problem("node " + a.Node + ": " + text) // such as how many alerts were lost
			case problems.Len() < maxLine:
				problems.WriteString(text + " ")
			}
		}},
	})
	if ctx.Err() != nil {
		return
	}
	var exit *cluster.ExitError
	what := "its command ended"
	if err != nil && !errors.As(err, &exit) {
		what = err.Error()
	}
	f.say(a.Node, cmp.Or(strings.TrimSpace(problems.String()), what)+"; it is tried again, and alerts may be missing")
}

// take takes an alert that was not there before.
func (f *following) take(ctx context.Context, node string, before nodeAlert, line []byte) {
	a, err := parseAlert(node, line)
	if err != nil {
		f.say(node, "a line of its agent cannot be read")
		return
	}
	if a.BootID == before.BootID && a.Sequence <= before.Sequence && a.Sequence > 0 {
		return
	}
	f.say(node, "")
	f.mu.Lock()
	f.last[node] = a
	f.mu.Unlock()
	select {
	case f.came <- a:
	case <-ctx.Done():
	}
}

// print prints what comes. Each alert waits a while for earlier ones of other nodes.
func (f *following) print(ctx context.Context) error {
	tick := time.NewTicker(orderTime)
	defer tick.Stop()
	var waited, fresh []nodeAlert // those that came before the last tick, and since
	for {
		select {
		case a := <-f.came:
			fresh = append(fresh, a)
			continue
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		due, later := inOrder(waited, fresh)
		if err := f.merge.print(due...); err != nil {
			return err
		}
		waited, fresh = later, nil
	}
}

// inOrder returns the alerts that have waited, with the fresh ones before them, and those that wait on.
func inOrder(waited, fresh []nodeAlert) (due, later []nodeAlert) {
	if len(waited) == 0 {
		return nil, fresh
	}
	newest := slices.MaxFunc(waited, nodeAlert.compare)
	for _, a := range slices.Concat(waited, fresh) {
		if a.compare(newest) <= 0 {
			due = append(due, a)
		} else {
			later = append(later, a)
		}
	}
	slices.SortStableFunc(due, nodeAlert.compare)
	return due, later
}

// lineWriter hands on whole lines.
type lineWriter struct {
	each func([]byte)
	part []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, rest, found := bytes.Cut(p, []byte("\n"))
		if w.part = append(w.part, line...); len(w.part) > maxLine {
			return 0, errors.New("a line of the agent does not end")
		}
		if !found {
			return n, nil
		}
		w.each(w.part)
		w.part, p = w.part[:0], rest
	}
}
