package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/internal/shelltest"
	"github.com/ebpfguard/ebpfguard/daemon/mitigate"
	"github.com/ebpfguard/ebpfguard/policy"
)

func forProcess(pid int) *pb.MitigateRequest_Process {
	return &pb.MitigateRequest_Process{Process: &pb.ProcessSubject{Pid: uint32(pid)}}
}

// started returns a process with the time when it was started.
func started(t *testing.T, pid int) policy.ProcessID {
	t.Helper()
	p, _, err := mitigate.Machine{}.LookUp(uint32(pid))
	if err != nil {
		t.Fatal(err)
	}
	return policy.ProcessID{PID: p.GetPid(), Start: p.GetStart()}
}

func minute() *durationpb.Duration { return durationpb.New(time.Minute) }

// withClock makes the daemon's clock stand still until it is moved.
func withClock(i *instance) *atomic.Uint64 {
	var now atomic.Uint64
	now.Store(bootTime())
	i.d.mu.Lock()
	i.d.now = now.Load
	i.d.mu.Unlock()
	return &now
}

func TestMitigate(t *testing.T) {
	w := newWorld(t)
	w.write("f.yaml", bind("f", 1))
	i := w.start()
	now := withClock(i)
	cmd := shelltest.Start(t, "echo; read x; exit")
	r, err := i.Mitigate(t.Context(), &pb.MitigateRequest{
		Profile: pb.MitigateRequest_PROFILE_NO_NETWORK, Ttl: minute(), Subject: forProcess(cmd.Process.Pid), Message: "why",
	})
	if err != nil {
		t.Fatal(err)
	}
	m := r.GetMitigation()
	if m.GetName() != "mitigation/no-network-1" || m.GetProfile() != "no-network" || m.GetLeft().AsDuration() != time.Minute ||
		!strings.Contains(m.GetSubject(), fmt.Sprint(cmd.Process.Pid)) || time.Until(m.GetExpires().AsTime()) < 50*time.Second {
		t.Errorf("mitigation %v", m)
	}
	i.want("f", "mitigation/no-network-1")
	p := i.d.owned().mitigations[0]
	process := started(t, cmd.Process.Pid)
	if !slices.Equal(p.Subject.Processes, []policy.ProcessID{process}) ||
		p.Until != now.Load()+uint64(time.Minute) || len(p.Rules) != 2 || p.Rules[0].Message != "why" {
		t.Errorf("policy %+v", p)
	}
	explained, err := i.Explain(t.Context(), &pb.ExplainRequest{Pid: uint32(cmd.Process.Pid)})
	if err != nil || len(explained.GetPolicies()) != 2 || explained.GetPolicies()[1].GetMitigation().GetProfile() != "no-network" {
		t.Errorf("%v, explained %v", err, explained)
	}

	// Its name is taken, and it can be neither applied nor deleted.
	request := &pb.MitigateRequest{Profile: pb.MitigateRequest_PROFILE_READ_ONLY, Ttl: minute(), Subject: forProcess(cmd.Process.Pid), Name: m.GetName()}
	_, err = i.Mitigate(t.Context(), request)
	wantStatus(t, err, codes.FailedPrecondition, "choose another name")
	_, err = i.Apply(t.Context(), &pb.ApplyRequest{Yaml: bind(m.GetName(), 1)})
	wantStatus(t, err, codes.FailedPrecondition, "is a mitigation")
	_, err = i.Delete(t.Context(), &pb.DeleteRequest{Names: []string{m.GetName()}})
	wantStatus(t, err, codes.FailedPrecondition, "lift it")

	// It outlives the daemon but not the boot, and ends by itself.
	w.crash(i)
	i = w.start()
	i.want("f", "mitigation/no-network-1")
	if s, err := i.Status(t.Context(), &pb.StatusRequest{}); err != nil || s.GetMitigations() != 1 || s.GetPolicies() != 2 {
		t.Errorf("%v, status %v", err, s)
	}
	now = withClock(i)
	now.Add(uint64(time.Minute))
	i.d.expire()
	i.want("f")
	request.Name = m.GetName()
	if r, err = i.Mitigate(t.Context(), request); err != nil || r.GetMitigation().GetProfile() != "read-only" {
		t.Errorf("%v, the name cannot be used again: %v", err, r)
	}
	_, err = i.Lift(t.Context(), &pb.LiftRequest{Names: []string{"none"}})
	wantStatus(t, err, codes.NotFound, `"none"`)
	_, err = i.Lift(t.Context(), &pb.LiftRequest{})
	wantStatus(t, err, codes.InvalidArgument, "name at least one mitigation")
	lifted, err := i.Lift(t.Context(), &pb.LiftRequest{All: true})
	if err != nil || !slices.Equal(lifted.GetLifted(), []string{m.GetName()}) {
		t.Errorf("%v, lifted %v", err, lifted)
	}
	i.want("f")
}

