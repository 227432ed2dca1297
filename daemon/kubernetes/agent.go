package kubernetes

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Options are what an agent needs.
type Options struct {
	// Config is how to reach the API server.
	Config *rest.Config
	// Node is the node's name in the cluster.
	Node string
	Log  *slog.Logger
	// Replace puts policies in force in place of the former ones, at once. Broken are the names of those that cannot be
	// read: of them, and of those that it refuses, the former version stays in force.
	Replace func(set []policy.Policy, broken []string) (Replaced, error)
	// Pods is told what is known of the node's pods by their uids, all of them, whenever that may have changed.
	Pods func(map[string]policy.Pod) error
	// Namespaces is told for which namespaces the policies in force were made.
	Namespaces func([]string) error
	// Report returns what the node's status is made of.
	Report func() (Report, error)
	// Problem is told what is wrong, by what it is about, and with nil that it no longer is.
	Problem func(about string, err error)
	// Namespace is the agent's own, in which the lease of the leader is.
	Namespace string
	// Alerts, if set, are told in events on their pods. PolicyReports makes policy reports of those events.
	Alerts        func(context.Context) (iter.Seq2[ebpfguard.Alert, error], error)
	PolicyReports bool
}

// Replaced says what is in force of a set.
type Replaced struct {
	// Refused says why policies are not in force, by their names.
	Refused map[string]error
	// Former are those of which a former version is in force instead.
	Former map[string]bool
}

// settleTime is how long the cluster has to be at rest before what changed is put in force: who applies ten policies
// means them all. latestTime is when they are in any case.
const (
	settleTime = 100 * time.Millisecond
	latestTime = 500 * time.Millisecond
	// retryTime is when what could not be put in force is tried again.
	retryTime = 10 * time.Second
)

// Agent puts the cluster's policies in force on a node.
type Agent struct {
	options Options
	clients clients
	// What the API server has, as far as it was told.
	policies, clusterPolicies, namespaces, nodes, pods *objects
	// news says that something changed, told that the node's status did.
	news, told chan struct{}
	pace       pace
	// wrong is what was logged of policies that are not in force.
	wrong map[string]string

	// mu is for what the node's status tells.
	mu       sync.Mutex
	outcomes []outcome
	// inForce are the generations of the specs that are in force, by the names of policies in the set.
	inForce map[string]version
}

// New returns an agent; [Agent.Run] starts it.
func New(o Options) (*Agent, error) {
	if o.Problem == nil {
		o.Problem = func(string, error) {}
	}
	c, err := newClients(o.Config, func(next http.RoundTripper) http.RoundTripper {
		return &connection{tell: o.Problem, next: next}
	})
	if err != nil {
		return nil, err
	}
	a := &Agent{options: o, clients: c, news: make(chan struct{}, 1), told: make(chan struct{}, 1), inForce: map[string]version{}}
	everything := fields.Everything()
	this := fields.OneTermEqualSelector("metadata.name", o.Node)
	here := fields.OneTermEqualSelector("spec.nodeName", o.Node)
	a.policies = a.watch(c.guard, "policies", everything, &v1alpha1.Policy{})
	a.clusterPolicies = a.watch(c.guard, "clusterpolicies", everything, &v1alpha1.ClusterPolicy{})
	a.namespaces = a.watch(c.core, "namespaces", everything, &Namespace{})
	a.nodes = a.watch(c.core, "nodes", this, &Node{})
	a.pods = a.watch(c.core, "pods", here, &Pod{})
	return a, nil
}

// watch makes the cache of a kind of object, and tells of changes.
func (a *Agent) watch(c rest.Interface, resource string, selector fields.Selector, object runtime.Object) *objects {
	o := a.cacheOf(c, resource, selector, object, nil)
	o.changed = func(before, after any) {
		if !same(before, after) {
			tell(a.news)
		}
	}
	return o
}

// same reports whether an object changed in nothing that matters to the agent: statuses of policies, which the leader
// writes, and of pods and nodes change all the time.
func same(before, after any) bool {
	b, okBefore := before.(metav1.Object)
	a, okAfter := after.(metav1.Object)
	if !okBefore || !okAfter || a.GetUID() != b.GetUID() || a.GetGeneration() != b.GetGeneration() || !maps.Equal(a.GetLabels(), b.GetLabels()) {
		return false
	}
	podBefore, ok := before.(*Pod)
	if !ok {
		return true
	}
	podAfter, ok := after.(*Pod)
	return ok && podBefore.Spec == podAfter.Spec && slices.Equal(Owners(podBefore), Owners(podAfter))
}

