// Package ocihook is the part of the guard that OCI runtimes call before a container's first program runs,
// and what makes them call it.
package ocihook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/daemon/containers/oci"
)

// Fail says what becomes of a container that the daemon cannot be told of.
type Fail string

// What becomes of such a container.
const (
	// Open lets it start. It counts as an unidentified container.
	Open Fail = "open"
	// Closed does not.
	Closed Fail = "closed"
)

// Hook is how a runtime calls the guard.
type Hook struct {
	// Socket is the daemon's; empty for the usual one.
	Socket string
	// Fail counts when the daemon gives no answer. When it does, its own configuration counts.
	Fail Fail
	// Timeout is how long the container may wait for the daemon.
	Timeout time.Duration

	// describe is what tells of the container; oci.Describe unless a test has none.
	describe func(oci.State) (containers.Container, error)
}

// Run tells the daemon of the container whose state the runtime writes to in. After an error the container
// must not start; a warning says what is wrong with one that may.
func (h Hook) Run(ctx context.Context, in io.Reader) (warning string, err error) {
	if !initialUsers() {
		// Podman of another user than root: the daemon does not listen to such, and the container is one
		// that nobody vouches for.
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	state, err := oci.ReadState(in)
	if err != nil {
		return h.failed(err)
	}
	if state.Ended() {
		h.stop(ctx, state.ID) // the daemon finds out by itself, too
		return "", nil
	}
	refused, err := h.start(ctx, state)
	switch {
	case err == nil:
		return "", nil
	case refused:
		return "", err
	}
	return h.failed(err)
}

// start tells of a container; refused says that it must not start because of the error, whatever the mode.
func (h Hook) start(ctx context.Context, state oci.State) (refused bool, err error) {
	describe := h.describe
	if describe == nil {
		describe = oci.Describe
	}
	c, err := describe(state)
	if err != nil {
		return false, err
	}
	guard, err := client.Dial(h.Socket)
	if err != nil {
		return false, err
	}
	defer guard.Close()
	answer, err := guard.StartContainer(ctx, &pb.StartContainerRequest{Container: message(c.Container), Cgroup: c.Cgroup})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return false, fmt.Errorf("the daemon did not answer within %v; see 'journalctl -u ebpfguard'", h.Timeout)
	case err != nil:
		return false, err
	case answer.Problem != "" && !answer.Refused:
		return false, &tolerated{answer.Problem}
	case answer.Problem != "":
		return true, errors.New(answer.Problem)
	}
	return false, nil
}

// tolerated is a problem with which the daemon's configuration lets a container start.
type tolerated struct{ problem string }

func (t *tolerated) Error() string { return t.problem }

// failed lets the container start, or not, when nobody could be told of it.
func (h Hook) failed(err error) (warning string, _ error) {
	var t *tolerated
	if h.Fail == Closed && !errors.As(err, &t) {
		return "", fmt.Errorf("%w; without it no container starts, since the hook was installed with --fail closed", err)
	}
	return fmt.Sprintf("%v; the container starts all the same, as an unidentified one", err), nil
}

func (h Hook) stop(ctx context.Context, id string) {
	guard, err := client.Dial(h.Socket)
	if err != nil {
		return
	}
	defer guard.Close()
	_, _ = guard.StopContainer(ctx, &pb.StopContainerRequest{Id: id})
}

// initialUsers reports whether this process is in the machine's first user namespace, as far as its map of
// users shows it.
func initialUsers() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return true
	}
	return strings.Join(strings.Fields(string(data)), " ") == "0 0 4294967295"
}
