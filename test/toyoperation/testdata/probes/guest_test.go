package ebpfguard_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

const niceEnv = "TOY_NICENESS"

func TestMain(m *testing.M) {
	niceness, err := strconv.Atoi(os.Getenv(niceEnv))
	if err != nil {
		os.Exit(m.Run())
	}
	err = unix.Setpriority(unix.PRIO_PROCESS, 0, niceness)
	switch {
	case err == nil:
		os.Exit(0)
	case errors.Is(err, unix.EPERM):
		os.Exit(1)
	}
	os.Exit(2)
}

// renice runs a copy of this program, which sets its niceness, and returns its exit
// status: 1 for EPERM.
func renice(t *testing.T, program string, niceness int) int {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = []string{niceEnv + "=" + strconv.Itoa(niceness)}
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

// TestToyKernel expects that the kernel refuses what the toy operation denies.
func TestToyKernel(t *testing.T) {
	actor, bystander := t.TempDir()+"/actor", t.TempDir()+"/bystander"
	for _, to := range []string{actor, bystander} {
		if err := copyProgram(to); err != nil {
			t.Fatal(err)
		}
	}
	m, err := ebpfguard.NewManager(ebpfguard.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	hook, err := m.AttachTaskSetnice()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	alerts := hook.Alerts(ctx)
	err = hook.AddPolicy(ebpfguard.TaskSetnice{
		Name: "toy", Subject: ebpfguard.Binaries(actor), Deny: []policy.NicenessPattern{{Levels: []policy.IDRange{{First: 25, Last: 39}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		program        string
		niceness, want int
	}{{actor, 4, 0}, {bystander, 10, 0}, {actor, 10, 1}} {
		if got := renice(t, tt.program, tt.niceness); got != tt.want {
			t.Errorf("%s to niceness %d: exit status %d, want %d", tt.program, tt.niceness, got, tt.want)
		}
	}
	for alert, err := range alerts {
		if err != nil || alert.Level != 30 || alert.Binary != actor || alert.Verdict != policy.Deny || alert.Hook != "task_setnice" || alert.Policy != "toy" {
			t.Errorf("alert %v, %v", alert, err)
		}
		return
	}
	t.Error("there is no alert")
}

func copyProgram(to string) error {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer from.Close()
	file, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, from)
	return errors.Join(err, file.Close())
}