// TestMitigationEnds waits for the timer.
func TestMitigationEnds(t *testing.T) {
	w := newWorld(t)
	i := w.start()
	if _, err := i.Mitigate(t.Context(), &pb.MitigateRequest{
		Profile: pb.MitigateRequest_PROFILE_NO_NETWORK, Ttl: durationpb.New(time.Second), Subject: &pb.MitigateRequest_Everyone{Everyone: true}, Name: "all",
	}); err != nil {
		t.Fatal(err)
	}
	i.want("all")
	i.want()
	// One that ended while no daemon ran is not put in force again.
	if _, err := i.Mitigate(t.Context(), &pb.MitigateRequest{
		Profile: pb.MitigateRequest_PROFILE_NO_NETWORK, Ttl: durationpb.New(time.Second), Subject: &pb.MitigateRequest_Everyone{Everyone: true}, Name: "all",
	}); err != nil {
		t.Fatal(err)
	}
	w.crash(i)
	time.Sleep(1100 * time.Millisecond)
	w.start().want()
}

func TestMitigateErrors(t *testing.T) {
	w := newWorld(t)
	i := w.start()
	cmd := shelltest.Start(t, "echo; read x; exit")
	const noNetwork, kill, noExec = pb.MitigateRequest_PROFILE_NO_NETWORK, pb.MitigateRequest_PROFILE_KILL, pb.MitigateRequest_PROFILE_NO_EXEC
	everyone := &pb.MitigateRequest_Everyone{Everyone: true}
	own := forProcess(cmd.Process.Pid)
	for _, tt := range []struct {
		request *pb.MitigateRequest
		code    codes.Code
		want    string
	}{
		{&pb.MitigateRequest{Ttl: minute(), Subject: everyone}, codes.InvalidArgument, "say what to forbid"},
		{&pb.MitigateRequest{Profile: noNetwork, Yaml: "x", Ttl: minute(), Subject: everyone}, codes.InvalidArgument, "say what to forbid"},
		{&pb.MitigateRequest{Profile: 77, Ttl: minute(), Subject: everyone}, codes.InvalidArgument, "choose from no-network"},
		{&pb.MitigateRequest{Profile: noNetwork, Ttl: minute()}, codes.InvalidArgument, "names no subject"},
		{&pb.MitigateRequest{Profile: noNetwork, Subject: everyone}, codes.InvalidArgument, "has no ttl"},
		{&pb.MitigateRequest{Profile: noNetwork, Subject: everyone, Ttl: durationpb.New(time.Millisecond)}, codes.InvalidArgument, "a mitigation cannot last 1ms; choose from 1s to 30d"},
		{&pb.MitigateRequest{Profile: noNetwork, Subject: everyone, Ttl: durationpb.New(100 * 24 * time.Hour)}, codes.InvalidArgument, "a mitigation cannot last 100d; choose from 1s to 30d"},
		{&pb.MitigateRequest{Profile: noNetwork, Ttl: minute(), Subject: forProcess(1)}, codes.InvalidArgument, "process 1 ("},
		{&pb.MitigateRequest{Profile: noNetwork, Ttl: minute(), Subject: forProcess(os.Getpid())}, codes.InvalidArgument, "is the daemon"},
		{&pb.MitigateRequest{Profile: noNetwork, Ttl: minute(), Subject: forProcess(1 << 22)}, codes.NotFound, "no process 4194304"},
		{&pb.MitigateRequest{Profile: noNetwork, Ttl: minute(), Subject: &pb.MitigateRequest_Process{Process: &pb.ProcessSubject{Pid: uint32(cmd.Process.Pid), Start: started(t, os.Getpid()).Start - 10_000_000}}},
			codes.NotFound, "not the one that started at that time"},
		{&pb.MitigateRequest{Profile: kill, Ttl: minute(), Subject: everyone}, codes.InvalidArgument, "includes process"},
		{&pb.MitigateRequest{Profile: noExec, Ttl: minute(), Subject: everyone}, codes.InvalidArgument, "includes process"},
		{&pb.MitigateRequest{Profile: noExec, Ttl: minute(), Subject: &pb.MitigateRequest_User{User: fmt.Sprint(os.Getuid())}}, codes.InvalidArgument, "includes process"},
		{&pb.MitigateRequest{Profile: kill, Ttl: minute(), Subject: &pb.MitigateRequest_Binary{Binary: "/"}}, codes.InvalidArgument, "includes process"},
		{&pb.MitigateRequest{Profile: noNetwork, Ttl: minute(), Subject: &pb.MitigateRequest_Binary{Binary: "relative"}}, codes.InvalidArgument, "relative"},
		{&pb.MitigateRequest{Profile: noNetwork, Ttl: minute(), Subject: &pb.MitigateRequest_User{User: "no such user"}}, codes.InvalidArgument, `there is no user "no such user"; 'getent passwd' lists them, or write a number`},
		{&pb.MitigateRequest{Profile: noNetwork, Ttl: minute(), Subject: own, Name: "Upper"}, codes.InvalidArgument, "no policy name"},
		{&pb.MitigateRequest{Yaml: bind("x", 1), Ttl: minute(), Subject: own}, codes.InvalidArgument, "request:5:12: the policy has a subject"},
		{&pb.MitigateRequest{Yaml: strings.Replace(bind("x", 70000), "  subject: {}\n", "", 1), Ttl: minute(), Subject: own}, codes.InvalidArgument, "port 70000"},
		{&pb.MitigateRequest{Yaml: "# a comment\n\n\n" + strings.Replace(bind("x", 70000), "  subject: {}\n", "", 1), File: "my.yaml", Ttl: minute(), Subject: own}, codes.InvalidArgument, "my.yaml:10:20: "},
	} {
		_, err := i.Mitigate(t.Context(), tt.request)
		wantStatus(t, err, tt.code, tt.want)
		if err != nil && strings.Contains(err.Error(), `policy "mitigation"`) {
			t.Errorf("%v: who asks for a mitigation has written no policy of this name", err)
		}
	}
	// The guard knows programs as files, so other names are no way around that.
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link, folder := filepath.Join(w.dir, "link"), filepath.Join(w.dir, "folder")
	if err := errors.Join(os.Symlink(program, link), os.Symlink(filepath.Dir(program), folder)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{program, link, folder + "/", folder + "/*", folder + "/" + filepath.Base(program)} {
		_, err := i.Mitigate(t.Context(), &pb.MitigateRequest{Profile: kill, Ttl: minute(), Subject: &pb.MitigateRequest_Binary{Binary: name}})
		wantStatus(t, err, codes.InvalidArgument, "includes process "+fmt.Sprint(os.Getpid()))
	}
	i.want()
	// What is only told does no harm; a policy that somebody wrote counts like a profile.
	for _, fine := range []*pb.MitigateRequest{
		{Profile: kill, Ttl: minute(), Subject: everyone, Audit: true, Name: "a"},
		{Yaml: strings.Replace(bind("x", 70), "  subject: {}\n", "", 1), Ttl: minute(), Subject: own, Name: "b"},
	} {
		if _, err := i.Mitigate(t.Context(), fine); err != nil {
			t.Error(err)
		}
	}
	i.want("a", "b")
	// Policies that outlive the boot name nothing of it.
	for _, yaml := range []string{
		strings.Replace(bind("x", 1), "spec:", "spec:\n  until: 5000", 1),
		strings.Replace(bind("x", 1), "subject: {}", "subject: {processes: [{pid: 5, start: 30000000}]}", 1),
	} {
		_, err := i.Apply(t.Context(), &pb.ApplyRequest{Yaml: yaml})
		wantStatus(t, err, codes.InvalidArgument, "use ebpfguard mitigate")
		w.write("x.yaml", yaml)
		i.wantProblem("use ebpfguard mitigate")
		w.remove("x.yaml")
		i.wantProblem("")
	}
}

// TestNoMatchWarning expects a warning exactly when a mitigation matches no process yet.
func TestNoMatchWarning(t *testing.T) {
	w := newWorld(t)
	i := w.start()
	cmd := shelltest.Start(t, "echo; read x; exit")
	file := func(name string, mode os.FileMode, content string) string {
		path := filepath.Join(w.dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	running, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	shellLink := filepath.Join(w.dir, "link")
	if err := os.Symlink("/bin/sh", shellLink); err != nil {
		t.Fatal(err)
	}
	idle, script, plain := file("idle", 0o700, "x"), file("script", 0o700, "#!/bin/sh\n"), file("plain", 0o600, "x")
	binary := func(path string) *pb.MitigateRequest {
		return &pb.MitigateRequest{Subject: &pb.MitigateRequest_Binary{Binary: path}}
	}
	cgroup := func(path string) *pb.MitigateRequest {
		return &pb.MitigateRequest{Subject: &pb.MitigateRequest_Cgroup{Cgroup: path}}
	}
	user := func(name string) *pb.MitigateRequest {
		return &pb.MitigateRequest{Subject: &pb.MitigateRequest_User{User: name}}
	}
	for _, test := range []struct {
		request *pb.MitigateRequest
		want    string // none if empty
	}{
		{binary("/usr/bin/crul"), "there is no file /usr/bin/crul here; this mitigation matches nothing until that file exists"},
		{binary(plain + "/x"), "there is no file " + plain + "/x here"},
		{binary(w.dir), w.dir + " is a directory and not a program, so this mitigation matches nothing; write " + w.dir + "/ for the programs in it"},
		{binary(plain), plain + " is not executable; this mitigation matches nothing until it is"},
		{binary(idle), "no process runs " + idle + " now; this mitigation matches processes that start it later"},
		{binary(script), ""},
		{binary("/no/such/folder/"), "there is no directory /no/such/folder/ here; this mitigation matches nothing until that directory exists"},
		{binary("/no/such/*/x"), "there is no directory /no/such/ here"},
		{binary(w.dir + "/"), "no process runs a program of " + w.dir + "/ now; this mitigation matches processes that start one later"},
		{binary(w.dir + "/*"), "no process runs a program of " + w.dir + "/* now"},
		{binary(running), ""},
		{binary(shellLink), ""},
		{cgroup("/no/such/cgroup"), "cgroup /no/such/cgroup"},
		{cgroup("/no*such"), "no process is in the cgroup /no*such now; this mitigation matches processes that start in it later"},
		{cgroup("/"), ""},
		{user("4294967294"), "user 4294967294 has no process now; this mitigation matches processes that it starts later"},
		{user(fmt.Sprint(os.Getuid())), ""},
		{&pb.MitigateRequest{Subject: forProcess(cmd.Process.Pid)}, ""},
		{&pb.MitigateRequest{Subject: &pb.MitigateRequest_Everyone{Everyone: true}}, ""},
	} {
		for _, profile := range []pb.MitigateRequest_Profile{
			pb.MitigateRequest_PROFILE_NO_NETWORK, pb.MitigateRequest_PROFILE_READ_ONLY, pb.MitigateRequest_PROFILE_NO_EXEC, pb.MitigateRequest_PROFILE_KILL,
		} {
			test.request.Profile, test.request.Ttl, test.request.Audit, test.request.Name = profile, minute(), true, "m"
			r, err := i.Mitigate(t.Context(), test.request)
			if err != nil {
				t.Fatalf("%v: %v", test.request, err)
			}
			got := strings.Join(r.GetWarnings(), "\n")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) || len(r.GetWarnings()) > 1 || got != "" && !strings.HasPrefix(got, `policy "m": warning: `) {
				t.Errorf("%v: %q, want %q", test.request, got, test.want)
			}
			if _, err := i.Lift(t.Context(), &pb.LiftRequest{All: true}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Rules of one's own may be odd, too.
	r, err := i.Mitigate(t.Context(), &pb.MitigateRequest{
		Yaml: strings.Replace(strings.Replace(bind("x", 70), "  subject: {}\n", "", 1), "deny: {ports: [70]}", "deny: [{ports: [70]}, {ports: [70]}]", 1), Ttl: minute(), Subject: forProcess(cmd.Process.Pid), Name: "m",
	})
	if err != nil || len(r.GetWarnings()) != 1 || !strings.HasPrefix(r.GetWarnings()[0], `policy "m": rule 0: warning: `) {
		t.Errorf("%v, %v", err, r)
	}
}

// TestKill expects that the profile kills at once, and tells what it killed.
func TestKill(t *testing.T) {
	w := newWorld(t)
	i := w.start()
	cmd := shelltest.Start(t, "echo; read x; exit")
	r, err := i.Mitigate(t.Context(), &pb.MitigateRequest{
		Profile: pb.MitigateRequest_PROFILE_KILL, Ttl: minute(), Subject: forProcess(cmd.Process.Pid), Name: "k",
	})
	if err != nil {
		t.Fatal(err)
	}
	if killed := r.GetMitigation().GetKilled(); !slices.Equal(killed, []uint32{uint32(cmd.Process.Pid)}) {
		t.Errorf("killed are %v", killed)
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the process ended with %v", err)
	}
	i.want("k")
}
