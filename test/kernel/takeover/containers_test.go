//go:build vm

package takeover

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestPinnedContainers kills the manager: the containers that it told of stay what they are, for programs that start
// in them later as well, and the next manager knows them, and gives their numbers to no others.
func TestPinnedContainers(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	cleanPins(t)
	groups := map[string]uint64{}
	for _, name := range []string{"web", "db"} {
		dir := "/sys/fs/cgroup/" + name
		guardtest.Check(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() { os.Remove(dir) })
		info, err := os.Stat(dir)
		guardtest.Check(t, err)
		groups[name] = info.Sys().(*syscall.Stat_t).Ino
	}
	start := func(group string) *guardtest.Actor {
		dir, err := os.Open("/sys/fs/cgroup/" + group)
		guardtest.Check(t, err)
		defer dir.Close()
		command := exec.Command("/proc/self/exe")
		command.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
		a, err := guardtest.StartActorCommand(command)
		guardtest.Check(t, err)
		t.Cleanup(a.Stop)
		return a
	}
	web := policy.Container{ID: "web0000000000000", Name: "web", Labels: map[string]string{"app": "web"}}
	set := []policy.Policy{{Name: "web", Subject: policy.Subject{Containers: []policy.ContainerSelector{{Names: []string{"web"}}}}, Rules: []policy.Rule{
		{Operation: policy.SocketBind, Deny: []policy.Pattern{guardtest.Ports(2022)}},
	}}}
	killed, _ := startPinned(t, order{Set: set, Containers: map[uint64]policy.Container{groups["web"]: web}})
	early := start("web")
	early.WantRefused(t, 2022, "while the manager lives")
	killed.kill(t)
	early.WantRefused(t, 2022, "after it was killed")
	start("web").WantRefused(t, 2022, "a program that was started after")
	start("db").WantBound(t, 2022, "another container")

	m, err := ebpfguard.NewManager(pinnedOptions())
	guardtest.Check(t, err)
	t.Cleanup(func() { guardtest.Check(t, m.Remove()) })
	if all := m.Containers(); len(all) != 1 || all[0].Name != "web" || all[0].Labels["app"] != "web" {
		t.Errorf("the next manager knows the containers %v", all)
	}
	guardtest.Check(t, m.AddContainer(groups["db"], policy.Container{ID: "db00000000000000", Name: "db"}))
	start("db").WantBound(t, 2022, "a container of which the next manager told")
	early.WantRefused(t, 2022, "after the takeover")
	ctx, cancel := context.WithTimeout(context.Background(), guardtest.Patience)
	defer cancel()
	heard := 0
	for alert, err := range m.Alerts(ctx) {
		guardtest.Check(t, err)
		if c := alert.Context().Container; c == nil || c.Name != "web" {
			t.Errorf("alert %v", alert)
		}
		if heard++; heard == 4 {
			break
		}
	}
	set[0].Subject.Containers[0].Names = []string{"db"}
	_, err = m.Apply(set)
	guardtest.Check(t, err)
	start("db").WantRefused(t, 2022, "the next set")
	early.WantBound(t, 2022, "the next set is not about it")
}
