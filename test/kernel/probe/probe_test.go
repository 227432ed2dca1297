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
)

// TestKernelWithoutBPF wants a clear error where LSM programs attach but do
// nothing.
func TestKernelWithoutBPF(t *testing.T) {
	k, ok := vmtest.Guest()
	if !ok {
		t.Fatal("not in a guest")
	}
	report := ebpfguard.Probe()
	m, err := ebpfguard.NewManager(ebpfguard.Options{})
	if k.Offers("bpf_lsm") {
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
	active, readErr := os.ReadFile("/sys/kernel/security/lsm")
	if readErr != nil {
		t.Fatal(readErr)
	}
	if want := "add lsm=" + strings.TrimSpace(string(active)) + ",bpf to the kernel command line"; !strings.Contains(err.Error(), want) {
		t.Errorf("the error does not say %q: %v", want, err)
	}
}
