package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// denyProgram is a policy by which nobody may start the programs of a path.
func denyProgram(name, path string) string {
	return `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: ` + name + `}
spec:
  subject: {}
  rules:
  - operation: bprm_check_security
    deny: {paths: ["` + path + `"]}
`
}

// TestConfirm applies changes that are taken back unless they are confirmed.
func TestConfirm(t *testing.T) {
	w := newWorld(t)
	i := w.start()
	now := withClock(i)
	ctx := t.Context()
	i.apply(bind("a", 1) + "---\n" + bind("b", 2) + "---\n" + bind("c", 3))
	try := func(yaml string) *pb.ApplyResponse {
		t.Helper()
		r, err := i.Apply(ctx, &pb.ApplyRequest{Yaml: yaml, Replace: true, ConfirmWithin: minute()})
		if err != nil || r.GetUnconfirmed().GetLeft().AsDuration() != time.Minute {
			t.Fatalf("%v, %v", err, r)
		}
		return r
	}
	kept := func() string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(w.config.State, appliedFile))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	// a stays, b changes, c goes, d comes.
	changed := bind("a", 1) + "---\n" + bind("b", 22) + "---\n" + bind("d", 4)
	try(changed)
	i.want("a", "b", "d", "rollback/b", "rollback/c")
	for name, want := range map[string][2]uint64{
		"a": {}, "b": {0, now.Load() + uint64(time.Minute)}, "d": {0, now.Load() + uint64(time.Minute)},
		"rollback/b": {now.Load() + uint64(time.Minute), 0}, "rollback/c": {now.Load() + uint64(time.Minute), 0},
	} {
		p := w.guard.set[indexOf(w.guard.set, name)]
		if got := [2]uint64{p.From, p.Until}; got != want {
			t.Errorf("%s: from and until %v, want %v", name, got, want)
		}
	}
	if l, err := i.List(ctx, &pb.ListRequest{}); err != nil || len(l.GetPolicies()) != 3 {
		t.Errorf("%v, the list %v", err, l)
	}
	if s, err := i.Status(ctx, &pb.StatusRequest{}); err != nil || s.GetUnconfirmed().GetLeft().AsDuration() != time.Minute {
		t.Errorf("%v, status %v", err, s)
	}
	if strings.Contains(kept(), "22") {
		t.Error("what is not confirmed is kept")
	}
	// Another change has to wait; files and mitigations need not.
	_, err := i.Apply(ctx, &pb.ApplyRequest{Yaml: bind("x", 9)})
	wantStatus(t, err, codes.FailedPrecondition, "waits to be confirmed for 1m more")
	_, err = i.Delete(ctx, &pb.DeleteRequest{Names: []string{"a"}})
	wantStatus(t, err, codes.FailedPrecondition, "waits to be confirmed")
	w.write("f.yaml", bind("f", 5))
	i.want("a", "b", "d", "f", "rollback/b", "rollback/c")
	w.write("f.yaml", bind("c", 5))
	i.wantProblem("same name as an applied policy")
	w.write("f.yaml", bind("f", 5))
	i.wantProblem("")
	// Nobody confirms.
	now.Add(uint64(time.Minute))
	i.d.expire()
	i.want("a", "b", "c", "f")
	_, err = i.Confirm(ctx, &pb.ConfirmRequest{})
	wantStatus(t, err, codes.FailedPrecondition, "no change waits")
	// Somebody does.
	try(changed)
	if r, err := i.Confirm(ctx, &pb.ConfirmRequest{}); err != nil || len(r.GetChanges().GetAdded()) != 1 || len(r.GetChanges().GetRemoved()) != 1 {
		t.Errorf("%v, %v", err, r)
	}
	i.want("a", "b", "d", "f")
	if !strings.Contains(kept(), "22") {
		t.Error("what is confirmed is not kept")
	}
	now.Add(uint64(time.Hour))
	i.d.expire()
	i.want("a", "b", "d", "f")
	// Somebody takes it back, also by starting the daemon again.
	try(bind("e", 5))
	if _, err := i.Confirm(ctx, &pb.ConfirmRequest{Rollback: true}); err != nil {
		t.Error(err)
	}
	i.want("a", "b", "d", "f")
	try(bind("e", 5) + "---\n" + bind("b", 7))
	w.crash(i)
	i = w.start()
	i.want("a", "b", "d", "f")
	if p := i.d.owned().applied; len(p) != 3 || !strings.Contains(string(policy.Format(p)), "22") {
		t.Errorf("applied are %v", p)
	}
	if _, err := os.Stat(filepath.Join(w.config.State, unconfirmedFile)); err == nil {
		t.Error("the file of the unconfirmed change is left")
	}
	_, err = i.Apply(ctx, &pb.ApplyRequest{Yaml: bind("x", 9), ConfirmWithin: durationpb.New(time.Millisecond)})
	wantStatus(t, err, codes.InvalidArgument, "choose from 1s to 1d")
}

