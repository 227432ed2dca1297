// Package metrics shows Prometheus, and health checks, what a daemon
// does. docs/metrics.md lists the metrics.
package metrics

import (
	"context"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

// Status asks the daemon for its state.
type Status func(context.Context) (*pb.StatusResponse, error)

// statusTimeout is how long the daemon may take to answer.
const statusTimeout = 5 * time.Second

// MaxRules is how many rules have a series each. Those beyond it, in the order
// of the policies, are counted by ebpfguard_rules_without_series only: a set of
// 100,000 rules must not fill the memory of Prometheus.
const MaxRules = 1000

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("ebpfguard_"+name, help, labels, nil)
}

var (
	up        = describe("up", "Whether the daemon reports its state.")
	buildInfo = describe("build_info", "Always 1; the labels describe the build.", "version", "goversion")
	degraded  = describe("degraded", "Whether something needs attention; the status says what.")
	problems  = describe("problems", "Problems in the status.")
	adopted   = describe("adopted", "Whether this daemon took over enforcement from a previous one.")

	policies    = describe("policies", "Policies in force.")
	rules       = describe("rules", "Rules in force.")
	mitigations = describe("mitigations", "Mitigations in force.")
	revision    = describe("revision", "Revision of the policy set in force.")
	applied     = describe("applied_timestamp_seconds", "When the policy set in force was applied.")
	attached    = describe("operation_attached", "Whether the operation is judged.", "operation")

	decisions = describe("decisions_total", "Decisions of rules since the enforcement began; what no pattern matches, or only allow: all, is allowed and not counted.", "operation", "verdict")
	undecided = describe("undecided_total", "Audited or refused operations where the guard knew too little to decide.", "operation")
	alerts    = describe("alerts_total", "Alerts of the kernel: sent, lost because the buffer was full, or left out by the limit of a rule.", "operation", "outcome")
	hits      = describe("rule_hits_total", "Operations that the rule audited, denied or killed.", "policy", "rule", "operation")
	unlisted  = describe("rules_without_series", "Rules without a series, because there are too many.")

	read     = describe("alerts_read_total", "Alerts that this daemon read from the kernel.")
	folded   = describe("alerts_folded_total", "Alerts that were folded into an identical one.")
	sequence = describe("alert_sequence", "Number of the last alert.")
	sinks    = describe("sink_alerts_total", "Alerts by what the sink did with them.", "sink", "outcome")
	failing  = describe("sink_failing", "Whether the last write of the sink failed.", "sink")

	containers      = describe("containers", "Containers that are known.")
	unidentified    = describe("unidentified_containers", "Containers that run although no source knows them.")
	sourceConnected = describe("container_source_connected", "Whether the source hears of every container that starts.", "source")
	sourceKnows     = describe("container_source_containers", "Containers that the source tells of.", "source")
	inContainers    = describe("container_decisions_total", "Operations of the alerts that this daemon read, by the name of the container; empty names are those of which nothing is known.", "namespace", "container", "verdict")
	inOthers        = describe("container_decisions_without_series_total", "Operations of alerts in containers without a series, because there are too many.")
)

var descriptions = []*prometheus.Desc{
	up, buildInfo, degraded, problems, adopted, policies, rules, mitigations, revision, applied, attached,
	decisions, undecided, alerts, hits, unlisted, read, folded, sequence, sinks, failing,
	containers, unidentified, sourceConnected, sourceKnows, inContainers, inOthers,
}

// collector asks for the state at each scrape.
type collector struct{ status Status }

// NewCollector returns a collector of what is in the status.
func NewCollector(status Status) prometheus.Collector { return collector{status} }

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		ch <- d
	}
}

