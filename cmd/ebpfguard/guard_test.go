package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ebpfguard/ebpfguard"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/explain"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/sink"
)

// guardServer serves what the commands ask for from a set in memory: the tests
// are about what the commands say. That the daemon enforces is tested in vm.
type guardServer struct {
	pb.UnimplementedGuardServiceServer
	mu       sync.Mutex
	revision uint32
	policies []*pb.Policy
	degraded bool
	// contained says that there are containers.
	contained bool
	looks     uint64
}

// serveGuard serves on a socket in the directory until stop is called.
func serveGuard(dir string) (guard *guardServer, socket string, stop func(), err error) {
	socket = filepath.Join(dir, "guard.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, "", nil, err
	}
	guard = &guardServer{revision: 3}
	server := grpc.NewServer()
	pb.RegisterGuardServiceServer(server, guard)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	return guard, socket, func() { server.Stop(); <-served }, nil
}

// fill puts policies of each origin in force.
func (g *guardServer) fill() error {
	set, err := policy.Parse("ssh.yaml", []byte(`apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: no-rogue-sshd}
spec:
  subject: {}
  rules:
  - {operation: socket_bind, allow: all, deny: {ports: [22]}, message: nobody listens for ssh here}
  - {operation: file_open, deny: {paths: [/etc/shadow]}}
---
apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: web-egress}
spec:
  mode: audit
  subject: {binaries: [/usr/sbin/nginx]}
  rules:
  - {operation: socket_connect, deny: all}
`))
	if err != nil {
		return err
	}
	g.policies = []*pb.Policy{onWire(set[0]), onWire(set[1])}
	g.policies[0].Origin, g.policies[0].Source = pb.Origin_ORIGIN_FILE, "/etc/ebpfguard/policies.d/ssh.yaml:1:1"
	g.policies[0].Rules[0].Hits, g.policies[0].Rules[1].Hits = 1234567, 12
	g.policies[1].Rules[0].Hits, g.policies[1].Rules[0].AlertsLimited = 40, 7
	return nil
}

func onWire(p policy.Policy) *pb.Policy {
	w := &pb.Policy{Name: p.Name, Origin: pb.Origin_ORIGIN_APPLIED, Source: p.Source, Mode: p.Mode.String(), Yaml: string(policy.Format([]policy.Policy{p}))}
	for i, r := range p.Rules {
		w.Rules = append(w.Rules, &pb.RuleCounters{Policy: p.Name, Rule: uint32(i), Operation: string(r.Operation)})
	}
	return w
}

