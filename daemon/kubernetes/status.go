package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
)

// Report is what the status of a node is made of, besides which policies are in force.
type Report struct {
	Version, Kernel string
	Revision        uint32
	// Gaps are what this kernel cannot enforce, Problems what is not well now.
	Gaps, Problems []string
	// Denials are how often rules refused something, by the names of policies. Partly says of policies that are in force
	// what of them is not.
	Denials map[string]uint64
	Partly  map[string]string
}

// What becomes of a policy on a node, and of a node.
const (
	reasonInForce  = "InForce"
	reasonRefused  = "Refused"
	reasonPartly   = "PartlyEnforced"
	reasonPending  = "Pending"
	reasonProblems = "Problems"
	reasonNone     = "NoProblem"
)

// The limits of texts in statuses, which every node writes.
const (
	maxMessage = 1024
	maxGaps    = 64
	// Of a thousand policies that are all refused, the first ones have the whole reason: etcd takes 1.5 MB for an object.
	maxErrors = 128 << 10
	someError = 100
)

// statusManager applies the status of a node. The object has one writer, so it need not have the node's name, which
// may be longer than a manager's.
const statusManager = "ebpfguard-agent"

// The reporter looks every pollTime whether counters or problems changed, and writes at most every writeTime.
const (
	pollTime  = 5 * time.Second
	writeTime = time.Second
)

// reporter writes the status of the node.
type reporter struct {
	agent *Agent
	// written is what was written last, and when.
	written v1alpha1.NodeStatusStatus
	at      time.Time
}

func (r *reporter) run(ctx context.Context) {
	var before v1alpha1.NodeStatus
	if err := r.agent.clients.get(ctx, nodeStatusPath(r.agent.options.Node), &before); err == nil {
		r.written.Conditions = before.Status.Conditions // since when they are as they are
	}
	failed, failures := time.Duration(0), 0
	for ctx.Err() == nil {
		switch err := r.report(ctx); {
		case err == nil:
			failed, failures = 0, 0
		case ctx.Err() == nil:
			failures++
			r.failed(err, failures)
			failed = min(max(2*failed, time.Second), max(5*time.Second, 2*r.agent.pace.spread()))
		}
		sleep(ctx, max(writeTime, jitter(failed)))
		select {
		case <-ctx.Done():
		case <-time.After(jitter(pollTime)):
		case <-r.agent.told: // so it is on all nodes
			sleep(ctx, within(r.agent.pace.spread()))
		}
	}
}

// failuresMost is how often the API server may refuse the status until that is a problem: it has bad moments.
const failuresMost = 3

// failed tells why the status cannot be written, if the API server answers and it does not help to wait: it has other
// definitions than this version, which it calls an internal error, or does not let the agent.
func (r *reporter) failed(err error, times int) {
	var answered apierrors.APIStatus
	if errors.As(err, &answered) && times >= failuresMost {
		r.agent.options.Problem(problemStatus, fmt.Errorf("the status of this node cannot be written, so policies do not show whether they are in force here; install the custom resource definitions and the cluster role of this version: %w", err))
		return
	}
	r.agent.options.Log.Debug("the status of this node cannot be written now", "error", err)
}

// report writes the status if it is time.
func (r *reporter) report(ctx context.Context) error {
	report, err := r.agent.options.Report()
	if err != nil {
		return err
	}
	now := time.Now()
	status := r.agent.status(report, r.written.Conditions, metav1.NewTime(now))
	if !due(r.written, status, now.Sub(r.at), &r.agent.pace) {
		return nil
	}
	if err := r.agent.write(ctx, status); err != nil {
		return err
	}
	r.written, r.at = status, now
	r.agent.options.Problem(problemStatus, nil)
	return nil
}

// due reports whether a status has to be written a time after the former one.
func due(written, status v1alpha1.NodeStatusStatus, after time.Duration, p *pace) bool {
	if after >= p.heartbeat() {
		return true
	}
	before, now := *written.DeepCopy(), *status.DeepCopy()
	before.Seen, now.Seen = metav1.Time{}, metav1.Time{}
	if reflect.DeepEqual(before, now) {
		return false
	}
	for _, s := range []*v1alpha1.NodeStatusStatus{&before, &now} {
		for i := range s.Policies {
			s.Policies[i].Denials = 0
		}
	}
	return after >= p.counts() || !reflect.DeepEqual(before, now)
}

// write makes the status the node's, and the object if it is not there.
func (a *Agent) write(ctx context.Context, status v1alpha1.NodeStatusStatus) error {
	path := nodeStatusPath(a.options.Node)
	object := applied{ofKind("NodeStatus"), appliedMeta{Name: a.options.Node}, status}
	err := a.clients.apply(ctx, path+"/status", statusManager, object, nil)
	if !apierrors.IsNotFound(err) {
		return err
	}
	owners, err := a.owners()
	if err != nil {
		return err
	}
	made := applied{object.TypeMeta, appliedMeta{Name: a.options.Node, OwnerReferences: owners}, nil}
	return errors.Join(
		a.clients.apply(ctx, path, statusManager, made, nil),
		a.clients.apply(ctx, path+"/status", statusManager, object, nil),
	)
}

