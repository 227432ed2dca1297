package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// shell runs a shell that says when it is ready.
func shell(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // it waits for that
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%v after %q", err, line)
	}
	return cmd
}

func forProcess(pid int) *pb.MitigateRequest_Process {
	return &pb.MitigateRequest_Process{Process: &pb.ProcessSubject{Pid: uint32(pid)}}
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
	cmd := shell(t, "echo; read x; exit")
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
	process, err := stat(uint32(cmd.Process.Pid))
	if err != nil || !slices.Equal(p.Subject.Processes, []policy.ProcessID{{PID: process.pid, Start: process.start}}) ||
		p.Until != now.Load()+uint64(time.Minute) || len(p.Rules) != 2 || p.Rules[0].Message != "why" {
		t.Errorf("%v, policy %+v", err, p)
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
	wantStatus(t, err, codes.InvalidArgument, "name mitigations")
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
	self, err := stat(uint32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	cmd := shell(t, "echo; read x; exit")
	const noNetwork, kill, noExec = pb.MitigateRequest_PROFILE_NO_NETWORK, pb.MitigateRequest_PROFILE_KILL, pb.MitigateRequest_PROFILE_NO_EXEC
	everyone := &pb.MitigateRequest_Everyone{Everyone: true}
	own := forProcess(cmd.Process.Pid)
	for _, tt := range []struct {
		request *pb.MitigateRequest
		code    codes.Code
		want    string
	}{
		{&pb.MitigateRequest{Ttl: minute(), Subject: everyone}, codes.InvalidArgument, "say what is forbidden"},
		{&pb.MitigateRequest{Profile: noNetwork, Yaml: "x", Ttl: minute(), Subject: everyone}, codes.InvalidArgument, "say what is forbidden"},
		{&pb.MitigateRequest{Profile: 77, Ttl: minute(), Subject: everyone}, codes.InvalidArgument, "choose from no-network"},
		{&pb.MitigateRequest{Profile: noNetwork, Ttl: minute()}, codes.InvalidArgument, "whom it is for"},
		{&pb.MitigateRequest{Profile: noNetwork, Subject: everyone}, codes.InvalidArgument, "how long"},
		{&pb.MitigateRequest{Profile: noNetwork, Subject: everyone, Ttl: durationpb.New(time.Millisecond)}, codes.InvalidArgument, "choose from 1s to 30 days"},
		{&pb.MitigateRequest{Profile: noNetwork, Subject: everyone, Ttl: durationpb.New(31 * 24 * time.Hour)}, codes.InvalidArgument, "choose from 1s"},
		{&pb.MitigateRequest{Profile: noNetwork, Ttl: minute(), Subject: forProcess(1)}, codes.InvalidArgument, "process 1 ("},
		{&pb.MitigateRequest{Profile: noNetwork, Ttl: minute(), Subject: forProcess(os.Getpid())}, codes.InvalidArgument, "is the daemon"},
		{&pb.MitigateRequest{Profile: noNetwork, Ttl: minute(), Subject: forProcess(1 << 22)}, codes.NotFound, "no process 4194304"},
		{&pb.MitigateRequest{Profile: noNetwork, Ttl: minute(), Subject: &pb.MitigateRequest_Process{Process: &pb.ProcessSubject{Pid: uint32(cmd.Process.Pid), Start: self.start - tick}}},
			codes.NotFound, "not the one that was started then"},
		{&pb.MitigateRequest{Profile: kill, Ttl: minute(), Subject: everyone}, codes.InvalidArgument, "would meet process"},
		{&pb.MitigateRequest{Profile: noExec, Ttl: minute(), Subject: everyone}, codes.InvalidArgument, "would meet process"},
		{&pb.MitigateRequest{Profile: noExec, Ttl: minute(), Subject: &pb.MitigateRequest_User{User: fmt.Sprint(os.Getuid())}}, codes.InvalidArgument, "would meet process"},
		{&pb.MitigateRequest{Profile: kill, Ttl: minute(), Subject: &pb.MitigateRequest_Binary{Binary: "/"}}, codes.InvalidArgument, "would meet process"},
		{&pb.MitigateRequest{Profile: noNetwork, Ttl: minute(), Subject: &pb.MitigateRequest_Binary{Binary: "relative"}}, codes.InvalidArgument, "relative"},
		{&pb.MitigateRequest{Profile: noNetwork, Ttl: minute(), Subject: &pb.MitigateRequest_User{User: "no such user"}}, codes.InvalidArgument, "no such user"},
		{&pb.MitigateRequest{Profile: noNetwork, Ttl: minute(), Subject: own, Name: "Upper"}, codes.InvalidArgument, "no policy name"},
		{&pb.MitigateRequest{Yaml: bind("x", 1), Ttl: minute(), Subject: own}, codes.InvalidArgument, "request:5:12: the policy has a subject"},
		{&pb.MitigateRequest{Yaml: strings.Replace(bind("x", 70000), "  subject: {}\n", "", 1), Ttl: minute(), Subject: own}, codes.InvalidArgument, "port 70000"},
	} {
		_, err := i.Mitigate(t.Context(), tt.request)
		wantStatus(t, err, tt.code, tt.want)
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
		wantStatus(t, err, codes.InvalidArgument, "would meet process "+fmt.Sprint(os.Getpid()))
	}
	i.want()
	// What is only told does no harm; what somebody wrote is as good as a profile.
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

// TestUnmet mitigates nobody, which is told, and somebody.
func TestUnmet(t *testing.T) {
	w := newWorld(t)
	i := w.start()
	cmd := shell(t, "echo; read x; exit")
	self, err := stat(uint32(cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, mode os.FileMode, content string) string {
		path := filepath.Join(w.dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
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
		{binary("/usr/bin/crul"), "there is no file /usr/bin/crul here; nobody is met until there is one"},
		{binary(plain + "/x"), "there is no file " + plain + "/x here"},
		{binary(w.dir), w.dir + " is a directory and no program, so that nobody is met; write " + w.dir + "/ for the programs in it"},
		{binary(plain), plain + " is not executable; nobody is met until it is"},
		{binary(idle), "no process runs " + idle + " now; those are met that will"},
		{binary(script), ""},
		{binary("/no/such/folder/"), "there is no directory /no/such/folder/ here; nobody is met until there is one"},
		{binary("/no/such/*/x"), "there is no directory /no/such/ here"},
		{binary(w.dir + "/"), "no process is seen to run a program of " + w.dir + "/ now; those are met that will"},
		{binary(w.dir + "/*"), "no process is seen to run a program of " + w.dir + "/* now"},
		{binary(executable(self.pid)), ""},
		{binary(shellLink), ""},
		{cgroup("/no/such/cgroup"), "cgroup /no/such/cgroup"},
		{cgroup("/no*such"), "no process is in the cgroup /no*such now; those are met that will be started in it"},
		{cgroup("/"), ""},
		{user("4294967294"), "user 4294967294 has no process now; those are met that it will start"},
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

// TestKill expects that a process and all that descends from it is gone, and nobody else.
func TestKill(t *testing.T) {
	w := newWorld(t)
	i := w.start()
	bystander := shell(t, "echo; read x; exit")
	cmd := shell(t, "sleep 1000 & (sleep 1000 & sleep 1000) & trap '' TERM; echo; while :; do sleep 1000; done")
	r, err := i.Mitigate(t.Context(), &pb.MitigateRequest{
		Profile: pb.MitigateRequest_PROFILE_KILL, Ttl: minute(), Subject: forProcess(cmd.Process.Pid), Name: "k",
	})
	if err != nil {
		t.Fatal(err)
	}
	killed := r.GetMitigation().GetKilled()
	if len(killed) < 4 || !slices.Contains(killed, uint32(cmd.Process.Pid)) {
		t.Errorf("killed are %v", killed)
	}
	for _, pid := range killed {
		if p, err := stat(pid); err == nil && !p.dead {
			t.Errorf("process %d (%s) lives", pid, p.comm)
		}
	}
	if p, err := stat(uint32(bystander.Process.Pid)); err != nil || p.dead {
		t.Errorf("the bystander: %v, %+v", err, p)
	}
	i.want("k")
	// A program by another name of it, with what it started.
	original, name := filepath.Join(w.dir, "original"), filepath.Join(w.dir, "name")
	data, err := os.ReadFile("/bin/sh")
	if err == nil {
		err = errors.Join(os.WriteFile(original, data, 0o700), os.Symlink(original, name))
	}
	if err != nil {
		t.Fatal(err)
	}
	named := exec.Command(original, "-c", "sleep 1000 & echo; read x")
	out, err1 := named.StdoutPipe()
	_, err2 := named.StdinPipe()
	if err := errors.Join(err1, err2, named.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = named.Process.Kill()
		_ = named.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	byName := policy.Subject{Binaries: []string{name}, Descendants: true}
	if why := unmet(byName); len(why) > 0 {
		t.Errorf("the program by another name: %q", why)
	}
	if killed, err = kill(byName); err != nil || len(killed) != 2 || !slices.Contains(killed, uint32(named.Process.Pid)) {
		t.Errorf("%v, killed are %v", err, killed)
	}
	// Of another process with its pid nothing is killed.
	before, err := stat(uint32(bystander.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	former := policy.Subject{Processes: []policy.ProcessID{{PID: before.pid, Start: before.start - tick}}}
	if killed, err := kill(former); err != nil || len(killed) > 0 {
		t.Errorf("%v, killed are %v", err, killed)
	}
	before.start -= tick
	if v, err := openVictim(before); v != nil || err != nil {
		t.Errorf("a process that is another is %v, %v", v, err)
	}
}

func TestParseStat(t *testing.T) {
	tail := " 0 0 0 0 2097152 0 0 0 0 0 0 0 0 20 0 1 0 77 0 0"
	p, err := parseStat(5, []byte("5 (a) b (c) S 4"+tail))
	if err != nil || p.comm != "a) b (c" || p.ppid != 4 || p.start != 77*tick || !p.kernel || p.dead {
		t.Errorf("%v, %+v", err, p)
	}
	for _, wrong := range []string{"", "5 a S 4", "5 (a) S", "5 (a) S x" + tail} {
		if _, err := parseStat(5, []byte(wrong)); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}
