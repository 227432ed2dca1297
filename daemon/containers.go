package daemon

import (
	"context"
	"fmt"
	"strings"
	"time"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/config"
	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/daemon/containers/kinds"
	"github.com/ebpfguard/ebpfguard/daemon/mitigate"
)

// containersTime is how long the sources of containers have at the start to tell which ones run.
const containersTime = 10 * time.Second

// hookSource is what the containers come from that are told of by the API.
const hookSource = "hook"

// known is what the daemon knows of containers, once the guard can be told of them.
type known struct {
	table *containers.Table
	// runner runs the sources.
	runner *containers.Runner
	// open is closed when the two are there.
	open chan struct{}
	// counters count alerts.
	counters containerCounters
}

// openContainers makes the table of containers. From then on calls can tell of some.
func (d *Daemon) openContainers(c config.Config) {
	_, adopted := d.guard.Takeover() // that is in force
	list := d.options.Sources
	if list == nil {
		list = kinds.All
	}
	d.containers.table = containers.NewTable(d.guard, containers.Options{
		Cgroups: d.options.Cgroups, Log: d.log, Hook: d.options.Hook, Closed: func() bool { return c.Containers.Fail == config.FailClosed },
		PodDetails: c.Kubernetes, Starting: !adopted,
	})
	d.containers.runner = containers.NewRunner(d.containers.table, list, d.log)
	close(d.containers.open)
}

// awaitContainers waits until the sources have told of the containers that run: a policy that is in force
// before its containers are known treats these as unidentified ones.
func (d *Daemon) awaitContainers(ctx context.Context) {
	begun := time.Now()
	late := d.containers.runner.Await(ctx, containersTime)
	d.containers.table.Adopt()
	d.containers.runner.Sweep() // not before: none of them was known
	all, _ := d.containers.table.Count()
	switch took := time.Since(begun).Round(time.Millisecond); {
	case len(late) > 0:
		d.log.Error("sources have not told in time which containers run; until they do, those count as unidentified", "sources", late, "after", took)
	case all > 0:
		d.log.Info("the containers that run are known", "containers", all, "after", took)
	}
}

// machine is what the daemon knows of processes besides what /proc tells.
func (d *Daemon) machine() mitigate.Machine {
	select {
	case <-d.containers.open:
		return mitigate.Machine{Containers: d.containers.table.In}
	default:
		return mitigate.Machine{}
	}
}

// containersStatus returns what is known of containers; nil if there is nothing to tell.
func (d *Daemon) containersStatus(concerned bool) *pb.ContainersStatus {
	all, by := d.containers.table.Count()
	unidentified, some := d.containers.runner.Unidentified()
	s := &pb.ContainersStatus{
		Known: uint32(all), Unidentified: uint32(unidentified), UnidentifiedCgroups: utf8Texts(some),
		Fail: string(d.configuration().Containers.Fail), Concerned: concerned,
	}
	for _, source := range d.containers.runner.Status() {
		s.Sources = append(s.Sources, &pb.ContainerSource{
			Name: source.Name, Connected: source.Connected, Early: source.Early, Problem: utf8Text(source.Problem), Containers: uint32(source.Containers),
		})
	}
	if n := by[hookSource]; n > 0 {
		s.Sources = append(s.Sources, &pb.ContainerSource{Name: hookSource, Connected: true, Early: true, Containers: uint32(n)})
	}
	s.Counters, s.Others = d.containers.counters.list()
	if all+unidentified+len(s.GetCounters())+len(s.GetSources()) == 0 && !concerned {
		return nil
	}
	return s
}

// containerProblems returns what is wrong with what is known of containers, as far as somebody wants it
// known.
func (d *Daemon) containerProblems(s *pb.ContainersStatus) []string {
	var all []string
	for _, source := range d.containers.runner.Status() {
		if source.Problem != "" && (s.GetConcerned() || source.Asked) {
			all = append(all, fmt.Sprintf("the source of containers %s: %s", source.Name, source.Problem))
		}
	}
	if !s.GetConcerned() {
		return all
	}
	if len(s.GetSources()) == 0 && s.GetUnidentified() > 0 {
		all = append(all, "policies are about containers, but nothing tells of any; start the runtime, name its source in the configuration (containers), or install the hook with 'ebpfguard runtime install-hook'")
	}
	if failures := d.containers.table.Failures(); len(failures) > 0 {
		text := failures[0].Error()
		if more := len(failures) - 1; more > 0 {
			text += fmt.Sprintf("; and %d more, see the log", more)
		}
		all = append(all, "the guard could not be told of a container, which counts as an unidentified one if it runs: "+text)
	}
	if n := s.GetUnidentified(); n > 0 {
		who := "1 container runs"
		if n > 1 {
			who = fmt.Sprintf("%d containers run", n)
		}
		all = append(all, fmt.Sprintf("%s that no source knows, so what a rule about containers could forbid is refused there: %s; name the source of its runtime in the configuration (containers)",
			who, strings.Join(s.GetUnidentifiedCgroups(), ", ")))
	}
	return all
}
