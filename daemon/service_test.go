package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/ebpfguard/ebpfguard"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/sink/file"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

func TestApplyAndDelete(t *testing.T) {
	w := newWorld(t)
	w.write("f.yaml", bind("f", 1))
	i := w.start()
	ctx := t.Context()

	c := i.apply(bind("a", 2) + "---\n" + bind("b", 3)).GetChanges()
	if !slices.Equal(c.GetAdded(), []string{"a", "b"}) || c.GetRevision() != 2 || c.GetDiff() == "" {
		t.Errorf("changes %v", c)
	}
	i.want("a", "b", "f")
	c = i.apply(bind("a", 4) + "---\n" + bind("b", 3)).GetChanges()
	if !slices.Equal(c.GetChanged(), []string{"a"}) || !slices.Equal(c.GetUnchanged(), []string{"b"}) {
		t.Errorf("changes %v", c)
	}
	r, err := i.Apply(ctx, &pb.ApplyRequest{Yaml: bind("c", 5), Replace: true})
	if err != nil || !slices.Equal(r.GetChanges().GetRemoved(), []string{"a", "b"}) {
		t.Errorf("%v, changes %v", err, r)
	}
	i.want("c", "f")

	// A dry run tells the same and changes nothing.
	dry, err := i.Delete(ctx, &pb.DeleteRequest{Names: []string{"c"}, DryRun: true})
	if err != nil || !slices.Equal(dry.GetChanges().GetRemoved(), []string{"c"}) || !strings.Contains(dry.GetChanges().GetDiff(), "socket_bind") {
		t.Errorf("%v, changes %v", err, dry)
	}
	i.want("c", "f")
	w.guard.refuse("d")
	_, err = i.Apply(ctx, &pb.ApplyRequest{Yaml: bind("d", 5), DryRun: true})
	wantStatus(t, err, codes.FailedPrecondition, "not today")
	i.want("c", "f")
	if _, err := i.Delete(ctx, &pb.DeleteRequest{Names: []string{"c"}}); err != nil {
		t.Error(err)
	}
	i.want("f")
	i.apply(bind("x", 1))
	if r, err = i.Apply(ctx, &pb.ApplyRequest{Replace: true}); err != nil || !slices.Equal(r.GetChanges().GetRemoved(), []string{"x"}) {
		t.Errorf("%v, changes %v", err, r)
	}
	i.want("f")
}

