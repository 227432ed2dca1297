package main

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/policy"
)

// fakeSource tells that no container runs.
type fakeSource struct{}

func (fakeSource) Name() string { return "fake" }

func (fakeSource) Run(ctx context.Context, to containers.Registry) error {
	if err := to.Sync("fake", nil); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (fakeSource) Status() containers.Status { return containers.Status{Connected: true} }

// TestFollowContainers begins with the first policies about containers, and not before: a source makes the
// command a plugin of the runtime.
func TestFollowContainers(t *testing.T) {
	begun := 0
	r := newRunner(runFlags{}, io.Discard, io.Discard)
	r.guard = newFakeGuard(t)
	r.sources = []containers.Kind{{Name: "fake", Key: "directory", Places: []string{t.TempDir()}, New: func(string, *slog.Logger) containers.Source {
		begun++
		return fakeSource{}
	}}}
	defer r.unfollow()
	r.followContainers([]policy.Policy{{Subject: policy.Subject{Everyone: true}}})
	if err := r.relabel(); err != nil || begun != 0 {
		t.Errorf("%v, %d sources for a policy about everyone", err, begun)
	}
	for range 2 {
		r.followContainers([]policy.Policy{{Subject: policy.Subject{Host: true}}})
		if err := r.relabel(); err != nil || begun != 1 || !r.followed.table.Synced("fake") {
			t.Errorf("%v, %d sources for a policy about the host", err, begun)
		}
	}
}
