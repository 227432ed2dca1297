package kubernetes

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"

	"github.com/ebpfguard/ebpfguard/policy"
)

// Policy reports of wgpolicyk8s.io are one object a namespace, and one for what is in none. The leader alone writes
// them, from the events of all agents: these are folded and limited already, and their list of results is one field,
// which several writers would take from each other.
const (
	reportGroup = "wgpolicyk8s.io/v1alpha2"
	reportName  = "ebpfguard"
	// reportTime is how often the reports are brought up to date, reportLate how long after they could not be.
	reportTime = 15 * time.Second
	reportLate = 5 * time.Minute
	// maxResults is how many kinds of violations a report has, the latest ones.
	maxResults = 200
)

// report is a PolicyReport or ClusterPolicyReport, as far as it is used here.
type report struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        reportMeta     `json:"metadata"`
	Summary         reportSummary  `json:"summary"`
	Results         []reportResult `json:"results"`
}

type reportMeta struct {
	Namespace string            `json:"namespace,omitempty"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels,omitempty"`
}

type reportSummary struct {
	Pass  int `json:"pass"`
	Fail  int `json:"fail"`
	Warn  int `json:"warn"`
	Error int `json:"error"`
	Skip  int `json:"skip"`
}

type reportResult struct {
	Source     string            `json:"source"`
	Policy     string            `json:"policy"`
	Rule       string            `json:"rule,omitempty"`
	Result     string            `json:"result"`
	Severity   string            `json:"severity,omitempty"`
	Message    string            `json:"message,omitempty"`
	Timestamp  reportTimestamp   `json:"timestamp"`
	Resources  []ObjectReference `json:"resources,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
}

type reportTimestamp struct {
	Seconds int64 `json:"seconds"`
	Nanos   int32 `json:"nanos"`
}

// reports writes policy reports.
type reports struct {
	agent  *Agent
	events *objects
	// written are those that are there, by their namespaces; "" is that of the cluster.
	written map[string]report
}

func newReports(a *Agent) *reports {
	own := fields.OneTermEqualSelector("reportingComponent", reporting)
	return &reports{agent: a, events: a.cacheOf(a.clients.core, "events", own, &Event{}, nil), written: map[string]report{}}
}

// run writes reports until the context ends.
func (r *reports) run(ctx context.Context) {
	done := make(chan struct{})
	defer func() {
		<-done
		r.agent.options.Problem(problemReport, nil) // it is another's now
	}()
	go func() {
		defer close(done)
		r.events.run(ctx)
	}()
	if !cache.WaitForCacheSync(ctx.Done(), r.events.HasSynced) {
		return
	}
	for first := true; ctx.Err() == nil; first = false {
		err := r.write(ctx, first)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			r.agent.options.Problem(problemReport, nil)
			sleep(ctx, jitter(reportTime))
			continue
		case apierrors.IsNotFound(err):
			err = fmt.Errorf("the API server has no policy reports (%s), so there are none of violations; install their custom resource definitions, or set policy_reports: false: %w", reportGroup, err)
		case apierrors.IsForbidden(err):
			err = fmt.Errorf("policy reports cannot be written; let the agent's service account get, list, create, patch and delete them (chart: policyReports), or set policy_reports: false: %w", err)
		}
		r.agent.options.Problem(problemReport, fmt.Errorf("policy reports: %w", err))
		sleep(ctx, jitter(reportLate))
	}
}

// write brings the reports up to date, and removes those of which nothing is left.
func (r *reports) write(ctx context.Context, first bool) error {
	if first {
		if err := r.find(ctx); err != nil {
			return err
		}
	}
	var events []*Event
	for _, object := range r.events.List() {
		events = append(events, object.(*Event))
	}
	now := reportsOf(events)
	for _, namespace := range slices.Sorted(maps.Keys(now)) {
		if before, ok := r.written[namespace]; ok && reflect.DeepEqual(before, now[namespace]) {
			continue
		}
		if err := r.agent.clients.apply(ctx, reportPath(namespace)+"/"+reportName, leaderManager, now[namespace], nil); isGone(err, namespace) {
			continue
		} else if err != nil {
			return err
		}
		r.written[namespace] = now[namespace]
	}
	for namespace := range r.written {
		if _, ok := now[namespace]; !ok {
			if err := r.agent.clients.remove(ctx, reportPath(namespace)+"/"+reportName); err != nil {
				return err
			}
			delete(r.written, namespace)
		}
	}
	return nil
}

// isGone reports whether a namespace does not exist any more, or is being deleted. The kind of object missing is
// another matter.
func isGone(err error, namespace string) bool {
	status, ok := err.(apierrors.APIStatus) //nolint:errorlint // the API server's answer itself
	return namespace != "" && (apierrors.HasStatusCause(err, "NamespaceTerminating") ||
		ok && apierrors.IsNotFound(err) && status.Status().Details != nil && status.Status().Details.Kind == "namespaces")
}

// find looks which reports former leaders have left.
func (r *reports) find(ctx context.Context) error {
	for _, kind := range []string{"policyreports", "clusterpolicyreports"} {
		var found struct {
			Items []struct {
				Metadata reportMeta `json:"metadata"`
			} `json:"items"`
		}
		if err := r.agent.clients.get(ctx, "/apis/"+reportGroup+"/"+kind, &found); err != nil {
			return err
		}
		for _, item := range found.Items {
			if item.Metadata.Name == reportName {
				r.written[item.Metadata.Namespace] = report{}
			}
		}
	}
	return nil
}

func reportPath(namespace string) string {
	if namespace == "" {
		return "/apis/" + reportGroup + "/clusterpolicyreports"
	}
	return "/apis/" + reportGroup + "/namespaces/" + namespace + "/policyreports"
}

// reportsOf makes the reports of events, by their namespaces. An event on a node is in the cluster's.
func reportsOf(events []*Event) map[string]report {
	results := map[string][]reportResult{}
	for _, e := range events {
		results[e.InvolvedObject.Namespace] = append(results[e.InvolvedObject.Namespace], resultOf(e))
	}
	all := map[string]report{}
	for namespace, of := range results {
		slices.SortFunc(of, func(a, b reportResult) int { // the latest first
			return cmp.Or(cmp.Compare(b.Timestamp.Seconds, a.Timestamp.Seconds), cmp.Compare(b.Timestamp.Nanos, a.Timestamp.Nanos),
				strings.Compare(a.Policy+a.Rule+a.Message, b.Policy+b.Rule+b.Message))
		})
		r := report{
			TypeMeta: metav1.TypeMeta{APIVersion: reportGroup, Kind: "PolicyReport"},
			Metadata: reportMeta{Namespace: namespace, Name: reportName, Labels: map[string]string{"app.kubernetes.io/managed-by": reportName}},
			Results:  of[:min(len(of), maxResults)],
		}
		if namespace == "" {
			r.Kind = "ClusterPolicyReport"
		}
		for _, result := range of {
			if result.Result == "fail" {
				r.Summary.Fail++
			} else {
				r.Summary.Warn++
			}
		}
		all[namespace] = r
	}
	return all
}

// resultOf makes a result of an event.
func resultOf(e *Event) reportResult {
	last, count := e.EventTime, int32(1)
	if e.Series != nil {
		last, count = e.Series.LastObservedTime, e.Series.Count
	}
	on := e.InvolvedObject
	on.FieldPath = ""
	result := reportResult{
		Source: reportName, Policy: publicName(e.Annotations[annotationPolicy]), Rule: e.Annotations[annotationRule], Result: "fail",
		Severity: e.Annotations[annotationSeverity], Message: e.Message, Resources: []ObjectReference{on},
		Timestamp:  reportTimestamp{last.Unix(), int32(last.Nanosecond())},
		Properties: map[string]string{"count": strconv.Itoa(int(count)), "operation": e.Action, "node": e.ReportingInstance, "verdict": e.Annotations[annotationVerdict]},
	}
	if result.Policy == "" { // nothing was decided by a rule
		result.Policy, result.Rule = reportName, ""
	}
	if e.Annotations[annotationVerdict] == policy.Audit.String() {
		result.Result = "warn"
	}
	return result
}
