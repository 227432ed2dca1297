// Package mitigate makes a policy of a request for a mitigation. It refuses one that would
// hit the daemon or cut off its caller, warns when nothing matches, and kills.
package mitigate

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/internal/rpc"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Policy returns the policy that a request asks for, without name and end, and what its
// profile is called.
func (m Machine) Policy(request *pb.MitigateRequest) (p policy.Policy, profile string, err error) {
	none := request.GetProfile() == pb.MitigateRequest_PROFILE_UNSPECIFIED
	switch {
	case none == (request.GetYaml() == ""):
		return p, "", rpc.Invalid("say what to forbid: give either a profile (no-network, no-new-connections, read-only, no-exec or kill) or a policy")
	case none:
		p.Rules, err = ownRules(cmp.Or(request.GetFile(), "request"), request.GetYaml())
		profile = otherProfile
	default:
		p.Rules, profile, err = profileRules(request.GetProfile())
	}
	if err != nil {
		return p, "", rpc.Invalid("%v", err)
	}
	for i := range p.Rules {
		if request.GetMessage() != "" {
			p.Rules[i].Message = request.GetMessage()
		}
	}
	p.Mode = policy.ModeEnforce
	if request.GetAudit() {
		p.Mode = policy.ModeAudit
	}
	if p.Subject, err = subjectOf(request); err != nil {
		return p, "", err
	}
	return p, profile, m.checkSelfProtection(p, request.GetForce())
}

// subjectOf returns the subject that a request names.
func subjectOf(request *pb.MitigateRequest) (policy.Subject, error) {
	switch s := request.GetSubject().(type) {
	case *pb.MitigateRequest_Process:
		p, err := procfs.Stat(s.Process.GetPid())
		if err != nil || p.Dead || s.Process.GetStart() != 0 && s.Process.GetStart()/procfs.Tick != p.Start/procfs.Tick {
			return policy.Subject{}, status.Errorf(codes.NotFound, "there is no process %d, or it is not the one that started at that time; look at ps", s.Process.GetPid())
		}
		if p.Kernel {
			return policy.Subject{}, rpc.Invalid("process %d (%s) is a kernel thread, and ebpfguard judges none of those; name another process", p.PID, p.Comm)
		}
		return policy.Subject{Processes: []policy.ProcessID{{PID: p.PID, Start: p.Start}}}, nil
	case *pb.MitigateRequest_Binary:
		return policy.Subject{Binaries: []string{s.Binary}, Descendants: true}, nil
	case *pb.MitigateRequest_Cgroup:
		return policy.Subject{Cgroups: []string{s.Cgroup}}, nil
	case *pb.MitigateRequest_Container:
		return policy.Subject{Containers: []policy.ContainerSelector{{Names: []string{s.Container}}}}, nil
	case *pb.MitigateRequest_Pod:
		namespace, name, ok := strings.Cut(s.Pod, "/")
		if !ok {
			return policy.Subject{}, rpc.Invalid("%q is no pod; write NAMESPACE/NAME such as shop/web-0", s.Pod)
		}
		return policy.Subject{Pods: []policy.PodSelector{{Namespaces: []string{namespace}, Names: []string{name}}}}, nil
	case *pb.MitigateRequest_User:
		if id, err := strconv.ParseUint(s.User, 10, 32); err == nil {
			return policy.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: uint32(id), Last: uint32(id)}}}}, nil
		}
		users, _ := hostroot.Host().Names()
		if _, err := users(s.User); errors.Is(err, policy.ErrUnknownName) {
			return policy.Subject{}, rpc.Invalid("there is no user %q; 'getent passwd' lists them, or write a number", s.User)
		}
		return policy.Subject{Users: policy.IDs{Names: []string{s.User}}}, nil
	case *pb.MitigateRequest_Everyone:
		if s.Everyone {
			return policy.Subject{Everyone: true}, nil
		}
	}
	return policy.Subject{}, rpc.Invalid("the request names no subject; give a process, a binary, a container, a pod, a cgroup, a user or everyone")
}

