package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// target is how many instructions a setup may add to a workload at most.
type target struct {
	workload, setup string
	most            float64
	// share tells that most is not instructions but percent of what the workload
	// takes with nothing attached.
	share bool
}

const (
	allowAll = "allow: all, 1000 rules"
	globs    = "allow: all, 100 globs"
	manyRule = "1000 rules"
	another  = "1000 rules of another program"
	subjects = "10 subjects"
	lineage  = "descendants"
	revoke   = "revoke"
	// containers is a machine with so many, of which policies select ten.
	containers = "10000 containers"
)

// older is how much more a kernel may take that lacks bpf_rdonly_cast, and on which hashes
// stand in for task storage.
var older = map[string]float64{"6.1": 1.6}

// targets are those of issue 14. They are meant for 6.12 and 7.
var targets = []target{
	{"open+close, depth 3", allowAll, 330, false},
	{"open+close, depth 10", allowAll, 330, false},
	{"open+close, depth 40", allowAll, 330, false},
	{"open+close after a rename, depth 3", allowAll, 600, false},
	{"open+close after a rename, depth 3", globs, 600, false},
	{"open+close after a rename, depth 10", allowAll, 900, false},
	{"open+close after a rename, depth 40", allowAll, 1500, false},
	{"open+close after a directory is renamed, depth 3", allowAll, 600, false},
	{"open+close after a directory is renamed, depth 10", allowAll, 900, false},
	{"open+close after a directory is renamed, depth 40", allowAll, 1500, false},
	{"open+close after a mount, depth 3", allowAll, 700, false},
	{"open+close after a mount, depth 10", allowAll, 1000, false},
	{"open+close after a mount, depth 40", allowAll, 1500, false},
	{"open+close after a lazy umount", allowAll, 700, false},
	{"open+close on a bind mount", allowAll, 350, false},
	{"open+close on a bind mount after a rename", allowAll, 1200, false},
	{"open+close on a bind mount after a mount", allowAll, 1200, false},
	{"open+close on a bind mount, never seen before", allowAll, 2500, false},
	{"open+close on overlayfs", allowAll, 700, false},
	{"open+close on overlayfs after a rename", allowAll, 1200, false},
	{"open+close on overlayfs after a mount", allowAll, 1500, false},
	{"open+close on overlayfs, never seen before", allowAll, 3000, false},
	{"open+close, depth 3", another, 300, false},
	{"open+close, never seen before", allowAll, 500, false}, // no rule can match below the directory
	{"open+close, never seen before", globs, 2000, false},   // some can
	{"open+close in a directory never seen before", allowAll, 6000, false},
	{"open+close in a directory never seen before", globs, 6000, false},
	{"open+close, never seen before, in 8,000 directories", allowAll, 500, false},
	{"open+close after a change of the user", allowAll, 900, false},
	{"socket+bind+close", allowAll, 350, false},
	{"socket+bind+close, 2 ports in turn", allowAll, 450, false},
	{"connect, UDP", allowAll, 350, false},
	{"connect, UDP, 2 ports in turn", allowAll, 450, false},
	{"connect, UDP, 8 addresses in turn", allowAll, 450, false},
	{"mkdir+rmdir", allowAll, 1200, false},
	{"create+close+unlink", allowAll, 1200, false},
	{"rename", allowAll, 1200, false},
	{"link", allowAll, 1200, false},
	{"chmod", allowAll, 800, false},
	{"utimes", allowAll, 800, false},
	{"truncate", allowAll, 800, false},
	{"mmap, to be executed", allowAll, 500, false},
	{"mprotect, to be executed", allowAll, 500, false},
	{"setuid(0)", manyRule, 250, false},
	{"fork+wait, mean", manyRule, 700, false},
	{"fork+exec+wait", manyRule, 0.9, true},
	{"fork+exec+wait", subjects, 0.9, true},
	{"fork+exec+wait", lineage, 0.9, true},
	{"fork+exec+wait, mean", manyRule, 0.9, true},
	{"fork+exec+wait, mean", subjects, 0.9, true},
	{"fork+exec+wait, mean", lineage, 0.9, true},
	{"stat", allowAll, 0, false},
	{"read", allowAll, 0, false},
	{"write", allowAll, 0, false},
	{"read", revoke, 300, false},
	{"write+read of a pipe", revoke, 200, false},
}

// outcome is a target and what was measured, in the target's unit.
type outcome struct {
	target
	measured float64
}

// excess is how much of the target is used up. Where nothing may be added, it is the
// instructions that are.
func (o outcome) excess() float64 { return max(o.measured, 0) / cmp.Or(o.most, 1) }

func (o outcome) met() bool {
	if o.most == 0 {
		return o.measured <= 0
	}
	return o.measured <= o.most
}

// added is what a setup adds to the target's workload, in the target's unit.
func (t target) added(figures map[string]float64, setup string) (float64, bool) {
	value, ok := figures[setup]
	added := value - figures[nothing]
	if t.share {
		added *= 100 / figures[nothing]
	}
	return added, ok
}

func (t target) number(n float64) string {
	if t.share {
		return fmt.Sprintf("%.1f %%", n)
	}
	return fmt.Sprintf("%.0f", n)
}

// outcomes returns the targets whose workloads were measured, the worst first.
func outcomes(kernel string, figures map[string]map[string]float64) []outcome {
	var all []outcome
	for _, t := range targets {
		t.most *= cmp.Or(older[kernel], 1)
		if measured, ok := t.added(figures[t.workload], t.setup); ok {
			all = append(all, outcome{t, measured})
		}
	}
	slices.SortStableFunc(all, func(a, b outcome) int { return cmp.Compare(b.excess(), a.excess()) })
	return all
}

// printTargets prints, as Markdown, what was measured beside its target, the worst first, and
// beside what others take for the same.
func printTargets(w io.Writer, kernel string, figures map[string]map[string]float64) {
	all := outcomes(kernel, figures)
	if len(all) == 0 {
		return
	}
	missed := 0
	for _, o := range all {
		if !o.met() {
			missed++
		}
	}
	peers := []string{"empty programs", "Landlock, 10 rules", "AppArmor, 10 rules"}
	fmt.Fprintf(w, "\nTargets on kernel %s: %d of %d are missed. The worst comes first.\n\n", kernel, missed, len(all))
	fmt.Fprintf(w, "| | with | measured | target | met | %s |\n|---|---|---:|---:|---|%s\n",
		strings.Join(peers, " | "), strings.Repeat("---:|", len(peers)))
	for _, o := range all {
		met := "yes"
		if !o.met() {
			met = "**no**"
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s ", o.workload, o.setup, o.number(o.measured), o.number(o.most), met)
		for _, peer := range peers {
			text := ""
			if added, ok := o.added(figures[o.workload], peer); ok {
				text = o.number(added) + " "
			}
			fmt.Fprintf(w, "| %s", text)
		}
		fmt.Fprintln(w, "|")
	}
}
