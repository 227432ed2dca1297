// Package verifier tells what the kernel's verifier makes of a program, and
// whether it is more than was written down: a change that makes the verifier
// work twice as hard is seen long before a kernel refuses the program.
package verifier

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// File is where the figures are written down, from the folder of the test that compares.
const File = "testdata/verifier.json"

// NewEnv is set for the test when the figures are about to be written anew: it does not compare then.
const NewEnv = "EBPFGUARD_VERIFIER_NEW"

// Figures are what a kernel makes of one program.
type Figures struct {
	// Processed is how many instructions the verifier followed, on all paths together.
	Processed int `json:"processed"`
	// PeakStates is how many states it kept at a time.
	PeakStates int `json:"peak_states"`
	// Stack is the bytes of stack that the deepest chain of calls takes.
	Stack int `json:"stack"`
	// Instructions is the program's size after the verifier's changes, MachineCode in bytes what it was compiled to.
	Instructions int `json:"instructions"`
	MachineCode  int `json:"machine_code"`
	// LoadMS is how long loading took, in milliseconds of the guest's clock: for information only.
	LoadMS int `json:"load_ms"`
}

// Recorded are figures by kernel and program.
type Recorded map[string]map[string]Figures

// Read reads a file of figures. One that is not there has none.
func Read(file string) (Recorded, error) {
	r := Recorded{}
	content, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(content, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

// Result is a line of the test's output.
type Result struct {
	Kernel  string `json:"kernel"`
	Program string `json:"program,omitempty"`
	Figures
	// Programs is in the last line alone, which has no program: how many came before it.
	Programs int `json:"programs,omitempty"`
}

// Prefix starts each line of output that carries a Result in JSON.
const Prefix = "verifier: "

// Print writes the result's line.
func (r Result) Print(w io.Writer) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", Prefix, raw)
	return err
}

var (
	processed  = regexp.MustCompile(`processed (\d+) insns`)
	peakStates = regexp.MustCompile(`peak_states (\d+)`)
	// One of these has the stacks: the second since 7.x.
	depths = regexp.MustCompile(`(?m)^stack depth (\d[\d+]*)$`)
	depth  = regexp.MustCompile(`(?m)^subprog \d+ .* stack (\d+)$`)
)

// Parse reads the verifier's statistics (kernel/bpf/verifier.c,
// print_verification_stats): the figures that are there, and the stack of each
// function of the program, in their order.
func Parse(log string) (Figures, []int, error) {
	var f Figures
	for _, part := range []struct {
		pattern *regexp.Regexp
		value   *int
	}{{processed, &f.Processed}, {peakStates, &f.PeakStates}} {
		found := part.pattern.FindStringSubmatch(log)
		if found == nil {
			return f, nil, fmt.Errorf("the verifier's statistics lack %v: %q", part.pattern, log)
		}
		*part.value, _ = strconv.Atoi(found[1])
	}
	var texts []string
	if found := depths.FindStringSubmatch(log); found != nil {
		texts = strings.Split(found[1], "+")
	}
	for _, found := range depth.FindAllStringSubmatch(log, -1) {
		texts = append(texts, found[1])
	}
	if len(texts) == 0 {
		return f, nil, fmt.Errorf("the verifier's statistics lack stack depths: %q", log)
	}
	var stacks []int
	for _, text := range texts {
		n, err := strconv.Atoi(text)
		if err != nil {
			return f, nil, fmt.Errorf("the verifier's statistics have %q among the stack depths", text)
		}
		stacks = append(stacks, n)
	}
	return f, stacks, nil
}

// stackUnit is what a function's stack is rounded up to, of one byte at least
// (kernel/bpf/verifier.c, check_max_stack_depth; kernels since 6.8 round to 16
// when they compile the program).
const stackUnit = 32

// Deepest returns the stack that the deepest chain of calls takes. The first
// function is the one that the kernel calls.
//   - functions are the program's functions, in the order of their stacks.
//   - calls are those that each function calls, by name.
func Deepest(functions []string, stacks []int, calls map[string][]string) (int, error) {
	if len(functions) != len(stacks) || len(functions) == 0 {
		return 0, fmt.Errorf("%d functions with %d stacks", len(functions), len(stacks))
	}
	own := map[string]int{}
	for i, name := range functions {
		own[name] = (max(stacks[i], 1) + stackUnit - 1) / stackUnit * stackUnit
	}
	known := map[string]int{}
	var below func(string) int
	below = func(name string) int {
		if depth, ok := known[name]; ok {
			return depth
		}
		known[name] = own[name] // a recursion, which the verifier refuses, would end here
		deepest := 0
		for _, callee := range calls[name] {
			if _, ok := own[callee]; ok { // else no call was left of it
				deepest = max(deepest, below(callee))
			}
		}
		known[name] = own[name] + deepest
		return known[name]
	}
	return below(functions[0]), nil
}
