package daemon

import (
	"cmp"
	"iter"
	"slices"
	"sync"

	"github.com/ebpfguard/ebpfguard"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// maxCounted is how many names of containers have counters: names can be as many as containers, and
// metrics must not.
const maxCounted = 100

// containerCounters count the operations of alerts by the containers of their processes.
type containerCounters struct {
	mu     sync.Mutex
	named  map[containerName]*pb.ContainerCounters
	others uint64
}

// containerName is what containers that count together have in common: those that replace each other
// do, such as the ones of a deployment's pods.
type containerName struct{ namespace, name string }

// count passes alerts on, and counts them.
func (c *containerCounters) count(alerts iter.Seq2[ebpfguard.Alert, error]) iter.Seq2[ebpfguard.Alert, error] {
	return func(yield func(ebpfguard.Alert, error) bool) {
		for alert, err := range alerts {
			if err == nil {
				c.add(alert.Context())
			}
			if !yield(alert, err) {
				return
			}
		}
	}
}

func (c *containerCounters) add(a ebpfguard.AlertContext) {
	if a.Container == nil && !a.Unidentified {
		return // on the host
	}
	var key containerName
	if a.Container != nil {
		key.name = cmp.Or(a.Container.Name, a.Container.ID)
		if a.Container.Pod != nil {
			key.namespace = a.Container.Pod.Namespace
		}
	}
	n := max(a.Count, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	counters := c.named[key]
	switch {
	case counters == nil && len(c.named) >= maxCounted:
		c.others += n
		return
	case c.named == nil:
		c.named = map[containerName]*pb.ContainerCounters{}
	}
	if counters == nil {
		counters = &pb.ContainerCounters{Name: utf8Text(key.name), Namespace: utf8Text(key.namespace)}
		c.named[key] = counters
	}
	switch a.Verdict {
	case policy.Audit:
		counters.Audited += n
	case policy.Kill:
		counters.Killed += n
		counters.Denied += n
	default:
		counters.Denied += n
	}
}

// list returns the counters, those of the most operations first, and how many operations the rest had.
func (c *containerCounters) list() (all []*pb.ContainerCounters, others uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, counters := range c.named {
		all = append(all, &pb.ContainerCounters{
			Name: counters.GetName(), Namespace: counters.GetNamespace(), Audited: counters.GetAudited(), Denied: counters.GetDenied(), Killed: counters.GetKilled(),
		})
	}
	slices.SortFunc(all, func(a, b *pb.ContainerCounters) int {
		return cmp.Or(cmp.Compare(b.GetDenied()+b.GetAudited(), a.GetDenied()+a.GetAudited()), cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return all, c.others
}
