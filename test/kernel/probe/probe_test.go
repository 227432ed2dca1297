//go:build vm

package probe

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestKernelWithoutBPF wants a clear error where LSM programs attach but do
// nothing, and where they cannot be attached.
func TestKernelWithoutBPF(t *testing.T) {
	k, ok := vmtest.Guest()
	if !ok {
		t.Fatal("not in a guest")
	}
	report := ebpfguard.Probe()
	m, err := ebpfguard.NewManager(ebpfguard.Options{})
	if k.Refuses == "" {
		if err != nil || !report.Enforcing {
			t.Fatalf("error %v, report %+v", err, report)
		}
		if err := m.Supported(policy.SocketBind); err != nil {
			t.Error(err)
		}
		if err := m.Supported("socket_listen"); !errors.Is(err, ebpfguard.ErrNotSupported) {
			t.Errorf("an operation that does not exist: %v", err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	if !errors.Is(err, ebpfguard.ErrNotSupported) || report.Enforcing {
		t.Fatalf("error %v, report %+v", err, report)
	}
	want := k.Refuses
	if k.Offers("without_bpf_lsm") {
		active, err := os.ReadFile("/sys/kernel/security/lsm")
		guardtest.Check(t, err)
		want = "add lsm=" + strings.TrimSpace(string(active)) + want
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("the error does not say %q: %v", want, err)
	}
}