func (g *guardServer) find(name string) *pb.Policy {
	for _, p := range g.policies {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func setOf(policies []*pb.Policy) []policy.Policy {
	var set []policy.Policy
	for _, p := range policies {
		// Mitigations have no YAML here.
		if one, err := policy.Parse(p.Source, []byte(p.Yaml)); err == nil {
			set = append(set, one...)
		}
	}
	return set
}

// numberOf returns the first number that no mitigation of the profile has by default.
func (g *guardServer) numberOf(profile string) int {
	n := 1
	for g.find(fmt.Sprintf("mitigation/%s-%d", profile, n)) != nil {
		n++
	}
	return n
}

// commit puts the policies in force, unless it is only tried.
func (g *guardServer) commit(c *pb.Changes, next []*pb.Policy, dryRun bool) *pb.Changes {
	text, err := policy.Diff(setOf(g.policies), setOf(next))
	if err != nil {
		text = err.Error()
	}
	c.Diff = text
	if !dryRun && c.Diff != "" {
		g.policies = next
		g.revision++
	}
	c.Revision = g.revision
	return c
}

func (g *guardServer) Apply(_ context.Context, r *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var set []policy.Policy
	for _, file := range r.Files {
		policies, err := policy.Parse(file.Name, []byte(file.Yaml))
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		set = append(set, policies...)
	}
	changes := &pb.Changes{}
	var next []*pb.Policy
	given := map[string]policy.Policy{}
	for _, p := range set {
		given[p.Name] = p
		if had := g.find(p.Name); had != nil && had.Origin == pb.Origin_ORIGIN_FILE {
			return nil, status.Errorf(codes.FailedPrecondition, "policy %q belongs to a file (%s); change it there, or choose another name", p.Name, had.Source)
		}
	}
	for _, had := range g.policies {
		p, ok := given[had.Name]
		switch {
		case ok && onWire(p).Yaml != had.Yaml:
			changes.Changed, next = append(changes.Changed, p.Name), append(next, onWire(p))
		case ok:
			changes.Unchanged, next = append(changes.Unchanged, p.Name), append(next, had)
		case r.Replace && had.Origin == pb.Origin_ORIGIN_APPLIED:
			changes.Removed = append(changes.Removed, had.Name)
		default:
			next = append(next, had)
		}
	}
	for _, p := range set {
		if g.find(p.Name) == nil {
			changes.Added, next = append(changes.Added, p.Name), append(next, onWire(p))
		}
	}
	response := &pb.ApplyResponse{Changes: g.commit(changes, next, r.DryRun)}
	for _, w := range policy.Warnings(set) {
		response.Warnings = append(response.Warnings, w.String())
	}
	return response, nil
}

func (g *guardServer) Delete(_ context.Context, r *pb.DeleteRequest) (*pb.DeleteResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range r.Names {
		had := g.find(name)
		if had == nil {
			return nil, status.Errorf(codes.NotFound, "there is no policy %q; ebpfguard get lists those in force", name)
		}
		switch had.Origin {
		case pb.Origin_ORIGIN_FILE:
			return nil, status.Errorf(codes.FailedPrecondition, "policy %q belongs to a file (%s); remove it there", name, had.Source)
		case pb.Origin_ORIGIN_MITIGATION:
			return nil, status.Errorf(codes.FailedPrecondition, "policy %q is a mitigation; lift it", name)
		}
	}
	next := slices.DeleteFunc(slices.Clone(g.policies), func(p *pb.Policy) bool { return slices.Contains(r.Names, p.Name) })
	return &pb.DeleteResponse{Changes: g.commit(&pb.Changes{Removed: r.Names}, next, r.DryRun)}, nil
}

// knownContainers are the containers of a machine with some.
func knownContainers() []*pb.KnownContainer {
	id := strings.Repeat("0123456789abcdef", 4)
	return []*pb.KnownContainer{
		{
			Container: &pb.Container{Id: id, Name: "db", Image: "docker.io/library/postgres:17", Runtime: "docker", ImageDigest: "sha256:1234", Labels: map[string]string{"tier": "data", "app": "shop"}},
			Cgroups:   []string{"/system.slice/docker-" + id + ".scope"}, Sources: []string{"docker", "hook"}, Since: timestamppb.New(time.Unix(1_800_000_000, 0)),
		},
		{Container: &pb.Container{Id: "web-id", Name: "web\x1b[2J", Runtime: "containerd", Pod: &pb.Pod{Namespace: "shop", Name: "web-1"}}, Sources: []string{"nri"}},
	}
}

func (g *guardServer) ListContainers(context.Context, *pb.ListContainersRequest) (*pb.ListContainersResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	response := &pb.ListContainersResponse{}
	if g.contained {
		response.Containers = knownContainers()
	}
	return response, nil
}

func (g *guardServer) List(_ context.Context, r *pb.ListRequest) (*pb.ListResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Container != "" && r.Container != "db" {
		return nil, status.Errorf(codes.NotFound, "no container %q is known; 'ebpfguard containers' lists those that are", r.Container)
	}
	if r.Container != "" {
		return &pb.ListResponse{Policies: g.policies[:1], Revision: g.revision}, nil
	}
	return &pb.ListResponse{Policies: slices.Clone(g.policies), Revision: g.revision}, nil
}

func (g *guardServer) Get(_ context.Context, r *pb.GetRequest) (*pb.GetResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.find(r.Name); p != nil {
		return &pb.GetResponse{Policy: p}, nil
	}
	return nil, status.Errorf(codes.NotFound, "there is no policy %q; ebpfguard get lists those in force", r.Name)
}

func (g *guardServer) Mitigate(_ context.Context, r *pb.MitigateRequest) (*pb.MitigateResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.GetProcess().GetPid() == 999999 {
		return nil, status.Error(codes.NotFound, "there is no process 999999, or it is not the one that started at that time; look at ps")
	}
	m := &pb.Mitigation{Name: r.Name, Profile: strings.ReplaceAll(enumWord(r.Profile.Descriptor(), r.Profile.Number()), "_", "-"),
		Left: r.Ttl, Expires: timestamppb.New(time.Now().Add(r.Ttl.AsDuration()))}
	m.Profile = strings.TrimPrefix(m.Profile, "profile-")
	if r.Yaml != "" {
		m.Profile = "policy"
	}
	if m.Name == "" {
		m.Name = fmt.Sprintf("mitigation/%s-%d", m.Profile, g.numberOf(m.Profile))
	}
	switch s := r.Subject.(type) {
	case *pb.MitigateRequest_Process:
		m.Subject = fmt.Sprintf("process %d", s.Process.Pid)
		if r.Profile == pb.MitigateRequest_PROFILE_KILL {
			m.Killed = []uint32{s.Process.Pid, s.Process.Pid + 1}
		}
	case *pb.MitigateRequest_Binary:
		m.Subject = "binary " + s.Binary
	case *pb.MitigateRequest_Cgroup:
		m.Subject = "cgroup " + s.Cgroup
	case *pb.MitigateRequest_Container:
		m.Subject = "container " + s.Container
	case *pb.MitigateRequest_Pod:
		m.Subject = "pod " + s.Pod
	case *pb.MitigateRequest_User:
		m.Subject = "user " + s.User
	case *pb.MitigateRequest_Everyone:
		m.Subject = "everyone"
	}
	mode := "enforce"
	if r.Audit {
		mode = "audit"
	}
	g.policies = append(g.policies, &pb.Policy{Name: m.Name, Origin: pb.Origin_ORIGIN_MITIGATION, Mode: mode, Mitigation: m,
		Rules: []*pb.RuleCounters{{Policy: m.Name, Operation: "socket_connect", Hits: 3}}})
	response := &pb.MitigateResponse{Mitigation: m}
	if strings.Contains(m.Subject, "crul") {
		response.Warnings = []string{policy.Warning{Policy: m.Name, Rule: -1, Text: "there is no file /usr/bin/crul here; this mitigation matches nothing until that file exists"}.String()}
	}
	// It took a second, which nobody asked for.
	response.Mitigation = proto.CloneOf(m)
	response.Mitigation.Left = durationpb.New(r.Ttl.AsDuration() - time.Second)
	return response, nil
}

func (g *guardServer) Lift(_ context.Context, r *pb.LiftRequest) (*pb.LiftResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	response := &pb.LiftResponse{}
	for _, name := range r.Names {
		if p := g.find(name); p == nil || p.Mitigation == nil {
			return nil, status.Errorf(codes.NotFound, "there is no mitigation %q; 'ebpfguard mitigate list' lists them", name)
		}
	}
	g.policies = slices.DeleteFunc(g.policies, func(p *pb.Policy) bool {
		gone := p.Mitigation != nil && (r.All || slices.Contains(r.Names, p.Name))
		if gone {
			response.Lifted = append(response.Lifted, p.Name)
		}
		return gone
	})
	return response, nil
}

func (g *guardServer) Explain(_ context.Context, r *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	process := &pb.Process{Pid: 4711, Ppid: 4700, Start: 81234560000000, Comm: "nginx",
		Binary: "/usr/sbin/nginx", Ancestors: []string{"/usr/lib/systemd/systemd"}, Uid: 33, Cgroup: "/system.slice/nginx.service"}
	if d := r.GetDescribed(); d != nil {
		process = &pb.Process{Binary: d.GetBinary(), Script: d.GetScript(), Ancestors: d.GetAncestor(), Cgroup: d.GetCgroup(), Unknown: d.GetUnknown()}
	} else if r.Pid != 4711 {
		return nil, status.Errorf(codes.NotFound, "there is no process %d; look at ps", r.Pid)
	}
	response := &pb.ExplainResponse{Process: process, Policies: g.policies}
	if r.GetOperation() == "" {
		return response, nil
	}
	operation := policy.Operation(r.GetOperation())
	object, err := policy.DescribeObject(operation, policy.Description{Given: explain.Given(r.GetObject())})
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	set := setOf(g.policies)
	for i := range set {
		set[i].Source = g.policies[i].Source
		for j := range set[i].Rules {
			set[i].Rules[j].Source = ""
		}
	}
	response.Explanation, err = explain.Message(policy.Explain(set, policy.Request{Process: remoteProcess(process), Operation: operation, Object: object}))
	return response, err
}

func (g *guardServer) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.looks++
	s := busyStatus(time.Now(), g.looks*500)
	s.Revision, s.RuleCounters, s.Policies, s.Rules = g.revision, nil, uint32(len(g.policies)), 0
	for _, p := range g.policies {
		s.RuleCounters, s.Rules = append(s.RuleCounters, p.Rules...), s.Rules+uint32(len(p.Rules))
		if p.Mitigation != nil {
			s.Mitigations++
		}
	}
	if g.degraded {
		s.State = pb.StatusResponse_STATE_DEGRADED
		s.Problems = []string{"/etc/ebpfguard/policies.d/ssh.yaml:4:3: unknown field \"subjet\"; did you mean subject? The last good policies stay in force: correct the file"}
		s.Alerts.Sinks[1].Dropped, s.Alerts.Sinks[1].Error = 12, "no space left on device"
	}
	if g.contained {
		s.Containers = containedStatus(g.looks)
	}
	if len(g.policies) == 0 {
		s.Operations, s.Alerts = nil, nil
	}
	return s, nil
}

// busyStatus is the status of a daemon that denied so much more.
func busyStatus(now time.Time, more uint64) *pb.StatusResponse {
	s := &pb.StatusResponse{State: pb.StatusResponse_STATE_ENFORCING, Version: "v0.4.0", Host: "web1", Pid: 812,
		BootId: "5ad8c2b4-67a5-4c0b-9a1f-3d1f4b1c2e70", Started: timestamppb.New(now.Add(-3*time.Hour - 12*time.Minute - 30*time.Second)),
		Applied: timestamppb.New(now.Add(-2*time.Minute - 5*time.Second)), Adopted: true, PinPath: "/sys/fs/bpf/ebpfguard", Revision: 3,
		Policies: 14, Rules: 31, PolicyDirectory: "/etc/ebpfguard/policies.d", ResidentBytes: 43 << 20,
		Alerts: &pb.AlertCounters{Read: 1200040, Folded: 1150000, Sequence: 50040, Sinks: []*pb.SinkCounters{
			{Name: "journal", Written: 50040}, {Name: "/var/log/ebpfguard/alerts.json", Written: 1240, Filtered: 48800}}},
	}
	for i, o := range policy.Operations() {
		counters := &pb.OperationCounters{Operation: string(o), Attached: i < 2 || i > 5, Allowed: uint64(i)*1000 + more*10*uint64(i+1)}
		s.Operations = append(s.Operations, counters)
	}
	bind := s.Operations[6]
	bind.Denied, bind.Alerts, bind.AlertsLost, bind.AlertsLimited = 1234567+more, 1200000+more, 34000, 567
	s.Operations[7].Audited, s.Operations[7].Alerts = 40, 40
	s.Operations[0].Denied, s.Operations[0].Killed, s.Operations[0].Undecided, s.Operations[0].Alerts = 12, 1, 1, 12
	return s
}

// containedStatus is what is known of containers after so many looks.
func containedStatus(looks uint64) *pb.ContainersStatus {
	return &pb.ContainersStatus{
		Known: 12, Unidentified: 1, UnidentifiedCgroups: []string{"/system.slice/docker-0123.scope"}, Fail: "open", Concerned: true, Others: 7,
		Sources: []*pb.ContainerSource{
			{Name: "nri", Connected: true, Early: true, Containers: 9}, {Name: "docker", Problem: "it does not answer; start it", Containers: 3},
		},
		Counters: []*pb.ContainerCounters{
			{Namespace: "shop", Name: "web", Audited: 5, Denied: 1000 + looks*10, Killed: 1}, {Name: "db", Denied: 3}, {Denied: 1}, {Name: "late", Audited: looks},
		},
	}
}

// watched are the alerts of the server, in this order.
func watched() []ebpfguard.Alert {
	at := time.Date(2026, 11, 22, 15, 4, 5, 0, time.UTC)
	context := ebpfguard.AlertContext{ID: "1f2e-1", Time: at, Operation: policy.SocketBind, Hook: "socket_bind", Verdict: policy.Deny,
		BootID: "boot", Sequence: 1, Policy: "no-rogue-sshd", Message: "nobody listens for ssh here", Severity: policy.SeverityHigh, Revision: 3, Count: 1,
		Process: ebpfguard.Process{PID: 4711, UID: 1000, Comm: "nc", Binary: "/usr/bin/nc", ParentBinary: "/usr/bin/bash"}}
	bind := ebpfguard.SocketBindAlert{AlertContext: context, SocketObject: ebpfguard.SocketObject{
		Address: netip.MustParseAddr("0.0.0.0"), Port: 22, Protocol: "tcp"}}
	context.Operation, context.Hook, context.Verdict, context.Policy = policy.SocketConnect, "socket_connect", policy.Audit, "web-egress"
	context.Sequence = 2
	context.ID, context.Message, context.Severity, context.Binary = "1f2e-2", "", "", "/usr/sbin/nginx"
	connect := ebpfguard.SocketConnectAlert{AlertContext: context, SocketObject: ebpfguard.SocketObject{
		Address: netip.MustParseAddr("10.1.2.3"), Port: 80, Protocol: "tcp"}}
	context.Operation, context.Hook, context.Verdict, context.Policy = policy.FileOpen, "file_open", policy.Kill, "no-rogue-sshd"
	context.Container = &policy.Container{ID: "0123456789abcdef", Name: "db", Pod: &policy.Pod{Namespace: "shop", Name: "db-0"}}
	context.Sequence = 3
	context.ID, context.Rule, context.Binary = "1f2e-3", 1, "/tmp/\x1b[2Jevil"
	return []ebpfguard.Alert{bind, connect, ebpfguard.FileOpenAlert{AlertContext: context, FileObject: ebpfguard.FileObject{Path: "/etc/shadow", Access: policy.Read}}}
}

// Watch sends the alerts that the filter chooses, tells that some are lost, and
// ends as a daemon that is stopped.
func (g *guardServer) Watch(r *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.WatchResponse]) error {
	if err := stream.Send(&pb.WatchResponse{Event: &pb.WatchResponse_Subscribed{Subscribed: true}}); err != nil {
		return err
	}
	filter := sink.Filter{Operations: r.Operations, Policies: r.Policies, Verdicts: r.Verdicts, Severities: r.Severities, Binaries: r.Binaries, Containers: r.Containers, Pods: r.Pods}
	for i, alert := range watched() {
		if !filter.Match(alert) {
			continue
		}
		json, err := alert.MarshalJSON()
		if err != nil {
			return err
		}
		if i == 2 {
			if err := stream.Send(&pb.WatchResponse{Event: &pb.WatchResponse_Lost{Lost: 1300}}); err != nil {
				return err
			}
		}
		if err := stream.Send(&pb.WatchResponse{Event: &pb.WatchResponse_Json{Json: string(json)}, Text: alert.String()}); err != nil {
			return err
		}
	}
	if r.UntilNow {
		return nil
	}
	return status.Error(codes.Unavailable, "the server is stopping")
}

// mitigated puts a mitigation in force, as Mitigate does.
func (g *guardServer) mitigated(ttl time.Duration) error {
	_, err := g.Mitigate(context.Background(), &pb.MitigateRequest{Profile: pb.MitigateRequest_PROFILE_NO_NETWORK, Name: "incident-1234",
		Ttl: durationpb.New(ttl), Subject: &pb.MitigateRequest_Process{Process: &pb.ProcessSubject{Pid: 4711}}})
	return err
}
