package vmtest

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// clockTick is the unit of /proc/PID/stat on every architecture that Go runs on.
const clockTick = time.Second / 100

// Meter tells how much of the host's processors a guest has taken, also while it runs. Time on the wall says little of
// a guest on a busy machine.
type Meter struct {
	mu sync.Mutex
	// pid is QEMU's while it runs, before what earlier boots took.
	pid    int
	before time.Duration
}

// CPU returns what all boots so far have taken, of user and system time.
func (m *Meter) CPU() time.Duration {
	if m == nil {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.before + processCPU(m.pid)
}

func (m *Meter) start(pid int) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pid = pid
}

func (m *Meter) stop(state *os.ProcessState) {
	if m == nil || state == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pid = 0
	m.before += state.UserTime() + state.SystemTime()
}

// processCPU returns zero for a process that is gone.
func processCPU(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if pid == 0 || err != nil {
		return 0
	}
	// The name, in parentheses, may hold anything.
	_, rest, _ := strings.Cut(string(raw[strings.LastIndex(string(raw), ")")+1:]), " ")
	var skip string
	var user, system int64
	_, _ = fmt.Sscan(rest, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &user, &system)
	return time.Duration(user+system) * clockTick
}
