// Package docker tells of the containers of Docker and Podman, by the Docker Engine API, which both serve.
package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/daemon/containers/oci"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Kinds are the kinds of sources that this is. Podman's socket is there when podman.socket is enabled. It is
// root's: the word of other users about their containers is not to be trusted.
var Kinds = []containers.Kind{
	{Name: "docker", Usage: "those of Docker", Key: "socket", Places: []string{"/run/docker.sock", "/var/run/docker.sock"},
		New: func(place string, _ *slog.Logger) containers.Source {
			return &Source{runtime: "docker", socket: place, hooked: oci.DockerHooked, cgroup: oci.Cgroup}
		}},
	{Name: "podman", Usage: "those of root's Podman, when podman.socket is enabled", Key: "socket", Places: []string{"/run/podman/podman.sock"},
		New: func(place string, _ *slog.Logger) containers.Source {
			return &Source{runtime: "podman", socket: place, hooked: oci.Hooked, cgroup: oci.Cgroup}
		}},
}

const (
	// retry is how long after a failure the daemon is asked again, and whether its socket is there.
	retry = time.Second
	// again is how often all containers are listed without a reason, in case an event was lost.
	again = time.Minute
	// maxCreated bounds how many containers are remembered that have not started, and maxDigests how many images.
	maxCreated = 1024
	maxDigests = 1024
)

// Source tells of the containers of one daemon. Events come after the container's program has begun; with
// the OCI hook in place the hook tells of it before, and the source of its labels.
type Source struct {
	runtime, socket string
	// hooked reports whether the daemon calls the hook.
	hooked func() bool
	// cgroup returns the control group of a container's process.
	cgroup func(pid uint32, id, asked string) (string, error)

	mu      sync.Mutex
	status  containers.Status
	created map[string]policy.Container // that have not started
}

var (
	_ containers.Source    = (*Source)(nil)
	_ containers.Describer = (*Source)(nil)
)

// Name implements [containers.Source].
func (s *Source) Name() string { return s.runtime }

// Status implements [containers.Source].
func (s *Source) Status() containers.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status
	status.Early = s.hooked()
	return status
}

