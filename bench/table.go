package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// tables are the workloads that share a table, in their order, and setupOrder is that of
// its columns. What is in neither comes last.
var (
	setupOrder = []string{
		nothing, "empty programs", "no policies", "1 rule", "10 rules", "100 rules", manyRule, "10000 rules", "100000 rules",
		"1000000 networks", "allowed by a rule", denied,
		allowAll, globs, another, subjects, lineage, containers, revoke,
		"Landlock, 10 rules", "AppArmor, 10 rules", "AppArmor, 1000 rules",
	}
	tables = [][]string{
		{
			"open+close, depth 3", "open+close, depth 10", "open+close, never seen before", "open+close, each of 10,000", "socket+bind+close",
			"connect, UDP", "socket+connect+close, TCP", "sendto, UDP", "setuid(0)", "mount+umount", "mount+umount, mean",
			"fork+exec+wait", "fork+exec+wait, mean", "fork+wait", "fork+wait, mean", "stat", "read", "write",
			"socket+bind+close, 2 ports in turn", "connect, UDP, 2 ports in turn", "connect, UDP, 8 addresses in turn",
		},
		{
			"open+close, depth 40",
			"open+close after a rename, depth 3", "open+close after a rename, depth 10", "open+close after a rename, depth 40",
			"open+close after a directory is renamed, depth 3", "open+close after a directory is renamed, depth 10",
			"open+close after a directory is renamed, depth 40",
			"open+close after a mount, depth 3", "open+close after a mount, depth 10", "open+close after a mount, depth 40",
			"open+close after a lazy umount", "open+close after a change of the user", "open+close, the first of a process",
			"open+close in a directory never seen before", "open+close, never seen before, in 8,000 directories",
			"open+close on a bind mount", "open+close on a bind mount after a rename", "open+close on a bind mount after a mount",
			"open+close on a bind mount, never seen before",
			"open+close on overlayfs", "open+close on overlayfs after a rename", "open+close on overlayfs after a mount",
			"open+close on overlayfs, never seen before",
			"mmap, to be executed", "mprotect, to be executed", "write+read of a pipe",
			"mkdir+rmdir", "create+close+unlink", "rename", "link", "chmod", "utimes", "truncate",
		},
	}
	workloadOrder = slices.Concat(tables...)
)

func sorted[V any](m map[string]V, order []string) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		rank := func(s string) int {
			if i := slices.Index(order, s); i >= 0 {
				return i
			}
			return len(order)
		}
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
}

// printTables prints, as Markdown, the targets, and the instructions that each setup adds.
func printTables(w io.Writer, kernel string, figures map[string]map[string]float64) {
	printTargets(w, kernel, figures)
	rest := maps.Clone(figures)
	for _, workloads := range append(slices.Clone(tables), nil) {
		part := map[string]map[string]float64{}
		for workload, f := range rest {
			if workloads == nil || slices.Contains(workloads, workload) {
				part[workload] = f
				delete(rest, workload)
			}
		}
		if len(part) > 0 {
			printTable(w, kernel, part)
		}
	}
}

// printTable prints, as Markdown, the instructions that each setup adds.
func printTable(w io.Writer, kernel string, figures map[string]map[string]float64) {
	setups := map[string]bool{}
	for _, f := range figures {
		for s := range f {
			setups[s] = true
		}
	}
	columns := sorted(setups, setupOrder)
	fmt.Fprintf(w, "\nInstructions on kernel %s, over %q:\n\n| ", kernel, nothing)
	for _, c := range columns {
		fmt.Fprintf(w, "| %s ", c)
	}
	fmt.Fprintf(w, "|\n|---%s|\n", strings.Repeat("|---:", len(columns)))
	for _, workload := range sorted(figures, workloadOrder) {
		f := figures[workload]
		fmt.Fprintf(w, "| %s ", workload)
		for _, c := range columns {
			value, ok := f[c]
			switch {
			case !ok:
				fmt.Fprint(w, "| ")
			case c == nothing:
				fmt.Fprintf(w, "| %.0f ", value)
			default:
				fmt.Fprintf(w, "| %+.0f ", value-f[nothing])
			}
		}
		fmt.Fprintln(w, "|")
	}
}
