package daemon

import (
	"maps"
	"slices"
)

// problems are what is not well, by what it is about.
type problems map[string]string

// What problems are about.
const (
	problemDirectory = "directory"
	problemWatch     = "watch"
	problemLastGood  = "last good"
	problemApplied   = "applied"
	problemPublish   = "publish"
	problemExpiry    = "expiry"
	problemTampered  = "tampered"
	problemPlace     = "place"
	problemModes     = "modes"
	problemUnread    = "unread"
	problemConfig    = "configuration"
	problemAlerts    = "alerts"
	problemLinks     = "links"
	problemCluster   = "cluster"
	problemLost      = "lost"
)

// problem notes what is wrong, and logs it unless it was known.
func (d *Daemon) problem(about string, err error) {
	d.stateMu.Lock()
	known := d.problems[about] == err.Error()
	d.problems[about] = err.Error()
	d.stateMu.Unlock()
	if !known {
		d.log.Error(err.Error())
		d.notifyStatus()
	}
}

// isProblem reports whether something is wrong about this.
func (d *Daemon) isProblem(about string) bool {
	d.stateMu.Lock()
	defer d.stateMu.Unlock()
	return d.problems[about] != ""
}

// solved notes that something is well again.
func (d *Daemon) solved(about string) {
	d.stateMu.Lock()
	_, was := d.problems[about]
	delete(d.problems, about)
	d.stateMu.Unlock()
	if was {
		d.log.Info("solved: "+about, "about", about)
		d.notifyStatus()
	}
}

// problemTexts returns the problems in a stable order.
func (d *Daemon) problemTexts() []string {
	d.stateMu.Lock()
	defer d.stateMu.Unlock()
	var all []string
	for _, about := range slices.Sorted(maps.Keys(d.problems)) {
		all = append(all, d.problems[about])
	}
	return all
}
