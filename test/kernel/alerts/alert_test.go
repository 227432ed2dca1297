//go:build vm

package alerts

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestAlert compares everything that an alert tells with the process itself.
func TestAlert(t *testing.T) {
	g := guardtest.Shared(t)
	cgroup := "/sys/fs/cgroup/alert test"
	guardtest.Check(t, os.Mkdir(cgroup, 0o755))
	program := guardtest.CopyProgram(t, "/tmp/alert/a program\n")
	g.Add(t, ebpfguard.SocketBind{Name: "named", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(2022), Message: "no", Severity: policy.SeverityHigh, Tags: []string{"x", "y"}})
	a, err := guardtest.StartActorIn(t, program, unix.CLONE_NEWUSER|unix.CLONE_NEWNET|unix.CLONE_NEWPID|unix.CLONE_NEWNS)
	guardtest.Check(t, err)
	t.Cleanup(func() { a.Stop(); os.Remove(cgroup) })
	pid := a.Command.Process.Pid
	guardtest.Check(t, os.WriteFile(cgroup+"/cgroup.procs", fmt.Append(nil, pid), 0))
	before := time.Now()
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2022)); !r.Refused() {
		t.Fatal(r)
	}
	alert := g.Next(t)
	if alert.Time.Before(before.Add(-time.Second)) || alert.Time.After(time.Now().Add(time.Second)) {
		t.Errorf("time %v, now %v", alert.Time, time.Now())
	}
	namespace := func(name string) uint32 {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
		guardtest.Check(t, err)
		var n uint32
		if _, err := fmt.Sscanf(link, name+":[%d]", &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	var stat unix.Stat_t
	guardtest.Check(t, unix.Stat(cgroup, &stat))
	self, err := os.Readlink("/proc/self/exe")
	guardtest.Check(t, err)
	if started := startTicks(t, pid); alert.StartTime/10_000_000 != started {
		t.Errorf("started at %d ns, not %d ticks", alert.StartTime, started)
	}
	if alert.TID < alert.PID { // threads of a Go program are started later
		t.Errorf("tid %d, pid %d", alert.TID, alert.PID)
	}
	want := ebpfguard.Process{
		PID: uint32(pid), TID: alert.TID, PPID: uint32(os.Getpid()), StartTime: alert.StartTime, Comm: alert.Comm,
		Binary: program, ParentBinary: self, CgroupID: stat.Ino, Cgroup: "/alert test",
		Namespaces: ebpfguard.Namespaces{Mount: namespace("mnt"), PID: namespace("pid"), Network: namespace("net"), User: namespace("user")},
	}
	if diff := cmp.Diff(want, alert.Process); diff != "" {
		t.Errorf("process (-want +got):\n%s", diff)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	guardtest.Check(t, err)
	host, err := os.Hostname()
	guardtest.Check(t, err)
	if alert.Host != host || alert.BootID+"\n" != string(boot) {
		t.Errorf("host %q, want %q; boot id %q, want %q", alert.Host, host, alert.BootID, boot)
	}
	if alert.Sequence != 0 || alert.Count != 1 {
		t.Errorf("sequence %d, count %d", alert.Sequence, alert.Count)
	}
	if alert.Comm != "a program\n" {
		t.Errorf("comm %q", alert.Comm)
	}
	if text := alert.String(); strings.Contains(text, "\n") {
		t.Errorf("a program's name breaks the line of text: %q", text)
	}
	data, err := json.Marshal(alert)
	guardtest.Check(t, err)
	var keys map[string]any
	guardtest.Check(t, json.Unmarshal(data, &keys))
	for key, want := range map[string]any{
		"operation": "socket_bind", "hook": "socket_bind", "verdict": "deny", "policy": "named", "rule": 0.0, "message": "no",
		"severity": "high", "errno": "EPERM", "count": 1.0, "revision": float64(alert.Revision),
	} {
		if keys[key] != want {
			t.Errorf("%s is %v, want %v in %s", key, keys[key], want, data)
		}
	}
	if object := fmt.Sprint(keys["object"]); object != "map[address:127.0.0.1 port:2022 protocol:tcp]" {
		t.Errorf("object %s", object)
	}
}
