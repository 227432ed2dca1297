package daemon

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Explain implements [pb.GuardServiceServer]. It tells what /proc does, which is not all
// that the guard knows: of a script only its interpreter, of ancestors only those that
// live, and the program and the control group by the name that they have now.
func (s *service) Explain(_ context.Context, request *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	if request.GetPid() == 0 {
		return nil, invalid("no process is named; write its pid")
	}
	line, err := lineage(request.GetPid())
	if err != nil {
		return nil, status.Errorf(codes.NotFound, "there is no process %d; look at ps", request.GetPid())
	}
	described := describe(line)
	subject := asSubject(line)
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
		if err != nil || over(p, d.now()) { // of a user that is no more, or ended
			continue
		}
		if _, _, ok := resolved[0].Subject.Match(subject); !ok {
			continue
		}
		told, err := d.describe(p, counters)
		if err != nil {
			return nil, err
		}
		response.Policies = append(response.Policies, told)
	}
	return response, nil
}

// describe returns a process, the first of the line, as the API tells it.
func describe(line []running) *pb.Process {
	p := line[0]
	uid, known := userOf(p.pid)
	described := &pb.Process{
		Pid: p.pid, Start: p.start, Ppid: p.ppid, Comm: p.comm, Binary: executable(p.pid), Uid: uid, Cgroup: cgroupOf(p.pid),
	}
	described.Unknown = !known || described.GetBinary() == "" && !p.kernel
	for _, ancestor := range line[1:] {
		if path := executable(ancestor.pid); path != "" {
			described.Ancestors = append(described.Ancestors, path)
		}
	}
	return described
}

// asSubject returns a process as subjects see it.
func asSubject(line []running) policy.Process {
	p := describe(line)
	var ids []policy.ProcessID
	for _, l := range line {
		ids = append(ids, policy.ProcessID{PID: l.pid, Start: l.start})
	}
	return policy.Process{
		IDs: ids, Binary: p.GetBinary(), Ancestors: p.GetAncestors(), UID: p.GetUid(), Cgroup: p.GetCgroup(), Unknown: p.GetUnknown(),
	}
}
