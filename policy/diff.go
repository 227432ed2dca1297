package policy

import (
	"bytes"
	"fmt"
	"strings"
)

// diffContext is how many unchanged lines are told around what changed.
const diffContext = 3

// maxDiffCells bounds the work of comparing two texts. What would take more is told as
// removed and added whole.
const maxDiffCells = 1 << 22

// Diff tells how two sets of valid policies differ: a unified diff of the YAML of each
// policy that was added, changed or removed, in the order of the sets, those removed
// last. It is empty when both are the same, wherever they were read.
func Diff(before, after []Policy) (string, error) {
	former, err := documents(before)
	if err != nil {
		return "", err
	}
	next, err := documents(after)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, p := range after {
		diffText(&b, p.Name, former[p.Name], next[p.Name])
	}
	for _, p := range before {
		if _, kept := next[p.Name]; !kept {
			diffText(&b, p.Name, former[p.Name], "")
		}
	}
	return b.String(), nil
}

// documents returns the YAML of each policy by its name.
func documents(set []Policy) (map[string]string, error) {
	if err := Validate(set); err != nil {
		return nil, err
	}
	all := make(map[string]string, len(set))
	for i := range set {
		all[set[i].Name] = string(Format(set[i : i+1]))
	}
	return all, nil
}

// edit is a line and whether it is kept (' '), removed ('-') or added ('+').
type edit struct {
	kind byte
	line string
}

func diffText(b *strings.Builder, name, before, after string) {
	if before == after {
		return
	}
	from, to := name, name
	if before == "" {
		from = "/dev/null"
	}
	if after == "" {
		to = "/dev/null"
	}
	fmt.Fprintf(b, "--- %s\n+++ %s\n", from, to)
	edits := compareLines(lines(before), lines(after))
	for start := 0; start < len(edits); {
		if edits[start].kind == ' ' {
			start++
			continue
		}
		start = writeHunk(b, edits, start)
	}
}

// writeHunk writes the hunk that begins with the change at start, and returns where the
// next may begin.
func writeHunk(b *strings.Builder, edits []edit, start int) int {
	end := start
	for i, unchanged := start, 0; i < len(edits) && unchanged <= 2*diffContext; i++ {
		if edits[i].kind == ' ' {
			unchanged++
		} else {
			unchanged, end = 0, i+1
		}
	}
	first, last := max(0, start-diffContext), min(len(edits), end+diffContext)
	// Where the hunk is in both texts, counted from 1, and how long.
	at, length := [2]int{1, 1}, [2]int{}
	var text bytes.Buffer
	for i, e := range edits[:last] {
		count := &at
		if i >= first {
			count = &length
			fmt.Fprintf(&text, "%c%s\n", e.kind, e.line)
		}
		if e.kind != '+' {
			count[0]++
		}
		if e.kind != '-' {
			count[1]++
		}
	}
	for side := range at {
		if length[side] == 0 { // by convention the line before
			at[side]--
		}
	}
	fmt.Fprintf(b, "@@ -%d,%d +%d,%d @@\n%s", at[0], length[0], at[1], length[1], text.Bytes())
	return end
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// compareLines returns what makes one text of the other, by a longest common
// subsequence of their lines.
func compareLines(a, b []string) []edit {
	var edits, tail []edit
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		edits = append(edits, edit{' ', a[0]})
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail = append(tail, edit{' ', a[len(a)-1]})
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	var common [][]int32 // how long that of a[i:] and b[j:] is
	if len(a)*len(b) <= maxDiffCells {
		common = make([][]int32, len(a)+1)
		for i := range common {
			common[i] = make([]int32, len(b)+1)
		}
		for i := len(a) - 1; i >= 0; i-- {
			for j := len(b) - 1; j >= 0; j-- {
				if a[i] == b[j] {
					common[i][j] = common[i+1][j+1] + 1
				} else {
					common[i][j] = max(common[i+1][j], common[i][j+1])
				}
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case common != nil && i < len(a) && j < len(b) && a[i] == b[j]:
			edits = append(edits, edit{' ', a[i]})
			i, j = i+1, j+1
		case i < len(a) && (common == nil || j == len(b) || common[i+1][j] >= common[i][j+1]):
			edits = append(edits, edit{'-', a[i]})
			i++
		default:
			edits = append(edits, edit{'+', b[j]})
			j++
		}
	}
	for k := len(tail) - 1; k >= 0; k-- {
		edits = append(edits, tail[k])
	}
	return edits
}
