package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/daemon/config"
	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/daemon/internal/metrics"
	"github.com/ebpfguard/ebpfguard/daemon/internal/rpc"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/sink"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// Options are what a [config.Config] does not say. The zero value is useful.
type Options struct {
	// Log gets the daemon's messages; nil for none. Level, if set, is its level, which
	// follows the configuration.
	Log   *slog.Logger
	Level *slog.LevelVar
	// Stdout is written by outputs of that type; that of the process if nil.
	Stdout io.Writer
	// Version is shown in the status.
	Version string
	// ReplacePins replaces pins that cannot be taken over.
	ReplacePins bool
	// ReadyFile is made when everything is in force, and removed at the end.
	ReadyFile string
	// Configure reads the configuration again for [Daemon.Reload].
	Configure func() (config.Config, error)
	// Sources are the kinds of sources of containers; kinds.All if nil. Cgroups is where the host's
	// hierarchy of control groups is mounted; that of this machine if empty.
	Sources []containers.Kind
	Cgroups string
	// Hook is the command by which OCI runtimes tell the daemon of a container, a path and arguments; nil if they cannot
	// call it. Runtimes that ask the daemon anyway call it too, if a container must not start without its answer.
	Hook []string
	// Open opens the guard; [NewGuard] if nil.
	Open func(ebpfguard.Options) (Guard, error)
}

// Daemon keeps policies in force.
type Daemon struct {
	options Options
	log     *slog.Logger
	store   store
	started time.Time
	// now is the time of CLOCK_BOOTTIME in nanoseconds.
	now func() uint64

	guard Guard
	// place are the guard's options.
	place    ebpfguard.Options
	pipeline *sink.Pipeline
	outputs  *setup.Outputs
	watchers watchers
	// containers is what is known of them.
	containers known
	adopted    bool
	apiServer  apiServer
	// lastCluster is what became of the cluster's policies last.
	lastCluster clusterAnswer
	// lost are its policies that were in force last and are not since this start, with the reasons.
	lost map[string]error
	// reloads are asked for; who waits for one is answered.
	reloads chan chan<- error
	// up says that everything is in force and the service answers.
	up atomic.Bool

	// reading is held while the policy directory is read, before mu.
	reading   sync.Mutex
	directory directory

	// mu is held while policies are replaced.
	mu   sync.Mutex
	sets sets
	// stale says that what is in force is not what sets say.
	stale bool
	// ended says that the guard is closed.
	ended       bool
	revision    uint32
	publishedAt time.Time
	expiry      *time.Timer
	// tidy gives memory back some time after a change or a long answer; tidying says that
	// it is going to.
	tidy    *time.Timer
	tidying atomic.Bool
	// publishing is when the change began that is being made, in nanoseconds; 0 if none.
	publishing atomic.Int64

	// stateMu is for what has to be read while policies are being replaced.
	stateMu  sync.Mutex
	config   config.Config
	problems problems
	watched  chan struct{} // closed when the directory is to be watched again
}

