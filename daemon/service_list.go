package daemon

import (
	"context"
	"errors"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ebpfguard/ebpfguard"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/internal/rpc"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/sink"
)

// List implements [pb.GuardServiceServer].
func (s *service) List(_ context.Context, request *pb.ListRequest) (*pb.ListResponse, error) {
	d := s.d
	var only []policy.Container
	if request.GetContainer() != "" {
		var err error
		if only, err = d.findContainer(request.GetContainer()); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	counters, err := d.ruleCounters()
	if err != nil {
		return nil, err
	}
	response := &pb.ListResponse{Revision: d.revision}
	for _, p := range d.sets.all() {
		if only != nil && !concerns(p, only) {
			continue
		}
		described, err := d.describe(p, counters)
		if err != nil {
			return nil, err
		}
		response.Policies = append(response.Policies, described)
	}
	return response, nil
}

// Get implements [pb.GuardServiceServer].
func (s *service) Get(_ context.Context, request *pb.GetRequest) (*pb.GetResponse, error) {
	d := s.d
	d.mu.Lock()
	defer d.mu.Unlock()
	counters, err := d.ruleCounters()
	if err != nil {
		return nil, err
	}
	origin, p := d.sets.origin(request.GetName())
	if origin == pb.Origin_ORIGIN_UNSPECIFIED {
		return nil, notFound(request.GetName())
	}
	described, err := d.describe(p, counters)
	if err != nil {
		return nil, err
	}
	return &pb.GetResponse{Policy: described}, nil
}

// describe returns a policy as the API describes it. The caller holds mu.
func (d *Daemon) describe(p policy.Policy, counters map[string][]*pb.RuleCounters) (*pb.Policy, error) {
	text, err := policy.Marshal([]policy.Policy{p})
	if err != nil {
		return nil, status.Errorf(codes.Internal, "policy %q: %v", p.Name, err)
	}
	mode := policy.ModeEnforce
	if p.Mode == policy.ModeAudit {
		mode = policy.ModeAudit
	}
	origin, _ := d.sets.origin(p.Name)
	described := &pb.Policy{
		Name: p.Name, Origin: origin, Source: p.Source, Mode: mode.String(), Yaml: string(text), Rules: counters[p.Name],
	}
	if origin == pb.Origin_ORIGIN_MITIGATION {
		described.Mitigation = d.mitigation(p)
	}
	return described, nil
}

// ruleCounters returns what rules decided, by policy. The caller holds mu.
func (d *Daemon) ruleCounters() (map[string][]*pb.RuleCounters, error) {
	if err := d.checkRunning(); err != nil {
		return nil, err
	}
	stats, err := d.guard.RuleStats()
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	counters := map[string][]*pb.RuleCounters{}
	for _, s := range stats {
		counters[s.Policy] = append(counters[s.Policy], ruleCounter(s))
	}
	return counters, nil
}

func ruleCounter(s ebpfguard.RuleStats) *pb.RuleCounters {
	return &pb.RuleCounters{
		Policy: s.Policy, Rule: uint32(s.Rule), Operation: string(s.Operation),
		Hits: s.Hits, AlertsLost: s.AlertsLost, AlertsLimited: s.AlertsLimited,
	}
}

// subscribe subscribes to the alerts from where a request wants them.
func (s *service) subscribe(ctx context.Context, filter sink.Filter, request *pb.WatchRequest) (iter.Seq2[ebpfguard.Alert, error], error) {
	p := s.d.pipeline
	switch {
	case request.GetRecent() && request.After != nil:
		return nil, errors.New("recent and after exclude each other; set one of them")
	case request.GetUntilNow() && !request.GetRecent() && request.After == nil:
		return nil, errors.New("until_now alone means no alerts at all; set recent or after as well")
	case request.GetUntilNow():
		return p.Recent(ctx, filter, request.After)
	case request.GetRecent():
		return p.SubscribeRecent(ctx, filter)
	case request.After != nil:
		return p.SubscribeAfter(ctx, filter, request.GetAfter())
	}
	return p.Subscribe(ctx, filter)
}

// Watch implements [pb.GuardServiceServer].
func (s *service) Watch(request *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.WatchResponse]) error {
	leave, err := s.d.watchers.enter(rpc.CallerUID(stream.Context()))
	if err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	defer leave()
	filter := sink.Filter{
		Operations: request.GetOperations(), Policies: request.GetPolicies(), Verdicts: request.GetVerdicts(),
		Severities: request.GetSeverities(), Binaries: request.GetBinaries(),
		Containers: request.GetContainers(), Pods: request.GetPods(),
	}
	alerts, err := s.subscribe(stream.Context(), filter, request)
	switch {
	case errors.Is(err, sink.ErrTooManySubscribers):
		return status.Error(codes.FailedPrecondition, err.Error())
	case err != nil:
		return rpc.Invalid("%v", err)
	}
	if err := stream.Send(&pb.WatchResponse{Event: &pb.WatchResponse_Subscribed{Subscribed: true}}); err != nil {
		return err
	}
	for alert, err := range alerts {
		response := &pb.WatchResponse{}
		var lost *ebpfguard.LostAlertsError
		switch {
		case errors.As(err, &lost):
			response.Event = &pb.WatchResponse_Lost{Lost: lost.Count}
		case err != nil:
			return status.Error(codes.Internal, err.Error())
		default:
			text, err := alert.MarshalJSON()
			if err != nil {
				return status.Error(codes.Internal, err.Error())
			}
			response.Event, response.Text, response.Alert = &pb.WatchResponse_Json{Json: string(text)}, alert.String(), alertMessage(alert)
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
	if stream.Context().Err() == nil && !request.GetUntilNow() {
		return status.Error(codes.Unavailable, "the daemon is shutting down; watch again when it is back")
	}
	return nil
}
