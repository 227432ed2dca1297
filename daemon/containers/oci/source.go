package oci

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
)

const (
	// settle is how long a runtime has to be at rest before its directories are read.
	settle = 20 * time.Millisecond
	// again is how often they are read without a reason: a directory that was not there has no watch.
	again = 10 * time.Second
)

// Kind is the kind of sources that this is. Below its directory each runtime has one of its own, with a
// directory for each container.
var Kind = containers.Kind{
	Name:   "oci",
	Usage:  "those that crun and runc run, for anybody",
	Key:    "directory",
	Places: []string{"/run"},
	New:    func(place string, _ *slog.Logger) containers.Source { return New(place) },
}

// runtimes are where crun and runc keep the state of containers when root calls them by hand, or when
// Podman or Docker do.
var runtimes = []string{"crun", "runc", "docker/runtime-runc/moby"}

// Source tells of the containers that crun and runc say they have. It learns of one while its program
// starts; the hook tells of it before that. It is how a daemon that has just started knows
// those that run, also of Podman when nobody enabled Podman's socket.
type Source struct {
	dirs []string

	mu     sync.Mutex
	status containers.Status
}

var _ containers.Source = (*Source)(nil)

// New returns the source of the containers of which there is something below a directory, which is /run.
func New(place string) *Source {
	s := &Source{}
	for _, runtime := range runtimes {
		s.dirs = append(s.dirs, filepath.Join(place, runtime))
	}
	return s
}

// Name implements [containers.Source].
func (s *Source) Name() string { return "oci" }

// Status implements [containers.Source].
func (s *Source) Status() containers.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status
	status.Early = Hooked()
	return status
}

func (s *Source) set(status containers.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// Run implements [containers.Source].
func (s *Source) Run(ctx context.Context, to containers.Registry) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the directories of OCI runtimes: %w", err)
	}
	defer watcher.Close()
	v := view{known: map[string]running{}}
	for {
		// Watched before they are read, so that nothing is missed between.
		watched := 0
		for _, dir := range s.dirs {
			for _, path := range append([]string{dir}, subdirectories(dir)...) {
				if watcher.Add(path) == nil { // one that is not there has no containers
					watched++
				}
			}
		}
		status := containers.Status{Connected: true}
		if err := v.tell(s.Name(), s.dirs, to); err != nil {
			status.Problem = err.Error()
		}
		s.set(status)
		if err := wait(ctx, watcher); err != nil {
			s.set(containers.Status{})
			return nil
		}
	}
}

// wait returns when something has changed and is at rest, or it is time to look again.
func wait(ctx context.Context, watcher *fsnotify.Watcher) error {
	timer := time.NewTimer(again)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case <-watcher.Errors: // the kernel's queue has overflowed: look at all
			timer.Reset(0)
		case <-watcher.Events:
			timer.Reset(settle)
		}
	}
}

func subdirectories(dir string) []string {
	entries, _ := os.ReadDir(dir) // one that is not there has none
	var paths []string
	for _, e := range entries {
		if e.IsDir() {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

// running is a container as its runtime's state has it.
type running struct {
	id, bundle string
	pid        uint32
	// start is the one of the process, in ticks since the boot: numbers of processes are used again.
	start uint64
}

// view is what the source has told of.
type view struct {
	known map[string]running
	all   map[string]containers.Container
}

// tell tells of the containers of the directories: all of them, since that costs nothing where nothing
// has changed, and what another source said of one that has ended is forgotten with it.
func (v *view) tell(source string, dirs []string, to containers.Registry) error {
	known, all := map[string]running{}, map[string]containers.Container{}
	var problem error
	for _, dir := range dirs {
		for _, path := range subdirectories(dir) {
			r, ok := readRunning(path)
			if !ok {
				continue
			}
			c, told := v.all[r.id]
			if !told || v.known[r.id] != r {
				var err error
				if c, err = r.describe(path); err != nil {
					problem = fmt.Errorf("%w: it may count as an unidentified container", err)
					continue
				}
			}
			known[r.id], all[r.id] = r, c
		}
	}
	changed := v.all == nil
	for id := range v.known {
		if _, ok := known[id]; !ok {
			changed = true
		}
	}
	var list []containers.Container
	for id, c := range all {
		changed = changed || v.known[id] != known[id]
		list = append(list, c)
	}
	if !changed {
		return problem
	}
	if err := to.Sync(source, list); err != nil {
		return err // and tell again next time
	}
	v.known, v.all = known, all
	return problem
}

func (r running) describe(path string) (containers.Container, error) {
	b, err := readBundle(readHostJSON, r.bundle)
	if err != nil {
		b, err = readBundle(readJSON, path) // crun keeps a copy
	}
	if err != nil {
		return containers.Container{}, fmt.Errorf("container %s: %w", r.id, err)
	}
	cgroup, err := Cgroup(r.pid, r.id, b.Linux.CgroupsPath)
	if err != nil {
		return containers.Container{}, fmt.Errorf("container %s: %w", r.id, err)
	}
	return containers.Container{Container: describe(r.id, r.bundle, b), Cgroup: cgroup, Running: true}, nil
}

// readRunning reads the state of a container from its directory; false if it does not run, or not yet.
func readRunning(path string) (running, bool) {
	r := running{id: filepath.Base(path)}
	var crun struct {
		PID    uint32 `json:"pid"`
		Start  uint64 `json:"process-start-time"`
		Bundle string `json:"bundle"`
	}
	var runc struct {
		PID    uint32 `json:"init_process_pid"`
		Start  uint64 `json:"init_process_start"`
		Config struct {
			Labels []string `json:"labels"`
		} `json:"config"`
	}
	switch {
	case readJSON(filepath.Join(path, "status"), &crun) == nil:
		r.pid, r.start, r.bundle = crun.PID, crun.Start, crun.Bundle
	case readJSON(filepath.Join(path, "state.json"), &runc) == nil:
		r.pid, r.start = runc.PID, runc.Start
		for _, label := range runc.Config.Labels {
			if bundle, ok := strings.CutPrefix(label, "bundle="); ok {
				r.bundle = bundle
			}
		}
	default:
		return r, false
	}
	process, err := procfs.Stat(r.pid)
	ticks := uint64(procfs.Tick)
	return r, err == nil && !process.Dead && (r.start == 0 || process.Start/ticks == r.start)
}