// tell says that something changed.
func tell(news chan struct{}) {
	select {
	case news <- struct{}{}:
	default:
	}
}

// Run puts in force what the API server has, and what changes, until the context ends. While the API server cannot be
// reached what is in force stays.
func (a *Agent) Run(ctx context.Context) error {
	logTo(a.options.Log)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	for _, o := range []*objects{a.policies, a.clusterPolicies, a.namespaces, a.nodes, a.pods} {
		tasks.Go(func() { o.run(ctx) })
	}
	if !cache.WaitForCacheSync(ctx.Done(), a.policies.HasSynced, a.clusterPolicies.HasSynced, a.namespaces.HasSynced, a.nodes.HasSynced, a.pods.HasSynced) {
		return ctx.Err()
	}
	a.options.Log.Info("the API server has told of the cluster's policies", "node", a.options.Node)
	for _, task := range a.tasks() {
		tasks.Go(func() { task(ctx) })
	}
	for {
		if err := a.options.Pods(a.nodePods()); err != nil {
			a.options.Log.Error("a pod is not known as the API server tells", "error", err)
		}
		failed := a.replace()
		var again <-chan time.Time
		if failed {
			again = time.After(retryTime)
		}
		if !a.settle(ctx, again) {
			return ctx.Err()
		}
	}
}

// settle waits until something changed, and nothing more does, or until it is to be tried again; false at the end.
func (a *Agent) settle(ctx context.Context, again <-chan time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-again:
		return true
	case <-a.news:
	}
	latest := time.After(latestTime)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-a.news:
		case <-time.After(settleTime):
			return true
		case <-latest:
			return true
		}
	}
}

// tasks are what the agent does besides.
func (a *Agent) tasks() []func(context.Context) {
	leader := &leader{agent: a}
	candidate := &election{
		clients: a.clients, namespace: a.options.Namespace, identity: a.options.Node + "_" + rand.Text(), pace: &a.pace, log: a.options.Log,
		duration: leaseTime, nodes: leader.size,
	}
	reporter := &reporter{agent: a}
	tasks := []func(context.Context){reporter.run, func(ctx context.Context) { candidate.run(ctx, leader.run) }}
	if a.options.Alerts != nil {
		tasks = append(tasks, newRecorder(a).run)
	}
	return tasks
}

// version is a spec of an object: another object of its name has generations of its own.
type version struct {
	uid        types.UID
	generation int64
}

// outcome is what became of an object's policy on this node.
type outcome struct {
	object metav1.Object
	name   string
	err    error
}

// replace puts in force what the caches hold, and reports whether that failed.
func (a *Agent) replace() (failed bool) {
	set, outcomes, namespaces := a.set()
	var broken []string
	for _, o := range outcomes {
		if o.err != nil {
			broken = append(broken, o.name)
		}
	}
	replaced, err := a.options.Replace(set, broken)
	if err != nil {
		a.options.Log.Error("the cluster's policies are not in force", "error", err)
	} else if err := a.options.Namespaces(namespaces); err != nil {
		a.options.Log.Error("pods of new namespaces are not known as such", "error", err)
	}
	wrong := map[string]string{}
	for i := range outcomes {
		o := &outcomes[i]
		if o.err == nil {
			o.err = cmp.Or(replaced.Refused[o.name], err)
		}
		if o.err != nil {
			wrong[o.name] = o.err.Error()
			if a.wrong[o.name] != wrong[o.name] { // not again whenever a pod changes
				a.options.Log.Warn("a policy of the cluster is not in force on this node as it is", "policy", o.name, "former version in force", replaced.Former[o.name], "error", o.err)
			}
		}
	}
	a.wrong = wrong
	a.remember(outcomes, replaced.Former, err)
	tell(a.told)
	return err != nil
}

// remember keeps what is in force. With an error nothing changed.
func (a *Agent) remember(outcomes []outcome, former map[string]bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.outcomes = outcomes
	if err != nil {
		return
	}
	before := a.inForce
	a.inForce = map[string]version{}
	for _, o := range outcomes {
		switch {
		case o.err == nil:
			a.inForce[o.name] = version{o.object.GetUID(), o.object.GetGeneration()}
		case former[o.name] && before[o.name].uid == o.object.GetUID(): // not that of one that was deleted
			a.inForce[o.name] = before[o.name]
		}
	}
}

