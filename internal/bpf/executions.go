package bpf

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// executionBytes is the size of the buffer of executions, for several thousand of
// them.
const executionBytes = 1 << 20

// TrackExecutions attaches what tells of each program that is started, an
// [abi.Execution] with its path and arguments. The object must have been made with
// [Options.Enrich].
func (o *Object) TrackExecutions() error {
	programs, err := o.load(GuardProgSchedProcessExec)
	if err != nil {
		return err
	}
	defer closePrograms(programs)
	l, err := attachTracing(programs[GuardProgSchedProcessExec])
	if err != nil {
		return fmt.Errorf("attaching %s: %w", GuardProgSchedProcessExec, err)
	}
	o.executions = append(o.executions, l)
	return nil
}

// Executions returns the ring buffer of executions.
func (o *Object) Executions() *ebpf.Map { return o.maps[GuardMapExecutions] }
