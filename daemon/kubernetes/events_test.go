package kubernetes

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// denied is an alert of a pod; of the host if it has no name.
func denied(pod, policyName string, rule int, count uint64) ebpfguard.Alert {
	c := ebpfguard.AlertContext{
		Time: time.Unix(1000, 0), Last: time.Unix(1003, 0), Operation: policy.SocketBind, Verdict: policy.Deny, Policy: policyName, Rule: rule,
		Severity: policy.SeverityHigh, Count: count,
	}
	c.Binary = "/usr/sbin/sshd"
	if pod != "" {
		c.Container = &policy.Container{ID: "1", Name: "app", Pod: &policy.Pod{Namespace: "shop", Name: pod, UID: "uid-" + pod}}
	}
	return ebpfguard.SocketBindAlert{AlertContext: c, SocketObject: ebpfguard.SocketObject{Address: netip.MustParseAddr("0.0.0.0"), Port: 22}}
}

func TestEvents(t *testing.T) {
	r := newRecorder(testAgent(t, Options{}))
	for range 3 {
		r.add(denied("web", "policy/shop/ssh", 0, 2))
	}
	r.add(denied("", "hosts", 1, 1))
	now := time.Unix(2000, 0)
	keys := r.due(now)
	if len(keys) != 2 {
		t.Fatalf("due are %v", keys)
	}
	events := map[string]Event{}
	for _, key := range keys {
		e := r.event(key, *r.all[key])
		events[e.InvolvedObject.Kind] = e
	}
	e := events["Pod"]
	if e.InvolvedObject != (ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: "web", UID: "uid-web", FieldPath: "spec.containers{app}"}) ||
		e.Namespace != "shop" || !strings.HasPrefix(e.Name, "web.") || e.Reason != "PolicyDenied" || e.Action != "socket_bind" || e.ReportingInstance != "one" {
		t.Errorf("%+v", e)
	}
	if e.Series == nil || e.Series.Count != 6 || !e.Series.LastObservedTime.Time.Equal(time.Unix(1003, 0)) || !e.EventTime.Time.Equal(time.Unix(1000, 0)) {
		t.Errorf("%+v, %+v", e.Series, e.EventTime)
	}
	for _, word := range []string{"deny socket_bind", "22", "by /usr/sbin/sshd", "in container app", "policy policy/shop/ssh rule 0"} {
		if !strings.Contains(e.Message, word) {
			t.Errorf("%q lacks %q", e.Message, word)
		}
	}
	if strings.Contains(e.Message, "times until") {
		t.Errorf("%q counts", e.Message)
	}
	if e := events["Node"]; e.InvolvedObject.Name != "one" || e.Namespace != "default" || e.Series != nil || e.Annotations[annotationPolicy] != "hosts" {
		t.Errorf("%+v", e)
	}
}

// TestEventLimits has more to tell than the API server can bear.
func TestEventLimits(t *testing.T) {
	r := newRecorder(testAgent(t, Options{}))
	for rule := range 20 {
		r.add(denied("web", "p", rule, 1))
	}
	now := time.Unix(2000, 0)
	tell := func() int {
		keys := r.due(now)
		for _, key := range keys {
			s := r.all[key]
			s.told, s.name, s.due = s.count, "e", now.Add(seriesTime)
		}
		return len(keys)
	}
	if n := tell(); n != seriesBurst {
		t.Errorf("a pod and a policy began %d events", n)
	}
	if n := tell(); n != 0 {
		t.Errorf("%d more", n)
	}
	now = now.Add(seriesRefill)
	if n := tell(); n != 1 {
		t.Errorf("%d after a while", n)
	}
	// Another pod has a budget of its own, until the node's is used up.
	for i := range 100 {
		r.add(denied(fmt.Sprintf("other-%d", i), "p", 0, 1))
	}
	if n := tell(); n < nodeBurst/2 || n > nodeBurst {
		t.Errorf("a node began %d events at once", n)
	}
	// What is told of again waits.
	r.add(denied("web", "p", 0, 1))
	for _, key := range r.due(now) {
		if key.pod == "web" && key.rule == 0 {
			t.Error("it was told a moment ago")
		}
	}
	for i := range 2 * maxSeries {
		r.add(denied(fmt.Sprintf("more-%d", i), "p", 0, 1))
	}
	if len(r.all) > maxSeries || r.left == 0 {
		t.Errorf("%d kinds are known, %d left", len(r.all), r.left)
	}
	// What is told and old is forgotten.
	for _, s := range r.all {
		s.told = s.count
	}
	r.due(now.Add(2 * seriesEnd))
	if len(r.all) != 0 || len(r.buckets) != 0 {
		t.Errorf("%d kinds and %d buckets are kept", len(r.all), len(r.buckets))
	}
}

func TestReports(t *testing.T) {
	r := newRecorder(testAgent(t, Options{}))
	var events []*Event
	add := func(alert ebpfguard.Alert) {
		r.all = map[seriesKey]*series{}
		r.add(alert)
		for key, s := range r.all {
			e := r.event(key, *s)
			events = append(events, &e)
		}
	}
	add(denied("web", "policy/shop/ssh", 0, 3))
	for i := range maxResults {
		add(denied(fmt.Sprintf("db-%03d", i), "clusterpolicy/net", 1, 1))
	}
	add(denied("", "hosts", 0, 1))
	all := reportsOf(events)
	if len(all) != 2 {
		t.Fatalf("%d reports", len(all))
	}
	shop := all["shop"]
	if shop.Kind != "PolicyReport" || len(shop.Results) != maxResults || shop.Summary != (reportSummary{Fail: maxResults + 1}) {
		t.Errorf("%s with %d results, %+v", shop.Kind, len(shop.Results), shop.Summary)
	}
	first := shop.Results[0] // the latest
	if first.Policy != "shop/ssh" || first.Rule != "0" || first.Result != "fail" || first.Severity != "high" || first.Timestamp.Seconds != 1003 ||
		first.Properties["count"] != "3" || first.Resources[0].Name != "web" || first.Resources[0].FieldPath != "" {
		t.Errorf("%+v", first)
	}
	if host := all[""]; host.Kind != "ClusterPolicyReport" || host.Metadata.Namespace != "" || host.Results[0].Policy != "hosts" || host.Results[0].Resources[0].Kind != "Node" {
		t.Errorf("%+v", host)
	}
}
