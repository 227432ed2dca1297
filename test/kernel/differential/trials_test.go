//go:build vm

package differential

import (
	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// question is what the kernel asks the guard about.
type question struct {
	operation policy.Operation
	object    policy.Object
	loaded    bool // only rules that name the object count
	held      bool // only rules that revoke count
	// pathless says that the hook does not tell by which path the file was
	// reached.
	pathless bool
}

// trial is something that a performer tries: system calls, one of which is
// judged.
type trial struct {
	what string
	// asked is what the guard is asked about, until it refuses something.
	asked []question
	// make adds the calls and returns which of them is judged.
	make func(*guardtest.Batch) int
	// fails are how the call fails when it is not refused; it may succeed, too.
	fails []unix.Errno
	// byChild says that a child makes the calls, since they change the process.
	byChild bool
}

// attempts are the kinds of trials of each operation.
var attempts = map[policy.Operation][]func(*comparison, *player) (trial, bool){
	policy.FileOpen: {
		(*comparison).open, (*comparison).open, (*comparison).open, (*comparison).open, (*comparison).change, (*comparison).change,
		(*comparison).create, (*comparison).rename, (*comparison).held, (*comparison).mapped, (*comparison).memory,
	},
	policy.BprmCheckSecurity: {(*comparison).execute, (*comparison).execute, (*comparison).execute, (*comparison).mapped, (*comparison).executeMemory},
	policy.SbMount: {
		(*comparison).mountNew, (*comparison).mountNew, (*comparison).mountNew, (*comparison).mountBind, (*comparison).mountBind,
		(*comparison).propagate, (*comparison).pivot,
	},
	policy.SbRemount:     {(*comparison).remount},
	policy.SbUmount:      {(*comparison).umount},
	policy.TaskFixSetuid: {(*comparison).setuid, (*comparison).setuid, (*comparison).setgid, (*comparison).setgroups},
	policy.SocketBind:    {(*comparison).bind, (*comparison).bind, (*comparison).receiveBound},
	policy.SocketConnect: {(*comparison).connect, (*comparison).send, (*comparison).useConnected},
}

// spotOf returns a spot of the world that the condition holds for.
func (c *comparison) spotOf(condition func(spot) bool) (spot, bool) {
	for range 20 {
		if s := c.world.spots[c.r.IntN(len(c.world.spots))]; condition(s) {
			return s, true
		}
	}
	return spot{}, false
}

func choose[T any](c *comparison, values ...T) T { return values[c.r.IntN(len(values))] }
