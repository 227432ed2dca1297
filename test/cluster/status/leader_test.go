//go:build k8s

package status

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
	"github.com/ebpfguard/ebpfguard/test/cluster/controlplane"
)

// leader returns the node whose agent sums up.
func (c *cluster) leader() (string, error) {
	lease, err := c.admin.CoordinationV1().Leases(namespace).Get(c.t.Context(), "ebpfguard-leader", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	node, _, ok := strings.Cut(*lease.Spec.HolderIdentity, "_")
	if !ok {
		return "", errors.New("nobody leads")
	}
	return node, nil
}

// TestLeader ends the leader, softly and hard.
func TestLeader(t *testing.T) {
	c := newCluster(t, controlplane.Options{Controllers: true})
	agents := map[string]*simulated{}
	for i := range 3 {
		c.node(nodeName(i), nil)
		agents[nodeName(i)] = c.agent(nodeName(i), agentOptions{})
	}
	c.kubectl(bind("ClusterPolicy", "name: ssh", ""), "apply", "-f", "-")
	const well = "Accepted=True/InForce Enforced=True/InForce Degraded=False/NoProblem"
	eventually(t, 30*time.Second, c.has("clusterpolicies/ssh", "3/3 0 "+well))
	first, err := c.leader()
	if err != nil {
		t.Fatal(err)
	}

	// One that ends in order, as at an upgrade, gives the lease back.
	agents[first].stop()
	var second string
	another := func(than string) func() error {
		return func() error {
			var err error
			if second, err = c.leader(); err == nil && second == than {
				err = errors.New("it leads still")
			}
			return err
		}
	}
	took := eventually(t, 20*time.Second, another(first))
	t.Logf("another leads %v after the leader ended", took.Round(100*time.Millisecond))
	agents[first] = c.agent(first, agentOptions{})

	// One that is killed is replaced when its lease is over. Its node is not known to be well any more, but only after a
	// while: at an upgrade nothing is wrong.
	died := time.Now()
	dead := second
	agents[dead].die()
	took = eventually(t, 45*time.Second, another(dead))
	t.Logf("another leads %v after the leader was killed", took.Round(100*time.Millisecond))
	agents[second].count("clusterpolicy/ssh", 5)
	eventually(t, 30*time.Second, c.has("clusterpolicies/ssh", "3/3 5 "+well))
	eventually(t, 3*time.Minute, c.has("clusterpolicies/ssh", "2/3 5 Accepted=True/InForce Enforced=False/AgentSilent Degraded=True/AgentSilent"))
	t.Logf("the silence of an agent is told %v after it was killed", time.Since(died).Round(time.Second))
	if silent := time.Since(died); silent < 60*time.Second {
		t.Errorf("an agent counts as silent after %v already", silent)
	}
	p, err := get[v1alpha1.ClusterPolicy](c, "clusterpolicies/ssh")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Status.Nodes) != 1 || p.Status.Nodes[0].Node != dead || p.Status.Nodes[0].Reason != "AgentSilent" {
		t.Errorf("%+v", p.Status.Nodes)
	}

	// It comes back.
	agents[dead] = c.agent(dead, agentOptions{})
	eventually(t, 30*time.Second, c.has("clusterpolicies/ssh", "3/3 5 "+well))

	// A node that never had an agent, and one that cannot have one.
	c.node("bare", nil)
	c.node("windows", map[string]string{"kubernetes.io/os": "windows"})
	eventually(t, 20*time.Second, c.has("clusterpolicies/ssh", "3/4 5 Accepted=True/InForce Enforced=False/NoAgent Degraded=True/NoAgent"))
	c.kubectl("", "delete", "node", "bare")
	eventually(t, 20*time.Second, c.has("clusterpolicies/ssh", "3/3 5 "+well))

	// The status of a node goes with it.
	agents[dead].stop()
	c.kubectl("", "delete", "node", dead)
	took = eventually(t, time.Minute, func() error {
		_, err := get[v1alpha1.NodeStatus](c, "nodestatuses/"+dead)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %v", err)
	})
	t.Logf("the status of a node is gone %v after the node", took.Round(100*time.Millisecond))

	// A policy that is deleted and made again is another one.
	c.kubectl("", "delete", "clusterpolicy", "ssh")
	c.kubectl(bind("ClusterPolicy", "name: ssh", "  mode: audit\n"), "apply", "-f", "-")
	eventually(t, 20*time.Second, c.has("clusterpolicies/ssh", "2/2 5 "+well))
	for name, a := range agents {
		if text := a.log.String(); strings.Contains(text, "level=ERROR") || strings.Contains(text, "level=WARN") && name != dead {
			t.Errorf("the log of %s:\n%s", name, text)
		}
	}
}
