//go:build vm

package coverage

import (
	"os"
	"regexp"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

func TestMain(m *testing.M) {
	ActIfAsked()
	os.Exit(m.Run())
}

// selection narrows a run to rows, for whoever writes a way: EBPFGUARD_WAYS=socket_bind/tcp.
const selection = "EBPFGUARD_WAYS"

// TestControls runs every way without a policy.
func TestControls(t *testing.T) {
	k, ok := vmtest.Guest()
	if !ok {
		t.Fatal("this test needs a guest kernel: run it with `make test-vm VM_TESTS=./internal/coverage`")
	}
	if !k.Offers("bpf_lsm") {
		t.Skipf("kernel %s is the one that cannot enforce anything", k.Name)
	}
	o := Options{Kernel: k.Name}
	if pattern := os.Getenv(selection); pattern != "" {
		o.Match = regexp.MustCompile(pattern)
	}
	counts := make(map[Operation]map[Outcome]int)
	for _, r := range Controls(t, o) {
		if counts[r.Operation] == nil {
			counts[r.Operation] = make(map[Outcome]int)
		}
		counts[r.Operation][r.Outcome]++
		if r.Outcome == NotOffered {
			t.Logf("%s/%s: not offered: %s", r.Operation, r.ID, r.Why)
		}
	}
	for operation, count := range counts {
		t.Logf("%s: %d succeeded, %d not offered, %d failed", operation, count[Control], count[NotOffered], count[Failed])
	}
}
