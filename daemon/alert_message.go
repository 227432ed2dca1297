package daemon

import (
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ebpfguard/ebpfguard"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

var verdicts = map[policy.Verdict]pb.Verdict{
	policy.Audit: pb.Verdict_VERDICT_AUDIT,
	policy.Deny:  pb.Verdict_VERDICT_DENY,
	policy.Kill:  pb.Verdict_VERDICT_KILL,
}

var severities = map[policy.Severity]pb.Severity{
	policy.SeverityInfo:     pb.Severity_SEVERITY_INFO,
	policy.SeverityLow:      pb.Severity_SEVERITY_LOW,
	policy.SeverityMedium:   pb.Severity_SEVERITY_MEDIUM,
	policy.SeverityHigh:     pb.Severity_SEVERITY_HIGH,
	policy.SeverityCritical: pb.Severity_SEVERITY_CRITICAL,
}

// alertMessage returns an alert as the API describes it, with the values of its JSON.
func alertMessage(alert ebpfguard.Alert) *pb.Alert {
	c := alert.Context()
	m := &pb.Alert{
		Time: timestamppb.New(c.Time), Id: utf8Text(c.ID), Host: utf8Text(c.Host), BootId: utf8Text(c.BootID), Sequence: c.Sequence,
		Operation: string(c.Operation), Hook: utf8Text(c.Hook), Verdict: verdicts[c.Verdict], Undecided: c.Undecided,
		Policy: utf8Text(c.Policy), Rule: int32(c.Rule), Message: utf8Text(c.Message), Severity: severities[c.Severity],
		Tags: utf8Texts(c.Tags), Revision: c.Revision, Count: max(c.Count, 1), Process: processMessage(c.Process),
	}
	if c.Verdict >= policy.Deny {
		m.Errno = "EPERM"
	}
	if c.Count > 1 {
		m.Last = timestamppb.New(c.Last)
	}
	switch a := alert.(type) {
	case ebpfguard.FileOpenAlert:
		m.Object = &pb.Alert_FileOpen{FileOpen: &pb.FileObject{Path: utf8Text(a.Path), Access: words(a.Access.String())}}
	case ebpfguard.BprmCheckSecurityAlert:
		m.Object = &pb.Alert_BprmCheckSecurity{BprmCheckSecurity: &pb.ProgramObject{Path: utf8Text(a.Path), Fileless: a.Fileless, NoArgs: a.NoArgs}}
	case ebpfguard.SbMountAlert:
		m.Object = &pb.Alert_SbMount{SbMount: mountMessage(a.MountObject)}
	case ebpfguard.SbRemountAlert:
		m.Object = &pb.Alert_SbRemount{SbRemount: mountMessage(a.MountObject)}
	case ebpfguard.SbUmountAlert:
		m.Object = &pb.Alert_SbUmount{SbUmount: mountMessage(a.MountObject)}
	case ebpfguard.TaskFixSetuidAlert:
		m.Object = &pb.Alert_TaskFixSetuid{TaskFixSetuid: &pb.CredentialsObject{FromUid: a.FromUID, FromGid: a.FromGID, To: a.To, Method: utf8Text(a.Method)}}
	case ebpfguard.SocketBindAlert:
		m.Object = &pb.Alert_SocketBind{SocketBind: socketMessage(a.SocketObject)}
	case ebpfguard.SocketConnectAlert:
		m.Object = &pb.Alert_SocketConnect{SocketConnect: socketMessage(a.SocketObject)}
	}
	return m
}

func processMessage(p ebpfguard.Process) *pb.AlertProcess {
	m := &pb.AlertProcess{
		Pid: p.PID, Tid: p.TID, Ppid: p.PPID, Uid: p.UID, Gid: p.GID, Comm: utf8Text(p.Comm), Binary: utf8Text(p.Binary), Parent: utf8Text(p.ParentBinary),
		Cgroup: utf8Text(p.Cgroup), CgroupId: p.CgroupID,
		Namespaces: &pb.Namespaces{Mnt: p.Namespaces.Mount, Pid: p.Namespaces.PID, Net: p.Namespaces.Network, User: p.Namespaces.User},
		StartTime:  p.StartTime, Args: utf8Texts(p.Args), User: utf8Text(p.User), Unit: utf8Text(p.Unit), ContainerId: utf8Text(p.ContainerID),
	}
	m.UnidentifiedContainer = p.Unidentified
	if p.Container != nil {
		m.Container = containerMessage(*p.Container)
	}
	if p.FirstContainer != nil {
		m.FirstContainer = containerMessage(*p.FirstContainer)
	}
	for _, a := range p.Ancestors {
		m.Ancestors = append(m.Ancestors, &pb.AlertAncestor{Pid: a.PID, StartTime: a.StartTime, Binary: utf8Text(a.Binary), Args: utf8Texts(a.Args)})
	}
	return m
}

func mountMessage(o ebpfguard.MountObject) *pb.MountObject {
	return &pb.MountObject{Source: utf8Text(o.Source), Target: utf8Text(o.Target), Type: utf8Text(o.Type), Flags: words(o.Flags.String())}
}

func socketMessage(o ebpfguard.SocketObject) *pb.SocketObject {
	address, _ := o.Address.MarshalText() // cannot fail; JSON has the same
	return &pb.SocketObject{Address: string(address), Port: uint32(o.Port), Protocol: utf8Text(o.Protocol)}
}

// words returns the words of a set of bits as text.
func words(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ", ")
}

// utf8Text returns text that a message can have: each byte that is no UTF-8 becomes U+FFFD, as in
// JSON. Processes choose their names, and gRPC would not send a message with other bytes at all.
func utf8Text(s string) string { return string([]rune(s)) }

func utf8Texts(list []string) []string {
	var all []string
	for _, s := range list {
		all = append(all, utf8Text(s))
	}
	return all
}
