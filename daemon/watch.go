package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/ebpfguard/ebpfguard/internal/duration"
)

const (
	// pollInterval is how often the directory is looked at beside being watched:
	// symbolic links may lead to what no watch covers.
	pollInterval = 30 * time.Second
	// rewatchInterval is how long a watch that is lost stays so.
	rewatchInterval = time.Second
	// longestDebounce bounds how long changes that never end are waited for, in
	// debounces.
	longestDebounce = 20
)

// watch reads the policy directory whenever it changed, until the context ends.
func (d *Daemon) watch(ctx context.Context) error {
	for ctx.Err() == nil {
		d.stateMu.Lock()
		c, again := d.config, d.watched
		d.stateMu.Unlock()
		ctx, cancel := context.WithCancel(ctx)
		go func() {
			select {
			case <-again:
				cancel()
			case <-ctx.Done():
			}
		}()
		w := watcher{
			dir: filepath.Clean(c.Policies), debounce: c.Debounce, poll: pollInterval, rewatch: rewatchInterval,
			changed: func() { _ = d.reloadDirectory() }, // it becomes a problem
			look:    d.pollDirectory,
			lost: func(err error) {
				d.problem(problemWatch, fmt.Errorf("the policy directory cannot be watched, so the daemon looks at it every %s: %w", duration.Text(pollInterval), err))
			},
			found: func() { d.solved(problemWatch) },
		}
		if c.Policies == "" {
			<-ctx.Done()
		} else {
			w.run(ctx)
		}
		cancel()
	}
	return nil
}

// watcher watches a directory for changes.
type watcher struct {
	dir                     string
	debounce, poll, rewatch time.Duration
	// changed is called when it has, look every poll, and lost and found when the
	// watching fails and works again. They are called one at a time.
	changed, look func()
	lost          func(error)
	found         func()
}

func (w *watcher) run(ctx context.Context) {
	poll := time.NewTicker(w.poll)
	defer poll.Stop()
	// What changed before it was watched is found at once.
	first := true
	for ctx.Err() == nil {
		events, err := w.open()
		if err != nil {
			w.lost(err)
			wait := time.NewTimer(w.rewatch)
			select {
			case <-ctx.Done():
			case <-poll.C:
				w.look()
			case <-wait.C:
			}
			wait.Stop()
			first = false
			continue
		}
		w.found()
		if first {
			w.look()
		} else {
			w.changed()
		}
		first = false
		w.follow(ctx, events, poll.C)
		_ = events.Close()
	}
}

// open watches the directory, and its folder so that its replacement is noticed.
func (w *watcher) open() (*fsnotify.Watcher, error) {
	events, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("%w; raise fs.inotify.max_user_instances", err)
	}
	if err := events.Add(w.dir); err != nil {
		_ = events.Close()
		return nil, fmt.Errorf("%s: %w", w.dir, err)
	}
	_ = events.Add(filepath.Dir(w.dir)) // the poll finds it too
	return events, nil
}

// follow calls changed for changes until the watch is lost or the context ends.
func (w *watcher) follow(ctx context.Context, events *fsnotify.Watcher, poll <-chan time.Time) {
	watched, _ := os.Stat(w.dir)
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	defer quiet.Stop()
	var since time.Time // of the first change that changed was not called for
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll:
			if !w.isSame(watched) {
				return
			}
			w.look()
		case <-quiet.C:
			since = time.Time{}
			w.changed()
		case event, ok := <-events.Events:
			switch {
			case !ok:
				return
			case filepath.Dir(event.Name) != w.dir || event.Name == w.dir: // of the folder, or the directory itself
				if event.Name == w.dir && !w.isSame(watched) {
					return
				}
				continue
			case event.Op == fsnotify.Chmod && filepath.Ext(event.Name) == "":
				continue
			}
			if since.IsZero() {
				since = time.Now()
			}
			quiet.Reset(max(0, min(w.debounce, time.Until(since.Add(longestDebounce*w.debounce)))))
		case _, ok := <-events.Errors: // what happened is not known
			if !ok {
				return
			}
			quiet.Reset(w.debounce)
		}
	}
}

// isSame reports whether the path leads to the directory that is watched.
func (w *watcher) isSame(watched os.FileInfo) bool {
	now, err := os.Stat(w.dir)
	return err == nil && watched != nil && os.SameFile(now, watched)
}