// New returns a daemon; [Daemon.Run] starts it.
func New(c config.Config, options Options) (*Daemon, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Metrics != "" { // a file and flags may say it together
		if err := metrics.CheckAddress(c.Metrics, c.MetricsAnywhere); err != nil {
			return nil, err
		}
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Stdout == nil {
		options.Stdout = os.Stdout
	}
	if options.Open == nil {
		options.Open = NewGuard
	}
	d := &Daemon{
		options: options, log: options.Log, store: store(c.State), config: c, now: bootTime,
		problems: problems{}, reloads: make(chan chan<- error, 1), watched: make(chan struct{}),
		containers: known{open: make(chan struct{})},
	}
	d.expiry = time.AfterFunc(time.Hour, d.expire)
	d.expiry.Stop()
	d.tidy = time.AfterFunc(tidyTime, func() {
		d.tidying.Store(false)
		debug.FreeOSMemory()
	})
	return d, nil
}

// Run enforces until the context ends or something that is needed fails. Then
// enforcement that is pinned stays, unless the configuration says otherwise. A daemon
// runs once.
func (d *Daemon) Run(ctx context.Context) (err error) {
	d.started = time.Now()
	c := d.config
	ready := readyFile(d.options.ReadyFile)
	// A previous daemon that was killed may have left one.
	if err := errors.Join(ready.remove(), d.store.prepare()); err != nil {
		return err
	}
	hostRoot, err := d.findHost(c)
	if err != nil {
		return err
	}
	// First, for this fails if another daemon runs.
	server, err := rpc.Listen(rpc.Options{Socket: c.Socket, Group: c.Group, Log: d.log, Starting: func() bool { return !d.up.Load() }})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel(nil)
	// until runs a task that must not end before the daemon.
	until := func(what string, task func(context.Context) error) {
		tasks.Go(func() {
			if err := task(ctx); ctx.Err() == nil {
				cancel(&failure{what, err})
			}
		})
	}
	// It answers from here on, that it is starting.
	until("serving the API", func(ctx context.Context) error { return server.Serve(ctx, &service{d: d}) })
	d.notify("STATUS=starting: loading programs and policies")
	defer func() { d.notifyFailure(err) }()

	d.place = ebpfguard.Options{
		PinPath: c.Pins, ReplacePins: d.options.ReplacePins, AllowGaps: c.AllowGaps,
		AlertBytes: uint32(c.AlertBuffer), Enrich: c.Enrich, HostRoot: hostRoot, PodDetails: c.Kubernetes,
	}
	guard, err := d.options.Open(d.place)
	if err != nil {
		return err
	}
	d.guard = guard
	finish := func() {}
	defer func() {
		cancel(nil)
		tasks.Wait() // nothing uses the guard any more
		finish()
		err = errors.Join(err, d.end())
	}()
	if finish, err = d.startAlerts(c); err != nil {
		return err
	}
	d.openContainers(c)
	tasks.Go(func() { d.containers.runner.Run(ctx, c.Containers.Sources) })
	d.awaitContainers(ctx)
	var unreachable error
	if c.Kubernetes {
		d.apiServer, unreachable = findAPIServer(c)
	}
	if err := d.start(); err != nil {
		return err
	}
	// What was told of before there was anything in force that labels.
	if err := d.containers.table.Relabel(); err != nil {
		return fmt.Errorf("label what runs in containers: %w", err)
	}
	d.containers.table.SetInForce()
	if unreachable != nil { // what was in force last is
		return unreachable
	}
	if c.Kubernetes {
		agent, err := d.newAgent(c)
		if err != nil {
			return err
		}
		until("watching the cluster", agent.Run)
	}
	until("watching the policy directory", d.watch)
	until("watching symbolic links", d.watchLinks)
	if c.Metrics != "" {
		listener, err := metrics.Listen(c.Metrics, c.MetricsAnywhere)
		if err != nil {
			return err
		}
		until("serving metrics", func(ctx context.Context) error {
			return metrics.Serve(ctx, listener, metrics.NewHandler(d.status))
		})
	}
	d.up.Store(true)
	server.Started()
	tasks.Go(func() { d.watchdog(ctx) })
	tasks.Go(func() { d.verify(ctx) })
	if err := ready.write(d); err != nil {
		return err
	}
	d.notifyReady()
	for {
		select {
		case <-ctx.Done():
			d.notify(stopping)
			d.log.Info("ending", "enforcement", d.configuration().OnExit)
			err := ready.remove()
			var failed *failure
			if errors.As(context.Cause(ctx), &failed) {
				err = errors.Join(failed, err)
			}
			return err
		case answer := <-d.reloads:
			d.notifyReloading()
			err := d.reload()
			d.notifyReady()
			if answer != nil {
				answer <- err
			}
		}
	}
}

// failure is why a daemon ended by itself.
type failure struct {
	what string
	err  error
}

func (f *failure) Error() string { return fmt.Sprintf("%s ended: %v", f.what, f.err) }

func (f *failure) Unwrap() error { return f.err }

// end leaves enforcement in force or ends it.
func (d *Daemon) end() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	d.expiry.Stop()
	d.tidy.Stop()
	if d.configuration().OnExit == config.Remove {
		return d.guard.Remove()
	}
	return d.guard.Close()
}

// configuration returns what applies now.
func (d *Daemon) configuration() config.Config {
	d.stateMu.Lock()
	defer d.stateMu.Unlock()
	return d.config
}

// names returns the names of policies.
func names(set []policy.Policy) []string {
	all := make([]string, 0, len(set))
	for _, p := range set {
		all = append(all, p.Name)
	}
	return all
}
