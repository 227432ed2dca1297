// Package cputime tells how much processor time this process has used. A test that asks whether something is fast
// enough measures that: on a busy machine time on the wall says little.
package cputime

import (
	"syscall"
	"time"
)

// Used returns the user time of all threads of this process so far.
func Used() time.Duration {
	var created, ended, system, user syscall.Filetime
	process, err := syscall.GetCurrentProcess()
	if err == nil {
		err = syscall.GetProcessTimes(process, &created, &ended, &system, &user)
	}
	if err != nil {
		panic("GetProcessTimes: " + err.Error()) // it fails for wrong arguments only
	}
	// A Filetime that is a duration counts units of 100 ns, and Nanoseconds reads it as a date.
	return time.Duration(int64(user.HighDateTime)<<32|int64(user.LowDateTime)) * 100
}
