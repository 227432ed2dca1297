package kubernetes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// reporting is who tells of events.
const reporting = "ebpfguard.io/agent"

// Annotations of events say what policy reports are made of.
const (
	annotationPolicy   = "ebpfguard.io/policy"
	annotationRule     = "ebpfguard.io/rule"
	annotationVerdict  = "ebpfguard.io/verdict"
	annotationSeverity = "ebpfguard.io/severity"
)

// What a policy may say of a pod: a burst of kinds of violations, and one more each seriesRefill. What is beyond is
// counted and told later.
const (
	seriesBurst  = 5
	seriesRefill = 30 * time.Second
	// seriesTime is how often a kind of violation is told again, with the number of all; twice as late each time, up to
	// seriesLate. After seriesEnd without one the next begins a new event: the API server forgets one after an hour.
	seriesTime = 10 * time.Second
	seriesLate = 10 * time.Minute
	seriesEnd  = 30 * time.Minute
	// maxSeries is how many kinds are known at a time. The alerts have all of them.
	maxSeries = 1000
)

// What the agent of a node writes of events at most.
const (
	nodeBurst    = 25
	nodesRate    = 500.0 // events a second of all nodes together
	slowestEvent = 10 * time.Second
)

// seriesKey is what violations have in common that are told as one event.
type seriesKey struct {
	namespace, pod, uid, container, policy string
	rule                                   int
	operation                              policy.Operation
	verdict                                policy.Verdict
}

// series are the violations of a kind.
type series struct {
	alert       ebpfguard.Alert // the first
	first, last time.Time
	count, told uint64
	name        string // of the event, when there is one
	due         time.Time
	wait        time.Duration
}

// recorder makes events of alerts. Taking an alert never waits for the API server.
type recorder struct {
	agent *Agent
	mu    sync.Mutex
	all   map[seriesKey]*series
	// left are alerts that no event tells of.
	left uint64
	// buckets limit what is told of a pod and a policy, node what is in all.
	buckets map[[2]string]*bucket
	node    bucket
}

func newRecorder(a *Agent) *recorder {
	return &recorder{agent: a, all: map[seriesKey]*series{}, buckets: map[[2]string]*bucket{}}
}

// run tells of alerts until the context ends.
func (r *recorder) run(ctx context.Context) {
	alerts, err := r.agent.options.Alerts(ctx)
	if err != nil {
		r.agent.options.Log.Error("there are no events of alerts; restart the daemon", "error", err)
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for alert, err := range alerts {
			r.mu.Lock()
			if err == nil {
				r.add(alert)
			}
			r.mu.Unlock()
		}
	}()
	for ctx.Err() == nil {
		for _, key := range r.due(time.Now()) {
			if ctx.Err() == nil {
				r.write(ctx, key)
			}
		}
		sleep(ctx, time.Second)
	}
	<-done
}

// add counts an alert. The caller holds mu.
func (r *recorder) add(alert ebpfguard.Alert) {
	c := alert.Context()
	key := seriesKey{policy: c.Policy, rule: c.Rule, operation: c.Operation, verdict: c.Verdict}
	if c.Container != nil && c.Container.Pod != nil {
		p := c.Container.Pod
		key.namespace, key.pod, key.uid, key.container = p.Namespace, p.Name, p.UID, c.Container.Name
	}
	last := c.Time
	if c.Last.After(last) {
		last = c.Last
	}
	s := r.all[key]
	if s == nil {
		if len(r.all) >= maxSeries {
			r.left += max(c.Count, 1)
			return
		}
		s = &series{alert: alert, first: c.Time}
		r.all[key] = s
	}
	s.count += max(c.Count, 1)
	s.last = last
}

// due returns the kinds of violations that are to be told now, those that were never told first, and forgets old ones.
func (r *recorder) due(now time.Time) []seriesKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.all, func(_ seriesKey, s *series) bool { return s.count == s.told && now.Sub(s.due) > seriesEnd })
	maps.DeleteFunc(r.buckets, func(_ [2]string, b *bucket) bool { return now.Sub(b.at) > seriesBurst*seriesRefill })
	var keys []seriesKey
	for key, s := range r.all {
		if s.count > s.told && !now.Before(s.due) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b seriesKey) int { return r.all[a].first.Compare(r.all[b].first) })
	slices.SortStableFunc(keys, func(a, b seriesKey) int { return len(r.all[a].name) - len(r.all[b].name) })
	return slices.DeleteFunc(keys, func(key seriesKey) bool { return !r.may(key, now) })
}

// may takes from the buckets what an event costs, if they have it.
func (r *recorder) may(key seriesKey, now time.Time) bool {
	of := [2]string{key.uid + key.pod, key.policy}
	if r.buckets[of] == nil {
		r.buckets[of] = &bucket{}
	}
	b := r.buckets[of]
	if !b.has(now, seriesBurst, seriesRefill) {
		return false
	}
	n := float64(max(r.agent.pace.nodes.Load(), 100))
	if !r.node.has(now, nodeBurst, min(time.Duration(n/nodesRate*float64(time.Second)), slowestEvent)) {
		return false
	}
	b.take()
	r.node.take()
	return true
}

