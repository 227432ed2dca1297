package daemon

import (
	"fmt"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/daemon/config"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
)

// findHost finds the host's root directory, for all that looks at the host's files.
func (d *Daemon) findHost(c config.Config) (string, error) {
	name := c.HostRoot
	if name == hostroot.Auto {
		var err error
		if name, err = ebpfguard.FindHostRoot(); err != nil { // the guard refuses that, unless gaps are allowed
			d.log.Debug("the host's root directory cannot be reached", "error", err)
		}
	}
	root, err := hostroot.Open(name)
	if err != nil {
		return "", fmt.Errorf("%w; correct host_root (--host-root)", err)
	}
	hostroot.Use(root)
	if root != nil {
		d.log.Info("paths of policies are the host's", "host_root", root.Name())
	}
	return name, nil
}

// placed is a guard that knows what is missing where it runs.
type placed interface{ Place() []ebpfguard.Check }

// tellPlace notes what is missing where the daemon runs. What makes policies or alerts worth less is in the status; the
// guard would have refused it if gaps were not allowed.
func (d *Daemon) tellPlace() {
	guard, ok := d.guard.(placed)
	if !ok {
		return
	}
	for _, c := range guard.Place() {
		switch {
		case c.OK:
		case c.Gap:
			d.problem(problemPlace+" "+c.Name, fmt.Errorf("%s: %s; %s", c.Name, c.Detail, c.Remedy))
		default:
			d.log.Warn("something is missing here", "what", c.Name, "detail", c.Detail, "remedy", c.Remedy)
		}
	}
}
