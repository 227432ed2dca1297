package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/cluster"
)

// wantedPolicy is a policy of the cluster, and where it is to be in force.
type wantedPolicy struct {
	// name is that in a NodeStatus; what names it for people.
	name, what string
	generation int64
	nodes      labels.Selector
	// maybe says that it may concern nothing on a node, which then has none of it.
	maybe bool
}

// wantedPolicies returns all policies of the cluster.
func wantedPolicies(ctx context.Context, c *cluster.Cluster) ([]wantedPolicy, error) {
	namespaced, err := c.Policies(ctx)
	if err != nil {
		return nil, err
	}
	clusterwide, err := c.ClusterPolicies(ctx)
	if err != nil {
		return nil, err
	}
	var all []wantedPolicy
	for _, p := range namespaced {
		name := p.Namespace + "/" + p.Name
		all = append(all, wantedPolicy{name, "the Policy " + name, p.Generation, labels.Everything(), false})
	}
	for _, p := range clusterwide {
		nodes := labels.Everything()
		if p.Spec.NodeSelector != nil {
			if nodes, err = metav1.LabelSelectorAsSelector(p.Spec.NodeSelector); err != nil {
				nodes = labels.Everything() // the agents refuse it, and say why
			}
		}
		all = append(all, wantedPolicy{p.Name, "the ClusterPolicy " + p.Name, p.Generation, nodes, p.Spec.NamespaceSelector != nil})
	}
	return all, nil
}

// on returns what is wrong with the policy on a node whose agent told that.
func (p wantedPolicy) on(n cluster.Node, told *v1alpha1.NodeStatus) string {
	if told == nil || !p.nodes.Matches(labels.Set(n.Labels)) {
		return "" // which nodes tell nothing is said of them
	}
	i := slices.IndexFunc(told.Status.Policies, func(o v1alpha1.NodePolicy) bool { return o.Policy == p.name })
	if i < 0 && p.maybe {
		return ""
	}
	if i < 0 {
		return p.what + " is not in force"
	}
	switch o := told.Status.Policies[i]; {
	case o.Generation == p.generation && o.Error == "":
		return ""
	case o.Generation == p.generation:
		return p.what + " is in force in part: " + o.Error
	case o.Generation == 0:
		return p.what + " is not in force: " + cmp.Or(o.Error, "its agent has not come to it yet")
	default:
		return fmt.Sprintf("%s is in force as it was before (generation %d of %d): %s", p.what, o.Generation, p.generation,
			cmp.Or(o.Error, "its agent has not come to it yet"))
	}
}

// foldedProblems are problems with the nodes that have them.
type foldedProblems map[problemKind][]string

type problemKind struct {
	of   nodeState
	what string
}

func (f foldedProblems) add(of nodeState, what, node string) {
	kind := problemKind{of, what}
	f[kind] = append(f[kind], node)
}

// shownNodes is how many nodes of a problem are named.
const shownNodes = 8

// lines returns a line for each, the worst first, and of the same kind those of most nodes.
func (f foldedProblems) lines() []string {
	kinds := slices.SortedFunc(maps.Keys(f), func(a, b problemKind) int {
		return cmp.Or(a.of.rank()-b.of.rank(), len(f[b])-len(f[a]), strings.Compare(a.what, b.what))
	})
	lines := []string{}
	for _, kind := range kinds {
		nodes := f[kind]
		slices.Sort(nodes)
		where := "node " + nodes[0]
		if len(nodes) > 1 {
			where = "nodes " + strings.Join(nodes[:min(len(nodes), shownNodes)], ", ")
		}
		if more := len(nodes) - shownNodes; more > 0 {
			where += fmt.Sprintf(" and %d more", more)
		}
		lines = append(lines, where+": "+kind.what)
	}
	return lines
}
