package main

import (
	"context"
	"sync"
	"time"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/daemon/containers/kinds"
	"github.com/ebpfguard/ebpfguard/policy"
)

// containersTime is how long the sources of containers have to tell which ones run.
const containersTime = 10 * time.Second

// followed are the containers that the guard is told of while run enforces policies about some.
type followed struct {
	table  *containers.Table
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// followContainers tells the guard of containers if policies are about some, from then on. It returns when
// those that run are known: a policy that is in force before treats them as unidentified ones.
func (r *runner) followContainers(set []policy.Policy) {
	if r.followed != nil || !containers.Concern(set) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	table := containers.NewTable(r.guard, containers.Options{Log: r.log})
	sources := containers.NewRunner(table, r.sources, r.log)
	r.followed = &followed{table: table, cancel: cancel}
	r.followed.tasks.Go(func() { sources.Run(ctx, nil) })
	if late := sources.Await(ctx, containersTime); len(late) > 0 {
		r.log.Error("sources have not told in time which containers run; until they do, those count as unidentified", "sources", late)
	}
	sources.Sweep()
	all, _ := table.Count()
	r.log.Info("telling the guard of containers", "running", all)
}

// relabel labels what runs in containers, when a set is in force that asks for them.
func (r *runner) relabel() error {
	if r.followed == nil {
		return nil
	}
	return r.followed.table.Relabel()
}

// unfollow ends what followContainers began.
func (r *runner) unfollow() {
	if r.followed != nil {
		r.followed.cancel()
		r.followed.tasks.Wait()
	}
}

// allSources are the kinds of sources that run uses.
func allSources() []containers.Kind { return kinds.All }
