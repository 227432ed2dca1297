//go:build unix

// Package cputime tells how much processor time this process has used. A test that asks whether something is fast
// enough measures that: on a busy machine time on the wall says little.
package cputime

import (
	"syscall"
	"time"
)

// Used returns the user time of all threads of this process so far.
func Used() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic("getrusage: " + err.Error()) // it fails for wrong arguments only
	}
	return time.Duration(usage.Utime.Nano())
}
