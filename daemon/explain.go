package daemon

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/explain"
	"github.com/ebpfguard/ebpfguard/daemon/internal/rpc"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Explain implements [pb.GuardServiceServer]. Of a running process it knows what /proc shows,
// which is less than the guard knows: of a script only its interpreter, of ancestors only those
// that live, and the program and the control group by the name that they have now.
func (s *service) Explain(_ context.Context, request *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	d := s.d
	users, groups := hostroot.Host().Names()
	described, subject, err := d.explainedProcess(request, users)
	if err != nil {
		return nil, err
	}
	object, err := explainedObject(request, subject, users, groups)
	if err != nil {
		return nil, err
	}
	response := &pb.ExplainResponse{Process: described}
	d.mu.Lock()
	defer d.mu.Unlock()
	counters, err := d.ruleCounters()
	if err != nil {
		return nil, err
	}
	var set []policy.Policy
	for _, p := range d.sets.all() {
		resolved, err := policy.ResolveNames([]policy.Policy{p}, users, groups)
		if err != nil || expired(p, d.now()) { // of a user that is no more, or ended
			continue
		}
		set = append(set, resolved[0])
		if _, _, ok := resolved[0].Subject.Match(subject); !ok {
			continue
		}
		described, err := d.describe(p, counters)
		if err != nil {
			return nil, err
		}
		response.Policies = append(response.Policies, described)
	}
	if object != nil {
		explanation := policy.Explain(set, policy.Request{Process: subject, Operation: policy.Operation(request.GetOperation()), Object: object})
		if response.Explanation, err = explain.Message(explanation); err != nil {
			return nil, status.Errorf(codes.Internal, "the explanation cannot be sent: %v", err)
		}
	}
	return response, nil
}

// explainedProcess returns the process of a request, as the API describes it and as subjects see it.
func (d *Daemon) explainedProcess(request *pb.ExplainRequest, users func(string) (uint32, error)) (*pb.Process, policy.Process, error) {
	switch {
	case request.GetPid() != 0 && request.GetDescribed() != nil:
		return nil, policy.Process{}, rpc.Invalid("the request names a process and describes one; leave one of them out")
	case request.GetPid() != 0:
		described, subject, err := d.machine().LookUp(request.GetPid())
		if err != nil {
			return nil, subject, status.Errorf(codes.NotFound, "there is no process %d; look at ps", request.GetPid())
		}
		return described, subject, nil
	case request.GetDescribed() == nil:
		return nil, policy.Process{}, rpc.Invalid("no process is named; write its pid, or describe one")
	}
	p, err := policy.DescribeProcess(policy.Description{Given: explain.Given(request.GetDescribed()), Users: users})
	if err != nil {
		return nil, p, rpc.Invalid("%v", err)
	}
	return &pb.Process{Binary: p.Binary, Script: p.Script, Ancestors: p.Ancestors, Uid: p.UID, Cgroup: p.Cgroup, Unknown: p.Unknown}, p, nil
}

// explainedObject returns what the operation of a request is about; nil without one.
func explainedObject(request *pb.ExplainRequest, process policy.Process, users, groups func(string) (uint32, error)) (policy.Object, error) {
	if request.GetOperation() == "" {
		if request.GetObject() != nil {
			return nil, rpc.Invalid("the request describes an object, but names no operation; write %s", policy.JoinOperations(policy.Operations(), "or"))
		}
		return nil, nil
	}
	operation, err := policy.ParseOperation(request.GetOperation())
	if err != nil {
		return nil, rpc.Invalid("%v", err)
	}
	object, err := policy.DescribeObject(operation, policy.Description{
		Given: explain.Given(request.GetObject()), Process: process, Users: users, Groups: groups,
	})
	if err != nil {
		return nil, rpc.Invalid("%v", err)
	}
	return object, nil
}
