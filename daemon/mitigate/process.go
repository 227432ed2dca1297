package mitigate

import (
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// LookUp returns a process as the API tells it, and as subjects see it. The error is of
// [fs.ErrNotExist] when there is none.
func LookUp(pid uint32) (*pb.Process, policy.Process, error) {
	line, err := lineage(pid)
	if err != nil {
		return nil, policy.Process{}, err
	}
	return describe(line), asSubject(line), nil
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