// owners returns the node as the owner of its status, which is deleted with it.
func (a *Agent) owners() ([]metav1.OwnerReference, error) {
	node := a.node()
	if node == nil {
		return nil, fmt.Errorf("the cluster has no node %q; set node_name to the name that `kubectl get nodes` shows", a.options.Node)
	}
	return []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}}, nil
}

// node returns the agent's node as far as it is known, or nil.
func (a *Agent) node() *Node {
	for _, object := range a.nodes.List() {
		return object.(*Node)
	}
	return nil
}

// status returns the status of the node.
func (a *Agent) status(report Report, former []metav1.Condition, now metav1.Time) v1alpha1.NodeStatusStatus {
	a.mu.Lock()
	outcomes, inForce := a.outcomes, a.inForce
	a.mu.Unlock()
	s := v1alpha1.NodeStatusStatus{Version: report.Version, Kernel: report.Kernel, Revision: int64(report.Revision), Seen: now}
	for _, gap := range firstOf(report.Gaps, maxGaps, "gaps") {
		s.Gaps = append(s.Gaps, shorten(gap))
	}
	var refused, partly []string
	errorBytes := 0
	for _, o := range outcomes {
		p := v1alpha1.NodePolicy{
			Policy: publicName(o.name), UID: o.object.GetUID(), Generation: inForce[o.name].generation, Denials: int64(min(report.Denials[o.name], 1<<62)),
		}
		switch {
		case o.err != nil:
			p.Error, p.Observed = shorten(o.err.Error()), o.object.GetGeneration()
			refused = append(refused, p.Policy)
		case report.Partly[o.name] != "":
			p.Error = shorten(report.Partly[o.name])
			partly = append(partly, p.Policy)
		}
		if errorBytes += len(p.Error); errorBytes > maxErrors {
			p.Error = cut(p.Error, someError)
		}
		s.Policies = append(s.Policies, p)
	}
	c := conditions{former: former, now: now}
	n := len(s.Policies)
	if len(refused) > 0 {
		text := fmt.Sprintf("%d of %d policies are refused: %s", len(refused), n, strings.Join(firstOf(refused, 10, "policies"), ", "))
		c.set(v1alpha1.Accepted, metav1.ConditionFalse, reasonRefused, text)
		c.set(v1alpha1.Enforced, metav1.ConditionFalse, reasonRefused, text)
	} else {
		c.set(v1alpha1.Accepted, metav1.ConditionTrue, reasonInForce, fmt.Sprintf("%d policies", n))
		c.set(v1alpha1.Enforced, metav1.ConditionTrue, reasonInForce, fmt.Sprintf("%d policies are in force", n))
	}
	switch {
	case len(report.Problems) > 0:
		c.set(v1alpha1.Degraded, metav1.ConditionTrue, reasonProblems, strings.Join(report.Problems, "; "))
	case len(refused) > 0:
		c.set(v1alpha1.Degraded, metav1.ConditionTrue, reasonRefused, "some policies are refused, see the condition "+v1alpha1.Accepted)
	case len(partly) > 0:
		c.set(v1alpha1.Degraded, metav1.ConditionTrue, reasonPartly, "not all of it is enforced: "+strings.Join(firstOf(partly, 10, "policies"), ", "))
	default:
		c.set(v1alpha1.Degraded, metav1.ConditionFalse, reasonNone, "")
	}
	s.Conditions = c.list
	return s
}

// publicName is the name of a policy of the set in statuses: without what tells the two kinds apart, for a cluster's has
// no slash.
func publicName(name string) string {
	if rest, ok := strings.CutPrefix(name, policyPrefix); ok {
		return rest
	}
	return strings.TrimPrefix(name, clusterPrefix)
}

// conditions makes conditions that tell since when they are as they are.
type conditions struct {
	former     []metav1.Condition
	now        metav1.Time
	generation int64
	list       []metav1.Condition
}

func (c *conditions) set(kind string, status metav1.ConditionStatus, reason, message string) {
	since := c.now
	if i := slices.IndexFunc(c.former, func(f metav1.Condition) bool { return f.Type == kind }); i >= 0 && c.former[i].Status == status {
		since = c.former[i].LastTransitionTime
	}
	c.list = append(c.list, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: shorten(message), LastTransitionTime: since, ObservedGeneration: c.generation,
	})
}

// firstOf returns the first of many, and how many more there are.
func firstOf(all []string, most int, what string) []string {
	if len(all) <= most {
		return all
	}
	return append(slices.Clone(all[:most]), fmt.Sprintf("and %d more %s", len(all)-most, what))
}

// shorten cuts a text that is too long for a status.
func shorten(text string) string { return cut(text, maxMessage) }

func cut(text string, most int) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= most {
		return text
	}
	end := most - len("…")
	for end > 0 && text[end]&0xc0 == 0x80 { // not within a character
		end--
	}
	return text[:end] + "…"
}

// sortedNames returns the keys of what is known by names.
func sortedNames[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
