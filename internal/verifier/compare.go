package verifier

import (
	"fmt"
	"maps"
	"slices"
)

// What is tolerated.
const (
	// MaxProcessed is half of what the kernel allows (BPF_COMPLEXITY_LIMIT_INSNS): another version of
	// a kernel may well follow more paths than those that are tested.
	MaxProcessed = 500_000
	// MaxStack is what the kernel allows (MAX_BPF_STACK).
	MaxStack = 512
	// More instructions than written down are tolerated up to a tenth and up to a thousand, whichever is more:
	// kernels of one series differ a little, and small programs vary in tenths.
	moreShare, more = 10, 1000
)

// Renew is the command that writes the figures anew.
const Renew = "`make bench-verifier`"

// Compare returns what is wrong with the figures of one kernel, one line each.
func Compare(kernel string, before, now map[string]Figures) []string {
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(now)) {
		f := now[name]
		if f.Processed > MaxProcessed {
			wrong = append(wrong, fmt.Sprintf("%s on %s: the verifier processed %d instructions, more than %d, and the kernel's limit is 1,000,000: simplify it, or make functions of it that are verified once",
				name, kernel, f.Processed, MaxProcessed))
		}
		if f.Stack > MaxStack {
			wrong = append(wrong, fmt.Sprintf("%s on %s: its calls take %d bytes of stack, more than the %d of the kernel", name, kernel, f.Stack, MaxStack))
		}
		b, known := before[name]
		switch {
		case !known:
			wrong = append(wrong, fmt.Sprintf("%s on %s: no figures are written down; %s does so", name, kernel, Renew))
		case f.Processed > b.Processed+max(b.Processed/moreShare, more):
			wrong = append(wrong, fmt.Sprintf("%s on %s: the verifier processed %d instructions, %d before; find out why, and if it has to be, %s writes it down",
				name, kernel, f.Processed, b.Processed, Renew))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, ok := now[name]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s on %s: figures are written down, but it was not loaded; if it is gone, %s forgets it", name, kernel, Renew))
		}
	}
	return wrong
}
