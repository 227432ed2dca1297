package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ebpfguard/ebpfguard"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/internal/rpc"
	"github.com/ebpfguard/ebpfguard/internal/machine"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Validate implements [pb.GuardServiceServer]. It is for those who may apply: policies name files whose
// content their errors may tell.
func (s *service) Validate(ctx context.Context, request *pb.ValidateRequest) (*pb.ValidateResponse, error) {
	response := &pb.ValidateResponse{}
	wrong := func(err error) *pb.ValidateResponse {
		response.Problems = append(response.Problems, strings.Split(err.Error(), "\n")...)
		return response
	}
	set, err := policy.Parse(cmp.Or(request.GetName(), "request"), []byte(request.GetYaml()))
	if err != nil {
		return wrong(err), nil
	}
	response.Policies = names(set)
	if err := checkPersistable(set); err != nil {
		return wrong(err), nil
	}
	d := s.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.checkRunning(); err != nil {
		return nil, err
	}
	next := d.sets
	next.applied = merge(d.sets.applied, set)
	if err := errors.Join(next.unique(), policy.Validate(next.all())); err != nil {
		return wrong(err), nil
	}
	if err := d.guard.Check(next.at(d.now()).inForce()); err != nil {
		return wrong(err), nil
	}
	warnings := slices.DeleteFunc(policy.Warnings(next.all()), func(w policy.Warning) bool { return indexOf(set, w.Policy) < 0 })
	for _, w := range append(warnings, machine.Warnings(set)...) {
		response.Warnings = append(response.Warnings, w.String())
	}
	caller, _ := rpc.CallerPID(ctx)
	if err := d.checkLockout(caller, d.sets.all(), next.all()); err != nil {
		return wrong(err), nil
	}
	return response, nil
}

// Check implements [pb.GuardServiceServer].
func (s *service) Check(context.Context, *pb.CheckRequest) (*pb.CheckResponse, error) {
	report := ebpfguard.ProbeFor(s.d.place)
	text, err := json.Marshal(report)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &pb.CheckResponse{Enforcing: report.Err() == nil, Json: string(text)}, nil
}
