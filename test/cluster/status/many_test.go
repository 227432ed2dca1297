//go:build k8s

package status

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
	"github.com/ebpfguard/ebpfguard/test/cluster/controlplane"
)

// busy is how long what takes a few seconds may take on a busy machine, on which all agents run.
const busy = time.Minute

// TestManyAgents has 200 agents tell one API server, and asks what that costs.
func TestManyAgents(t *testing.T) {
	const nodes, refusing = 200, 70
	c := newCluster(t, controlplane.Options{})
	for i := range nodes {
		c.node(nodeName(i), map[string]string{"zone": string(rune('a' + i%2))})
	}
	total := &traffic{}
	agents := map[string]*simulated{}
	for i := range nodes {
		o := agentOptions{traffic: total}
		if i < refusing {
			o.refuse = []string{"clusterpolicy/refused"}
		}
		agents[nodeName(i)] = c.agent(nodeName(i), o)
	}
	eventually(t, busy, func() error {
		list, err := get[v1alpha1.NodeStatusList](c, "nodestatuses")
		if err == nil && len(list.Items) != nodes {
			err = fmt.Errorf("there are %d statuses of nodes", len(list.Items))
		}
		return err
	})
	time.Sleep(2 * time.Second) // the leader tells how many there are
	requests, sent, got := total.reset()
	t.Logf("%d agents started: %v; %d KB sent, %d KB got", nodes, requests, sent>>10, got>>10)

	// Policies for all, for half of them, for none, and one that some refuse.
	c.kubectl(bind("Policy", "name: ssh, namespace: shop", "")+
		bind("ClusterPolicy", "name: zone-a", "  nodeSelector: {matchLabels: {zone: a}}\n")+
		bind("ClusterPolicy", "name: nowhere", "  nodeSelector: {matchLabels: {zone: c}}\n")+
		bind("ClusterPolicy", "name: refused", ""), "apply", "-f", "-")
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, path := range []string{"namespaces/shop/policies/ssh", "clusterpolicies/zone-a"} {
			p, err := get[v1alpha1.Policy](c, path)
			for _, n := range p.Status.Nodes[:min(len(p.Status.Nodes), 3)] {
				s, _ := get[v1alpha1.NodeStatus](c, "nodestatuses/"+n.Node)
				t.Logf("%s: %+v; the node tells %+v; its agent has %s and says\n%s", path, n, s.Status, agents[n.Node].names(), agents[n.Node].log)
			}
			t.Log(path, err)
		}
	})
	const well = "Accepted=True/InForce Enforced=True/InForce Degraded=False/NoProblem"
	for _, tt := range []struct{ path, want string }{
		{"namespaces/shop/policies/ssh", "200/200 0 " + well},
		{"clusterpolicies/zone-a", "100/100 0 " + well},
		{"clusterpolicies/nowhere", "0/0 0 Accepted=Unknown/NoNodes Enforced=False/NoNodes Degraded=False/NoNodes"},
		{"clusterpolicies/refused", "130/200 0 Accepted=False/Refused Enforced=False/Refused Degraded=True/Refused"},
	} {
		took := eventually(t, busy, c.has(tt.path, tt.want))
		t.Logf("%s: %s after %v", tt.path, tt.want, took.Round(100*time.Millisecond))
	}
	time.Sleep(2 * time.Second)
	requests, sent, got = total.reset()
	t.Logf("4 policies applied: %v; %d KB sent, %d KB got", requests, sent>>10, got>>10)
	refused, err := get[v1alpha1.ClusterPolicy](c, "clusterpolicies/refused")
	if err != nil {
		t.Fatal(err)
	}
	if n := refused.Status.Nodes; len(n) != 64 || n[0].Node != nodeName(0) || n[63].Node != nodeName(63) || !strings.Contains(n[0].Message, "use a later one") {
		t.Errorf("%d nodes are in trouble: %+v", len(n), n)
	}

	// Each status of a node.
	list, err := get[v1alpha1.NodeStatusList](c, "nodestatuses")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list.Items {
		var i int
		if _, err := fmt.Sscanf(s.Name, "node-%d", &i); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range s.Status.Policies {
			got = append(got, fmt.Sprintf("%s %d %t", p.Policy, p.Generation, p.Error != ""))
		}
		want := []string{"refused 1 false"}
		if i < refusing {
			want = []string{"refused 0 true"}
		}
		if i%2 == 0 {
			want = append(want, "zone-a 1 false")
		}
		want = append(want, "shop/ssh 1 false")
		if fmt.Sprint(got) != fmt.Sprint(want) || s.Status.Kernel != "6.12.0" || s.Status.Version != "test" || len(s.Status.Gaps) != 1 {
			t.Errorf("%s has %v, want %v; %+v", s.Name, got, want, s.Status)
		}
		degraded := metav1.ConditionFalse
		if i < refusing {
			degraded = metav1.ConditionTrue
		}
		for _, condition := range s.Status.Conditions {
			if condition.Type == v1alpha1.Degraded && condition.Status != degraded {
				t.Errorf("%s: %+v", s.Name, condition)
			}
		}
		if len(s.OwnerReferences) != 1 || s.OwnerReferences[0].Kind != "Node" || s.OwnerReferences[0].Name != s.Name {
			t.Errorf("%s is owned by %+v", s.Name, s.OwnerReferences)
		}
	}
	raw, err := c.admin.RESTClient().Get().AbsPath("/apis/ebpfguard.io/v1alpha1/nodestatuses/" + nodeName(0)).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a NodeStatus with 3 policies has %d bytes as JSON", len(raw))

	// Counters add up.
	for _, a := range agents {
		a.count("policy/shop/ssh", 3)
	}
	took := eventually(t, busy, c.has("namespaces/shop/policies/ssh", "200/200 600 "+well))
	t.Logf("600 denials are in the summary after %v", took.Round(time.Second))

	// At rest.
	total.reset()
	const rest = 30 * time.Second
	time.Sleep(rest)
	requests, sent, got = total.reset()
	n := 0
	for what, count := range requests {
		if !strings.Contains(what, "watch") {
			n += count
		}
	}
	perSecond := float64(n) / rest.Seconds()
	t.Logf("%v at rest: %v, %.1f requests a second; %.1f KB/s sent, %.1f KB/s got", rest, requests, perSecond, float64(sent)/rest.Seconds()/1024, float64(got)/rest.Seconds()/1024)
	if most := 17.0 + 20 + 5; perSecond > most { // heartbeats, looks at the lease, and the leader
		t.Errorf("%.1f requests a second, more than %.0f", perSecond, most)
	}

	// A policy that is changed is pending until it is in force again; one that is deleted is gone.
	c.kubectl(bind("Policy", "name: ssh, namespace: shop", "  mode: audit\n"), "apply", "-f", "-")
	took = eventually(t, busy, c.has("namespaces/shop/policies/ssh", "200/200 600 "+well))
	t.Logf("a change is in force and known everywhere after %v", took.Round(100*time.Millisecond))
	c.kubectl("", "delete", "clusterpolicy", "zone-a")
	took = eventually(t, busy, func() error {
		list, err := get[v1alpha1.NodeStatusList](c, "nodestatuses")
		if err != nil {
			return err
		}
		for _, s := range list.Items {
			for _, p := range s.Status.Policies {
				if p.Policy == "zone-a" {
					return fmt.Errorf("%s still tells of a policy that was deleted", s.Name)
				}
			}
		}
		return nil
	})
	t.Logf("a deleted policy is gone from all nodes after %v", took.Round(100*time.Millisecond))

	// A node that is gone does not count any more.
	agents[nodeName(199)].stop()
	c.kubectl("", "delete", "node", nodeName(199))
	eventually(t, busy, c.has("namespaces/shop/policies/ssh", "199/199 597 "+well))
}

func nodeName(i int) string { return fmt.Sprintf("node-%03d", i) }
