package kubernetes

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
)

// More of what becomes of a policy on a node.
const (
	reasonNoNodes = "NoNodes"
	reasonNoAgent = "NoAgent"
	reasonSilent  = "AgentSilent"
)

// maxNodes is how many nodes in trouble the status of a policy names, maxNodeMessage how long what is wrong may be there:
// the status of the node has all of it.
const (
	maxNodes       = 64
	maxNodeMessage = 256
)

// member is a node as the leader sees it.
type member struct {
	labels labels.Set
	// silent says that its agent has not told of itself for too long. What it had in force is most likely in force still,
	// for the kernel enforces; but nobody can tell.
	silent bool
	// agent says that there is a status of the node, policies are what that tells, in the order of their names.
	agent    bool
	policies []v1alpha1.NodePolicy
}

// policy returns what the node tells of a policy.
func (m *member) policy(name string) (of v1alpha1.NodePolicy, known bool) {
	i, known := slices.BinarySearchFunc(m.policies, name, func(p v1alpha1.NodePolicy, name string) int { return strings.Compare(p.Policy, name) })
	if known {
		of = m.policies[i]
	}
	return of, known
}

// concerned is what a summary is about: a policy and the nodes that it is meant for.
type concerned struct {
	name       string // the public one
	uid        types.UID
	generation int64
	nodes      *metav1.LabelSelector
	// rules and subject are for the columns of kubectl.
	rules, subject string
	// late says that the nodes had time to take it: those that have not are in trouble. Before, to name them would only
	// make large statuses, one after the other, which all agents are told of.
	late bool
}

// summarise returns the status of a policy, given that of all nodes by their names, in the order of names.
func summarise(p concerned, names []string, members map[string]*member, former v1alpha1.PolicyStatus, now metav1.Time) v1alpha1.PolicyStatus {
	s := v1alpha1.PolicyStatus{ObservedGeneration: p.generation, Rules: p.rules, Subject: p.subject}
	meant, inForce := 0, 0
	trouble := map[string]int{} // nodes by reasons
	example := map[string]string{}
	selector, wrong := metav1.LabelSelectorAsSelector(p.nodes)
	if p.nodes == nil {
		selector, wrong = labels.Everything(), nil
	}
	for _, name := range names {
		m := members[name]
		if wrong == nil && !selector.Matches(m.labels) {
			continue
		}
		meant++
		of, known := m.policy(p.name)
		if of.UID != p.uid { // what it tells is of one that was deleted
			of, known = v1alpha1.NodePolicy{}, false
		}
		s.Denials += of.Denials
		node := judge(name, m, of, known, p)
		if of.Generation == p.generation && !m.silent {
			inForce++
		}
		if node.Reason == "" || node.Reason == reasonPending && !p.late {
			continue
		}
		node.Message = cut(node.Message, maxNodeMessage)
		if trouble[node.Reason]++; example[node.Reason] == "" {
			example[node.Reason] = fmt.Sprintf("%s: %s", name, node.Message)
		}
		if len(s.Nodes) < maxNodes {
			s.Nodes = append(s.Nodes, node)
		}
	}
	s.InForce = fmt.Sprintf("%d/%d", inForce, meant)
	c := conditions{former: former.Conditions, now: now, generation: p.generation}
	c.summary(meant, inForce, trouble, example)
	s.Conditions = c.list
	return s
}

// judge tells what is wrong with a policy on a node, if anything is.
func judge(name string, m *member, of v1alpha1.NodePolicy, known bool, p concerned) v1alpha1.PolicyOnNode {
	node := v1alpha1.PolicyOnNode{Node: name, Generation: of.Generation}
	switch {
	case !m.agent:
		node.Reason, node.Message = reasonNoAgent, "no agent has ever told of this node; look whether the DaemonSet's pod runs there"
	case m.silent:
		node.Reason, node.Message = reasonSilent, "the agent tells nothing any more; what was in force stays in force while the node runs, but look after the agent's pod"
	case of.Error != "" && of.Generation == p.generation:
		node.Reason, node.Message = reasonPartly, of.Error
	case of.Error != "" && of.Observed == p.generation:
		node.Reason, node.Message = reasonRefused, of.Error
	case !known || of.Generation != p.generation:
		node.Reason, node.Message = reasonPending, "the node has not taken it yet"
	}
	return node
}

// summary sets the conditions of a policy. trouble counts the nodes that something is wrong with, by reasons.
func (c *conditions) summary(meant, inForce int, trouble map[string]int, example map[string]string) {
	if meant == 0 {
		text := "no node is selected, so it is in force nowhere; look at nodeSelector and the labels of nodes"
		c.set(v1alpha1.Accepted, metav1.ConditionUnknown, reasonNoNodes, text)
		c.set(v1alpha1.Enforced, metav1.ConditionFalse, reasonNoNodes, text)
		c.set(v1alpha1.Degraded, metav1.ConditionFalse, reasonNoNodes, text)
		return
	}
	if n := trouble[reasonRefused]; n > 0 {
		c.set(v1alpha1.Accepted, metav1.ConditionFalse, reasonRefused, fmt.Sprintf("%d of %d nodes refuse it; %s", n, meant, example[reasonRefused]))
	} else {
		c.set(v1alpha1.Accepted, metav1.ConditionTrue, reasonInForce, "no node refuses it")
	}
	worst, texts := "", []string(nil)
	for _, reason := range []string{reasonRefused, reasonSilent, reasonNoAgent, reasonPending, reasonPartly} { // the worst first
		if n := trouble[reason]; n > 0 {
			if worst == "" {
				worst = reason
			}
			texts = append(texts, fmt.Sprintf("%d of %d nodes: %s, such as %s", n, meant, reason, example[reason]))
		}
	}
	text := strings.Join(texts, "; ")
	switch {
	case inForce == meant:
		c.set(v1alpha1.Enforced, metav1.ConditionTrue, reasonInForce, fmt.Sprintf("in force on %d of %d nodes", inForce, meant))
	case worst != "" && worst != reasonPartly:
		c.set(v1alpha1.Enforced, metav1.ConditionFalse, worst, fmt.Sprintf("in force on %d of %d nodes; %s", inForce, meant, text))
	default:
		c.set(v1alpha1.Enforced, metav1.ConditionFalse, reasonPending, fmt.Sprintf("in force on %d of %d nodes so far", inForce, meant))
	}
	if worst != "" {
		c.set(v1alpha1.Degraded, metav1.ConditionTrue, worst, text)
	} else {
		c.set(v1alpha1.Degraded, metav1.ConditionFalse, reasonNone, "")
	}
}

// change is how much a status changed.
type change int

const (
	changeNone change = iota + 1
	// changeCounts is one of counters alone.
	changeCounts
	changeState
)

// compare tells how much a status changed.
func compare(before, after v1alpha1.PolicyStatus) change {
	sameState := before.ObservedGeneration == after.ObservedGeneration && before.InForce == after.InForce &&
		before.Rules == after.Rules && before.Subject == after.Subject &&
		slices.Equal(before.Nodes, after.Nodes) && slices.EqualFunc(before.Conditions, after.Conditions, func(a, b metav1.Condition) bool {
		a.LastTransitionTime, b.LastTransitionTime = metav1.Time{}, metav1.Time{}
		return a == b
	})
	switch {
	case !sameState:
		return changeState
	case before.Denials != after.Denials:
		return changeCounts
	}
	return changeNone
}
