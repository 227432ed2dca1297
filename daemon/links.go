package daemon

import (
	"context"
	"fmt"
	"time"
)

// linkInterval is how often the symbolic links on the paths of the policies are looked at.
const linkInterval = time.Second

// watchLinks applies the policies again when a symbolic link on one of their paths was switched,
// as a package does that keeps its versions side by side, until the context ends.
func (d *Daemon) watchLinks(ctx context.Context) error {
	wait := time.NewTimer(linkInterval)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wait.C:
		}
		start := time.Now()
		d.followLinks()
		// Who can switch a link shall not keep the machine busy with it.
		wait.Reset(linkInterval + 10*time.Since(start))
	}
}

// followLinks applies the policies again if a symbolic link leads elsewhere.
func (d *Daemon) followLinks() {
	moved, err := d.guard.Relinked()
	if err == nil && len(moved) > 0 {
		err = d.publishAgain(moved)
	}
	if err != nil {
		d.problem(problemLinks, fmt.Errorf("symbolic links on paths of the policies lead elsewhere now, and the policies are still about where they led before: %w", err))
		return
	}
	d.solved(problemLinks)
}

func (d *Daemon) publishAgain(moved []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return nil
	}
	if err := d.publish(d.sets); err != nil {
		return err
	}
	d.log.Info("symbolic links on paths of the policies lead elsewhere now: the policies were applied again", "paths", moved, "revision", d.revision)
	return nil
}
