//go:build vm

package alerts

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// startTicks returns when a process was forked, as /proc has it.
func startTicks(t *testing.T, pid int) uint64 {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	guardtest.Check(t, err)
	ticks, err := strconv.ParseUint(string(bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])[19]), 10, 64)
	guardtest.Check(t, err)
	return ticks
}

// readUntil waits until a file that another process writes ends a line, and returns
// its fields.
func readUntil(t *testing.T, path string) []string {
	t.Helper()
	for deadline := time.Now().Add(guardtest.Patience); ; time.Sleep(10 * time.Millisecond) {
		if text, err := os.ReadFile(path); err == nil && bytes.HasSuffix(text, []byte("\n")) {
			return strings.Fields(string(text))
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s was not written within %v", path, guardtest.Patience)
		}
	}
}

// TestEnrich has a script start a program that starts another one, which is refused
// something when the one in between has ended.
func TestEnrich(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	vmtest.Require(t, "file_open")
	dir := "/tmp/enrich"
	leaf := guardtest.CopyProgram(t, dir+"/leaf")
	shell, err := exec.LookPath("/bin/dash")
	guardtest.Check(t, err)
	data, err := os.ReadFile(shell)
	guardtest.Check(t, err)
	middle := dir + "/middle"
	guardtest.Check(t, os.WriteFile(middle, data, 0o755))
	secret := dir + "/secret"
	guardtest.Check(t, os.WriteFile(secret, nil, 0o644))
	for _, fifo := range []string{dir + "/end", dir + "/more"} {
		guardtest.Check(t, unix.Mkfifo(fifo, 0o600))
	}
	script := dir + "/script"
	guardtest.Check(t, os.WriteFile(script, []byte(`#!/bin/dash
exec 3<&0
echo $$ >/tmp/enrich/script.pid
/tmp/enrich/middle -c '
	/tmp/enrich/leaf first "second argument" <&3 &
	echo $$ $! >/tmp/enrich/pids
	read x </tmp/enrich/end
	exit 0'
echo gone >/tmp/enrich/gone
read x </tmp/enrich/more
( : </tmp/enrich/secret ) 2>/dev/null
`), 0o755))
	t.Cleanup(func() { os.RemoveAll(dir) })

	before := guardtest.StartDoer(t, "/proc/self/exe") // runs already when the guard starts
	m, err := ebpfguard.NewManager(ebpfguard.Options{Enrich: true, AllowGaps: true})
	guardtest.Check(t, err)
	t.Cleanup(func() { guardtest.Check(t, m.Close()) })
	guardtest.Check(t, m.Attach(policy.SocketBind, policy.FileOpen))
	_, err = m.Apply([]policy.Policy{
		{Name: "bind", Mode: policy.ModeEnforce, Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{{
			Operation: policy.SocketBind, Deny: []policy.Pattern{guardtest.Ports(2022)},
		}}},
		{Name: "open", Mode: policy.ModeEnforce, Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{{
			Operation: policy.FileOpen, Deny: guardtest.FilePatterns([]string{secret}),
		}}},
	})
	guardtest.Check(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), guardtest.Patience)
	defer cancel()
	alerts := make(chan ebpfguard.AlertContext, 100)
	iteration := m.Alerts(ctx)
	go func() {
		for alert, err := range iteration {
			if err != nil {
				t.Error(err)
				continue
			}
			alerts <- alert.Context()
		}
		close(alerts)
	}()
	next := func() ebpfguard.AlertContext {
		alert, ok := <-alerts
		if !ok {
			t.Fatalf("no alert within %v", guardtest.Patience)
		}
		return alert
	}

	container := strings.Repeat("0123456789abcdef", 4)
	cgroup := "/sys/fs/cgroup/system.slice/docker-" + container + ".scope"
	guardtest.Check(t, os.MkdirAll(cgroup, 0o755))
	t.Cleanup(func() { os.Remove(cgroup); os.Remove("/sys/fs/cgroup/system.slice") })

	a, err := guardtest.StartActorCommand(exec.Command(script, "of the script"))
	guardtest.Check(t, err)
	ended := false
	t.Cleanup(func() {
		if !ended {
			a.Command.Process.Kill()
		}
		a.Stop()
	})
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2023)); r.Errno != 0 { // it runs
		t.Fatal(r)
	}
	pids := readUntil(t, dir+"/pids")
	middlePID, leafPID := pidOf(t, pids[0]), pidOf(t, pids[1])
	guardtest.Check(t, os.WriteFile(cgroup+"/cgroup.procs", []byte(pids[1]), 0))
	guardtest.Check(t, os.WriteFile(dir+"/end", []byte("\n"), 0))
	readUntil(t, dir+"/gone")
	if _, err := os.Stat("/proc/" + pids[0]); err == nil {
		t.Fatal("the one in between is still there")
	}
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2022)); !r.Refused() {
		t.Fatal(r)
	}
	alert := next()
	self, err := os.Readlink("/proc/self/exe")
	guardtest.Check(t, err)
	resolved, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", a.Command.Process.Pid))
	guardtest.Check(t, err)
	if want := []string{leaf, "first", "second argument"}; !slices.Equal(alert.Args, want) {
		t.Errorf("arguments %q, want %q", alert.Args, want)
	}
	if alert.PID != leafPID || alert.StartTime/10_000_000 != startTicks(t, int(leafPID)) {
		t.Errorf("pid %d, start %d; want %d, %d ticks", alert.PID, alert.StartTime, leafPID, startTicks(t, int(leafPID)))
	}
	type relative struct {
		pid    uint32
		binary string
		args   []string
	}
	want := []relative{
		{middlePID, middle, nil}, // its arguments are the text above
		{uint32(a.Command.Process.Pid), resolved, []string{"/bin/dash", script, "of the script"}},
		{uint32(os.Getpid()), self, os.Args},
	}
	if len(alert.Ancestors) < len(want) {
		t.Fatalf("ancestors %+v", alert.Ancestors)
	}
	for i, w := range want {
		got := alert.Ancestors[i]
		if w.args == nil && len(got.Args) > 1 && got.Args[0] == middle && got.Args[1] == "-c" {
			w.args = got.Args
		}
		if got.PID != w.pid || got.Binary != w.binary || !slices.Equal(got.Args, w.args) {
			t.Errorf("ancestor %d is %+v, want %+v", i, got, w)
		}
		if i > 0 && got.StartTime/10_000_000 != startTicks(t, int(got.PID)) {
			t.Errorf("ancestor %d started at %d", i, got.StartTime)
		}
	}
	if last := alert.Ancestors[len(alert.Ancestors)-1]; last.PID != 1 && len(alert.Ancestors) < 8 {
		t.Errorf("the last ancestor is %+v", last)
	}
	if alert.ContainerID != container || alert.Unit != "docker-"+container+".scope" {
		t.Errorf("container %q, unit %q of %q", alert.ContainerID, alert.Unit, alert.Cgroup)
	}

	// A child that starts nothing runs what its parent runs.
	guardtest.Check(t, os.WriteFile(dir+"/more", []byte("\n"), 0))
	alert = next()
	if want := []string{"/bin/dash", script, "of the script"}; !slices.Equal(alert.Args, want) {
		t.Errorf("arguments %q of a child that started nothing, want %q", alert.Args, want)
	}
	if got := alert.Ancestors[0]; got.PID != uint32(a.Command.Process.Pid) || !slices.Equal(got.Args, []string{"/bin/dash", script, "of the script"}) {
		t.Errorf("its parent is %+v", got)
	}
	ended = true

	// What ran before.
	if o := before.Do("open", secret, "r"); o.Errno != unix.EPERM {
		t.Fatal(o)
	}
	alert = next()
	if len(alert.Args) == 0 || alert.Args[0] != "/proc/self/exe" || alert.Ancestors[0].PID != uint32(os.Getpid()) || !slices.Equal(alert.Ancestors[0].Args, os.Args) {
		t.Errorf("arguments %q, ancestors %+v of a process that ran before", alert.Args, alert.Ancestors)
	}
	stats, err := m.EnrichmentStats()
	guardtest.Check(t, err)
	if stats.Executions < 4 || stats.ExecutionsLost != 0 || stats.Misses != 0 || stats.Evictions != 0 || stats.Processes < 3 {
		t.Errorf("stats %+v", stats)
	}
}