// Collect implements prometheus.Collector. When the daemon does not report its
// state, ebpfguard_up is 0 and there is nothing else.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	m := sender{ch}
	s, err := c.status(ctx)
	m.gauge(up, truth(err == nil))
	if err != nil {
		return
	}
	m.gauge(buildInfo, 1, s.GetVersion(), runtime.Version())
	m.gauge(degraded, truth(s.GetState() != pb.StatusResponse_STATE_ENFORCING))
	m.gauge(problems, float64(len(s.GetProblems())))
	m.gauge(adopted, truth(s.GetAdopted()))
	m.gauge(policies, float64(s.GetPolicies()))
	m.gauge(rules, float64(s.GetRules()))
	m.gauge(mitigations, float64(s.GetMitigations()))
	m.gauge(revision, float64(s.GetRevision()))
	if at := s.GetApplied(); at != nil {
		m.gauge(applied, float64(at.AsTime().UnixMilli())/1000)
	}
	for _, o := range s.GetOperations() {
		m.operation(o)
	}
	for i, r := range s.GetRuleCounters() {
		if i == MaxRules {
			break
		}
		m.counter(hits, r.GetHits(), r.GetPolicy(), strconv.FormatUint(uint64(r.GetRule()), 10), r.GetOperation())
	}
	m.gauge(unlisted, float64(max(0, len(s.GetRuleCounters())-MaxRules)))
	m.containers(s.GetContainers())
	a := s.GetAlerts()
	m.counter(read, a.GetRead())
	m.counter(folded, a.GetFolded())
	m.gauge(sequence, float64(a.GetSequence()))
	for _, sink := range a.GetSinks() {
		m.counter(sinks, sink.GetWritten(), sink.GetName(), "written")
		m.counter(sinks, sink.GetFiltered(), sink.GetName(), "filtered")
		m.counter(sinks, sink.GetDropped(), sink.GetName(), "dropped")
		m.gauge(failing, truth(sink.GetError() != ""), sink.GetName())
	}
}

// MaxContainers is how many names of containers have series.
const MaxContainers = 100

// containers sends what is known of containers.
func (m sender) containers(s *pb.ContainersStatus) {
	m.gauge(containers, float64(s.GetKnown()))
	m.gauge(unidentified, float64(s.GetUnidentified()))
	for _, source := range s.GetSources() {
		m.gauge(sourceConnected, truth(source.GetConnected()), source.GetName())
		m.gauge(sourceKnows, float64(source.GetContainers()), source.GetName())
	}
	others := s.GetOthers()
	for i, c := range s.GetCounters() {
		if i >= MaxContainers { // the daemon tells of no more
			others += c.GetAudited() + c.GetDenied()
			continue
		}
		m.counter(inContainers, c.GetAudited(), c.GetNamespace(), c.GetName(), "audit")
		m.counter(inContainers, c.GetDenied()-min(c.GetDenied(), c.GetKilled()), c.GetNamespace(), c.GetName(), "deny")
		m.counter(inContainers, c.GetKilled(), c.GetNamespace(), c.GetName(), "kill")
	}
	m.counter(inOthers, others)
}

// sender sends metrics.
type sender struct{ ch chan<- prometheus.Metric }

func (m sender) operation(o *pb.OperationCounters) {
	name := o.GetOperation()
	m.gauge(attached, truth(o.GetAttached()), name)
	m.counter(decisions, o.GetAllowed(), name, "allow")
	m.counter(decisions, o.GetAudited(), name, "audit")
	// What is killed is denied too; a decision counts once.
	m.counter(decisions, o.GetDenied()-min(o.GetDenied(), o.GetKilled()), name, "deny")
	m.counter(decisions, o.GetKilled(), name, "kill")
	m.counter(undecided, o.GetUndecided(), name)
	m.counter(alerts, o.GetAlerts(), name, "sent")
	m.counter(alerts, o.GetAlertsLost(), name, "lost")
	m.counter(alerts, o.GetAlertsLimited(), name, "limited")
}

func (m sender) counter(d *prometheus.Desc, value uint64, labels ...string) {
	m.send(d, prometheus.CounterValue, float64(value), labels)
}

func (m sender) gauge(d *prometheus.Desc, value float64, labels ...string) {
	m.send(d, prometheus.GaugeValue, value, labels)
}

func (m sender) send(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels []string) {
	for i, label := range labels { // anything else ends the whole scrape
		labels[i] = strings.ToValidUTF8(label, "\ufffd")
	}
	metric, err := prometheus.NewConstMetric(d, kind, value, labels...)
	if err != nil {
		metric = prometheus.NewInvalidMetric(d, err)
	}
	m.ch <- metric
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
