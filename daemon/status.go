package daemon

import (
	"context"
	"fmt"
	"os"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Status implements [pb.GuardServiceServer].
func (s *service) Status(ctx context.Context, _ *pb.StatusRequest) (*pb.StatusResponse, error) {
	return s.d.status(ctx)
}

// status returns what is in force and what was decided.
func (d *Daemon) status(context.Context) (*pb.StatusResponse, error) {
	if !d.tidying.Swap(true) {
		d.tidy.Reset(tidyTime)
	}
	c := d.configuration()
	s := &pb.StatusResponse{
		Version: d.options.Version, Host: hostroot.Host().Hostname(), BootId: procfs.BootID(), Pid: int32(os.Getpid()),
		Started: timestamppb.New(d.started), PinPath: c.Pins,
		PolicyDirectory: c.Policies, ResidentBytes: procfs.ResidentBytes(),
	}
	if !d.up.Load() {
		s.State = pb.StatusResponse_STATE_STARTING
		return s, nil
	}
	s.Adopted = d.adopted
	if err := d.enforced(s); err != nil {
		return nil, err
	}
	d.mu.Lock()
	concerned := containers.Concern(d.sets.all())
	d.mu.Unlock()
	s.Containers = d.containersStatus(concerned)
	s.Alerts = d.alertCounters()
	s.Problems = d.problemsNow(s.GetContainers(), s.GetAlerts())
	s.InForce = !slices.ContainsFunc([]string{problemApplied, problemCluster, problemLost}, d.isProblem)
	s.State = pb.StatusResponse_STATE_ENFORCING
	if len(s.GetProblems()) > 0 {
		s.State = pb.StatusResponse_STATE_DEGRADED
	}
	return s, nil
}

// problemsNow returns all that is not well, given what is known of containers and of outputs.
func (d *Daemon) problemsNow(c *pb.ContainersStatus, alerts *pb.AlertCounters) []string {
	all := append(d.problemTexts(), d.containerProblems(c)...)
	for _, out := range alerts.GetSinks() {
		if out.GetError() != "" {
			all = append(all, fmt.Sprintf("alerts are not written to the output %s: %s", out.GetName(), out.GetError()))
		}
	}
	return all
}

// enforced adds what the guard knows.
func (d *Daemon) enforced(s *pb.StatusResponse) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.checkRunning(); err != nil {
		return err
	}
	set := d.sets.all()
	s.Unconfirmed = d.unconfirmed()
	s.Revision, s.Policies, s.Mitigations = d.revision, uint32(len(set)), uint32(len(d.sets.mitigations))
	if !d.publishedAt.IsZero() {
		s.Applied = timestamppb.New(d.publishedAt)
	}
	attached := map[policy.Operation]bool{}
	for _, p := range set {
		s.Rules += uint32(len(p.Rules))
		for _, r := range p.Rules {
			attached[r.Operation] = true
		}
	}
	for _, o := range policy.Operations() {
		c, err := d.guard.Stats(o)
		if err != nil {
			return status.Error(codes.Internal, err.Error())
		}
		s.Operations = append(s.Operations, &pb.OperationCounters{
			Operation: string(o), Attached: attached[o], Allowed: c.Allowed, Audited: c.Audited, Denied: c.Denied, Killed: c.Killed,
			Undecided: c.Undecided, Alerts: c.Alerts, AlertsLost: c.AlertsLost, AlertsLimited: c.AlertsLimited,
		})
	}
	rules, err := d.guard.RuleStats()
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	for _, r := range rules {
		s.RuleCounters = append(s.RuleCounters, ruleCounter(r))
	}
	return nil
}

func (d *Daemon) alertCounters() *pb.AlertCounters {
	c := d.pipeline.Counters()
	counters := &pb.AlertCounters{Read: c.Read, Folded: c.Folded, Sequence: c.Sequence}
	for _, out := range c.Sinks {
		sinkCounters := &pb.SinkCounters{Name: out.Name, Written: out.Written, Filtered: out.Filtered, Dropped: out.Dropped}
		if out.Err != nil {
			sinkCounters.Error = out.Err.Error()
		}
		counters.Sinks = append(counters.Sinks, sinkCounters)
	}
	return counters
}
