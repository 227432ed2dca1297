//go:build vm

package bpf

import (
	"errors"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// TestVerifier loads every program as the library does.
func TestVerifier(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	o, err := Open(Options{HashKey: [2]uint64{1, 2}, AlertBytes: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	if k, _ := vmtest.Guest(); o.hash == k.Offers("safe_task_storage") {
		t.Errorf("labels in a hash: %v, on kernel %s", o.hash, k.Name)
	}
	o.programs.LogLevel = ebpf.LogLevelStats
	names := []string{GuardProgTaskAlloc, GuardProgBprmCommittedCreds, GuardProgLabelTasks, GuardProgSocketBind, GuardProgSocketListen, GuardProgSctpBindConnect}
	if o.hash {
		names = append(names, GuardProgTaskFree)
	}
	for _, name := range names {
		start := time.Now()
		c, err := o.load(name)
		if err != nil {
			o.programs.LogLevel = 0
			_, err = o.load(name)
			o.programs.LogLevel = ebpf.LogLevelStats

			var verifier *ebpf.VerifierError
			if errors.As(err, &verifier) {
				for _, line := range verifier.Log[max(0, len(verifier.Log)-40):] {
					t.Log(line)
				}
			}
			t.Error(name, err)
			continue
		}
		t.Log(name, time.Since(start), c.Programs[name].VerifierLog)
		c.Close()
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}
