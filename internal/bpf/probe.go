package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/rlimit"
)

// ErrNoTrampoline says that the kernel has no way to call a program from a function: it was built without direct calls
// by ftrace. arm64 has had them since 6.4 (2aa6ac03516d).
var ErrNoTrampoline = errors.New("the kernel cannot call programs from its functions")

// ProbeLSM attaches a program to an LSM hook, goes through the hook, and reports whether the program ran.
func ProbeLSM() (ran bool, err error) {
	// Before 5.11 maps and programs count against this limit.
	if err := rlimit.RemoveMemlock(); err != nil {
		return false, fmt.Errorf("lifting RLIMIT_MEMLOCK: %w", err)
	}
	c, err := newCanary()
	if err != nil {
		return false, err
	}
	ran, err = c.runs()
	return ran, errors.Join(err, c.close())
}

// KeepsPaths reports whether the kernel's counts of renames and mounts can be
// found, without which nothing of a file's path is kept (bpf/cache/file.h).
func KeepsPaths() bool {
	renames, mounts := lockAddresses()
	return renames != 0 && mounts != 0
}
