package daemon

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/internal/rpc"
	"github.com/ebpfguard/ebpfguard/internal/duration"
	"github.com/ebpfguard/ebpfguard/policy"
)

// How long a mitigation may be for.
const (
	shortestTTL = time.Second
	longestTTL  = 30 * 24 * time.Hour
)

// Mitigate implements [pb.GuardServiceServer].
func (s *service) Mitigate(ctx context.Context, request *pb.MitigateRequest) (*pb.MitigateResponse, error) {
	d := s.d
	p, profile, err := d.machine().Policy(request)
	if err != nil {
		return nil, err
	}
	if caller, ok := rpc.CallerPID(ctx); ok {
		if err := d.machine().CheckLockout(caller, p); err != nil && !request.GetForce() {
			return nil, err
		}
	}
	// What is killed cannot be matched afterwards; any other mitigation is in force first.
	kills := slices.ContainsFunc(p.Rules, func(r policy.Rule) bool { return r.Verdict == policy.Kill })
	warning := ""
	if kills {
		warning = d.machine().NoMatchWarning(p.Subject)
	}
	m, err := d.putMitigation(ctx, p, profile, request)
	if err != nil {
		return nil, err
	}
	if !kills {
		warning = d.machine().NoMatchWarning(p.Subject)
	}
	d.log.Warn("mitigation", "name", m.GetName(), "profile", m.GetProfile(), "subject", m.GetSubject(), "left", duration.Rough(m.GetLeft().AsDuration()), "warning", warning)
	if profile == "kill" && !request.GetAudit() {
		killed, err := d.machine().Kill(p.Subject)
		m.Killed = killed
		if err != nil {
			return nil, status.Errorf(codes.Internal, "the mitigation %q is in force, but some processes are still alive; the kernel kills them when they act: %v", m.GetName(), err)
		}
	}
	response := &pb.MitigateResponse{Mitigation: m}
	if warning != "" {
		response.Warnings = append(response.Warnings, policy.Warning{Policy: m.GetName(), Rule: -1, Text: warning}.String())
	}
	p.Name = m.GetName()
	for _, w := range policy.Warnings([]policy.Policy{p}) {
		response.Warnings = append(response.Warnings, w.String())
	}
	return response, nil
}

// putMitigation puts a mitigation in force under its name.
func (d *Daemon) putMitigation(ctx context.Context, p policy.Policy, profile string, request *pb.MitigateRequest) (*pb.Mitigation, error) {
	ttl := request.GetTtl()
	if ttl == nil {
		return nil, rpc.Invalid("the request has no ttl; set one from %s to %s", duration.Text(shortestTTL), duration.Text(longestTTL))
	}
	if err := ttl.CheckValid(); err != nil || ttl.AsDuration() < shortestTTL || ttl.AsDuration() > longestTTL {
		return nil, rpc.Invalid("a mitigation cannot last %s; choose from %s to %s", duration.Text(ttl.AsDuration()), duration.Text(shortestTTL), duration.Text(longestTTL))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.checkRunning(); err != nil {
		return nil, err
	}
	next := d.sets
	next.mitigations = unexpired(next.mitigations, d.now())
	p.Name = request.GetName()
	for n := 1; p.Name == ""; n++ {
		name := fmt.Sprintf("mitigation/%s-%d", profile, n)
		if origin, _ := next.origin(name); origin == pb.Origin_ORIGIN_UNSPECIFIED {
			p.Name = name
		}
	}
	switch origin, owned := next.origin(p.Name); origin {
	case pb.Origin_ORIGIN_UNSPECIFIED:
	case pb.Origin_ORIGIN_MITIGATION:
		return nil, status.Errorf(codes.FailedPrecondition, "the mitigation %q exists already; lift it, or choose another name", p.Name)
	default:
		return nil, status.Errorf(codes.FailedPrecondition, "the policy %q%s exists already; choose another name", p.Name, from(owned))
	}
	p = d.letGuardStart([]policy.Policy{p})[0]
	others := next.mitigations
	with := func(until uint64) sets {
		p.Until = until
		next.mitigations = append(slices.Clone(others), p)
		return next
	}
	if err := policy.Validate(with(d.now() + uint64(ttl.AsDuration())).all()); err != nil {
		return nil, rpc.Invalid("%v", err)
	}
	if !request.GetForce() {
		if err := d.checkMitigation(ctx, next); err != nil {
			return nil, err
		}
	}
	if err := d.publishFor(ttl.AsDuration(), with); err != nil {
		return nil, guardError(err)
	}
	return d.mitigation(p), nil
}

// Lift implements [pb.GuardServiceServer].
func (s *service) Lift(_ context.Context, request *pb.LiftRequest) (*pb.LiftResponse, error) {
	if request.GetAll() == (len(request.GetNames()) > 0) {
		return nil, rpc.Invalid("name at least one mitigation, or ask for all")
	}
	d := s.d
	defer d.lockAll()()
	if err := d.checkRunning(); err != nil {
		return nil, err
	}
	lifted := request.GetNames()
	if request.GetAll() {
		lifted = names(unexpired(d.sets.mitigations, d.now()))
	}
	for _, name := range lifted {
		if i := indexOf(d.sets.mitigations, name); i < 0 || expired(d.sets.mitigations[i], d.now()) {
			return nil, status.Errorf(codes.NotFound, "there is no mitigation %q; 'ebpfguard mitigate list' lists them", name)
		}
	}
	next := d.sets
	next.mitigations = slices.DeleteFunc(slices.Clone(next.mitigations), func(p policy.Policy) bool { return slices.Contains(lifted, p.Name) })
	if len(lifted) > 0 {
		next, retried := d.retryDirectory(next)
		if err := d.publish(next); err != nil {
			return nil, guardError(err)
		}
		retried()
		d.log.Warn("lifted mitigations", "names", lifted, "revision", d.revision)
	}
	return &pb.LiftResponse{Lifted: lifted}, nil
}
