package daemon

import (
	"fmt"
	"time"
)

// owned returns the policies by their owners.
func (d *Daemon) owned() sets {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sets
}

// tidyTime is how long after a change or an answer memory is given back: remembering the
// policies and telling of them takes much.
const tidyTime = 5 * time.Second

// publish puts the policies in force, all or none. The caller holds mu.
func (d *Daemon) publish(next sets) error {
	next = next.at(d.now())
	d.publishing.Store(time.Now().UnixNano())
	changes, err := d.guard.Apply(next.inForce())
	d.publishing.Store(0)
	d.tidy.Reset(tidyTime)
	if changes.Revision != 0 {
		d.revision, d.publishedAt = changes.Revision, time.Now()
	}
	if err != nil {
		if changes.Revision == 0 {
			return err
		}
		// It is in force nevertheless, see ebpfguard.Manager.Apply.
		d.problem(problemPublish, fmt.Errorf("the policies are in force, but the cleanup failed: %w", err))
	} else {
		d.solved(problemPublish)
	}
	d.sets, d.stale = next, false
	d.schedule()
	return nil
}

// expire removes expired mitigations, and takes back a change that nobody confirmed. The kernel has
// done so already; what is left is to free names and tables.
func (d *Daemon) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return
	}
	next := d.sets.at(d.now())
	unconfirmed := d.sets.trial != nil && next.trial == nil
	if len(next.mitigations) == len(d.sets.mitigations) && !unconfirmed {
		d.schedule()
		return
	}
	ended := without(d.sets.mitigations, next.mitigations)
	if err := d.publish(next); err != nil {
		d.problem(problemExpiry, fmt.Errorf("what has expired cannot be cleaned up: %w", err))
		d.expiry.Reset(10 * time.Second)
		return
	}
	d.solved(problemExpiry)
	if unconfirmed {
		d.log.Warn("nobody confirmed the applied policies in time, so the former ones are in force again", "revision", d.revision)
		if err := d.forgetTrial(); err != nil {
			d.problem(problemExpiry, err)
		}
	}
	for _, p := range ended {
		d.log.Info("the mitigation expired", "name", p.Name, "revision", d.revision)
	}
}

// schedule sets the timer for the next mitigation that ends. The clock of timers stands
// still while the machine is suspended, so it is asked once a minute.
func (d *Daemon) schedule() {
	d.expiry.Stop()
	now := d.now()
	end := nextEnd(d.sets.mitigations)
	if t := d.sets.trial; t != nil && (end == 0 || t.until < end) {
		end = t.until
	}
	if end != 0 {
		d.expiry.Reset(min(time.Minute, time.Duration(end-min(now, end))+10*time.Millisecond))
	}
}
