package policy

import (
	"cmp"
	"errors"
	"fmt"
)

// ProcessID tells a process from all others, also from those that have its pid
// after it.
type ProcessID struct {
	// PID is the process's number in the initial pid namespace.
	PID uint32 `json:"pid"`
	// Start is when it was started, in nanoseconds of CLOCK_BOOTTIME. It counts
	// to 10 ms, which is what /proc/PID/stat tells.
	Start uint64 `json:"start"`
}

// tick is the length of what /proc counts times in, on every architecture.
const tick = 10_000_000

// The limits of processes: the kernel's greatest pid (PID_MAX_LIMIT), and the last
// that is started before the clock has counted to 10 ms.
const (
	maxPID   = 1 << 22
	earlyPID = 2
)

// ProcessAt returns the process with a pid that was started then, in units of 10 ms,
// as /proc/PID/stat tells it.
func ProcessAt(pid uint32, ticks uint64) ProcessID { return ProcessID{pid, ticks * tick} }

// Ticks returns Start as it is compared: in units of 10 ms, as in /proc/PID/stat.
func (p ProcessID) Ticks() uint64 { return p.Start / tick }

// Is reports whether both are the same process.
func (p ProcessID) Is(other ProcessID) bool {
	return p.PID == other.PID && p.Ticks() == other.Ticks()
}

// Compare orders processes by their pids, and those that had the same pid by their
// starts. It returns 0 for what is the same process.
func (p ProcessID) Compare(other ProcessID) int {
	return cmp.Or(cmp.Compare(p.PID, other.PID), cmp.Compare(p.Ticks(), other.Ticks()))
}

// String returns the process as flow-style YAML.
func (p ProcessID) String() string { return fmt.Sprintf("{pid: %d, start: %d}", p.PID, p.Start) }

func (p ProcessID) validate() error {
	switch {
	case p.PID == 0 || p.PID > maxPID:
		return fmt.Errorf("pid %d is out of range; write 1 to %d", p.PID, maxPID)
	case p.Start == 0 && p.PID > earlyPID:
		return fmt.Errorf("process %d has no start; write when it was started, or another process might get its pid", p.PID)
	}
	return nil
}

// checkProcesses checks each process and that none is there twice.
func checkProcesses(processes []ProcessID) error {
	var errs []error
	seen := make(map[ProcessID]bool, len(processes))
	for _, p := range processes {
		key := ProcessID{p.PID, p.Ticks()}
		if err := p.validate(); err != nil {
			errs = append(errs, err)
		} else if seen[key] {
			errs = append(errs, fmt.Errorf("process %d is listed twice; remove one", p.PID))
		}
		seen[key] = true
	}
	return errors.Join(errs...)
}

// selectsProcess reports whether the process is one of Processes or descends from one.
func (s Subject) selectsProcess(p Process) bool {
	for _, chosen := range s.Processes {
		for _, id := range p.IDs {
			if chosen.Is(id) {
				return true
			}
		}
	}
	return false
}

// over reports whether the policy has ended, or has not begun.
func (p Policy) over(now uint64) bool { return p.Until != 0 && p.Until <= now || p.From > now }

// processTexts returns the processes as YAML.
func processTexts(processes []ProcessID) []string {
	texts := make([]string, len(processes))
	for i, p := range processes {
		texts[i] = p.String()
	}
	return texts
}
