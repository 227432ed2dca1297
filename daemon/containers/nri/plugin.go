package nri

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/stub"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
)

// plugin answers the runtime's requests on one connection. The runtime sends them one after the other, and waits:
// every container of the machine waits for each answer.
type plugin struct {
	source *Source
	to     containers.Registry
	// closed is the registry's answer when the connection was made: the runtime is told then.
	closed bool
	// hook is the command that an OCI runtime is to call before it starts a container, if any.
	hook []string
	stub stub.Stub
	// runtime is its name.
	runtime string
	// synced is closed when the registry has taken what ran before. A container that starts meanwhile waits, or the
	// registry could take it for one that has ended.
	synced chan struct{}
}

// hookSeconds is how long a runtime waits for the hook: longer than the hook for the daemon, or it would be killed
// before it can say what is wrong.
const hookSeconds = 5

var (
	errSlow     = errors.New("it took too long; look at the load of the machine")
	errStarting = errors.New("the guard is starting, and no policy is in force yet; start the container again in a moment")
)

// Configure is the first request.
func (p *plugin) Configure(_ context.Context, _, runtime, _ string) (api.EventMask, error) {
	p.runtime = runtime
	return 0, nil // every event that there is a method for
}

// Synchronize is the second: it tells what runs already.
func (p *plugin) Synchronize(_ context.Context, pods []*api.PodSandbox, all []*api.Container) ([]*api.ContainerUpdate, error) {
	running, created, err := describeAll(p.runtime, pods, all)
	p.source.set(func(s *Source) { s.created = created })
	done := func(syncErr error) {
		close(p.synced)
		p.source.set(func(s *Source) {
			if s.current != p { // the connection was lost meanwhile
				return
			}
			s.connected, s.lost = true, ""
			s.weak = weakness(p.closed, len(p.hook) > 0, p.runtime, p.stub.RuntimeNRIVersion())
			if err := errors.Join(err, syncErr); err != nil {
				s.unknown = fmt.Sprintf("some containers that ran before are not known: %s", oneLine(err))
			}
		})
	}
	// A plugin that takes longer than its time is dropped. The registry may take longer to find
	// the processes of many containers, and nothing waits for it.
	_ = p.within(func() error {
		err := p.to.Sync(SourceName, running)
		done(err)
		return err
	}, nil)
	return nil, nil
}

// RunPodSandbox comes when the pod's first process, which does nothing but hold its namespaces, runs already. To
// find it takes the registry a look at every process, for which no container has to wait.
func (p *plugin) RunPodSandbox(_ context.Context, pod *api.PodSandbox) error {
	c, err := describeSandbox(p.runtime, pod)
	if errors.Is(err, errNoProcess) {
		return nil
	}
	if err != nil {
		return p.verdict(c, err)
	}
	go func() {
		<-p.synced
		if err := p.to.Start(SourceName, c); err != nil {
			p.source.set(func(s *Source) {
				s.refused = fmt.Sprintf("the first process of the pod %s (%s) could not be told of: %s", pod.GetId(), pod.GetName(), oneLine(err))
			})
		}
	}()
	return nil
}

// CreateContainer says early that a container cannot be told of. That there is this method also
// makes the guard a plugin that containerd can require.
//
// A container that must not start without the guard gets a hook. It is the OCI runtime that calls that,
// in a process of its own, so it holds when the guard has died or hangs by the time when the container starts: then
// the runtime goes on without its plugin.
func (p *plugin) CreateContainer(_ context.Context, pod *api.PodSandbox, c *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	described, err := describe(p.runtime, pod, c)
	if err != nil {
		return nil, nil, p.verdict(described, err)
	}
	p.source.set(func(s *Source) {
		if len(s.created) < maxCreated {
			s.created[described.ID] = described.Container
		}
	})
	if len(p.hook) == 0 {
		return nil, nil, nil
	}
	adjustment := &api.ContainerAdjustment{}
	adjustment.AddHooks(&api.Hooks{CreateRuntime: []*api.Hook{{Path: p.hook[0], Args: p.hook, Timeout: api.Int(hookSeconds)}}})
	return adjustment, nil, nil
}