func TestApplyErrors(t *testing.T) {
	w := newWorld(t)
	w.write("f.yaml", bind("f", 1))
	i := w.start()
	i.apply(bind("a", 2))
	ctx := t.Context()
	_, err := i.Apply(ctx, &pb.ApplyRequest{Yaml: bind("x", 70000), Name: "mine.yaml"})
	wantStatus(t, err, codes.InvalidArgument, "mine.yaml:8:20: ")
	// Of several files each error names its own.
	files := func(files ...string) []*pb.PolicyFile {
		var list []*pb.PolicyFile
		for n, yaml := range files {
			list = append(list, &pb.PolicyFile{Name: fmt.Sprintf("/dir/%d.yaml", n), Yaml: yaml})
		}
		return list
	}
	_, err = i.Apply(ctx, &pb.ApplyRequest{Files: files(bind("x", 70000), bind("y", 1), "\n"+bind("z", 70001))})
	wantStatus(t, err, codes.InvalidArgument, "/dir/0.yaml:8:20: ")
	wantStatus(t, err, codes.InvalidArgument, "/dir/2.yaml:9:20: ")
	_, err = i.Apply(ctx, &pb.ApplyRequest{Files: files(bind("x", 1), bind("x", 2))})
	wantStatus(t, err, codes.InvalidArgument, "/dir/1.yaml:1:1: ")
	_, err = i.Apply(ctx, &pb.ApplyRequest{Files: files(bind("x", 1)), Yaml: bind("y", 2)})
	wantStatus(t, err, codes.InvalidArgument, "send one of them")
	if _, err = i.Apply(ctx, &pb.ApplyRequest{Files: files(bind("a", 2), "# second\n"+bind("b", 3))}); err != nil {
		t.Fatal(err)
	}
	if _, p := i.d.owned().origin("b"); p.Source != "/dir/1.yaml:2:1" {
		t.Errorf("b is of %s", p.Source)
	}
	if _, err = i.Delete(ctx, &pb.DeleteRequest{Names: []string{"b"}}); err != nil {
		t.Fatal(err)
	}
	_, err = i.Apply(ctx, &pb.ApplyRequest{})
	wantStatus(t, err, codes.InvalidArgument, "request:1:1: ")
	_, err = i.Apply(ctx, &pb.ApplyRequest{Yaml: bind("f", 2)})
	wantStatus(t, err, codes.FailedPrecondition, `policy "f" belongs to a file (`+w.config.Policies+`/f.yaml:1:1)`)
	_, err = i.Delete(ctx, &pb.DeleteRequest{Names: []string{"a", "f"}})
	wantStatus(t, err, codes.FailedPrecondition, "remove it there")
	_, err = i.Delete(ctx, &pb.DeleteRequest{Names: []string{"a", "none"}})
	wantStatus(t, err, codes.NotFound, `"none"`)
	_, err = i.Delete(ctx, &pb.DeleteRequest{})
	wantStatus(t, err, codes.InvalidArgument, "name at least one")
	w.guard.refuse("x")
	_, err = i.Apply(ctx, &pb.ApplyRequest{Yaml: bind("x", 3)})
	wantStatus(t, err, codes.FailedPrecondition, "not today")
	i.want("a", "f")

	// A file with the name of what was applied is not in force, and says why.
	w.write("a.yaml", bind("a", 5))
	i.wantProblem("ebpfguard delete a")
	if _, err := i.Delete(ctx, &pb.DeleteRequest{Names: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	// The file's takes its place in the same step.
	if names := w.guard.names(); names != "[a f]" {
		t.Errorf("in force are %s", names)
	}
	if origin, p := i.d.owned().origin("a"); origin != pb.Origin_ORIGIN_FILE || !strings.Contains(string(policy.Format([]policy.Policy{p})), "5") {
		t.Errorf("a is owned by %v: %v", origin, p)
	}
	i.wantProblem("")
	// So it is with a mitigation, and not when the file is wrong besides.
	if _, err := i.Mitigate(ctx, &pb.MitigateRequest{Yaml: strings.Replace(bind("x", 70), "  subject: {}\n", "", 1), Ttl: minute(), Subject: &pb.MitigateRequest_User{User: "7"}, Name: "m"}); err != nil {
		t.Fatal(err)
	}
	w.write("m.yaml", bind("m", 6))
	i.wantProblem("same name as a mitigation")
	if _, err := i.Lift(ctx, &pb.LiftRequest{Names: []string{"m"}}); err != nil {
		t.Fatal(err)
	}
	if names := w.guard.names(); names != "[a f m]" {
		t.Errorf("in force are %s", names)
	}
	i.apply(bind("z", 8))
	w.write("z.yaml", bind("z", 70000))
	i.wantProblem("port 70000")
	if _, err := i.Delete(ctx, &pb.DeleteRequest{Names: []string{"z"}}); err != nil {
		t.Fatal(err)
	}
	i.want("a", "f", "m")
	i.wantProblem("port 70000")
}

// TestApplyCannotBeRemembered expects that what would be forgotten is not in force.
func TestApplyCannotBeRemembered(t *testing.T) {
	w := newWorld(t)
	i := w.start()
	i.apply(bind("a", 1))
	if err := errors.Join(os.RemoveAll(w.config.State), os.WriteFile(w.config.State, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, dry := range []bool{true, false} {
		_, err := i.Apply(t.Context(), &pb.ApplyRequest{Yaml: bind("b", 2), DryRun: dry})
		wantStatus(t, err, codes.Internal, "could not save it")
		i.want("a")
	}
}

func TestListGetAndStatus(t *testing.T) {
	w := newWorld(t)
	w.write("f.yaml", bind("f", 1))
	i := w.start()
	i.apply(strings.Replace(bind("a", 2), "spec:", "spec:\n  mode: audit", 1))
	ctx := t.Context()
	list, err := i.List(ctx, &pb.ListRequest{})
	if err != nil || len(list.GetPolicies()) != 2 || list.GetRevision() != 2 {
		t.Fatalf("%v, list %v", err, list)
	}
	f, a := list.GetPolicies()[0], list.GetPolicies()[1]
	if f.GetName() != "f" || f.GetOrigin() != pb.Origin_ORIGIN_FILE || f.GetMode() != "enforce" || f.GetSource() != w.config.Policies+"/f.yaml:1:1" {
		t.Errorf("policy %v", f)
	}
	if a.GetName() != "a" || a.GetOrigin() != pb.Origin_ORIGIN_APPLIED || a.GetMode() != "audit" || len(a.GetRules()) != 1 || a.GetRules()[0].GetHits() != 7 {
		t.Errorf("policy %v", a)
	}
	if set, err := policy.Parse("x", []byte(a.GetYaml())); err != nil || len(set) != 1 || !policy.Equal(set[0], i.d.owned().applied[0]) {
		t.Errorf("%v, the policy is told as %s", err, a.GetYaml())
	}
	got, err := i.Get(ctx, &pb.GetRequest{Name: "f"})
	if err != nil || got.GetPolicy().GetYaml() != f.GetYaml() {
		t.Errorf("%v, got %v", err, got)
	}
	_, err = i.Get(ctx, &pb.GetRequest{Name: "none"})
	wantStatus(t, err, codes.NotFound, "ebpfguard get")

	s, err := i.Status(ctx, &pb.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if s.GetState() != pb.StatusResponse_STATE_ENFORCING || s.GetPolicies() != 2 || s.GetRules() != 2 || s.GetAdopted() || s.GetVersion() != "test" ||
		s.GetPid() != int32(os.Getpid()) || s.GetRevision() != 2 || s.GetResidentBytes() == 0 || s.GetBootId() == "" || s.GetPinPath() != w.config.Pins {
		t.Errorf("status %v", s)
	}
	for _, o := range s.GetOperations() {
		bind := o.GetOperation() == string(policy.SocketBind)
		if o.GetAttached() != bind || bind && (o.GetDenied() != 2 || o.GetKilled() != 1 || o.GetAllowed() != 5) {
			t.Errorf("operation %v", o)
		}
	}
	if len(s.GetOperations()) != len(policy.Operations()) || len(s.GetRuleCounters()) != 2 {
		t.Errorf("status %v", s)
	}
}

func TestWatchAndOutputs(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.dir, "alerts")
	w.config.Outputs = []setup.Spec{{Settings: &file.Settings{Path: path, Keep: 1}}}
	w.config.FoldWindow = 0
	w.guard.sequence.Store(41) // of a former daemon
	i := w.start()
	stream := newStream(t)
	done := make(chan error, 1)
	go func() { done <- i.Watch(&pb.WatchRequest{Verdicts: []string{"kill"}}, stream) }()
	if first := <-stream.sent; !first.GetSubscribed() {
		t.Fatalf("first comes %v", first)
	}
	for _, verdict := range []policy.Verdict{policy.Deny, policy.Kill} {
		a := ebpfguard.SocketBindAlert{AlertContext: ebpfguard.AlertContext{Operation: policy.SocketBind, Verdict: verdict, Policy: "a"}}
		w.guard.alerts <- a
	}
	if got := <-stream.sent; !strings.Contains(got.GetJson(), `"sequence":43`) || !strings.Contains(got.GetText(), " kill ") {
		t.Errorf("alert %v", got)
	} else if a := got.GetAlert(); a.GetSequence() != 43 || a.GetVerdict() != pb.Verdict_VERDICT_KILL || a.GetSocketBind() == nil {
		t.Errorf("in fields it is %v", a)
	}
	// A sink counts an alert after it wrote it, so the file is complete first.
	var s *pb.StatusResponse
	i.await("both counted as written", func() (written bool) {
		var err error
		s, err = i.Status(t.Context(), &pb.StatusRequest{})
		return err == nil && s.GetAlerts().GetSinks()[0].GetWritten() == 2
	})
	if s.GetAlerts().GetRead() != 2 || s.GetAlerts().GetSequence() != 43 {
		t.Errorf("alerts %v", s.GetAlerts())
	}
	if data, err := os.ReadFile(path); err != nil || strings.Count(string(data), "\n") != 2 {
		t.Errorf("%v, the file says %s", err, data)
	}
	recent := newStream(t)
	if err := i.Watch(&pb.WatchRequest{Recent: true, UntilNow: true, Verdicts: []string{"deny"}}, recent); err != nil {
		t.Error(err)
	}
	if first, alert := <-recent.sent, <-recent.sent; !first.GetSubscribed() || alert.GetAlert().GetSequence() != 42 || len(recent.sent) != 0 {
		t.Errorf("what was before: %v, %v and %d more", first, alert, len(recent.sent))
	}
	after := uint64(42)
	wantStatus(t, i.Watch(&pb.WatchRequest{Recent: true, After: &after}, stream), codes.InvalidArgument, "exclude each other")
	wantStatus(t, i.Watch(&pb.WatchRequest{UntilNow: true}, stream), codes.InvalidArgument, "until_now alone")
	wantStatus(t, i.Watch(&pb.WatchRequest{Verdicts: []string{"x"}}, stream), codes.InvalidArgument, "choose from audit")
	stream.cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// stream is what the daemon sends to somebody who watches.
type stream struct {
	pb.GuardService_WatchServer
	ctx    context.Context
	cancel context.CancelFunc
	sent   chan *pb.WatchResponse
}

func newStream(t *testing.T) *stream {
	s := &stream{sent: make(chan *pb.WatchResponse, 10)}
	s.ctx, s.cancel = context.WithCancel(t.Context())
	return s
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) Send(r *pb.WatchResponse) error {
	s.sent <- r
	return nil
}

func TestExplain(t *testing.T) {
	w := newWorld(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	subject := func(name, subject string) string {
		return strings.Replace(bind(name, 1), "subject: {}", "subject: {"+subject+"}", 1)
	}
	w.write("a.yaml", subject("me", "binaries: ["+self+"]")+"---\n"+subject("another", "binaries: [/no/such/program]")+"---\n"+bind("all", 1))
	i := w.start()
	r, err := i.Explain(t.Context(), &pb.ExplainRequest{Pid: uint32(os.Getpid())})
	if err != nil {
		t.Fatal(err)
	}
	p := r.GetProcess()
	if p.GetBinary() != self || p.GetUid() != uint32(os.Getuid()) || p.GetPpid() != uint32(os.Getppid()) || p.GetStart() == 0 || p.GetUnknown() || len(p.GetAncestors()) == 0 {
		t.Errorf("process %v", p)
	}
	var concern []string
	for _, p := range r.GetPolicies() {
		concern = append(concern, p.GetName())
	}
	if !slices.Equal(concern, []string{"me", "all"}) {
		t.Errorf("policies %v", concern)
	}
	_, err = i.Explain(t.Context(), &pb.ExplainRequest{Pid: 1 << 22})
	wantStatus(t, err, codes.NotFound, "no process 4194304")
	_, err = i.Explain(t.Context(), &pb.ExplainRequest{})
	wantStatus(t, err, codes.InvalidArgument, "write its pid")

	r, err = i.Explain(t.Context(), &pb.ExplainRequest{Pid: uint32(os.Getpid()), Operation: "socket_bind", Object: &pb.DescribedObject{Port: proto.Uint32(1)}})
	if err != nil {
		t.Fatal(err)
	}
	if e := r.GetExplanation(); e.GetVerdict() != "deny" || e.GetWinner().GetPolicy() != "me" || e.GetBinary() != self || len(e.GetCandidates()) != 2 {
		t.Errorf("explanation %v", e)
	}
}

// TestExplainDescribed asks about processes that do not run.
func TestExplainDescribed(t *testing.T) {
	w := newWorld(t)
	subject := func(name, subject string) string {
		return strings.Replace(bind(name, 1), "subject: {}", "subject: {"+subject+"}", 1)
	}
	w.write("a.yaml", subject("one", "binaries: [/no/such/program], users: [root]")+"---\n"+subject("below", "binaries: [/no/such/parent], descendants: true")+"---\n"+subject("group", "cgroups: [/a]"))
	i := w.start()
	for name, test := range map[string]struct {
		described *pb.DescribedProcess
		concern   []string
		winner    string
	}{
		"program":    {&pb.DescribedProcess{Binary: proto.String("/no/such/program")}, []string{"one"}, "one"},
		"another":    {&pb.DescribedProcess{Binary: proto.String("/no/such/other")}, nil, ""},
		"user":       {&pb.DescribedProcess{Binary: proto.String("/no/such/program"), Uid: proto.String("7")}, nil, ""},
		"named user": {&pb.DescribedProcess{Binary: proto.String("/no/such/program"), Uid: proto.String("root")}, []string{"one"}, "one"},
		"descendant": {&pb.DescribedProcess{Ancestor: []string{"/bin/sh", "/no/such/parent"}}, []string{"below"}, "below"},
		"cgroup":     {&pb.DescribedProcess{Cgroup: proto.String("/a")}, []string{"group"}, "group"},
		"unknown":    {&pb.DescribedProcess{Unknown: true, Uid: proto.String("7")}, []string{"below", "group"}, "below"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := i.Explain(t.Context(), &pb.ExplainRequest{
				Described: test.described, Operation: "socket_bind", Object: &pb.DescribedObject{Port: proto.Uint32(1), Address: proto.String("10.0.0.1")},
			})
			if err != nil {
				t.Fatal(err)
			}
			var concern []string
			for _, p := range r.GetPolicies() {
				concern = append(concern, p.GetName())
			}
			if e := r.GetExplanation(); !slices.Equal(concern, test.concern) || e.GetWinner().GetPolicy() != test.winner || e.GetObject() != "tcp 10.0.0.1:1" {
				t.Errorf("policies %v, explanation %v", concern, e)
			}
			if p := r.GetProcess(); p.GetPid() != 0 || p.GetBinary() != test.described.GetBinary() || p.GetUnknown() != test.described.GetUnknown() {
				t.Errorf("process %v", p)
			}
		})
	}
	anybody := &pb.DescribedProcess{}
	for text, request := range map[string]*pb.ExplainRequest{
		"names a process and describes one":                {Pid: 1, Described: anybody},
		"names no operation; write file_open, ":            {Described: anybody, Object: &pb.DescribedObject{}},
		`unknown operation "bind"; did you mean`:           {Described: anybody, Operation: "bind"},
		"file_open needs --path":                           {Described: anybody, Operation: "file_open"},
		"--port does not apply to file_open; it is for":    {Described: anybody, Operation: "file_open", Object: &pb.DescribedObject{Port: proto.Uint32(1), Path: proto.String("/a")}},
		`--binary "nginx" is not an absolute`:              {Described: &pb.DescribedProcess{Binary: proto.String("nginx")}},
		"--binary and --unknown exclude each other; leave": {Described: &pb.DescribedProcess{Binary: proto.String("/a"), Unknown: true}},
		"no-such-user": {Described: &pb.DescribedProcess{Uid: proto.String("no-such-user")}},
	} {
		_, err := i.Explain(t.Context(), request)
		wantStatus(t, err, codes.InvalidArgument, text)
	}
}
