package containers

import (
	"errors"
	"maps"
	"reflect"
	"slices"

	"github.com/ebpfguard/ebpfguard/policy"
)

// formerPods returns what is known of the pods of containers that were taken over: until the API server answers, a label
// that it told of holds, as that of a quarantine does.
func formerPods(all []policy.Container) map[string]policy.Pod {
	pods := map[string]policy.Pod{}
	for _, c := range all {
		if c.Pod != nil && c.Pod.UID != "" && !c.Pod.Partial {
			pods[c.Pod.UID] = *c.Pod
		}
	}
	return pods
}

// SetPods tells what the API server knows of this node's pods, all of them, by their uids: of these the labels that a
// pod has now, its service account and its owners count. What changes for containers that run holds from then on, at
// once for all of a pod's processes. Of a pod that the API server has forgotten while it still runs what it told last
// holds: a quarantine does not end since somebody deletes the pod.
func (t *Table) SetPods(pods map[string]policy.Pod) error {
	return t.update(func() {
		pods = maps.Clone(pods)
		for _, e := range t.known {
			if e.Pod == nil {
				continue
			}
			if former, ok := t.pods[e.Pod.UID]; ok && pods[e.Pod.UID].UID == "" {
				pods[e.Pod.UID] = former
			}
		}
		t.pods = pods
	})
}

// SetNamespaces tells which namespaces the policies in force were made for. A pod of another one may be one that they
// are about.
func (t *Table) SetNamespaces(names []string) error {
	return t.update(func() {
		t.namespaces = make(map[string]bool, len(names))
		for _, name := range names {
			t.namespaces[name] = true
		}
	})
}

// update changes what the API server knows, and tells the guard what that changes for containers.
func (t *Table) update(change func()) error {
	t.mu.Lock()
	change()
	var errs []error
	changed := false
	for id, e := range t.known {
		now := t.complete(merge(e.told, e.changed))
		if reflect.DeepEqual(now, e.Container) || e.chosen == 0 {
			continue
		}
		if err := t.guard.AddContainer(e.chosen, now); err != nil {
			e.chosen = 0 // the guard knows it no longer
			errs = append(errs, t.noteLocked(Container{Container: now}, err))
			continue
		}
		e.Container, changed = now, true
		t.known[id] = e
	}
	t.mu.Unlock()
	if changed {
		errs = append(errs, t.labels.run())
	}
	return errors.Join(errs...)
}

// complete adds what the API server knows of a container's pod. While it has not told of that pod the description is
// partial, if it is to tell at all. The caller holds mu.
func (t *Table) complete(c policy.Container) policy.Container {
	if c.Pod == nil || !t.options.PodDetails {
		return c
	}
	c.Pod.NewNamespace = t.namespaces != nil && !t.namespaces[c.Pod.Namespace]
	// What the runtime says of the name counts: what the API server tells may be of somebody else's object.
	told, ok := t.pods[c.Pod.UID]
	if !ok || c.Pod.UID == "" || told.Namespace != c.Pod.Namespace || told.Name != c.Pod.Name {
		c.Pod.Partial = true
		return c
	}
	// A container has the labels of its pod besides its own.
	labels := maps.Clone(c.Labels)
	for key, value := range c.Pod.Labels {
		if labels[key] == value {
			delete(labels, key)
		}
	}
	for key, value := range told.Labels {
		if _, ok := labels[key]; !ok {
			if labels == nil {
				labels = map[string]string{}
			}
			labels[key] = value
		}
	}
	c.Labels = labels
	c.Pod.Labels, c.Pod.ServiceAccount, c.Pod.Owners, c.Pod.Partial = maps.Clone(told.Labels), told.ServiceAccount, slices.Clone(told.Owners), false
	return c
}