// StartContainer comes when the container's control group is there and its first process waits.
func (p *plugin) StartContainer(_ context.Context, pod *api.PodSandbox, c *api.Container) error {
	defer p.forget(c.GetId())
	return p.start(describe(p.runtime, pod, c))
}

// forget forgets a container that is no longer one that was created only.
func (p *plugin) forget(id string) {
	p.source.set(func(s *Source) { delete(s.created, id) })
}

// StopContainer comes when the container has ended, be it by itself.
func (p *plugin) StopContainer(_ context.Context, _ *api.PodSandbox, c *api.Container) ([]*api.ContainerUpdate, error) {
	p.stop(c.GetId())
	return nil, nil
}

// RemoveContainer comes for one that has ended, also for one that never started.
func (p *plugin) RemoveContainer(_ context.Context, _ *api.PodSandbox, c *api.Container) error {
	p.forget(c.GetId())
	p.stop(c.GetId())
	return nil
}

// StopPodSandbox comes when the pod's first process has ended.
func (p *plugin) StopPodSandbox(_ context.Context, pod *api.PodSandbox) error {
	p.stop(pod.GetId())
	return nil
}

// RemovePodSandbox comes for a pod that may not have been stopped before.
func (p *plugin) RemovePodSandbox(_ context.Context, pod *api.PodSandbox) error {
	p.stop(pod.GetId())
	return nil
}

// start tells the registry of a container. An error keeps it from starting.
func (p *plugin) start(c containers.Container, err error) error {
	if err == nil {
		err = p.within(func() error {
			<-p.synced
			if s, ok := p.to.(containers.Starter); ok {
				<-s.InForce()
			}
			return p.to.Start(SourceName, c)
		}, func() { p.late(c) })
	}
	if errors.Is(err, errSlow) && p.starting() {
		err = errStarting
	}
	if err == nil {
		p.source.set(func(s *Source) { s.refused = "" })
		return nil
	}
	return p.verdict(c, err)
}

// starting reports whether the guard's policies are not in force yet.
func (p *plugin) starting() bool {
	s, ok := p.to.(containers.Starter)
	if !ok {
		return false
	}
	select {
	case <-s.InForce():
		return false
	default:
		return true
	}
}

// verdict decides what becomes of a container that the registry does not know.
func (p *plugin) verdict(c containers.Container, err error) error {
	became := "it started all the same, as containers.fail is open"
	if p.closed {
		became = "it was not started, as containers.fail is closed"
	}
	p.source.set(func(s *Source) {
		s.refused = fmt.Sprintf("container %s (%s) could not be told of: %s; %s", c.ID, c.Name, oneLine(err), became)
	})
	if p.closed {
		return fmt.Errorf("ebpfguard: tell of container %s: %w", c.ID, err)
	}
	return nil
}

// late follows when the registry has taken a container after the runtime had its answer.
func (p *plugin) late(c containers.Container) {
	if p.closed {
		p.to.Stop(SourceName, c.ID)
		return
	}
	c.Running = true
	_ = p.to.Start(SourceName, c)
}

func (p *plugin) stop(id string) {
	_ = p.within(func() error {
		p.to.Stop(SourceName, id)
		return nil
	}, nil)
}

// within runs what may wait for the kernel, and gives up in time to have a say: after its own limit
// the runtime decides without the guard. What succeeds after that is followed by late.
func (p *plugin) within(do func() error, late func()) error {
	done := make(chan error, 1)
	var decided atomic.Bool
	go func() {
		err := do()
		if decided.CompareAndSwap(false, true) {
			done <- err
		} else if err == nil && late != nil {
			late()
		}
	}()
	timer := time.NewTimer(p.stub.RequestTimeout() / 2)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		if decided.CompareAndSwap(false, true) {
			return errSlow
		}
		return <-done
	}
}

// oneLine makes one line of joined errors.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
