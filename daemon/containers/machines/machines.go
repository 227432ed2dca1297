// Package machines tells of the containers of systemd-nspawn and LXC, as far as their own files tell.
// Neither has a hook that could hold up a start: the sources learn of a container as it starts, mostly but
// not surely before its first program.
package machines

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
)

// Kinds are the kinds of sources that there are here.
var Kinds = []containers.Kind{
	{Name: "systemd-nspawn", Usage: "those of systemd-nspawn that systemd-machined knows", Key: "directory", Places: []string{nspawnDir},
		New: func(place string, _ *slog.Logger) containers.Source { return newNspawn(place) }},
	{Name: "lxc", Usage: "those of LXC, Incus and LXD that root started", Key: "directory", Places: []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"},
		New: func(place string, _ *slog.Logger) containers.Source { return newLXC(place) }},
}

const (
	// soon is how long after something is half there it is looked at again, and often how many times.
	soon  = 50 * time.Millisecond
	often = 40
	// again is how often all is looked at without a reason.
	again = 10 * time.Second
)

// machine is a container with what differs when another one has taken its name.
type machine struct {
	containers.Container
	instance uint64
}

// source watches a directory in which there is something for each container.
type source struct {
	name string
	// dir is what is watched; read returns the containers that run now. An error is about
	// one that is left out, perhaps since it is half there.
	dir  string
	read func() ([]machine, error)

	mu     sync.Mutex
	status containers.Status
}

var _ containers.Source = (*source)(nil)

// Name implements [containers.Source].
func (s *source) Name() string { return s.name }

// Status implements [containers.Source].
func (s *source) Status() containers.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *source) set(status containers.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// Run implements [containers.Source].
func (s *source) Run(ctx context.Context, to containers.Registry) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", s.dir, err)
	}
	defer watcher.Close()
	defer s.set(containers.Status{})
	var told []machine
	synced := false
	tries := 0
	for {
		status := containers.Status{}
		// Watched before it is read, so that nothing is missed between. A directory that is not there
		// has no containers, and is looked for again.
		status.Connected = watcher.Add(s.dir) == nil
		now, err := s.read()
		pause := again
		if err != nil {
			status.Problem = err.Error()
			if tries++; tries < often {
				pause = soon
			}
		} else {
			tries = 0
		}
		// One that has taken another's name has another control group, by which the registry tells.
		if !synced || !slices.EqualFunc(now, told, func(a, b machine) bool { return reflect.DeepEqual(a, b) }) {
			all := make([]containers.Container, len(now))
			for i, m := range now {
				all[i] = m.Container
			}
			err := to.Sync(s.name, all)
			if synced = err == nil; err != nil { // and it is told again next time
				status.Problem = err.Error()
			}
			told = now
		}
		s.set(status)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-watcher.Events:
			tries = 0
		case <-watcher.Errors:
		case <-timer.C:
		}
		timer.Stop()
	}
}
