package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

type outcome string

const (
	passed  outcome = "ok"
	failed  outcome = "FAIL"
	skipped outcome = "skip"
)

// id names a top-level test. An empty test stands for a package that failed outside its tests.
type id struct{ pkg, test string }

type entry struct {
	outcome outcome
	elapsed time.Duration
}

// result is what one kernel's run showed.
type result struct {
	kernel string
	order  []id
	tests  map[id]entry
	// output holds the last lines of the tests that have not passed yet.
	output  map[id]*tail
	elapsed time.Duration
	err     error
}

// tail keeps the last lines of a text.
type tail struct {
	lines []string
	// left is the number of lines before them.
	left int
}

// tailLines are enough to see why a test failed, and few enough that a log of which only the end is kept shows it.
const tailLines = 12

var progress = regexp.MustCompile(`^ *(=== |--- PASS|--- SKIP)`)

func (t *tail) add(line string) {
	t.lines = append(t.lines, line)
	if extra := len(t.lines) - tailLines; extra > 0 {
		t.lines = t.lines[extra:]
		t.left += extra
	}
}

// event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

func newResult(kernel string) *result {
	return &result{kernel: kernel, tests: make(map[id]entry), output: make(map[id]*tail)}
}

// read follows the events, passing the tests' own output on as it comes.
func (r *result) read(events io.Reader, w io.Writer) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				// The go command prints some errors plainly.
				fmt.Fprint(w, line)
			} else {
				fmt.Fprint(w, e.Output)
				r.add(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *result) add(e event) {
	r.keep(e)
	if strings.Contains(e.Test, "/") {
		return
	}
	key := id{e.Package, e.Test}
	elapsed := time.Duration(e.Elapsed * float64(time.Second))
	switch e.Action {
	case "run":
		// Whatever does not end has failed.
		r.set(key, entry{outcome: failed})
	case "pass":
		if e.Test != "" {
			r.set(key, entry{passed, elapsed})
		}
	case "skip":
		if e.Test != "" {
			r.set(key, entry{skipped, elapsed})
		}
	case "fail":
		if e.Test != "" || !r.anyFailed(e.Package) {
			r.set(key, entry{failed, elapsed})
		}
	}
}

// keep keeps what a test printed, with its subtests, until it has passed. What merely tells how far it came is left out.
func (r *result) keep(e event) {
	top, _, isSub := strings.Cut(e.Test, "/")
	key := id{e.Package, top}
	switch {
	case progress.MatchString(e.Output):
	case e.Output != "":
		if r.output[key] == nil {
			r.output[key] = &tail{}
		}
		r.output[key].add(e.Output)
	case !isSub && (e.Action == "pass" || e.Action == "skip"):
		delete(r.output, key)
	}
}

func (r *result) set(key id, e entry) {
	if _, ok := r.tests[key]; !ok {
		r.order = append(r.order, key)
	}
	r.tests[key] = e
}

func (r *result) anyFailed(pkg string) bool {
	for key, e := range r.tests {
		if key.pkg == pkg && e.outcome == failed {
			return true
		}
	}
	return false
}

// count returns the number of tests with that outcome.
func (r *result) count(o outcome) int {
	n := 0
	for _, e := range r.tests {
		if e.outcome == o {
			n++
		}
	}
	return n
}

// succeeded demands that every kernel ran at least one test to its end and that none failed.
func succeeded(results []*result) bool {
	for _, r := range results {
		if r.err != nil || r.count(failed) > 0 || r.count(passed)+r.count(skipped) == 0 {
			return false
		}
	}
	return len(results) > 0
}
