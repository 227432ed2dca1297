package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/daemon/config"
	"github.com/ebpfguard/ebpfguard/daemon/kubernetes"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/sink"
)

// clusterFile has the policies of the cluster that were in force last, for when the node starts before it reaches the
// API server.
const clusterFile = "cluster.yaml"

// ReplaceCluster puts the policies of the cluster in force in place of the former ones, at once. Of those that cannot be
// enforced here, and of those that are broken, the former version stays, and the reasons are returned by their names: a
// policy that is wrong takes nothing from the others, and an edit that is wrong nothing from what was in force. An error
// says that nothing changed.
func (d *Daemon) ReplaceCluster(set []policy.Policy, broken []string) (result kubernetes.Replaced, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return result, errors.New("the daemon is shutting down")
	}
	if last := d.lastCluster; !d.stale && last.holds(set, broken, d.now()) {
		return last.result, nil
	}
	next := d.sets
	next.cluster, result = d.acceptable(next, set, broken)
	d.lastCluster = clusterAnswer{set, slices.Clone(broken), result, d.now() + uint64(answerTime)}
	d.stillLost(result.Refused)
	changes := compare(d.sets.cluster, next.cluster)
	if !changed(changes) && !d.stale {
		if d.isProblem(problemCluster) {
			d.remember(next.cluster)
		}
		return result, nil
	}
	d.remember(next.cluster)
	if err := d.publish(next); err != nil {
		d.lastCluster = clusterAnswer{}
		return result, errors.Join(err, d.store.write(clusterFile, d.sets.cluster))
	}
	d.log.Info("the cluster's policies changed", "revision", d.revision, "added", changes.GetAdded(), "changed", changes.GetChanged(), "removed", changes.GetRemoved())
	return result, nil
}

// remember writes the policies of the cluster. They are in force even if that fails: what is remembered matters after the
// next boot only.
func (d *Daemon) remember(set []policy.Policy) {
	if err := d.store.write(clusterFile, set); err != nil {
		d.problem(problemCluster, fmt.Errorf("the policies of the cluster are in force, but will not be after a boot without the API server: %w", err))
		return
	}
	d.solved(problemCluster)
}

// answerTime is how long what became of a set holds for the same set: a pod that changes is no reason to compile it again,
// and what was refused for want of something else may be taken later.
const answerTime = time.Minute

// clusterAnswer is what became of a set.
type clusterAnswer struct {
	set    []policy.Policy
	broken []string
	result kubernetes.Replaced
	until  uint64
}

func (a clusterAnswer) holds(set []policy.Policy, broken []string, now uint64) bool {
	return now < a.until && slices.Equal(a.broken, broken) && slices.EqualFunc(a.set, set, policy.Equal)
}

// acceptable returns the policies that can be in force beside those of a set that are not of the cluster, and why the others
// cannot: of these, and of those that are broken, the version that the set has.
func (d *Daemon) acceptable(base sets, set []policy.Policy, broken []string) ([]policy.Policy, kubernetes.Replaced) {
	result := kubernetes.Replaced{Refused: map[string]error{}, Former: map[string]bool{}}
	set = d.letGuardStart(set)
	var taken []policy.Policy
	check := func(some []policy.Policy) error {
		next := base
		next.cluster = slices.Concat(taken, some)
		if err := errors.Join(next.unique(), policy.Validate(next.all())); err != nil {
			return err
		}
		if err := d.guard.Check(next.at(d.now()).inForce()); err != nil {
			return err
		}
		return d.checkClusterLockout(base, next)
	}
	// By halves, each beside those that were taken before it: what is wrong is told of the one that brings it, and to
	// find one among a thousand takes twenty looks. One may need another that comes later, so those that are refused are
	// tried again beside all that were taken.
	var take func([]policy.Policy) (left []policy.Policy)
	take = func(some []policy.Policy) []policy.Policy {
		switch err := check(some); {
		case err == nil:
			taken = append(taken, some...)
			return nil
		case len(some) == 1:
			result.Refused[some[0].Name] = err
			return some
		}
		half := len(some) / 2
		return append(slices.Clone(take(some[:half])), take(some[half:])...)
	}
	for left, before := set, len(set)+1; len(left) > 0 && len(left) < before; {
		clear(result.Refused)
		before = len(left)
		left = take(left)
	}
	broken = slices.Concat(broken, slices.Sorted(maps.Keys(result.Refused)))
	for _, name := range broken {
		if i := indexOf(base.cluster, name); i >= 0 && check(base.cluster[i:i+1]) == nil {
			taken = append(taken, base.cluster[i])
			result.Former[name] = true
		}
	}
	slices.SortFunc(taken, func(a, b policy.Policy) int { return strings.Compare(a.Name, b.Name) })
	return taken, result
}