// set returns the policies that the caches hold for this node, by name, which objects they come from, and the namespaces
// that were known.
func (a *Agent) set() (set []policy.Policy, outcomes []outcome, known []string) {
	add := func(o metav1.Object, name string, p policy.Policy, err error) {
		outcomes = append(outcomes, outcome{object: o, name: name, err: err})
		if err == nil {
			set = append(set, p)
		}
	}
	count := map[string]int{}
	for _, p := range a.namespaced() {
		converted, err := Convert(p)
		if count[p.Namespace]++; err == nil && count[p.Namespace] > maxPolicies {
			err = fmt.Errorf("namespace %s has more than %d policies, of which the oldest count; put several into one", p.Namespace, maxPolicies)
		}
		add(p, namespacedName(p.Namespace, p.Name), converted, err)
	}
	node, namespaces := labels.Set{}, map[string]labels.Set{}
	for _, object := range a.nodes.List() {
		node = object.(*Node).Labels
	}
	for _, object := range a.namespaces.List() {
		namespaces[object.(*Namespace).Name] = object.(*Namespace).Labels
	}
	for _, object := range a.clusterPolicies.List() {
		p := object.(*v1alpha1.ClusterPolicy)
		converted, concerned, err := ConvertCluster(p, node, namespaces)
		if concerned || err != nil {
			add(p, clusterName(p.Name), converted, err)
		} else if meant, _ := selects(p.Spec.NodeSelector, node); meant {
			outcomes = append(outcomes, outcome{object: p, name: clusterName(p.Name)}) // it concerns nothing now
		}
	}
	known = slices.Collect(maps.Keys(namespaces))
	slices.SortFunc(set, func(a, b policy.Policy) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(outcomes, func(a, b outcome) int { return strings.Compare(a.name, b.name) })
	return set, outcomes, known
}

// maxPolicies is how many policies a namespace has in force at most. A container can be selected by 127 lists of selectors:
// one namespace must not use up what the cluster's policies need.
const maxPolicies = 64

// namespaced returns the policies of namespaces, the oldest first.
func (a *Agent) namespaced() []*v1alpha1.Policy {
	var all []*v1alpha1.Policy
	for _, object := range a.policies.List() {
		all = append(all, object.(*v1alpha1.Policy))
	}
	slices.SortFunc(all, func(a, b *v1alpha1.Policy) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return all
}

func (o outcome) String() string { return fmt.Sprintf("%s: %v", o.name, o.err) }

// mirrorAnnotation of a pod that stands for one that the kubelet has from a file has the uid by which the runtime knows
// that (k8s.io/kubernetes, pkg/kubelet/types, ConfigMirrorAnnotationKey).
const mirrorAnnotation = "kubernetes.io/config.mirror"

// nodePods returns what the API server told of this node's pods, by their uids.
func (a *Agent) nodePods() map[string]policy.Pod {
	pods := map[string]policy.Pod{}
	for _, object := range a.pods.List() {
		p := object.(*Pod)
		uid := string(p.UID)
		// Who may create pods may write the annotation: it must not name another pod, whose uids have dashes.
		if mirrored := p.Annotations[mirrorAnnotation]; mirrored != "" && !strings.Contains(mirrored, "-") {
			uid = mirrored
		}
		pods[uid] = policy.Pod{
			Namespace: p.Namespace, Name: p.Name, UID: uid, Labels: p.Labels,
			ServiceAccount: cmp.Or(p.Spec.ServiceAccountName, "default"), Owners: Owners(p),
		}
	}
	return pods
}

// Owners returns what controls a pod as KIND/NAME, not what only holds it, and for a ReplicaSet its Deployment, which has the hash of the pod's
// template at the end of the ReplicaSet's name (k8s.io/kubernetes, pkg/controller/deployment/sync.go).
func Owners(pod metav1.Object) []string {
	var owners []string
	for _, o := range pod.GetOwnerReferences() {
		if o.Controller == nil || !*o.Controller {
			continue
		}
		owners = append(owners, o.Kind+"/"+o.Name)
		hash := pod.GetLabels()["pod-template-hash"]
		if name, ok := strings.CutSuffix(o.Name, "-"+hash); ok && o.Kind == "ReplicaSet" && hash != "" {
			owners = append(owners, "Deployment/"+name)
		}
	}
	return owners
}