// write tells of a kind of violations: by an event, or by the number of them in the one that there is.
func (r *recorder) write(ctx context.Context, key seriesKey) {
	r.mu.Lock()
	s := *r.all[key]
	r.mu.Unlock()
	var err error
	event := r.event(key, s)
	path := "/api/v1/namespaces/" + event.Namespace + "/events"
	if s.name == "" {
		err = r.agent.clients.create(ctx, path, event, nil)
	} else {
		err = r.agent.clients.merge(ctx, path+"/"+s.name, map[string]any{"series": event.Series}, nil)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.all[key]
	switch {
	case err == nil:
		now.told, now.name = s.count, event.Name
		now.wait = min(max(2*s.wait, seriesTime), seriesLate)
		r.agent.options.Problem(problemEvents, nil)
	case apierrors.IsNotFound(err) && s.name != "": // the API server has forgotten it
		now.name, now.first = "", now.last
	case apierrors.IsForbidden(err) && !apierrors.HasStatusCause(err, "NamespaceTerminating"):
		r.agent.options.Problem(problemEvents, fmt.Errorf("violations are not told in events: %w; give the agent's service account the right to create and patch events, or set kubernetes_events: false", err))
		now.wait = seriesLate
	default: // the namespace is being deleted, or the API server does not answer
		r.agent.options.Log.Debug("an event cannot be written", "namespace", key.namespace, "pod", key.pod, "error", err)
		now.wait = min(max(2*s.wait, seriesTime), seriesLate)
	}
	now.due = time.Now().Add(now.wait)
}

// event returns what tells of a kind of violations: on the pod, or on the node for what is in no pod.
func (r *recorder) event(key seriesKey, s series) Event {
	c := s.alert.Context()
	c.Count = 1
	// Without the time, which the event has.
	_, text, _ := strings.Cut(s.alert.WithContext(c).String(), " ")
	e := Event{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Event"}, Type: "Warning", Reason: reasons[key.verdict], Message: shorten(text),
		Action: string(key.operation), EventTime: metav1.NewMicroTime(s.first), ReportingComponent: reporting, ReportingInstance: r.agent.options.Node,
	}
	if len(e.ReportingInstance) > maxInstance {
		e.ReportingInstance = e.ReportingInstance[:maxInstance]
	}
	e.Annotations = map[string]string{
		annotationPolicy: key.policy, annotationRule: strconv.Itoa(key.rule), annotationVerdict: key.verdict.String(), annotationSeverity: string(c.Severity),
	}
	if s.count > 1 {
		e.Series = &EventSeries{Count: int32(min(s.count, 1<<31-1)), LastObservedTime: metav1.NewMicroTime(s.last)}
	}
	on := &e.InvolvedObject
	if key.pod != "" {
		*on = ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: key.namespace, Name: key.pod, UID: r.agent.podUID(key)}
		if key.container != "" {
			on.FieldPath = "spec.containers{" + key.container + "}"
		}
		e.Namespace = key.namespace
	} else {
		*on = ObjectReference{APIVersion: "v1", Kind: "Node", Name: r.agent.options.Node, UID: r.agent.options.Node} // as the kubelet does
		e.Namespace = metav1.NamespaceDefault
	}
	e.Name = s.name
	if e.Name == "" {
		// As client-go names them, but also different for what happens at once.
		e.Name = fmt.Sprintf("%.200s.%x%04x", on.Name, s.first.UnixNano(), within(1<<16))
	}
	return e
}

// podUID returns the uid that the API server has for a pod. For one that the kubelet has from a file the runtime knows
// another.
func (a *Agent) podUID(key seriesKey) string {
	object, _, err := a.pods.GetByKey(key.namespace + "/" + key.pod)
	if p, ok := object.(*Pod); ok && err == nil && p.Annotations[mirrorAnnotation] == key.uid && key.uid != "" {
		return string(p.UID)
	}
	return key.uid
}

// reasons are the reasons of events.
var reasons = map[policy.Verdict]string{policy.Audit: "PolicyAudited", policy.Deny: "PolicyDenied", policy.Kill: "PolicyKilled"}

const maxInstance = 128 // of the API server

// bucket holds tokens for what may be done; it is full at first.
type bucket struct {
	used float64
	at   time.Time
}

// has reports whether there is a token, of most and one more each refill.
func (b *bucket) has(now time.Time, most float64, refill time.Duration) bool {
	if !b.at.IsZero() {
		b.used = max(0, b.used-now.Sub(b.at).Seconds()/refill.Seconds())
	}
	b.at = now
	return b.used+1 <= most
}

func (b *bucket) take() { b.used++ }
