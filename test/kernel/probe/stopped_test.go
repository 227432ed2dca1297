//go:build vm

package probe

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// ftraceSwitch stops all programs at the hooks of the kernel, on some kernels.
const ftraceSwitch = "/proc/sys/kernel/ftrace_enabled"

// TestStopped stops all programs, and expects that it is told and put right.
func TestStopped(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	g := guardtest.Shared(t)
	a := guardtest.StartActor(t, "/proc/self/exe")
	g.Use(t, policy.Policy{Name: "everyone", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{
		{Operation: policy.SocketBind, Deny: []policy.Pattern{guardtest.Ports(2022)}},
	}})
	a.WantRefused(t, 2022, "before")
	if wrong, err := g.Verify(); err != nil || len(wrong) > 0 {
		t.Errorf("%v, wrong is %q before it is", err, wrong)
	}
	err := os.WriteFile(ftraceSwitch, []byte("0"), 0)
	k, _ := vmtest.Guest()
	if refuses := slices.Contains([]string{"5.10", "7"}, k.Series); refuses {
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EOPNOTSUPP) { // 5.10, 7
			t.Errorf("writing 0 to %s is not refused: %v", ftraceSwitch, err)
		}
	} else {
		guardtest.Check(t, err)
		a.WantBound(t, 2022, "stopped") // or the test tries nothing
		wrong, err := g.Verify()
		if err != nil || len(wrong) != 1 || !strings.Contains(wrong[0], ftraceSwitch+" was 0") {
			t.Errorf("%v, wrong is %q", err, wrong)
		}
	}
	a.WantRefused(t, 2022, "put right")
	if wrong, err := g.Verify(); err != nil || len(wrong) > 0 {
		t.Errorf("%v, wrong is %q after it was put right", err, wrong)
	}
}
