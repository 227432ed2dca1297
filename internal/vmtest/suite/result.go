package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
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
	// cpu is what the guest took of this machine's processors meanwhile, or for all of the package's tests.
	cpu time.Duration
}

// result is what one kernel's run showed, in one or several guests.
type result struct {
	kernel string

	mu    sync.Mutex
	order []id
	tests map[id]entry
	// began is what the guest had taken of this machine's processors when a test began.
	began map[id]time.Duration
	// output holds the last lines of the tests that have not passed yet.
	output map[id]*tail
	// packages has what each binary took.
	packages     []taken
	elapsed, cpu time.Duration
}

// taken is how much processor time a binary took.
type taken struct {
	pkg string
	cpu time.Duration
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
	return &result{kernel: kernel, tests: make(map[id]entry), began: make(map[id]time.Duration), output: make(map[id]*tail)}
}

// read follows the events, passing the tests' own output on as it comes. It reads to the end: who writes must not wait.
func (r *result) read(events io.Reader, w io.Writer, cpu func() time.Duration) {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(w, line)
			} else {
				fmt.Fprint(w, e.Output)
				r.add(e, cpu())
			}
		}
		if err != nil {
			return
		}
	}
}

// end notes how a binary ended, which its events do not tell when it died.
func (r *result) end(pkg string, ended vmtest.Result, w io.Writer) {
	r.mu.Lock()
	r.packages = append(r.packages, taken{pkg, ended.CPU})
	r.mu.Unlock()
	outcome := "ok  "
	if ended.Exit != 0 || ended.Err != nil {
		outcome = "FAIL"
		r.mu.Lock()
		key := id{pkg, ""}
		for _, k := range r.order { // the test that did not come to its end, if there is one
			if e := r.tests[k]; k.pkg == pkg && e.outcome == failed && e.elapsed == 0 {
				key = k
			}
		}
		r.mu.Unlock()
		for _, line := range ended.Console {
			r.add(event{Action: "output", Package: pkg, Test: key.test, Output: "console: " + line + "\n"}, 0)
		}
		if ended.Err != nil {
			r.add(event{Action: "output", Package: pkg, Test: key.test, Output: ended.Err.Error() + "\n"}, 0)
		}
		if ended.Exit != 0 {
			r.add(event{Action: "output", Package: pkg, Test: key.test, Output: fmt.Sprintf("the tests exited with %d\n", ended.Exit)}, 0)
		}
		r.add(event{Action: "fail", Package: pkg}, 0)
	}
	fmt.Fprintf(w, "%s\t%s\tcpu %.1f s\n", outcome, pkg, ended.CPU.Seconds())
}

func (r *result) add(e event, cpu time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
		r.began[key] = cpu
	case "pass":
		if e.Test != "" {
			r.set(key, entry{passed, elapsed, cpu - r.began[key]})
		}
	case "skip":
		if e.Test != "" {
			r.set(key, entry{skipped, elapsed, 0})
		}
	case "fail":
		if e.Test != "" || !r.anyFailed(e.Package) {
			e := entry{outcome: failed, elapsed: elapsed}
			if began, ok := r.began[key]; ok {
				e.cpu = cpu - began
			}
			r.set(key, e)
		}
	}
}

// keep keeps what a test printed, with its subtests, until it has passed, and what the package printed besides: it may
// fail after its tests have passed. What merely tells how far it came is left out.
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
	case !isSub && e.Test != "" && (e.Action == "pass" || e.Action == "skip"):
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
		if r.count(failed) > 0 || r.count(passed)+r.count(skipped) == 0 {
			return false
		}
	}
	return len(results) > 0
}
