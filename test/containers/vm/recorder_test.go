//go:build vm

package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
)

const cgroups = "/sys/fs/cgroup"

// told is one thing that a recorder was told of.
type told struct {
	what string // start, stop or sync
	id   string
	// container is what Start was called with.
	container containers.Container
	// began and ended are when the call came and returned.
	began, ended time.Duration
	// group is the number of its control group, programs what ran there.
	group    uint64
	programs []string
}

// recorder is a registry that records, and looks what is there when it is told of a container.
type recorder struct {
	mu     sync.Mutex
	events []told
	known  map[string]containers.Container
	closed bool
	// delay is how long Start takes, err what it answers.
	delay time.Duration
	err   error
}

var _ containers.Registry = (*recorder)(nil)

func (r *recorder) Start(_ string, c containers.Container) error {
	e := told{what: "start", id: c.ID, container: c, began: now()}
	err := e.look()
	r.mu.Lock()
	delay, fail := r.delay, r.err
	r.mu.Unlock()
	time.Sleep(delay)
	if fail != nil {
		err = fail
	}
	e.ended = now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	if err == nil {
		r.remember(c)
	}
	return err
}

func (r *recorder) Stop(_, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, told{what: "stop", id: id, began: now()})
	delete(r.known, id)
}

func (r *recorder) Sync(_ string, all []containers.Container) error {
	var errs []error
	for _, c := range all {
		e := told{container: c}
		errs = append(errs, e.look())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, told{what: "sync", began: now()})
	r.known = nil
	for _, c := range all {
		r.remember(c)
	}
	return errors.Join(errs...)
}

func (r *recorder) Closed() bool { return r.closed }

func (r *recorder) remember(c containers.Container) {
	if r.known == nil {
		r.known = make(map[string]containers.Container)
	}
	r.known[c.ID] = c
}

// set changes how the recorder answers.
func (r *recorder) set(delay time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay, r.err = delay, err
}

// of returns what was told of a container.
func (r *recorder) of(id string) []told {
	r.mu.Lock()
	defer r.mu.Unlock()
	var events []told
	for _, e := range r.events {
		if e.id == id {
			events = append(events, e)
		}
	}
	return events
}

// get returns a container that is known.
func (r *recorder) get(id string) (containers.Container, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.known[id]
	return c, ok
}

// syncs returns how often everything was told.
func (r *recorder) syncs() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, e := range r.events {
		if e.what == "sync" {
			n++
		}
	}
	return n
}

// look finds the container's control group and what runs there.
func (e *told) look() error {
	dir := filepath.Join(cgroups, e.container.Cgroup)
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	e.group = st.Ino
	pids, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, pid := range strings.Fields(string(pids)) {
		line, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
		if err != nil {
			return err
		}
		e.programs = append(e.programs, strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " ")))
	}
	return nil
}