func (s *Source) set(status containers.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// Describe implements [containers.Describer]: it tells what the daemon said when the container was made.
func (s *Source) Describe(id string) (policy.Container, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.created[id]
	return c, ok
}

// Run implements [containers.Source].
func (s *Source) Run(ctx context.Context, to containers.Registry) error {
	there := false
	for ctx.Err() == nil {
		if _, err := os.Stat(s.socket); errors.Is(err, fs.ErrNotExist) && !there {
			s.set(containers.Status{}) // it is not installed, which is fine
		} else {
			there = true
			err := s.follow(ctx, to)
			s.set(containers.Status{Problem: fmt.Sprintf("%s: %v; %s", s.socket, err, s.remedy())})
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
	s.set(containers.Status{})
	return nil
}

func (s *Source) remedy() string {
	unit := "docker.service"
	if s.runtime == "podman" {
		unit = "podman.socket"
	}
	return "see 'systemctl status " + unit + "'; meanwhile containers that start are not heard of"
}

// session is a connection to a daemon.
type session struct {
	*Source
	api     *api
	to      containers.Registry
	digests map[string]string // of images, by their ids
}

// follow tells of what there is and what happens, until the daemon goes away.
func (s *Source) follow(ctx context.Context, to containers.Registry) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := newAPI(s.socket)
	defer a.close()
	if err := a.negotiate(ctx); err != nil {
		return err
	}
	f := &session{Source: s, api: a, to: to, digests: map[string]string{}}
	// Events first, so that nothing happens unheard between.
	stream, err := a.events(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	events, ended := make(chan event), make(chan error, 1)
	go func() {
		decoder := json.NewDecoder(stream)
		for {
			var e event
			if err := decoder.Decode(&e); err != nil {
				ended <- err
				return
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	timer := time.NewTicker(again)
	defer timer.Stop()
	problem := f.sync(ctx)
	for {
		status := containers.Status{Connected: true}
		if problem != nil {
			status.Problem = problem.Error()
		}
		s.set(status)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = errors.New("the daemon has ended the connection")
			}
			return err
		case e := <-events:
			problem = f.happened(ctx, e)
		case <-timer.C:
			problem = f.sync(ctx)
		}
	}
}

// sync tells of all containers that run.
func (f *session) sync(ctx context.Context) error {
	ids, err := f.api.list(ctx)
	if err != nil {
		return err
	}
	var all []containers.Container
	var problem error
	for _, id := range ids {
		c, ok, err := f.container(ctx, id)
		if err != nil {
			problem = err
		}
		if ok {
			all = append(all, c)
		}
	}
	if problem == nil {
		return f.to.Sync(f.Name(), all)
	}
	// One that cannot be asked about has not ended: it stays as it was told of.
	for _, c := range all {
		problem = errors.Join(problem, f.to.Start(f.Name(), c))
	}
	return problem
}

// happened tells of what an event is about. The names are Docker's; Podman has some of its own.
func (f *session) happened(ctx context.Context, e event) error {
	id := e.Actor.ID
	switch e.Action {
	case "create":
		f.remember(id, e.Actor.Attributes)
	case "start", "restart", "rename", "unpause", "update":
		c, ok, err := f.container(ctx, id)
		if !ok || err != nil {
			return err
		}
		f.forget(id)
		return f.to.Start(f.Name(), c)
	case "die", "died":
		f.to.Stop(f.Name(), id)
	case "destroy", "remove":
		f.forget(id)
		f.to.Stop(f.Name(), id)
	}
	return nil
}

// remember notes what is said of a container that is made. Its labels are among the attributes.
func (f *session) remember(id string, attributes map[string]string) {
	c := policy.Container{ID: id, Runtime: f.runtime, Name: attributes["name"], Image: attributes["image"], Labels: map[string]string{}}
	for key, value := range attributes {
		if key != "name" && key != "image" {
			c.Labels[key] = value
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.created == nil || len(f.created) >= maxCreated {
		f.created = map[string]policy.Container{}
	}
	f.created[id] = c
}

func (f *session) forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.created, id)
}

// container returns a container that runs; false if it does not.
func (f *session) container(ctx context.Context, id string) (containers.Container, bool, error) {
	i, err := f.api.inspect(ctx, id)
	var gone *notFound
	switch {
	case errors.As(err, &gone):
		return containers.Container{}, false, nil
	case err != nil:
		return containers.Container{}, false, err
	case !i.State.Running || i.State.Pid == 0:
		return containers.Container{}, false, nil
	}
	name := strings.TrimPrefix(i.Name, "/")
	c := policy.Container{ID: i.ID, Name: name, Image: i.Config.Image, Labels: i.Config.Labels, Runtime: f.runtime}
	c.ImageDigest = f.digest(ctx, i)
	cgroup, err := f.cgroup(i.State.Pid, i.ID, "")
	if err != nil {
		return containers.Container{}, false, fmt.Errorf("container %s: %w", name, err)
	}
	return containers.Container{Container: c, Cgroup: cgroup, Running: true}, true, nil
}

// digest returns the digest of a container's image: the one by which it can be pulled, else that of its
// configuration, which is its id.
func (f *session) digest(ctx context.Context, i inspected) string {
	name, digest, ok := strings.Cut(i.Config.Image, "@")
	if ok {
		return digest
	}
	if known, ok := f.digests[i.Image]; ok {
		return known
	}
	list, err := f.api.digests(ctx, i.Image)
	if err != nil {
		return i.Image // the image was removed, perhaps
	}
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name = name[:colon]
	}
	digest = i.Image
	if !strings.Contains(digest, ":") {
		digest = "sha256:" + digest
	}
	for n, reference := range list {
		of, pulled, _ := strings.Cut(reference, "@")
		// Several repositories may have the image, under different digests: the container's own counts.
		if n == 0 || of == name {
			digest = pulled
		}
	}
	if len(f.digests) >= maxDigests {
		clear(f.digests)
	}
	f.digests[i.Image] = digest
	return digest
}
