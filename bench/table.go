package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// order is how setups and workloads follow each other; others come last.
var (
	setupOrder = []string{
		nothing, "empty programs", "no policies", "1 rule", "10 rules", "100 rules", "1000 rules", "10000 rules", "100000 rules",
		"1000000 networks",
		"allowed by a rule", denied, "Landlock, 10 rules", "AppArmor, 10 rules", "AppArmor, 1000 rules",
	}
	workloadOrder = []string{
		"open+close, depth 3", "open+close, depth 10", "open+close, never seen before", "open+close, each of 10,000", "socket+bind+close",
		"connect, UDP", "socket+connect+close, TCP", "sendto, UDP", "setuid(0)", "mount+umount", "mount+umount, mean",
		"fork+exec+wait", "fork+exec+wait, mean", "fork+wait", "fork+wait, mean", "stat", "read", "write",
	}
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
