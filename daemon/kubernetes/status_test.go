package kubernetes

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
)

func testAgent(t *testing.T, o Options) *Agent {
	t.Helper()
	o.Config, o.Node = &rest.Config{Host: "http://192.0.2.1"}, "one"
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func condition(t *testing.T, list []metav1.Condition, kind string) metav1.Condition {
	t.Helper()
	for _, c := range list {
		if c.Type == kind {
			return c
		}
	}
	t.Fatalf("there is no condition %s in %+v", kind, list)
	return metav1.Condition{}
}

func TestNodeStatus(t *testing.T) {
	a := testAgent(t, Options{})
	object := func(generation int64) metav1.Object {
		return &v1alpha1.Policy{ObjectMeta: metav1.ObjectMeta{Generation: generation}}
	}
	good, bad, part := outcome{object: object(3), name: "policy/shop/ssh"}, outcome{object: object(2), name: "clusterpolicy/bad", err: errors.New("no")}, outcome{object: object(1), name: "clusterpolicy/part"}
	a.remember([]outcome{good, bad, part}, nil, nil)
	report := Report{
		Version: "1", Kernel: "6.12", Revision: 7, Gaps: []string{"gap"}, Denials: map[string]uint64{"policy/shop/ssh": 9}, Partly: map[string]string{"clusterpolicy/part": "not all"},
	}
	s := a.status(report, nil, metav1.Now())
	want := []v1alpha1.NodePolicy{
		{Policy: "shop/ssh", Generation: 3, Denials: 9}, {Policy: "bad", Observed: 2, Error: "no"}, {Policy: "part", Generation: 1, Error: "not all"},
	}
	for i := range want {
		if s.Policies[i] != want[i] {
			t.Errorf("got %+v, want %+v", s.Policies[i], want[i])
		}
	}
	if c := condition(t, s.Conditions, v1alpha1.Accepted); c.Status != metav1.ConditionFalse || c.Message != "1 of 3 policies are refused: bad" {
		t.Errorf("%+v", c)
	}
	if c := condition(t, s.Conditions, v1alpha1.Degraded); c.Status != metav1.ConditionTrue || c.Reason != reasonRefused {
		t.Errorf("%+v", c)
	}

	// A set that is not taken changes nothing of what is in force.
	good.object, good.err = object(4), errors.New("no memory")
	a.remember([]outcome{good}, nil, good.err)
	s = a.status(report, s.Conditions, metav1.Now())
	if got, want := s.Policies[0], (v1alpha1.NodePolicy{Policy: "shop/ssh", Generation: 3, Observed: 4, Denials: 9, Error: "no memory"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}

	// All is well, or something else is not.
	good.err = nil
	a.remember([]outcome{good}, nil, nil)
	if c := condition(t, a.status(report, nil, metav1.Now()).Conditions, v1alpha1.Degraded); c.Status != metav1.ConditionFalse || c.Reason == "" {
		t.Errorf("%+v", c)
	}
	report.Problems = []string{strings.Repeat("ü", maxMessage)}
	if c := condition(t, a.status(report, nil, metav1.Now()).Conditions, v1alpha1.Degraded); c.Status != metav1.ConditionTrue || len(c.Message) > maxMessage || !strings.HasSuffix(c.Message, "ü…") {
		t.Errorf("%+v", c)
	}
}

func TestDue(t *testing.T) {
	p := &pace{}
	status := func(denials int64, seen int64) v1alpha1.NodeStatusStatus {
		return v1alpha1.NodeStatusStatus{Seen: metav1.NewTime(time.Unix(seen, 0)), Policies: []v1alpha1.NodePolicy{{Policy: "p", Generation: 1, Denials: denials}}}
	}
	changed := status(1, 1)
	changed.Policies[0].Generation = 2
	for name, tt := range map[string]struct {
		status v1alpha1.NodeStatusStatus
		after  time.Duration
		want   bool
	}{
		"nothing":               {status(1, 9), 20 * time.Second, false},
		"it is still there":     {status(1, 9), 30 * time.Second, true},
		"counters":              {status(2, 9), 9 * time.Second, false},
		"counters, after a bit": {status(2, 9), 10 * time.Second, true},
		"a policy":              {changed, time.Second, true},
	} {
		if got := due(status(1, 1), tt.status, tt.after, p); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestPace checks what pace promises of any cluster.
func TestPace(t *testing.T) {
	for _, nodes := range []int64{0, 1, 3, 200, 1000, 5000, 10000} {
		p := &pace{}
		p.nodes.Store(nodes)
		for what, tt := range map[string]struct {
			every time.Duration
			most  float64
		}{
			"heartbeats": {p.heartbeat(), 17}, "counters": {p.counts(), 50}, "looks": {p.look(), 20}, "changes": {p.spread(), 500},
		} {
			if got := float64(nodes) / tt.every.Seconds(); got > tt.most {
				t.Errorf("%d nodes: %.1f %s a second, more than %.0f", nodes, got, what, tt.most)
			}
		}
		if told := float64(p.tallies(p.counts())) * float64(nodes) / p.counts().Seconds(); told > tally && p.tallies(p.counts()) > 1 {
			t.Errorf("%d nodes: agents are told of %.0f statuses a second", nodes, told)
		}
	}
}

// TestSame leaves out what does not matter to the set: statuses change all the time.
func TestSame(t *testing.T) {
	policy := func(generation int64, inForce string) *v1alpha1.Policy {
		p := &v1alpha1.Policy{ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: generation}}
		p.Status.InForce = inForce
		return p
	}
	pod := func(account, label string) *Pod {
		p := &Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"app": label}}}
		p.Spec.ServiceAccountName = account
		return p
	}
	for name, tt := range map[string]struct {
		before, after any
		want          bool
	}{
		"status":          {policy(1, "1/2"), policy(1, "2/2"), true},
		"spec":            {policy(1, "1/2"), policy(2, "1/2"), false},
		"pod":             {pod("a", "x"), pod("a", "x"), true},
		"label":           {pod("a", "x"), pod("a", "y"), false},
		"service account": {pod("a", "x"), pod("b", "x"), false},
	} {
		if got := same(tt.before, tt.after); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestStatusFailed tells of an API server that does not take the status, and not of one that has a bad moment.
func TestStatusFailed(t *testing.T) {
	var problem error
	a := testAgent(t, Options{Log: slog.New(slog.DiscardHandler), Problem: func(about string, err error) {
		if about == problemStatus {
			problem = err
		}
	}})
	r := &reporter{agent: a}
	skew := apierrors.NewInternalError(errors.New("field not declared in schema"))
	for i := range failuresMost - 1 {
		r.failed(skew, i+1)
	}
	r.failed(errors.New("connection refused"), 100)
	if problem != nil {
		t.Errorf("too early: %v", problem)
	}
	r.failed(fmt.Errorf("apply: %w", skew), failuresMost)
	if problem == nil || !strings.Contains(problem.Error(), "install the custom resource definitions") {
		t.Errorf("the problem is %v", problem)
	}
}
