// Package containers tells a guard which container each control group belongs to: from the container
// runtimes, each behind a [Source], to the kernel.
//
//	runtime ──Source──▶ Registry ──▶ ebpfguard.Manager ──▶ kernel maps
//
// A source knows one way to learn of containers. The registry knows which ones there are, and gives the guard what it
// needs before a container's first program runs.
package containers

import (
	"context"

	"github.com/ebpfguard/ebpfguard/policy"
)

// Container is a container that is about to start, or runs.
type Container struct {
	policy.Container
	// Cgroup is the path of its control group from the root of the hierarchy, such as
	// /system.slice/docker-4f2a….scope.
	Cgroup string
	// Running says that programs of it may run already: they are looked for.
	Running bool
}

// Registry is what a source tells of containers. All methods may be called concurrently.
type Registry interface {
	// Start tells of a container. When it returns nil, every program that starts in the control
	// group from then on belongs to the container, and so do those that ran in it before, if the
	// container is Running. Telling of a container again changes what is known of it. It does
	// not wait for anything but the kernel. After an error the container must not
	// start, unless the operator prefers that to none (see Closed).
	Start(source string, c Container) error
	// Stop tells that a container has ended. What is left of its processes keeps its label.
	Stop(source, id string)
	// Sync tells of all containers that a source knows: those that it told of before and that
	// are not among them have ended.
	Sync(source string, all []Container) error
	// Closed reports whether a container must not start when it cannot be told of.
	Closed() bool
}

// Source tells of the containers of one runtime.
type Source interface {
	// Name is what the status and the configuration call it, such as nri or docker.
	Name() string
	// Run tells of containers until the context ends. It connects again by itself when the
	// runtime goes away and comes back, and returns an error only for what no waiting mends.
	Run(ctx context.Context, to Registry) error
	// Status tells how it goes. It may be called at any time.
	Status() Status
}

// Status is how it goes with a source.
type Status struct {
	// Connected says that the source hears of every container that starts.
	Connected bool
	// Problem says why not, and what to do; empty when there is nothing to do.
	Problem string
	// Early says that the source hears of a container before its first program runs. One that
	// does not learns of it some time after, and labels its programs then.
	Early bool
}

// Describer is a [Source] that may know of a container before its control group is there. When something
// else tells of the container then, it is asked what it knows.
type Describer interface {
	// Describe returns what is known of the container with an id. It does not block.
	Describe(id string) (policy.Container, bool)
}

// Starter is a [Registry] whose guard may still be starting. What a container does before the policies are in force
// nobody refuses.
type Starter interface {
	// InForce returns what is closed when they are. A container that is not Running is told of after that, or must not
	// start, unless the operator prefers that to none.
	InForce() <-chan struct{}
}

// Hooker is a [Registry] that can also be told of a container by a program which an OCI runtime calls
// before the container's first program runs.
type Hooker interface {
	// Hook returns the program's path and then its arguments; nil if runtimes cannot call it.
	Hook() []string
}
