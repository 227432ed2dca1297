package containers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
)

const (
	// lookTime is how often it is looked for a runtime that came, sweepTime for containers that are gone
	// and for some that nobody tells of.
	lookTime  = time.Second
	sweepTime = 30 * time.Second
	// createTime is how long a runtime usually takes at most to tell of a container that it creates, on a busy machine.
	createTime = 8 * time.Second
	// againTime is how long a source rests that ended.
	againTime = 30 * time.Second
	// lateTime is how long a source has to tell of all containers before that is a problem.
	lateTime = 10 * time.Second
	// connectTime is how long a source may take to connect before its problem is taken for one.
	connectTime = time.Second
)

// Runner runs the sources of a table.
type Runner struct {
	table *Table
	kinds []Kind
	log   *slog.Logger

	// begun is closed when it was looked for sources once.
	begun chan struct{}

	mu      sync.Mutex
	sources []*running
	// unidentified are the control groups of unidentified containers, as of the last look, if there
	// was one.
	unidentified []string
	swept        bool
}

// running is a source that runs.
type running struct {
	Source
	name, place string
	// asked says that the configuration names it.
	asked bool
	// since is when it began, ended why it ended, and problem what was logged last.
	since   time.Time
	ended   error
	problem string
}

// SourceStatus is how it goes with a source, and what it is called.
type SourceStatus struct {
	Name, Place string
	Status
	// Asked says that the configuration names the source; Synced that it has told of all that it knows.
	Asked, Synced bool
	// Containers is how many it has.
	Containers int
}

// NewRunner returns a runner for the kinds of sources that there are.
func NewRunner(table *Table, kinds []Kind, log *slog.Logger) *Runner {
	return &Runner{table: table, kinds: kinds, log: log, begun: make(chan struct{})}
}

// Run runs sources until the context ends: those of the specs or, if these are nil, one of each kind
// whose place exists, now or later. It runs once.
func (r *Runner) Run(ctx context.Context, specs []Spec) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	for _, spec := range specs {
		if kind, err := Find(r.kinds, spec.Type); err == nil { // else the configuration was refused
			place := spec.Place
			if place == "" {
				place = kind.place()
			}
			r.start(ctx, &tasks, kind, place, true)
		}
	}
	// What is looked at while the guard starts may be about to be told of.
	soon := time.After(createTime)
	look, sweep := time.NewTicker(lookTime), time.NewTicker(sweepTime)
	defer look.Stop()
	defer sweep.Stop()
	if specs == nil {
		r.look(ctx, &tasks)
	}
	close(r.begun)
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			if specs == nil {
				r.look(ctx, &tasks)
			}
			r.tell()
		case <-soon:
			r.Sweep()
		case <-sweep.C:
			r.Sweep()
		}
	}
}

// place returns where a source of this kind is, or usually would be: on the host, or here, where a container with the
// guard may have been given it.
func (k Kind) place() string {
	root := hostroot.Host()
	for _, p := range k.Places {
		if _, err := root.Stat(p); err == nil {
			return root.Here(p)
		}
	}
	for _, p := range k.Places {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return k.Places[0]
}

// look starts sources whose places have come to exist.
func (r *Runner) look(ctx context.Context, tasks *sync.WaitGroup) {
	for _, kind := range r.kinds {
		place := kind.place()
		if _, err := os.Stat(place); err != nil {
			continue
		}
		r.mu.Lock()
		runs := slices.ContainsFunc(r.sources, func(s *running) bool { return s.name == kind.Name })
		r.mu.Unlock()
		if !runs {
			r.start(ctx, tasks, kind, place, false)
		}
	}
}

func (r *Runner) start(ctx context.Context, tasks *sync.WaitGroup, kind Kind, place string, asked bool) {
	r.mu.Lock()
	name := kind.Name
	for n := 2; slices.ContainsFunc(r.sources, func(s *running) bool { return s.name == name }); n++ {
		name = fmt.Sprintf("%s %d", kind.Name, n)
	}
	s := &running{Source: kind.New(place, r.log), name: name, place: place, asked: asked, since: time.Now()}
	r.sources = append(r.sources, s)
	r.mu.Unlock()
	r.log.Info("listening for containers", "source", name, kind.Key, place)
	tasks.Go(func() {
		for ctx.Err() == nil {
			err := s.Run(ctx, &view{r.table, name})
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				err = errors.New("it ended without an error")
			}
			r.log.Error("a source of containers ended", "source", name, "error", err)
			r.mu.Lock()
			s.ended = err
			r.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(againTime):
			}
			r.mu.Lock()
			s.ended = nil
			r.mu.Unlock()
		}
	})
}