// TestExecutionCost starts programs without anybody who wants to know, and then with:
// what the kernel's programs took for each is printed.
func TestExecutionCost(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	const programs = 200
	stop, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	guardtest.Check(t, err)
	defer stop.Close()
	for _, enrich := range []bool{false, true} {
		before := runTimes(t)
		m, err := ebpfguard.NewManager(ebpfguard.Options{Enrich: enrich})
		guardtest.Check(t, err)
		guardtest.Check(t, m.Attach(policy.SocketBind))
		for range programs {
			guardtest.Check(t, exec.Command("/bin/true").Run())
		}
		took := map[string]time.Duration{}
		for id, p := range runTimes(t) {
			if _, ok := before[id]; !ok && p.count > 0 {
				took[p.name] = p.took / time.Duration(p.count)
			}
		}
		fmt.Printf("enrich: %v: a run of each program: %v\n", enrich, took)
		if took["sched_process_exec"] > 0 != enrich {
			t.Errorf("enrichment %v, and what tells of executions takes %v", enrich, took["sched_process_exec"])
		}
		time.Sleep(time.Second) // the buffer is read every so often
		stats, err := m.EnrichmentStats()
		guardtest.Check(t, err)
		if !enrich && stats != (ebpfguard.EnrichmentStats{}) || enrich && (stats.Executions < programs || stats.ExecutionsLost != 0) {
			t.Errorf("enrichment %v: %+v of %d programs", enrich, stats, programs)
		}
		guardtest.Check(t, m.Close())
	}
}

// runTime is how often a kernel program ran, and how long.
type runTime struct {
	name  string
	count uint64
	took  time.Duration
}

// runTimes returns those of all kernel programs by their ids.
func runTimes(t *testing.T) map[ebpf.ProgramID]runTime {
	t.Helper()
	all := map[ebpf.ProgramID]runTime{}
	for id, err := ebpf.ProgramGetNextID(0); err == nil; id, err = ebpf.ProgramGetNextID(id) {
		program, err := ebpf.NewProgramFromID(id)
		if err != nil {
			continue // it is gone
		}
		info, err := program.Info()
		guardtest.Check(t, err)
		stats, err := program.Stats()
		guardtest.Check(t, err)
		guardtest.Check(t, program.Close())
		all[id] = runTime{info.Name, stats.RunCount, stats.Runtime}
	}
	return all
}

func pidOf(t *testing.T, text string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 32)
	guardtest.Check(t, err)
	return uint32(n)
}
