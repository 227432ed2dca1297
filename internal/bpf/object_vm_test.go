//go:build vm

package bpf

import (
	"errors"
	"slices"
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
	var names []string
	for name, program := range o.spec.Programs {
		if program.Type == ebpf.LSM {
			if ok, err := HasHook(program.AttachTo); err != nil {
				t.Fatal(err)
			} else if !ok {
				continue // the kernel table of the root package's tests says which
			}
		}
		if name == GuardProgTaskFree && !o.hash {
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		start := time.Now()
		c, err := o.load(name)
		if err != nil {
			o.programs.LogLevel = 0
			_, err = o.load(name)
			o.programs.LogLevel = ebpf.LogLevelStats

			var verifier *ebpf.VerifierError
			if errors.As(err, &verifier) {
				for _, line := range verifier.Log[max(0, len(verifier.Log)-12):] {
					t.Log(line)
				}
			}
			t.Error(name, err)
			continue
		}
		t.Log(name, time.Since(start).Round(time.Millisecond), c[name].VerifierLog)
		closePrograms(c)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}
