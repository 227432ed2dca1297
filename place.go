package ebpfguard

import (
	"fmt"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
)

// FindHostRoot returns what [Options.HostRoot] has to be for this process: empty where its root
// directory is the host's, else /proc/1/root. The error says why the host's root cannot be reached from
// here, and ends with what to do.
func FindHostRoot() (string, error) { return hostroot.Find() }

// ForeignPlace says why the paths of policies mean other files than those of the host, without
// [Options.HostRoot]: this process is in a container, or has another root directory. It is empty if
// they mean the host's, or nobody can tell.
func ForeignPlace() string { return hostroot.Foreign() }

// ProbePlace tells what a manager with these options would lack where this process runs: it may be in a
// container, or without some capabilities. It takes microseconds.
func ProbePlace(options Options) []Check {
	root, err := hostroot.Open(options.HostRoot)
	if err != nil {
		return []Check{{Name: checkPaths, Gap: true, Detail: err.Error(), Remedy: hostroot.Remedy}}
	}
	defer root.Close()
	return probePlace(options, root)
}

// placeErr returns the gaps of a place as an error, unless they are accepted.
func placeErr(options Options, checks []Check) error {
	var missing []string
	for _, c := range checks {
		if c.Gap && !c.OK && !options.AllowGaps {
			missing = append(missing, fmt.Sprintf("%s: %s; %s", c.Name, c.Detail, c.Remedy))
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("full enforcement is %w from here:\n%s\nor set Options.AllowGaps (--allow-gaps) to go without", ErrNotSupported, strings.Join(missing, "\n"))
}

// The names of the checks of a place.
const (
	checkPaths     = "paths of the host"
	checkOthers    = "files in folders of others"
	checkProcesses = "processes of the host"
	checkPrograms  = "programs of other processes"
	checkCgroups   = "control groups in alerts"
	checkPins      = "pins"
	checkSignals   = "signals to other processes"
	checkSwitch    = "the kernel's switch for programs"
)
