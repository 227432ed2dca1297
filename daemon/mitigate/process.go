package mitigate

import (
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Machine is what /proc does not tell of the processes of this machine. The zero value knows
// nothing.
type Machine struct {
	// Containers returns the containers of a control group, the outermost first; unidentified says that it is
	// in one of which nothing is known.
	Containers func(cgroup string) (in []policy.Container, unidentified bool)
}

// LookUp returns a process as the API describes it, and as subjects see it. The error wraps
// [fs.ErrNotExist] if there is none.
func (m Machine) LookUp(pid uint32) (*pb.Process, policy.Process, error) {
	line, err := procfs.Lineage(pid)
	if err != nil {
		return nil, policy.Process{}, err
	}
	return describe(line), m.asSubject(line), nil
}

// describe returns a process, the first of the line, as the API describes it.
func describe(line []procfs.Process) *pb.Process {
	p := line[0]
	uid, known := procfs.User(p.PID)
	described := &pb.Process{
		Pid: p.PID, Start: p.Start, Ppid: p.PPID, Comm: p.Comm, Binary: procfs.Executable(p.PID), Uid: uid, Cgroup: procfs.Cgroup(p.PID),
	}
	described.Unknown = !known || described.GetBinary() == "" && !p.Kernel
	for _, ancestor := range line[1:] {
		if path := procfs.Executable(ancestor.PID); path != "" {
			described.Ancestors = append(described.Ancestors, path)
		}
	}
	return described
}

// asSubject returns a process as subjects see it.
func (m Machine) asSubject(line []procfs.Process) policy.Process {
	p := describe(line)
	var ids []policy.ProcessID
	for _, l := range line {
		ids = append(ids, policy.ProcessID{PID: l.PID, Start: l.Start})
	}
	s := policy.Process{
		IDs: ids, Binary: p.GetBinary(), Ancestors: p.GetAncestors(), UID: p.GetUid(), Cgroup: p.GetCgroup(), Unknown: p.GetUnknown(),
	}
	if m.Containers != nil {
		s.Containers, s.Unidentified = m.Containers(s.Cgroup)
	}
	return s
}
