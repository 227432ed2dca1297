package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

func able() ebpfguard.Report {
	return ebpfguard.Report{
		Kernel:    "6.12.1",
		Enforcing: true,
		LSMs:      []string{"lockdown", "bpf"},
		Checks: []ebpfguard.Check{
			{Name: "bpf LSM", OK: true, Required: true, Detail: "active"},
			{Name: "task storage", Detail: "a hash is used instead"},
		},
		Operations: []ebpfguard.OperationSupport{{
			Operation: policy.SocketBind,
			Supported: true,
			Hooks: []ebpfguard.HookSupport{
				{Name: "socket_bind", Available: true, Effect: "bind(2)"},
				{Name: "sctp_bind_connect", Effect: "sctp_bindx(3)", Detail: "the kernel has no SCTP"},
			},
		}, {
			Operation: policy.TaskFixSetuid,
			Supported: true,
			Hooks: []ebpfguard.HookSupport{
				{Name: "task_fix_setuid", Available: true, Effect: "setuid(2)"},
				{Name: "task_fix_setgroups", Effect: "setgroups(2)"},
			},
			NotCovered: []ebpfguard.Uncovered{
				{Effect: "setgroups(2)", Reason: "this kernel has no LSM hook task_fix_setgroups; a kernel that is newer than 6.0 has it"},
			},
		}},
	}
}

func unable() ebpfguard.Report {
	r := able()
	r.Enforcing = false
	r.Checks[0] = ebpfguard.Check{Name: "bpf LSM", Required: true, Detail: "the bpf LSM is not enabled", Remedy: "add lsm=lockdown,bpf to the kernel command line (on Debian: to GRUB_CMDLINE_LINUX in /etc/default/grub) and reboot"}
	return r
}

func TestCheckText(t *testing.T) {
	var out bytes.Buffer
	if err := check(&out, able(), outputText); err != nil {
		t.Error(err)
	}
	want := `This kernel can enforce ebpfguard policies.

kernel            6.12.1
security modules  lockdown,bpf

CHECK         RESULT          DETAIL
bpf LSM       yes             active
task storage  no, not needed  a hash is used instead

OPERATION        ENFORCED  HOOK                ON THIS KERNEL  COVERS
socket_bind      yes       socket_bind         yes             bind(2)
                           sctp_bind_connect   no              sctp_bindx(3) (the kernel has no SCTP)
task_fix_setuid  yes       task_fix_setuid     yes             setuid(2)
                           task_fix_setgroups  no              setgroups(2) (NOT COVERED)

Not covered on this kernel, and why (docs/hooks.md):

task_fix_setuid
  - setgroups(2): this kernel has no LSM hook task_fix_setgroups; a kernel that
    is newer than 6.0 has it
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestCheckUnable(t *testing.T) {
	var out bytes.Buffer
	if err := check(&out, unable(), outputText); !errors.Is(err, errReported) {
		t.Errorf("error %v", err)
	}
	want := `This kernel cannot enforce ebpfguard policies: the bpf LSM is not enabled.

What to do:
  add lsm=lockdown,bpf to the kernel command line (on Debian: to
  GRUB_CMDLINE_LINUX in /etc/default/grub) and reboot
`
	if got := out.String(); !strings.HasPrefix(got, want) {
		t.Errorf("got:\n%swant first:\n%s", got, want)
	}
}

func TestCheckLacksOperation(t *testing.T) {
	r := able()
	r.Operations[0].Supported = false
	if got, want := checkVerdict(r), "This kernel can enforce ebpfguard policies, but not socket_bind."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCheckJSON(t *testing.T) {
	var out bytes.Buffer
	if err := check(&out, unable(), outputJSON); !errors.Is(err, errReported) {
		t.Errorf("error %v", err)
	}
	var got ebpfguard.Report
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(unable(), got); diff != "" {
		t.Error(diff)
	}
}
