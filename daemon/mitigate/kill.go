package mitigate

import (
	"errors"
	"os"
	"slices"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

// killTime is how long processes are given to be gone.
const killTime = 5 * time.Second

// Kill kills the processes that a subject selects, and of processes the descendants that
// live. First they are all stopped, so that none starts another one unseen, and none is
// orphaned before it was found. What is started nevertheless the kernel kills when it
// does anything.
func (m Machine) Kill(subject policy.Subject) ([]uint32, error) {
	subject, err := resolveUsers(policy.Policy{Subject: subject})
	if err != nil {
		return nil, err
	}
	chosen := m.selectorOf(subject)
	victims := map[uint32]victim{}
	defer func() {
		for _, v := range victims {
			_ = v.close()
		}
	}()
	var errs []error
	deadline := time.Now().Add(killTime)
	for time.Now().Before(deadline) {
		fresh, err := findVictims(chosen, victims)
		if err != nil {
			return nil, err
		}
		if len(fresh) == 0 {
			break
		}
		for _, p := range fresh {
			v, err := openVictim(p)
			if err != nil {
				errs = append(errs, err)
			} else if v != nil {
				victims[p.PID] = *v
				errs = append(errs, v.stop())
			}
		}
		if err := errors.Join(errs...); err != nil {
			break // what was found has to be killed
		}
	}
	var killed []uint32
	for pid, v := range victims {
		if err := v.kill(); err != nil {
			errs = append(errs, err)
			continue
		}
		killed = append(killed, pid)
	}
	for _, v := range victims {
		errs = append(errs, v.await(deadline))
	}
	slices.Sort(killed)
	return killed, errors.Join(errs...)
}

// victim is a process that is to be killed, and cannot be another one.
type victim struct {
	procfs.Process
	pidfd int
}

// findVictims returns the processes to kill that are not among the victims yet. Those that
// the daemon needs to go on are never among them.
func findVictims(s selector, victims map[uint32]victim) ([]procfs.Process, error) {
	all, err := procfs.Processes()
	if err != nil {
		return nil, err
	}
	byPID := make(map[uint32]procfs.Process, len(all))
	for _, p := range all {
		byPID[p.PID] = p
	}
	spared := map[uint32]bool{1: true}
	for pid := uint32(os.Getpid()); pid != 0; pid = byPID[pid].PPID {
		spared[pid] = true
	}
	var found []procfs.Process
	for _, p := range all {
		if v, known := victims[p.PID]; p.Kernel || p.Dead || spared[p.PID] || known && v.Start == p.Start {
			continue
		}
		if descends(s.subject.Processes, p, byPID) || len(s.subject.Processes) == 0 && s.selects(p.PID) {
			found = append(found, p)
		}
	}
	return found, nil
}

// descends reports whether a process is one of some, or descends from one.
func descends(from []policy.ProcessID, p procfs.Process, byPID map[uint32]procfs.Process) bool {
	for range 1000 {
		for _, id := range from {
			if id.Is(policy.ProcessID{PID: p.PID, Start: p.Start}) {
				return true
			}
		}
		parent, ok := byPID[p.PPID]
		if !ok {
			return false
		}
		p = parent
	}
	return false
}
