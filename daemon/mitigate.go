package daemon

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
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
	p, profile, err := d.wanted(request)
	if err != nil {
		return nil, err
	}
	if err := reachable(ctx, p); err != nil {
		return nil, err
	}
	// Whom it kills is not there afterwards; else it is in force first.
	kills := slices.ContainsFunc(p.Rules, func(r policy.Rule) bool { return r.Verdict == policy.Kill })
	var warnings []string
	if kills {
		warnings = unmet(p.Subject)
	}
	told, err := d.putMitigation(p, profile, request)
	if err != nil {
		return nil, err
	}
	if !kills {
		warnings = unmet(p.Subject)
	}
	d.log.Warn("mitigation", "name", told.GetName(), "profile", told.GetProfile(), "subject", told.GetSubject(), "left", told.GetLeft().AsDuration(), "warnings", warnings)
	if profile == "kill" && !request.GetAudit() {
		killed, err := kill(p.Subject)
		told.Killed = killed
		if err != nil {
			return nil, status.Errorf(codes.Internal, "the mitigation %q is in force, but processes are left that wait to be judged: %v", told.GetName(), err)
		}
	}
	response := &pb.MitigateResponse{Mitigation: told}
	for _, text := range warnings {
		response.Warnings = append(response.Warnings, policy.Warning{Policy: told.GetName(), Rule: -1, Text: text}.String())
	}
	for _, w := range policy.Warnings([]policy.Policy{named(p)}) {
		w.Policy = told.GetName()
		response.Warnings = append(response.Warnings, w.String())
	}
	return response, nil
}

// wanted returns the policy that a request is about, without name and end.
func (d *Daemon) wanted(request *pb.MitigateRequest) (p policy.Policy, profile string, err error) {
	none := request.GetProfile() == pb.MitigateRequest_PROFILE_UNSPECIFIED
	switch {
	case none == (request.GetYaml() == ""):
		return p, "", invalid("say what is forbidden: by a profile (no-network, no-new-connections, read-only, no-exec or kill) or by a policy")
	case none:
		p.Rules, err = ownRules(request.GetYaml())
		profile = otherProfile
	default:
		p.Rules, profile, err = profileRules(request.GetProfile())
	}
	if err != nil {
		return p, "", invalid("%v", err)
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
	return p, profile, d.harmless(p)
}

// subjectOf returns whom a request is for.
func subjectOf(request *pb.MitigateRequest) (policy.Subject, error) {
	switch s := request.GetSubject().(type) {
	case *pb.MitigateRequest_Process:
		p, err := stat(s.Process.GetPid())
		if err != nil || p.dead || s.Process.GetStart() != 0 && s.Process.GetStart()/tick != p.start/tick {
			return policy.Subject{}, status.Errorf(codes.NotFound, "there is no process %d, or it is not the one that was started then; look at ps", s.Process.GetPid())
		}
		if p.kernel {
			return policy.Subject{}, invalid("process %d (%s) is the kernel's own and does nothing that is judged; name another", p.pid, p.comm)
		}
		return policy.Subject{Processes: []policy.ProcessID{{PID: p.pid, Start: p.start}}}, nil
	case *pb.MitigateRequest_Binary:
		return policy.Subject{Binaries: []string{s.Binary}, Descendants: true}, nil
	case *pb.MitigateRequest_Cgroup:
		return policy.Subject{Cgroups: []string{s.Cgroup}}, nil
	case *pb.MitigateRequest_User:
		if id, err := strconv.ParseUint(s.User, 10, 32); err == nil {
			return policy.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: uint32(id), Last: uint32(id)}}}}, nil
		}
		return policy.Subject{Users: policy.IDs{Names: []string{s.User}}}, nil
	case *pb.MitigateRequest_Everyone:
		if s.Everyone {
			return policy.Subject{Everyone: true}, nil
		}
	}
	return policy.Subject{}, invalid("say whom it is for: a process, a binary, a cgroup, a user or everyone")
}

