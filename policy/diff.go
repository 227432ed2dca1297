package policy

import (
	"bytes"
	"fmt"
	"strings"
)

// diffContext is how many unchanged lines are told around what changed.
const diffContext = 3

// maxDiffCells bounds the work of comparing two sets. What would take more is told as
// removed and added whole.
const maxDiffCells = 1 << 24

// maxDiffText bounds the text, which has to fit into a message beside other things. Of
// policies that would take more only the number of lines is told.
const maxDiffText = 16 << 20

// Diff tells how two sets of valid policies differ: a unified diff of the YAML of each
// policy that was added, changed or removed, in the order of the sets, those removed
// last. What addresses_from lists is in it as one line of comment that tells one list
// from another. It is empty when both are the same, wherever they were read.
func Diff(before, after []Policy) (string, error) {
	former, err := documents(before)
	if err != nil {
		return "", err
	}
	next, err := documents(after)
	if err != nil {
		return "", err
	}
	d := differ{cells: maxDiffCells}
	for _, p := range after {
		d.compare(p.Name, former[p.Name], next[p.Name])
	}
	for _, p := range before {
		if _, kept := next[p.Name]; !kept {
			d.compare(p.Name, former[p.Name], "")
		}
	}
	return d.text.String(), nil
}

// documents returns the YAML of each policy by its name.
func documents(set []Policy) (map[string]string, error) {
	if err := Validate(set); err != nil {
		return nil, err
	}
	all := make(map[string]string, len(set))
	for i := range set {
		all[set[i].Name] = string(Format(set[i:i+1])) + listedComments(set[i])
	}
	return all, nil
}

// listedComments returns a line for each list of addresses: a policy's YAML has only the
// names of the files.
func listedComments(p Policy) string {
	var b strings.Builder
	for i, r := range p.Rules {
		for _, side := range []struct {
			name     string
			patterns []Pattern
		}{{"allow", r.Allow}, {"deny", r.Deny}} {
			for j, pattern := range side.patterns {
				if listed, ok := pattern.(listedPattern); ok && listed.comment() != "" {
					fmt.Fprintf(&b, "# rule %d: %s[%d]: %s\n", i, side.name, j, listed.comment())
				}
			}
		}
	}
	return b.String()
}

// differ writes a diff within the bounds.
type differ struct {
	text  strings.Builder
	cells int // how many more may be compared
}

// edit is a line and whether it is kept (' '), removed ('-') or added ('+').
type edit struct {
	kind byte
	line string
}

func (d *differ) compare(name, before, after string) {
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
	fmt.Fprintf(&d.text, "--- %s\n+++ %s\n", from, to)
	former, next := lines(before), lines(after)
	if hunks := hunksOf(d.edits(former, next)); d.text.Len()+len(hunks) <= maxDiffText {
		d.text.Write(hunks)
	} else {
		fmt.Fprintf(&d.text, "# too much to tell: %d lines become %d\n", len(former), len(next))
	}
}

// hunksOf returns what changed, with the lines around it.
func hunksOf(edits []edit) []byte {
	var all, hunk bytes.Buffer
	at := [2]int{1, 1} // the next line of both texts, counted from 1
	next := 0          // the edit that these are before
	for start := 0; start < len(edits); start++ {
		if edits[start].kind == ' ' {
			continue
		}
		end := start
		for i, unchanged := start, 0; i < len(edits) && unchanged <= 2*diffContext; i++ {
			if edits[i].kind == ' ' {
				unchanged++
			} else {
				unchanged, end = 0, i+1
			}
		}
		first, last := max(0, start-diffContext), min(len(edits), end+diffContext)
		// Only unchanged lines are between two hunks.
		at[0], at[1], next = at[0]+first-next, at[1]+first-next, last
		var length [2]int
		hunk.Reset()
		for _, e := range edits[first:last] {
			hunk.WriteByte(e.kind)
			hunk.WriteString(e.line)
			hunk.WriteByte('\n')
			if e.kind != '+' {
				length[0]++
			}
			if e.kind != '-' {
				length[1]++
			}
		}
		from := at
		for side := range at {
			if length[side] == 0 { // by convention the line before
				from[side]--
			}
			at[side] += length[side]
		}
		fmt.Fprintf(&all, "@@ -%d,%d +%d,%d @@\n%s", from[0], length[0], from[1], length[1], hunk.Bytes())
		start = last - 1
	}
	return all.Bytes()
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// edits returns what makes one text of the other, by a longest common subsequence of
// their lines.
func (d *differ) edits(a, b []string) []edit {
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
	if len(a)*len(b) <= d.cells {
		d.cells -= len(a) * len(b)
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