// checkSelfProtection refuses what would take the machine, or the means to lift the mitigation: to
// kill, or keep from starting programs, the first process, this one or what it descends from.
// Force lets it keep them from starting programs, but not kill.
func (m Machine) checkSelfProtection(p policy.Policy, force bool) error {
	if err := policy.Validate([]policy.Policy{withName(p)}); err != nil {
		return rpc.Invalid("%s", plain(err))
	}
	fatal := slices.ContainsFunc(p.Rules, func(r policy.Rule) bool {
		return r.Verdict == policy.Kill || !force && r.Operation == policy.BprmCheckSecurity && matchesAll(r)
	})
	line, err := procfs.Lineage(uint32(os.Getpid()))
	if err != nil {
		return status.Errorf(codes.Internal, "find the ancestors of the daemon: %v", err)
	}
	subject, err := resolveUsers(p)
	if err != nil {
		return rpc.Invalid("%s", plain(err))
	}
	chosen := m.selectorOf(subject)
	for i, own := range line {
		if slices.ContainsFunc(p.Subject.Processes, func(id policy.ProcessID) bool { return id.PID == own.PID }) {
			return rpc.Invalid("process %d (%s) is the daemon or one of its ancestors, so the mitigation would apply to the daemon; name another process", own.PID, own.Comm)
		}
		process := chosen.process(line[i:])
		// Which process it is is known, and its container, whatever it runs.
		process.Unknown = process.Unknown && len(p.Subject.Processes)+len(p.Subject.Containers)+len(p.Subject.Pods) == 0
		if _, _, ok := chosen.subject.Match(process); ok && fatal && p.Mode != policy.ModeAudit {
			return rpc.Invalid("%s includes process %d (%s), which the machine or the daemon needs, so you could not lift the mitigation; choose another subject, forbid less, or set audit to see what it would do", DescribeSubject(p.Subject), own.PID, own.Comm)
		}
	}
	return nil
}

// matchesAll reports whether a rule denies every object.
func matchesAll(r policy.Rule) bool {
	return len(r.Allow) == 0 && slices.Contains(patternTexts(r.Deny), policy.Everything(r.Operation).String())
}

func patternTexts(patterns []policy.Pattern) []string {
	var texts []string
	for _, p := range patterns {
		texts = append(texts, p.String())
	}
	return texts
}

// withName returns a policy that has a name, for what needs one.
func withName(p policy.Policy) policy.Policy {
	if p.Name == "" {
		p.Name = "mitigation"
	}
	return p
}

// plain returns what is wrong without the name of withName, which nobody wrote.
func plain(err error) string {
	return strings.ReplaceAll(err.Error(), fmt.Sprintf("policy %q: ", withName(policy.Policy{}).Name), "")
}

// resolveUsers returns the subject with the numbers of its users.
func resolveUsers(p policy.Policy) (policy.Subject, error) {
	users, groups := hostroot.Host().Names()
	set, err := policy.ResolveNames([]policy.Policy{withName(p)}, users, groups)
	if err != nil {
		return policy.Subject{}, err
	}
	return set[0].Subject, nil
}

// DescribeSubject returns the subject of a mitigation for a person: it has one of the forms
// of a request.
func DescribeSubject(s policy.Subject) string {
	switch {
	case s.Everyone:
		return "everyone"
	case len(s.Processes) == 1:
		return fmt.Sprintf("process %d", s.Processes[0].PID)
	case len(s.Binaries) == 1:
		return "binary " + s.Binaries[0]
	case len(s.Containers) == 1 && len(s.Containers[0].Names) == 1:
		return "container " + s.Containers[0].Names[0]
	case len(s.Pods) == 1 && len(s.Pods[0].Namespaces) == 1 && len(s.Pods[0].Names) == 1:
		return "pod " + s.Pods[0].Namespaces[0] + "/" + s.Pods[0].Names[0]
	case len(s.Cgroups) == 1:
		return "cgroup " + s.Cgroups[0]
	case len(s.Users.Names) == 1:
		return "user " + s.Users.Names[0]
	case len(s.Users.Ranges) == 1 && s.Users.Ranges[0].First == s.Users.Ranges[0].Last:
		return fmt.Sprintf("user %d", s.Users.Ranges[0].First)
	}
	return s.String()
}
