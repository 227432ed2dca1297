package kubernetes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
)

// describe returns a status in one line: what kubectl shows, and the reasons of the conditions.
func describe(s v1alpha1.PolicyStatus) string {
	text := fmt.Sprintf("%s %d denials", s.InForce, s.Denials)
	for _, c := range s.Conditions {
		text += fmt.Sprintf(", %s %s %s", c.Type, c.Status, c.Reason)
	}
	for _, n := range s.Nodes {
		text += fmt.Sprintf("; %s %d %s", n.Node, n.Generation, n.Reason)
	}
	return text
}

func TestSummarise(t *testing.T) {
	on := func(zone string, policies ...v1alpha1.NodePolicy) *member {
		return &member{labels: labels.Set{"zone": zone}, agent: true, policies: policies}
	}
	inForce := v1alpha1.NodePolicy{Policy: "shop/ssh", Generation: 3, Denials: 4}
	older := v1alpha1.NodePolicy{Policy: "shop/ssh", Generation: 2, Denials: 1}
	refused := v1alpha1.NodePolicy{Policy: "shop/ssh", Observed: 3, Error: "no"}
	formerly := v1alpha1.NodePolicy{Policy: "shop/ssh", Observed: 2, Error: "no"}
	partly := v1alpha1.NodePolicy{Policy: "shop/ssh", Generation: 3, Error: "not io_uring"}
	other := v1alpha1.NodePolicy{Policy: "a", Generation: 3}
	silent := on("a", inForce)
	silent.silent = true
	none := &member{labels: labels.Set{"zone": "a"}}
	zone := &metav1.LabelSelector{MatchLabels: map[string]string{"zone": "a"}}
	for name, tt := range map[string]struct {
		nodes   *metav1.LabelSelector
		members map[string]*member
		want    string
		late    bool
	}{
		"everywhere": {nil, map[string]*member{"n1": on("a", other, inForce), "n2": on("b", inForce)},
			"2/2 8 denials, Accepted True InForce, Enforced True InForce, Degraded False NoProblem", true},
		"on those selected": {zone, map[string]*member{"n1": on("a", inForce), "n2": on("b")},
			"1/1 4 denials, Accepted True InForce, Enforced True InForce, Degraded False NoProblem", true},
		"no node is selected": {zone, map[string]*member{"n2": on("b")},
			"0/0 0 denials, Accepted Unknown NoNodes, Enforced False NoNodes, Degraded False NoNodes", true},
		"a selector that is none": {&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "zone", Operator: "Maybe"}}},
			map[string]*member{"n1": on("a", refused)},
			"0/1 0 denials, Accepted False Refused, Enforced False Refused, Degraded True Refused; n1 0 Refused", true},
		"on its way": {nil, map[string]*member{"n1": on("a", inForce), "n2": on("b", older), "n3": on("c"), "n4": on("a", formerly)},
			"1/4 5 denials, Accepted True InForce, Enforced False Pending, Degraded False NoProblem", false},
		"late": {nil, map[string]*member{"n1": on("a", inForce), "n2": on("b", older), "n3": on("c"), "n4": on("a", formerly)},
			"1/4 5 denials, Accepted True InForce, Enforced False Pending, Degraded True Pending; n2 2 Pending; n3 0 Pending; n4 0 Pending", true},
		"refused": {nil, map[string]*member{"n1": on("a", inForce), "n2": on("b", refused)},
			"1/2 4 denials, Accepted False Refused, Enforced False Refused, Degraded True Refused; n2 0 Refused", true},
		"an agent that died": {nil, map[string]*member{"n1": on("a", inForce), "n2": silent},
			"1/2 8 denials, Accepted True InForce, Enforced False AgentSilent, Degraded True AgentSilent; n2 3 AgentSilent", true},
		"no agent": {nil, map[string]*member{"n1": on("a", inForce), "n2": none},
			"1/2 4 denials, Accepted True InForce, Enforced False NoAgent, Degraded True NoAgent; n2 0 NoAgent", true},
		"partly": {nil, map[string]*member{"n1": on("a", partly)},
			"1/1 0 denials, Accepted True InForce, Enforced True InForce, Degraded True PartlyEnforced; n1 3 PartlyEnforced", true},
	} {
		t.Run(name, func(t *testing.T) {
			got := summarise(concerned{name: "shop/ssh", generation: 3, nodes: tt.nodes, late: tt.late}, sortedNames(tt.members), tt.members, v1alpha1.PolicyStatus{}, metav1.Now())
			if describe(got) != tt.want {
				t.Errorf("got  %s\nwant %s", describe(got), tt.want)
			}
		})
	}
}

// TestSummariseMany has more nodes in trouble than a status names.
func TestSummariseMany(t *testing.T) {
	members := map[string]*member{}
	for i := range 100 {
		members[fmt.Sprintf("n%02d", i)] = &member{agent: true, policies: []v1alpha1.NodePolicy{{Policy: "p", Observed: 1, Error: strings.Repeat("x", maxMessage)}}}
	}
	s := summarise(concerned{name: "p", generation: 1}, sortedNames(members), members, v1alpha1.PolicyStatus{}, metav1.Now())
	if len(s.Nodes) != maxNodes || s.Nodes[0].Node != "n00" || s.Nodes[maxNodes-1].Node != "n63" || s.InForce != "0/100" {
		t.Errorf("%d nodes, from %s; in force %s", len(s.Nodes), s.Nodes[0].Node, s.InForce)
	}
	for _, c := range s.Conditions {
		if len(c.Message) > maxMessage {
			t.Errorf("the message of %s has %d bytes", c.Type, len(c.Message))
		}
	}
}

// TestSince keeps the time of a condition while it is as it was.
func TestSince(t *testing.T) {
	begin, later := metav1.NewTime(time.Unix(100, 0)), metav1.NewTime(time.Unix(200, 0))
	members := map[string]*member{"n": {agent: true, policies: []v1alpha1.NodePolicy{{Policy: "p", Generation: 1}}}}
	first := summarise(concerned{name: "p", generation: 1}, []string{"n"}, members, v1alpha1.PolicyStatus{}, begin)
	members["n"].policies[0].Denials = 5
	second := summarise(concerned{name: "p", generation: 1}, []string{"n"}, members, first, later)
	if compare(first, second) != changeCounts || !second.Conditions[1].LastTransitionTime.Equal(&begin) {
		t.Errorf("change %d: %+v", compare(first, second), second.Conditions)
	}
	members["n"].silent = true
	third := summarise(concerned{name: "p", generation: 1}, []string{"n"}, members, second, later)
	if compare(second, third) != changeState || !third.Conditions[1].LastTransitionTime.Equal(&later) || !third.Conditions[0].LastTransitionTime.Equal(&begin) {
		t.Errorf("change %d: %+v", compare(second, third), third.Conditions)
	}
	if compare(third, third) != changeNone {
		t.Error("a status differs from itself")
	}
}
