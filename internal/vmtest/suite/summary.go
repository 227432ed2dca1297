package main

import (
	"cmp"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// writeSummary prints one row per test and one column per kernel, and what it took in all.
func writeSummary(w io.Writer, results []*result, elapsed time.Duration) {
	var rows []id
	for _, r := range results {
		for _, key := range r.order {
			if !slices.Contains(rows, key) {
				rows = append(rows, key)
			}
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(head string, cell func(*result) string) {
		fmt.Fprint(t, head)
		for _, r := range results {
			fmt.Fprint(t, "\t", cell(r))
		}
		fmt.Fprintln(t)
	}
	line("test", func(r *result) string { return r.kernel })
	for _, key := range rows {
		line(label(key, rows), func(r *result) string { return cell(r, key) })
	}
	line("passed", func(r *result) string { return fmt.Sprint(r.count(passed)) })
	line("failed", func(r *result) string { return fmt.Sprint(r.count(failed)) })
	line("skipped", func(r *result) string { return fmt.Sprint(r.count(skipped)) })
	line("time", func(r *result) string { return r.elapsed.Round(time.Second).String() })
	line("cpu", func(r *result) string { return seconds(r.cpu) })
	t.Flush()
	for _, r := range results {
		writeSlowest(w, r)
	}
	writeFailures(w, results)

	var p, f, s int
	for _, r := range results {
		p, f, s = p+r.count(passed), f+r.count(failed), s+r.count(skipped)
		if r.count(passed)+r.count(skipped)+r.count(failed) == 0 {
			fmt.Fprintf(w, "kernel %s: no test ran; check the packages, -run and -tags\n", r.kernel)
		}
	}
	verdict := "ok"
	if !succeeded(results) {
		verdict = "FAIL"
	}
	fmt.Fprintf(w, "%s: %d passed, %d failed, %d skipped on %d kernels in %s\n", verdict, p, f, s, len(results), elapsed.Round(time.Second))
}

// slowest is how many of a kernel's tests are named.
const slowest = 10

// writeSlowest names what takes the time of a kernel, counted in processor time, which a busy machine does not change.
func writeSlowest(w io.Writer, r *result) {
	keys := slices.DeleteFunc(slices.Clone(r.order), func(key id) bool { return r.tests[key].cpu < time.Second })
	slices.SortStableFunc(keys, func(a, b id) int { return cmp.Compare(r.tests[b].cpu, r.tests[a].cpu) })
	var tests, packages []string
	for _, key := range keys[:min(len(keys), slowest)] {
		tests = append(tests, label(key, r.order)+" "+seconds(r.tests[key].cpu))
	}
	for _, p := range r.packages {
		packages = append(packages, path.Base(p.pkg)+" "+seconds(p.cpu))
	}
	if len(tests) > 0 {
		fmt.Fprintf(w, "kernel %s: slowest by cpu: %s; packages: %s\n", r.kernel, strings.Join(tests, ", "), strings.Join(packages, ", "))
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.0fs", d.Seconds()) }

// writeFailures repeats why tests failed: so that the end of a long log tells it.
func writeFailures(w io.Writer, results []*result) {
	for _, r := range results {
		for _, key := range r.order {
			if r.tests[key].outcome != failed {
				continue
			}
			fmt.Fprintf(w, "\n---- failed on kernel %s: %s ----\n", r.kernel, label(key, r.order))
			kept := r.output[key]
			if kept == nil {
				kept = &tail{lines: []string{"it printed nothing\n"}}
			}
			if kept.left > 0 {
				fmt.Fprintf(w, "(%d lines before are left out here)\n", kept.left)
			}
			fmt.Fprint(w, strings.Join(kept.lines, ""))
		}
	}
}

func cell(r *result, key id) string {
	e, ok := r.tests[key]
	if !ok {
		return "–"
	}
	if e.outcome == passed && e.elapsed >= 100*time.Millisecond {
		return fmt.Sprintf("%s %.1fs", e.outcome, e.elapsed.Seconds())
	}
	return string(e.outcome)
}

// label adds the package where the test's name alone would be ambiguous.
func label(key id, rows []id) string {
	if key.test == "" {
		return "(package " + path.Base(key.pkg) + ")"
	}
	for _, other := range rows {
		if other.test == key.test && other.pkg != key.pkg {
			return strings.Join([]string{path.Base(key.pkg), key.test}, ".")
		}
	}
	return key.test
}
