//go:build vm

package vm

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// What the daemon may take of memory with 10,000 rules.
const (
	idleBytes  = 64 << 20
	stormBytes = 128 << 20
)

// TestDaemonMemory looks what a daemon with 10,000 rules takes at rest, and while
// processes are refused as often as they can ask.
func TestDaemonMemory(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	if k, _ := vmtest.Guest(); k.Name != "6.12" {
		t.Log("for want of time on 6.12 only; it hardly depends on the kernel")
		return
	}
	dir, folder := policies(t)
	var rules strings.Builder
	rules.WriteString(port("many", "4001"))
	for i := range 10_000 {
		fmt.Fprintf(&rules, "  - operation: file_open\n    deny: {paths: [/srv/%d/%d]}\n", i%100, i)
	}
	write(t, filepath.Join(folder, "many.yaml"), 0o600, rules.String())
	g, c := startDaemon(t, dir, "--on-exit=remove")
	defer func() { // leave nothing enforced
		g.signal(syscall.SIGTERM)
		<-g.exited
	}()
	resident := func() uint64 {
		s, err := c.Status(t.Context(), &pb.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return s.GetResidentBytes()
	}
	time.Sleep(40 * time.Second) // it gives back what the start took, and what answers take
	idle := resident()

	var refused atomic.Int64
	var greatest uint64
	var storm sync.WaitGroup
	for range 4 {
		storm.Go(func() {
			for range 20_000 {
				if err := listen(4001); errors.Is(err, syscall.EPERM) {
					refused.Add(1)
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { storm.Wait(); close(ended) }()
	for over := false; !over; {
		select {
		case <-ended:
			over = true
		case <-time.After(500 * time.Millisecond):
		}
		greatest = max(greatest, resident())
	}
	fmt.Printf("10,000 rules: %d MiB at rest, at most %d MiB while %d operations were refused\n", idle>>20, greatest>>20, refused.Load())
	if refused.Load() != 80_000 {
		t.Errorf("%d refused", refused.Load())
	}
	if idle >= idleBytes || greatest >= stormBytes {
		t.Errorf("%d bytes at rest, at most %d in a storm", idle, greatest)
	}
	s, err := c.Status(t.Context(), &pb.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range s.GetOperations() {
		// Go's listen tries MPTCP first.
		if o.GetDenied() != o.GetAlerts()+o.GetAlertsLost()+o.GetAlertsLimited() || o.GetOperation() == "socket_bind" && o.GetDenied() < 80_000 {
			t.Errorf("not every denial is accounted for: %v", o)
		}
	}
}
