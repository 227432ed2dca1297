package mitigate

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ebpfguard/ebpfguard/daemon/internal/shelltest"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

// TestKill expects that a process and all that descends from it is gone, and nobody else.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	bystander := shelltest.Start(t, "echo; read x; exit")
	cmd := shelltest.Start(t, "sleep 1000 & (sleep 1000 & sleep 1000) & trap '' TERM; echo; while :; do sleep 1000; done")
	self, err := procfs.Stat(uint32(cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	killed, err := (Machine{}).Kill(policy.Subject{Processes: []policy.ProcessID{{PID: self.PID, Start: self.Start}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(killed) < 4 || !slices.Contains(killed, uint32(cmd.Process.Pid)) {
		t.Errorf("killed are %v", killed)
	}
	for _, pid := range killed {
		if p, err := procfs.Stat(pid); err == nil && !p.Dead {
			t.Errorf("process %d (%s) lives", pid, p.Comm)
		}
	}
	if p, err := procfs.Stat(uint32(bystander.Process.Pid)); err != nil || p.Dead {
		t.Errorf("the bystander: %v, %+v", err, p)
	}
	// A program by another name of it, with what it started.
	original, name := filepath.Join(dir, "original"), filepath.Join(dir, "name")
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
	if why := (Machine{}).NoMatchWarning(byName); why != "" {
		t.Errorf("the program by another name: %q", why)
	}
	if killed, err = (Machine{}).Kill(byName); err != nil || len(killed) != 2 || !slices.Contains(killed, uint32(named.Process.Pid)) {
		t.Errorf("%v, killed are %v", err, killed)
	}
	// Of another process with its pid nothing is killed.
	before, err := procfs.Stat(uint32(bystander.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	former := policy.Subject{Processes: []policy.ProcessID{{PID: before.PID, Start: before.Start - procfs.Tick}}}
	if killed, err := (Machine{}).Kill(former); err != nil || len(killed) > 0 {
		t.Errorf("%v, killed are %v", err, killed)
	}
	before.Start -= procfs.Tick
	if v, err := openVictim(before); v != nil || err != nil {
		t.Errorf("a process that is another is %v, %v", v, err)
	}
}
