//go:build vm

package vm

import (
	"fmt"
	"testing"

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
