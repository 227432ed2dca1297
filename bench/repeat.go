package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// agreement is by how much the figures of two runs may differ. Means are told and
// need not agree: when the kernel does what it has put off is not the same every time.
const (
	agreement = 0.01
	meanOf    = ", mean"
)

// difference is by how much the figures of a workload differ between runs, at the
// most.
type difference struct {
	// whole and added are instructions: of all that the workload takes, and of
	// what a setup adds to nothing. The names are those of the setups.
	whole, added           float64
	wholeSetup, addedSetup string
	share                  float64
}

// differences compares runs of one kernel, workload by workload.
func differences(runs []map[string]map[string]float64) map[string]difference {
	all := map[string]difference{}
	for workload, setups := range runs[0] {
		d := difference{wholeSetup: nothing, addedSetup: nothing}
		for setup := range setups {
			whole := spread(runs, func(f map[string]map[string]float64) float64 { return f[workload][setup] })
			added := spread(runs, func(f map[string]map[string]float64) float64 { return f[workload][setup] - f[workload][nothing] })
			if whole > d.whole {
				d.whole, d.wholeSetup = whole, setup
			}
			if added > d.added {
				d.added, d.addedSetup = added, setup
			}
			d.share = math.Max(d.share, whole/setups[setup])
		}
		all[workload] = d
	}
	return all
}

// spread is how far the greatest of the runs' figures is from the least.
func spread(runs []map[string]map[string]float64, figure func(map[string]map[string]float64) float64) float64 {
	least, most := math.Inf(1), math.Inf(-1)
	for _, r := range runs {
		least, most = math.Min(least, figure(r)), math.Max(most, figure(r))
	}
	return most - least
}

// printDifferences prints, as Markdown, by how much runs differ, and fails when they
// do not agree.
func printDifferences(w io.Writer, kernel string, runs []map[string]map[string]float64) error {
	all := differences(runs)
	fmt.Fprintf(w, "\nThe greatest differences of %d runs on kernel %s:\n\n", len(runs), kernel)
	fmt.Fprint(w, "| | instructions | setup | of the whole | of what is added | setup |\n|---|---:|---|---:|---:|---|\n")
	worst := ""
	for _, workload := range sorted(all, workloadOrder) {
		d := all[workload]
		fmt.Fprintf(w, "| %s | %.0f | %s | %.2f %% | %.0f | %s |\n", workload, d.whole, d.wholeSetup, 100*d.share, d.added, d.addedSetup)
		if !strings.HasSuffix(workload, meanOf) && (worst == "" || d.share > all[worst].share) {
			worst = workload
		}
	}
	if worst != "" && all[worst].share > agreement {
		return fmt.Errorf("on kernel %s the runs do not agree: %s differs by %.2f %%, more than %.0f %%; run it again, or look for what else the guest does",
			kernel, worst, 100*all[worst].share, 100*agreement)
	}
	return nil
}