// harmless refuses what would take the machine, or the means to lift the mitigation: to
// kill, or keep from starting programs, the first process, this one or what it descends from.
func (d *Daemon) harmless(p policy.Policy) error {
	if err := policy.Validate([]policy.Policy{named(p)}); err != nil {
		return invalid("%v", err)
	}
	fatal := slices.ContainsFunc(p.Rules, func(r policy.Rule) bool {
		return r.Verdict == policy.Kill || r.Operation == policy.BprmCheckSecurity && matchesAll(r)
	})
	line, err := lineage(uint32(os.Getpid()))
	if err != nil {
		return status.Errorf(codes.Internal, "what the daemon descends from: %v", err)
	}
	subject, err := resolved(p)
	if err != nil {
		return invalid("%v", err)
	}
	chosen := selectorOf(subject)
	for i, own := range line {
		if slices.ContainsFunc(p.Subject.Processes, func(id policy.ProcessID) bool { return id.PID == own.pid }) {
			return invalid("process %d (%s) is the daemon or one that it descends from, so the mitigation would be for the daemon too; name another process", own.pid, own.comm)
		}
		process := chosen.process(line[i:])
		// Which process it is is known, whatever it runs.
		process.Unknown = process.Unknown && len(p.Subject.Processes) == 0
		if _, _, ok := chosen.subject.Match(process); ok && fatal && p.Mode != policy.ModeAudit {
			return invalid("%s would meet process %d (%s), without which the machine or the daemon does not go on, and you could not lift it; choose another subject or forbid less, or set audit to see what it would do", whom(p.Subject), own.pid, own.comm)
		}
	}
	return nil
}

// matchesAll reports whether a rule denies every object.
func matchesAll(r policy.Rule) bool {
	return len(r.Allow) == 0 && slices.Contains(patternTexts(r.Deny), everything(r.Operation).String())
}

func patternTexts(patterns []policy.Pattern) []string {
	var texts []string
	for _, p := range patterns {
		texts = append(texts, p.String())
	}
	return texts
}

// named returns a policy that has a name, for what needs one.
func named(p policy.Policy) policy.Policy {
	if p.Name == "" {
		p.Name = "mitigation"
	}
	return p
}

// resolved returns the subject with the numbers of its users.
func resolved(p policy.Policy) (policy.Subject, error) {
	users, groups := policy.SystemNames()
	set, err := policy.ResolveNames([]policy.Policy{named(p)}, users, groups)
	if err != nil {
		return policy.Subject{}, err
	}
	return set[0].Subject, nil
}

// putMitigation puts a mitigation in force under its name.
func (d *Daemon) putMitigation(p policy.Policy, profile string, request *pb.MitigateRequest) (*pb.Mitigation, error) {
	ttl := request.GetTtl()
	if ttl == nil {
		return nil, invalid("say how long it is for: from %v to 30 days", shortestTTL)
	}
	if err := ttl.CheckValid(); err != nil || ttl.AsDuration() < shortestTTL || ttl.AsDuration() > longestTTL {
		return nil, invalid("a mitigation cannot be for %v; choose from %v to 30 days", ttl.AsDuration(), shortestTTL)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.open(); err != nil {
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
		return nil, status.Errorf(codes.FailedPrecondition, "there is a mitigation %q; lift it, or choose another name", p.Name)
	default:
		return nil, status.Errorf(codes.FailedPrecondition, "there is a policy %q%s; choose another name", p.Name, from(owned))
	}
	p.Until = d.now() + uint64(ttl.AsDuration())
	next.mitigations = append(next.mitigations, p)
	if err := policy.Validate(next.all()); err != nil {
		return nil, invalid("%v", err)
	}
	if err := d.publish(next); err != nil {
		return nil, refused(err)
	}
	return d.mitigation(p), nil
}

// Lift implements [pb.GuardServiceServer].
func (s *service) Lift(_ context.Context, request *pb.LiftRequest) (*pb.LiftResponse, error) {
	if request.GetAll() == (len(request.GetNames()) > 0) {
		return nil, invalid("name mitigations, or say all of them")
	}
	d := s.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.open(); err != nil {
		return nil, err
	}
	lifted := request.GetNames()
	if request.GetAll() {
		lifted = names(unexpired(d.sets.mitigations, d.now()))
	}
	for _, name := range lifted {
		if i := indexOf(d.sets.mitigations, name); i < 0 || over(d.sets.mitigations[i], d.now()) {
			return nil, status.Errorf(codes.NotFound, "there is no mitigation %q; look at ebpfguard mitigate list", name)
		}
	}
	next := d.sets
	next.mitigations = slices.DeleteFunc(slices.Clone(next.mitigations), func(p policy.Policy) bool { return slices.Contains(lifted, p.Name) })
	if len(lifted) > 0 {
		if err := d.publish(next); err != nil {
			return nil, refused(err)
		}
		d.log.Warn("mitigations were lifted", "names", lifted, "revision", d.revision)
	}
	return &pb.LiftResponse{Lifted: lifted}, nil
}
