package containers

import (
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
)

func TestSetPods(t *testing.T) {
	g, h := &guard{groups: map[uint64]policy.Container{}}, newHierarchy(t)
	table := NewTable(g, Options{Cgroups: h.dir, PodDetails: true})
	h.mkdir("/a")
	h.mkdir("/b")
	c := container("1", "web", "/a")
	c.Labels = map[string]string{"app": "web", "own": "yes"}
	c.Pod = &policy.Pod{Namespace: "shop", Name: "web-0", UID: "u", Labels: map[string]string{"app": "web"}}
	must(t, table.Start("nri", c))
	must(t, table.Start("nri", container("2", "alone", "/b"))) // of no pod
	_, id, err := table.group("/a")
	must(t, err)
	if now := g.groups[id]; !now.Pod.Partial || now.Labels["app"] != "web" {
		t.Errorf("before the API server tells of it, the guard knows %+v of %+v", now.Pod, now)
	}
	pod := policy.Pod{Namespace: "shop", Name: "web-0", UID: "u", Labels: map[string]string{"app": "db", "new": "x"}, ServiceAccount: "sa", Owners: []string{"Deployment/web"}}
	must(t, table.SetPods(map[string]policy.Pod{"u": pod}))
	now := g.groups[id]
	want(t, *now.Pod, pod)
	want(t, now.Labels, map[string]string{"app": "db", "new": "x", "own": "yes"})
	if passes := g.passes; passes != 1 {
		t.Errorf("what runs was labelled %d times", passes)
	}
	must(t, table.SetPods(map[string]policy.Pod{"u": pod, "other": {}}))
	want(t, g.passes, 1) // nothing changed

	// It starts again: what the API server told holds at once.
	table.Stop("nri", "1")
	c.ID = "3"
	must(t, table.Start("nri", c))
	want(t, *g.groups[id].Pod, pod)
	// The API server forgets it, and it still runs.
	must(t, table.SetPods(map[string]policy.Pod{}))
	want(t, *g.groups[id].Pod, pod)
	table.Stop("nri", "3")
	must(t, table.SetPods(map[string]policy.Pod{}))
	must(t, table.Start("nri", c))
	if !g.groups[id].Pod.Partial {
		t.Error("a pod of which the API server knows nothing is known whole")
	}
}

func TestSetNamespaces(t *testing.T) {
	g, h := &guard{groups: map[uint64]policy.Container{}}, newHierarchy(t)
	table := NewTable(g, Options{Cgroups: h.dir, PodDetails: true})
	h.mkdir("/a")
	c := container("1", "web", "/a")
	c.Pod = &policy.Pod{Namespace: "shop", Name: "web-0", UID: "u"}
	must(t, table.Start("nri", c))
	_, id, err := table.group("/a")
	must(t, err)
	for _, known := range []struct {
		names []string
		isNew bool
	}{{nil, true}, {[]string{"data"}, true}, {[]string{"data", "shop"}, false}, {[]string{"data"}, true}} {
		if known.names == nil && g.groups[id].Pod.NewNamespace {
			t.Error("a namespace is new before the API server told of any")
		}
		must(t, table.SetNamespaces(known.names))
		if got := g.groups[id].Pod.NewNamespace; got != known.isNew {
			t.Errorf("with %q the namespace is new: %v", known.names, got)
		}
	}
}

// TestFormerPods has a daemon that starts know of pods what its predecessor knew, before the API server tells of any.
func TestFormerPods(t *testing.T) {
	g, h := &guard{groups: map[uint64]policy.Container{}}, newHierarchy(t)
	h.mkdir("/a")
	pod := policy.Pod{Namespace: "shop", Name: "web-0", UID: "u", Labels: map[string]string{"quarantine": "true"}, ServiceAccount: "sa"}
	former := container("1", "web", "/a")
	former.Pod = &pod
	g.groups[1] = former.Container
	table := NewTable(g, Options{Cgroups: h.dir, PodDetails: true})
	c := container("1", "web", "/a")
	c.Pod = &policy.Pod{Namespace: "shop", Name: "web-0", UID: "u"} // as the runtime tells, which knows the first labels only
	must(t, table.Start("nri", c))
	_, id, err := table.group("/a")
	must(t, err)
	if now := g.groups[id]; now.Pod.Partial || now.Labels["quarantine"] != "true" || now.Pod.ServiceAccount != "sa" {
		t.Errorf("it is known as %+v of %+v", now.Pod, now)
	}
	// An object of another name that claims to be that pod tells nothing of it.
	must(t, table.SetPods(map[string]policy.Pod{"u": {Namespace: "evil", Name: "x", UID: "u", ServiceAccount: "other"}}))
	if now := g.groups[id]; now.Pod.ServiceAccount == "other" || now.Pod.Namespace != "shop" {
		t.Errorf("it is known as %+v", now.Pod)
	}
}
