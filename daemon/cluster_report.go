package daemon

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/daemon/kubernetes"
	"github.com/ebpfguard/ebpfguard/policy"
)

// defaultNamespace is where the chart installs the agents.
const defaultNamespace = "ebpfguard"

// ownNamespace returns the namespace of this pod.
func ownNamespace() string {
	if name := os.Getenv("POD_NAMESPACE"); name != "" {
		return name
	}
	// Where the kubelet puts it.
	if data, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace"); err == nil && len(data) > 0 {
		return strings.TrimSpace(string(data))
	}
	return defaultNamespace
}

// clusterProblem notes what the agent cannot do, or with nil that it can again.
func (d *Daemon) clusterProblem(about string, err error) {
	about = problemCluster + ": " + about
	if err == nil {
		d.solved(about)
		return
	}
	d.problem(about, err)
}

// probed is a guard that knows what its kernel cannot enforce at all.
type probed interface {
	Uncovered() (kernel string, gaps []string)
}

// Uncovered returns the kernel's release and what passes on it whatever the policies say.
func (m manager) Uncovered() (kernel string, gaps []string) {
	r := ebpfguard.ProbeFor(m.options)
	for _, o := range r.Operations {
		if !o.Supported {
			gaps = append(gaps, fmt.Sprintf("%s: %s", o.Operation, o.Detail))
		}
		for _, u := range o.NotCovered {
			gaps = append(gaps, fmt.Sprintf("%s: %s: %s", o.Operation, u.Effect, u.Reason))
		}
	}
	return r.Kernel, gaps
}

// clusterReport returns what tells the cluster of this node.
func (d *Daemon) clusterReport() func() (kubernetes.Report, error) {
	uncovered := sync.OnceValues(func() (string, []string) { // they stay until the next boot
		if guard, ok := d.guard.(probed); ok {
			return guard.Uncovered()
		}
		return "", nil
	})
	partly, of := map[string]string{}, uint32(0)
	return func() (kubernetes.Report, error) {
		if !d.up.Load() {
			return kubernetes.Report{}, errors.New("the daemon is starting")
		}
		r := kubernetes.Report{Version: d.options.Version, Denials: map[string]uint64{}}
		r.Kernel, r.Gaps = uncovered()
		d.mu.Lock()
		if err := d.checkRunning(); err != nil {
			d.mu.Unlock()
			return r, err
		}
		r.Revision = d.revision
		all, cluster := d.sets.all(), d.sets.cluster
		rules, err := d.guard.RuleStats()
		d.mu.Unlock()
		if err != nil {
			return r, err
		}
		for _, s := range rules {
			r.Denials[s.Policy] += s.Hits
		}
		if d.configuration().AllowGaps && of != r.Revision {
			partly, of = gapsOf(cluster), r.Revision
		}
		r.Partly = partly
		r.Problems = d.problemsNow(d.containersStatus(containers.Concern(all)), d.alertCounters())
		return r, nil
	}
}

// gapsOf returns what this kernel cannot enforce of policies that are in force, by their names.
func gapsOf(set []policy.Policy) map[string]string {
	all := map[string]string{}
	for _, p := range set {
		gaps, err := ebpfguard.Gaps([]policy.Policy{p})
		if err != nil {
			gaps = []string{err.Error()}
		}
		if len(gaps) > 0 {
			all[p.Name] = strings.Join(gaps, "; ")
		}
	}
	return all
}
