package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"github.com/ebpfguard/ebpfguard/internal/duration"
)

// The labels by which the pods of the agents and of the cleanup are found.
const (
	agentSelector   = "app.kubernetes.io/name=ebpfguard"
	cleanupSelector = "app.kubernetes.io/name=" + cleanupName
)

// settled is longer than a pod of the cleanup takes to look at its node again: an agent that was just starting when it
// was told to end may have put something in force.
const settled = 3 * time.Second

// waiter waits until all nodes are clean.
type waiter struct {
	client            *http.Client
	server, namespace string
	timeout           time.Duration
	interval, settled time.Duration
	out               io.Writer
}

func newAwaitCleanupCommand() *cobra.Command {
	w := waiter{timeout: 4 * time.Minute, interval: time.Second, settled: settled}
	cmd := &cobra.Command{
		Use:   "await-cleanup",
		Short: "Wait until the cleanup has reached every node",
		Long: `Wait until the cleanup has reached every node.

Asks the API server, as a pod with a service account, until no agent runs any
more and the DaemonSet "` + cleanupName + `" is ready on all nodes. When the
time is over it fails, and names the nodes that are left.`,
		Example: "  ebpfguard kubernetes await-cleanup --namespace=ebpfguard --timeout=4m",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := rest.InClusterConfig()
			if err != nil {
				return fmt.Errorf("kubernetes await-cleanup: %w; run it as a pod with a service account", err)
			}
			if w.client, err = rest.HTTPClientFor(c); err != nil {
				return fmt.Errorf("kubernetes await-cleanup: %w", err)
			}
			w.server, w.out = c.Host, cmd.OutOrStdout()
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if err := w.run(ctx); err != nil {
				return fmt.Errorf("kubernetes await-cleanup: %w", err)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&w.namespace, "namespace", "ebpfguard", "the `NAMESPACE` of the agents")
	f.DurationVar(&w.timeout, "timeout", w.timeout, "how long to wait")
	return cmd
}

// run waits. What the API server refuses or does not answer is asked again: it may be busy with the same uninstallation.
func (w waiter) run(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	var left string
	for {
		state, err := w.ask(limited)
		switch {
		case limited.Err() != nil: // the answer was late, the former one counts
		case err != nil:
			left = err.Error()
		case state == "":
			return w.settle(limited)
		default:
			left = state
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limited.Done():
			return fmt.Errorf("not every node is clean after %s: %s; the DaemonSet %s stays, and cleans a node when it is back. Then remove it: kubectl -n %s delete daemonset %s",
				duration.Text(w.timeout), left, cleanupName, w.namespace, cleanupName)
		case <-time.After(w.interval):
		}
	}
}

func (w waiter) settle(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-time.After(w.settled):
	}
	fmt.Fprintln(w.out, "every node is clean")
	return nil
}

// ask returns what is left to wait for, empty if nothing is.
func (w waiter) ask(ctx context.Context) (string, error) {
	agents, err := w.nodes(ctx, url.Values{"labelSelector": {agentSelector}})
	if err != nil {
		return "", err
	}
	if agents != "" {
		return "agents still run on " + agents, nil
	}
	var set struct {
		Metadata struct{ Generation int64 }
		Status   struct {
			ObservedGeneration                  int64
			DesiredNumberScheduled, NumberReady int
		}
	}
	if err := w.get(ctx, "/apis/apps/v1/namespaces/"+w.namespace+"/daemonsets/"+cleanupName, nil, &set); err != nil {
		return "", err
	}
	if s := set.Status; s.ObservedGeneration >= set.Metadata.Generation && s.NumberReady >= s.DesiredNumberScheduled {
		return "", nil
	}
	// Before its first container has ended a pod is pending.
	nodes, err := w.nodes(ctx, url.Values{"labelSelector": {cleanupSelector}, "fieldSelector": {"status.phase!=Running"}})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d of %d nodes are clean; look at the cleanup's pods on %s: kubectl -n %s logs PODNAME -c cleanup",
		set.Status.NumberReady, set.Status.DesiredNumberScheduled, cmp.Or(nodes, "the others, which have none yet"), w.namespace), nil
}

// nodes names the nodes of some pods: the first ones, for there may be thousands.
func (w waiter) nodes(ctx context.Context, query url.Values) (string, error) {
	query.Set("limit", "10")
	var list struct {
		Metadata struct{ Continue string }
		Items    []struct {
			Spec struct{ NodeName string }
		}
	}
	if err := w.get(ctx, "/api/v1/namespaces/"+w.namespace+"/pods", query, &list); err != nil {
		return "", err
	}
	var names []string
	for _, p := range list.Items {
		names = append(names, cmp.Or(p.Spec.NodeName, "no node yet"))
	}
	slices.Sort(names)
	text := strings.Join(names, ", ")
	if list.Metadata.Continue != "" {
		text += " and more"
	}
	return text, nil
}

// get reads an object.
func (w waiter) get(ctx context.Context, path string, query url.Values, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.server+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	response, err := w.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		var status struct{ Message string }
		_ = json.Unmarshal(body, &status) // a proxy's answer is not the API server's
		return fmt.Errorf("the API server answers %s: %s", response.Status, cmp.Or(status.Message, strings.TrimSpace(string(body))))
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the API server's answer to %s: %w", path, err)
	}
	return nil
}
