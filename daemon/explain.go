package daemon

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/internal/rpc"
	"github.com/ebpfguard/ebpfguard/daemon/mitigate"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Explain implements [pb.GuardServiceServer]. It knows what /proc shows, which is less
// than the guard knows: of a script only its interpreter, of ancestors only those that
// live, and the program and the control group by the name that they have now.
func (s *service) Explain(_ context.Context, request *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	if request.GetPid() == 0 {
		return nil, rpc.Invalid("no process is named; write its pid")
	}
	described, subject, err := mitigate.LookUp(request.GetPid())
	if err != nil {
		return nil, status.Errorf(codes.NotFound, "there is no process %d; look at ps", request.GetPid())
	}
	response := &pb.ExplainResponse{Process: described}
	d := s.d
	d.mu.Lock()
	defer d.mu.Unlock()
	counters, err := d.ruleCounters()
	if err != nil {
		return nil, err
	}
	users, groups := policy.SystemNames()
	for _, p := range d.sets.all() {
		resolved, err := policy.ResolveNames([]policy.Policy{p}, users, groups)
		if err != nil || expired(p, d.now()) { // of a user that is no more, or ended
			continue
		}
		if _, _, ok := resolved[0].Subject.Match(subject); !ok {
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