// checkClusterLockout refuses policies that would newly lock the administrator or the guard out of the node.
func (d *Daemon) checkClusterLockout(former, next sets) error {
	if d.configuration().AllowLockout {
		return nil
	}
	if err := d.checkLockout(0, former.all(), next.all()); err != nil {
		return fmt.Errorf("%w; allow what is needed, or set mode: audit to see what would be refused", err)
	}
	return nil
}

// formerCluster returns the policies of the cluster that were in force last; none where the daemon is no agent of one.
// Where the file cannot be read, as that of a newer version may not, those stay that were taken over: a roll-back ends
// nothing.
func (d *Daemon) formerCluster(adopted bool, takenOver []policy.Policy) []policy.Policy {
	if !d.config.Kubernetes {
		return nil
	}
	set, err := d.store.read(clusterFile)
	switch {
	case err == nil:
		return set
	case adopted:
		d.problem(problemCluster, fmt.Errorf("the file of the cluster's policies cannot be read, and those that were in force stay until the API server answers: %w", err))
		return takenOver
	}
	d.problem(problemCluster, fmt.Errorf("the policies of the cluster that were in force last cannot be read, so NONE of them are until the API server answers: %w", err))
	return nil
}

// startable returns those of the cluster's policies that can be in force beside the others: one that no longer fits this
// machine, of which a user or a hook is gone, keeps nothing else from being in force.
func (d *Daemon) startable(next sets) []policy.Policy {
	if len(next.cluster) == 0 {
		return nil
	}
	base := next
	base.cluster = nil
	set, result := d.acceptable(base, next.cluster, nil)
	d.lost = result.Refused
	d.tellLost()
	return set
}

// tellLost tells which policies of the cluster were in force last and are not since this daemon started.
func (d *Daemon) tellLost() {
	var all []error
	for _, name := range slices.Sorted(maps.Keys(d.lost)) {
		all = append(all, fmt.Errorf("the policy %s of the cluster was in force last and is NOT now: %w", name, d.lost[name]))
	}
	if len(all) > 0 {
		d.problem(problemLost, errors.Join(all...))
		return
	}
	d.solved(problemLost)
}

// stillLost looks which of the lost policies are still asked for and refused.
func (d *Daemon) stillLost(refused map[string]error) {
	for name := range d.lost {
		if err := refused[name]; err != nil {
			d.lost[name] = err
		} else {
			delete(d.lost, name)
		}
	}
	d.tellLost()
}

// splitCluster separates the policies of the cluster from the others.
func splitCluster(set []policy.Policy) (cluster, others []policy.Policy) {
	for _, p := range set {
		if kubernetes.IsName(p.Name) {
			cluster = append(cluster, p)
		} else {
			others = append(others, p)
		}
	}
	return cluster, others
}

// apiServer is what it takes to reach the API server.
type apiServer struct {
	config  *rest.Config
	servers []netip.AddrPort
	files   []string
}

// findAPIServer finds out how to reach the API server.
func findAPIServer(c config.Config) (found apiServer, err error) {
	found.config, err = rest.InClusterConfig()
	if c.Kubeconfig != "" {
		found.config, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
		found.files = append(found.files, c.Kubeconfig)
	}
	if err != nil {
		return found, fmt.Errorf("how to reach the API server: %w; name a file with kubeconfig, or run as a pod with a service account", err)
	}
	for _, file := range []string{found.config.BearerTokenFile, found.config.CAFile, found.config.CertFile, found.config.KeyFile} {
		if file != "" {
			found.files = append(found.files, file)
		}
	}
	// Of a name it is not known which address it will have; clusters give their pods an address.
	if at, _, err := rest.DefaultServerUrlFor(found.config); err == nil {
		port := cmp.Or(at.Port(), map[string]string{"http": "80"}[at.Scheme], "443")
		if server, err := netip.ParseAddrPort(net.JoinHostPort(at.Hostname(), port)); err == nil {
			found.servers = append(found.servers, server)
		}
	}
	return found, nil
}

// newAgent returns the agent of this node.
func (d *Daemon) newAgent(c config.Config) (*kubernetes.Agent, error) {
	node := cmp.Or(c.NodeName, os.Getenv("NODE_NAME"))
	if node == "" {
		var err error
		if node, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("the name of this node: %w; set node_name", err)
		}
	}
	o := kubernetes.Options{
		Config: d.apiServer.config, Node: node, Namespace: ownNamespace(), Log: d.log, Replace: d.ReplaceCluster, Pods: d.containers.table.SetPods,
		Namespaces: d.containers.table.SetNamespaces,
		Report:     d.clusterReport(), Problem: d.clusterProblem, PolicyReports: c.PolicyReports,
	}
	if c.KubernetesEvents {
		after := d.pipeline.Counters().Sequence
		o.Alerts = func(ctx context.Context) (iter.Seq2[ebpfguard.Alert, error], error) {
			return d.pipeline.SubscribeAfter(ctx, sink.Filter{}, after)
		}
	}
	return kubernetes.New(o)
}