// TestLockoutByPolicy expects that policies that lock out are refused, wherever they come from.
func TestLockoutByPolicy(t *testing.T) {
	w := newWorld(t)
	i := w.start()
	ctx := t.Context()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	all := denyProgram("all", "/")
	_, err = i.Apply(ctx, &pb.ApplyRequest{Yaml: all, Name: "all.yaml"})
	wantStatus(t, err, codes.FailedPrecondition, `nothing changed: this would lock you out of this machine: policy "all" rule 0 (all.yaml:7:5) would refuse`)
	wantStatus(t, err, codes.FailedPrecondition, "starting "+self)
	wantStatus(t, err, codes.FailedPrecondition, "--force")
	_, err = i.Apply(ctx, &pb.ApplyRequest{Yaml: all, DryRun: true})
	wantStatus(t, err, codes.FailedPrecondition, "lock you out")
	i.want()
	// By its pins.
	pins := strings.Replace(strings.Replace(denyProgram("pins", w.config.Pins+"/"), "bprm_check_security", "file_open", 1), "]}", "], access: [write]}", 1)
	_, err = i.Apply(ctx, &pb.ApplyRequest{Yaml: pins})
	wantStatus(t, err, codes.FailedPrecondition, "changing "+w.config.Pins)
	// By a mitigation that says the same in other words.
	for _, path := range []string{"/", "/**", self} {
		_, err = i.Mitigate(ctx, &pb.MitigateRequest{
			Yaml: strings.Replace(denyProgram("m", path), "  subject: {}\n", "", 1), Ttl: minute(), Subject: &pb.MitigateRequest_Everyone{Everyone: true},
		})
		wantStatus(t, err, codes.FailedPrecondition, "lock you out")
	}
	// By a file: the former ones stay.
	w.write("f.yaml", bind("f", 1))
	i.want("f")
	w.write("g.yaml", all)
	i.wantProblem("allow_lockout: true")
	i.want("f")
	w.crash(i)
	i = w.start()
	i.wantProblem("lock you out")
	i.want("f")
	i.d.stateMu.Lock()
	i.d.config.AllowLockout = true
	i.d.stateMu.Unlock()
	if err := i.d.reloadDirectory(); err != nil {
		t.Error(err)
	}
	i.want("all", "f")
	// What is in force already is no reason to refuse another change, nor to forget it.
	w.crash(i)
	i = w.start()
	i.want("all", "f")
	i.apply(bind("a", 3))
	w.remove("g.yaml")
	i.want("a", "f")
	// With force, and for a while.
	if _, err := i.Apply(ctx, &pb.ApplyRequest{Yaml: all, ConfirmWithin: minute()}); err != nil {
		t.Error(err)
	}
	i.want("a", "all", "f")
	if _, err := i.Confirm(ctx, &pb.ConfirmRequest{Rollback: true}); err != nil {
		t.Error(err)
	}
	i.want("a", "f")
	// Time brings no process 1 back.
	deadly := strings.Replace(strings.Replace(denyProgram("deadly", "/dev/null"), "bprm_check_security", "file_open", 1), "    deny:", "    verdict: kill\n    deny:", 1)
	_, err = i.Apply(ctx, &pb.ApplyRequest{Yaml: deadly, ConfirmWithin: minute()})
	wantStatus(t, err, codes.FailedPrecondition, "would be killed")
	if _, err := i.Apply(ctx, &pb.ApplyRequest{Yaml: all, Force: true}); err != nil {
		t.Error(err)
	}
	i.want("a", "all", "f")
	w.crash(i)
	w.start().want("a", "all", "f")
	// An exception that lets everything work must not go alone.
	i = newWorld(t).start()
	exception := strings.Replace(strings.Replace(strings.Replace(denyProgram("exception", "/"), "deny: {paths: [\"/\"]}", "allow: all", 1), "subject: {}", "subject: {users: [0-4294967294]}", 1), "bprm", "bprm", 1)
	deny := strings.Replace(denyProgram("all", "/"), `{paths: ["/"]}`, "all", 1)
	i.apply(exception + "---\n" + deny)
	_, err = i.Delete(ctx, &pb.DeleteRequest{Names: []string{"exception"}})
	wantStatus(t, err, codes.FailedPrecondition, "keep the exception")
	if _, err := i.Delete(ctx, &pb.DeleteRequest{Names: []string{"exception"}, Force: true}); err != nil {
		t.Error(err)
	}
}