// view is the table as a source sees it: under the name that it has here, of which there is one.
type view struct {
	*Table
	name string
}

func (v *view) Start(_ string, c Container) error           { return v.Table.Start(v.name, c) }
func (v *view) Stop(_, id string)                           { v.Table.Stop(v.name, id) }
func (v *view) Sync(_ string, containers []Container) error { return v.Table.Sync(v.name, containers) }

// Sweep looks for containers that have ended, and for some that nobody tells of. A runtime tells of a container
// after its first process is in its control group, so from the second time on one counts that is still there
// [createTime] later.
func (r *Runner) Sweep() {
	r.table.Sweep()
	r.mu.Lock()
	former, again := r.unidentified, r.swept
	r.mu.Unlock()
	found := r.table.Unidentified()
	isNew := func(group string) bool { return !slices.Contains(former, group) }
	if again && slices.ContainsFunc(found, isNew) {
		for end := time.Now().Add(createTime); time.Now().Before(end) && slices.ContainsFunc(found, isNew); {
			time.Sleep(createTime / 16)
			still := r.table.Unidentified()
			found = slices.DeleteFunc(found, func(group string) bool { return !slices.Contains(still, group) })
		}
	}
	if slices.ContainsFunc(found, isNew) {
		r.log.Warn("containers run that nobody tells of", "count", len(found), "cgroups", some(found))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unidentified, r.swept = found, true
}

// some returns the first of the control groups: who reads them wants an example.
func some(groups []string) []string { return slices.Clone(groups[:min(len(groups), 8)]) }

// Unidentified returns how many containers ran that nobody told of when it was last looked, and the paths
// of some.
func (r *Runner) Unidentified() (int, []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.unidentified), some(r.unidentified)
}

// Status returns how it goes with each source.
func (r *Runner) Status() []SourceStatus {
	r.mu.Lock()
	sources := slices.Clone(r.sources)
	ended := make([]error, len(sources))
	for i, s := range sources {
		ended[i] = s.ended
	}
	r.mu.Unlock()
	_, by := r.table.Count()
	all := make([]SourceStatus, len(sources))
	for i, s := range sources {
		all[i] = SourceStatus{
			Name: s.name, Place: s.place, Status: s.Status(), Asked: s.asked, Synced: r.table.Synced(s.name), Containers: by[s.name],
		}
		if ended[i] != nil {
			all[i].Connected, all[i].Problem = false, fmt.Sprintf("%v; it is tried again every %v", ended[i], againTime)
		}
		_, err := os.Stat(s.place)
		switch absent := err != nil; {
		case absent && s.asked && !all[i].Connected && all[i].Problem == "":
			all[i].Problem = s.place + " is not there; start the runtime, or remove the source from the configuration"
		case absent && !s.asked && !all[i].Connected:
			all[i].Problem = "" // the runtime was removed, or does not run
		case !absent && !all[i].Synced && all[i].Problem == "" && time.Since(s.since) > lateTime:
			all[i].Problem = "it has not told yet which containers run; look whether the runtime answers"
		}
	}
	return all
}

// tell logs what has changed about the sources.
func (r *Runner) tell() {
	for i, s := range r.Status() {
		r.mu.Lock()
		former := r.sources[i].problem
		r.sources[i].problem = s.Problem
		r.mu.Unlock()
		switch {
		case s.Problem == former:
		case s.Problem != "":
			r.log.Warn("a source of containers has a problem", "source", s.Name, "problem", s.Problem)
		default:
			r.log.Info("a source of containers has no problem any more", "source", s.Name)
		}
	}
}

// Await waits until each source that runs has told of all containers or has a problem that lasts. It
// returns those that have done neither when the time is over.
func (r *Runner) Await(ctx context.Context, patience time.Duration) (late []string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-r.begun:
	case <-ctx.Done():
	}
	begun := time.Now()
	for {
		late = nil
		for _, s := range r.Status() {
			if _, err := os.Stat(s.Place); err != nil {
				continue // it has nothing to tell
			}
			if !s.Synced && (s.Problem == "" || time.Since(begun) < connectTime) {
				late = append(late, s.Name)
			}
		}
		if len(late) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return late
		case <-time.After(10 * time.Millisecond):
		}
	}
}
