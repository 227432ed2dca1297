// Package nri is a source of containers for containerd and CRI-O: it is a plugin of their Node Resource
// Interface, which asks it before a container's first program runs.
//
// Only what these runtimes start by the CRI is told of: what Kubernetes and crictl ask for, not what ctr, nerdctl and
// Docker ask containerd for.
package nri

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/stub"
	"golang.org/x/mod/semver"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/policy"
)

const (
	// SourceName is what the registry, the status and the configuration call this source.
	SourceName = "nri"
	// PluginName is what the runtimes call the guard: the name for containerd's required_plugins.
	PluginName = "ebpfguard"
	// DefaultSocket is where containerd and CRI-O listen unless configured otherwise.
	DefaultSocket = api.DefaultSocketPath

	// pluginIndex puts the guard before other plugins: what they do in a hook happens to a container that is known.
	pluginIndex = "00"
	// policySince is the first version of NRI that knows what to do when a plugin does not answer. Earlier ones drop the
	// plugin, and let the container start.
	policySince = "v0.12.4"
)

const (
	// firstWait and longestWait bound how long a lost runtime is left alone: a container that it starts
	// meanwhile is told of late. To look whether a socket is there costs nothing.
	firstWait   = 50 * time.Millisecond
	longestWait = time.Second
	// registering is how long the runtime may take to make the connection a plugin.
	registering = 10 * time.Second
)

// Options say where the runtime is. The zero value is the usual.
type Options struct {
	// Socket is the runtime's, DefaultSocket if empty.
	Socket string
}

// Source tells of the containers of one runtime.
type Source struct {
	socket string

	mu sync.Mutex
	// current is the plugin of the connection that there is.
	current *plugin
	// connected says that the runtime has told of all containers and tells of each new one.
	connected bool
	// created are containers that have not started: a hook may tell of them before the runtime does.
	created map[string]policy.Container
	// lost is why there is no connection, weak what this runtime cannot do, unknown what the registry
	// said to what runs, refused what it said to the container that was to start last.
	lost, weak, unknown, refused string
}

var (
	_ containers.Source    = (*Source)(nil)
	_ containers.Describer = (*Source)(nil)
)

// maxCreated bounds how many of them are kept.
const maxCreated = 4096

// New returns a source, which does nothing before it runs.
func New(o Options) *Source {
	if o.Socket == "" {
		o.Socket = DefaultSocket
	}
	return &Source{socket: o.Socket, created: make(map[string]policy.Container), lost: "not connected yet"}
}

// Name returns "nri".
func (s *Source) Name() string { return SourceName }

// Status tells how it goes.
func (s *Source) Status() containers.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := containers.Status{Connected: s.connected, Early: true}
	for _, problem := range []string{s.lost, s.refused, s.unknown, s.weak} {
		if problem != "" && status.Problem != "" {
			status.Problem += "; "
		}
		status.Problem += problem
	}
	return status
}

// Describe implements [containers.Describer] for containers that were created and have not started.
func (s *Source) Describe(id string) (policy.Container, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.created[id]
	return c, ok
}

// set changes what Status tells.
func (s *Source) set(change func(s *Source)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// Run connects to the runtime, again and again, until the context ends.
func (s *Source) Run(ctx context.Context, to containers.Registry) error {
	wait := firstWait
	for ctx.Err() == nil {
		err := s.serve(ctx, to)
		s.set(func(s *Source) {
			if s.connected {
				wait = firstWait
			}
			s.current, s.connected, s.weak, s.unknown = nil, false, "", ""
			s.lost = fmt.Sprintf("%v; start containerd or CRI-O with NRI enabled", err)
		})
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, longestWait)
	}
	return nil
}

// serve is a plugin of the runtime until the connection ends. The error says why it ended.
func (s *Source) serve(ctx context.Context, to containers.Registry) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", s.socket)
	if err != nil {
		return fmt.Errorf("connect to the runtime: %w", err)
	}
	defer conn.Close()
	ended := make(chan struct{})
	p := &plugin{source: s, to: to, closed: to.Closed(), synced: make(chan struct{})}
	options := []stub.Option{
		stub.WithConnection(conn), stub.WithPluginName(PluginName), stub.WithPluginIdx(pluginIndex),
		stub.WithLogger(silent{}), stub.WithOnClose(sync.OnceFunc(func() { close(ended) })),
	}
	if hooker, ok := to.(containers.Hooker); ok && p.closed {
		p.hook = hooker.Hook()
	}
	if p.closed {
		// Else a guard that hangs would be dropped, and the containers start. When they may, dropping
		// is right: each would wait for the guard in vain.
		options = append(options, stub.WithFailurePolicy(&api.FailurePolicy{FailRequest: true, KeepConnected: true}))
	}
	if p.stub, err = stub.New(p, options...); err != nil {
		return fmt.Errorf("make a plugin for the runtime: %w", err)
	}
	s.set(func(s *Source) { s.current = p })

	// Start returns when the runtime has asked for the settings. Should that never happen it waits for
	// ever, with the stub locked: then it is left behind, without a connection.
	started := make(chan error, 1)
	go func() { started <- p.stub.Start(ctx) }()
	select {
	case err = <-started:
	case <-time.After(registering):
		err = fmt.Errorf("no answer within %v", registering)
	case <-ctx.Done():
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("register with the runtime at %s: %w", s.socket, err)
	}
	defer p.stub.Stop()
	select {
	case <-ended:
		return fmt.Errorf("the runtime at %s closed the connection", s.socket)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// weakness tells what a runtime lacks for containers never to start without the guard.
func weakness(closed, hooked bool, runtime, version string) string {
	if !closed || hooked || semver.IsValid(version) && semver.Compare(version, policySince) >= 0 {
		return ""
	}
	if version == "" {
		version = "of unknown version"
	}
	return fmt.Sprintf("the NRI of this %s, %s, lets a container start when the guard hangs for seconds, and drops the guard; "+
		"one since %s does not", runtime, version, policySince)
}

// silent is a logger for a library that would write to the daemon's standard error: what matters is in the status.
type silent struct{}

func (silent) Debugf(context.Context, string, ...any) {}
func (silent) Infof(context.Context, string, ...any)  {}
func (silent) Warnf(context.Context, string, ...any)  {}
func (silent) Errorf(context.Context, string, ...any) {}
