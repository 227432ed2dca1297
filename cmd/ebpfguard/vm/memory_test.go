//go:build vm

package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/footprint"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// TestDaemonMemory looks what a daemon with 10,000 rules takes at rest, and while
// processes are refused as often as they can ask.
func TestDaemonMemory(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	if k, _ := vmtest.Guest(); k.Name != "6.12" {
		t.Log("for want of time on 6.12 only; it hardly depends on the kernel")
		return
	}
	f, err := footprint.Measure(t.Context(), command, t.TempDir(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%d rules: at most %d MiB until it enforced, %d MiB at rest, at most %d MiB while %d operations were refused\n",
		footprint.Rules, f.Start>>20, f.Idle>>20, f.Storm>>20, footprint.Refusals)
	if err := f.Err(); err != nil {
		t.Error(err)
	}
}

// What run may take of resident memory with a rule of each operation, at rest and at the most. It takes 45 MiB
// and 66, of which 26 are pages of the program's own file, 5 more since it can speak to Kubernetes; the rest is
// room for what differs from one machine to another.
const (
	maxRun  = 49 << 20
	mostRun = 73 << 20
)

const eightRules = `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: eight}
spec:
  subject: {binaries: [/usr/bin/nothing]}
  rules:
  - {operation: file_open, deny: [{paths: [/etc/nothing]}]}
  - {operation: bprm_check_security, deny: [{paths: [/etc/nothing]}]}
  - {operation: sb_mount, deny: all}
  - {operation: sb_remount, deny: all}
  - {operation: sb_umount, deny: all}
  - {operation: task_fix_setuid, deny: all}
  - {operation: socket_bind, deny: [{ports: [22]}]}
  - {operation: socket_connect, deny: [{ports: [22]}]}
`

func TestRunMemory(t *testing.T) {
	vmtest.Require(t, "file_open")
	if k, _ := vmtest.Guest(); k.Name != "6.12" {
		t.Log("for want of time on 6.12 only; it hardly depends on the kernel")
		return
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "policies"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "policies", "eight.yaml"), []byte(eightRules), 0o600); err != nil {
		t.Fatal(err)
	}
	g := startGuard(t, dir)
	most, err := footprint.Memory(g.cmd.Process.Pid, "VmHWM")
	if err != nil {
		t.Fatal(err)
	}
	var rest uint64
	// It gives back what loading took within some seconds.
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		if rest, err = footprint.Memory(g.cmd.Process.Pid, "VmRSS"); err != nil {
			t.Fatal(err)
		}
		if rest <= maxRun || time.Now().After(end) {
			break
		}
	}
	fmt.Printf("run with eight rules: at most %d MiB until it enforced, %d MiB at rest\n", most>>20, rest>>20)
	if rest > maxRun || most > mostRun {
		t.Errorf("%d MiB at rest and %d at the most; %d and %d are too many", rest>>20, most>>20, maxRun>>20, mostRun>>20)
	}
}
